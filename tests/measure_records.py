"""Compare predicted release records with those that Helm's engine stores: `measure_records.py DIR_OF_CHARTS`.

Each packaged chart (*.tgz, in subfolders too) is installed alone, and umbrellas of random ones (seeded) are: into the
API server of `api_server`, on loopback. Prints a table in Markdown. With `--long` names are as long as Helm allows.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml
from api_server import ApiServer, Installer, text_of

from brolly import chart as charts
from brolly import release
from brolly.archive import Entry, stored_gzip, write_tar
from brolly.chart import ChartError
from brolly.engine import Engine
from brolly.rendering import EngineFailure, Rendering

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LARGE: Final = 50 << 10
# names that no chart contains and that do not compress
LONG_NAME: Final = "q7zk3x9vwm2h8tj4rb6nf5pydg1lsc0ae7uok9ixqz3vmw8h2tjr4"
LONG_NAMESPACE: Final = "k4w9zq2x7vjm3hb8tnr6fy1pgd5lsc0uaeio7xkqz9w3vjh8mt2b4rnf6yp1gd5"


@dataclass(frozen=True)
class Row:
    """One release: sizes in bytes of `data.release`; `json` is how much longer the predicted JSON is, as a share."""

    name: str
    real: int
    peak: int
    predicted: int
    bound: int
    json: float

    @property
    def slack(self) -> float:
        return self.bound / self.peak


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--umbrellas", type=int, default=20)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--long", action="store_true", help="install with the longest names")
    arguments.add_argument("--json", type=Path, help="write the rows there too")
    given = arguments.parse_args()
    rows: list[Row] = []
    with Engine() as engine, ApiServer() as server, Installer(server) as installer:

        def measures(title: str, package: bytes) -> bool:
            found = measured(title, package, engine, installer, is_long=given.long)
            if isinstance(found, Row):
                rows.append(found)
            print(line(found) if isinstance(found, Row) else f"left out: {title}: {found}", flush=True)
            return isinstance(found, Row)

        packages = sorted(given.folder.rglob("*.tgz"))
        # what cannot be installed with its defaults would spoil an umbrella too
        good = [path for path in packages if measures(f"{path.parent.name}/{path.stem}", path.read_bytes())]
        for title, package in umbrellas(good, given.umbrellas, given.seed):
            measures(title, package)
    if given.json:
        given.json.write_text(json.dumps([row.__dict__ for row in rows], indent=1), encoding="utf-8")
    return summarize(rows)


def umbrellas(packages: Sequence[Path], count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    for place in range(count):
        chosen = random.Random(seed * 1000 + place)
        picked = chosen.sample(packages, min(len(packages), chosen.randint(2, 9)))
        yield f"umbrella {place + 1} of {len(picked)} charts", umbrella(picked)


def umbrella(picked: Sequence[Path]) -> bytes:
    """Make an umbrella of packages, each under an alias."""
    read = [charts.read_package(path.read_bytes()) for path in picked]
    needs = [
        {"name": chart.name, "version": chart.version.partition("+")[0], "repository": "", "alias": f"c{place}"}
        for place, chart in enumerate(read)
    ]
    metadata = {"apiVersion": "v2", "name": "umbrella", "version": "1.0.0", "dependencies": needs}
    files = {
        "Chart.yaml": yaml.safe_dump(metadata).encode(),
        "values.yaml": b"",
        "templates/NOTES.txt": b"An umbrella.\n",
        **{f"charts/{place}-{path.name}": path.read_bytes() for place, path in enumerate(picked)},
    }
    return stored_gzip(write_tar(Entry(f"umbrella/{name}", content) for name, content in files.items()))


def measured(title: str, package: bytes, engine: Engine, installer: Installer, *, is_long: bool) -> Row | str:
    """Predict a record for a short name, and install under the name that is asked for."""
    predicted_for, namespace = "shop", "default"
    try:
        chart = charts.read_package(package)
    except ChartError as error:
        return str(error)
    rendering = engine.render(package, {}, name=predicted_for, namespace=namespace)
    if isinstance(rendering, EngineFailure):
        return rendering.message.splitlines()[0][:160]
    predicted = release.record(release.parent(chart, package), rendering, {}, name=predicted_for, namespace=namespace)
    name, space = (LONG_NAME, LONG_NAMESPACE) if is_long else (predicted_for, namespace)
    records, fault = installer.install(package, {}, name=name, namespace=space, kinds=kinds(rendering))
    if not records:
        return fault.splitlines()[0][:300] if fault else "nothing was stored"
    json_share = len(predicted.json) / len(text_of(records[-1])) - 1
    return Row(title, len(records[-1]), max(map(len, records)), predicted.size, predicted.upper_bound, json_share)


def kinds(rendering: Rendering) -> set[tuple[str, str]]:
    """Name the kinds that a cluster must know."""
    found = {(one.api_version, one.kind) for one in (*rendering.manifests, *rendering.hooks) if one.kind}
    for one in rendering.manifests:
        items: Any = (one.data or {}).get("items") if one.kind.endswith("List") else ()
        found |= {(str(item.get("apiVersion")), str(item.get("kind"))) for item in items or ()}
    return found


def line(row: Row) -> str:
    return (
        f"| {row.name} | {row.real:,} | {row.predicted:,} | {row.predicted / row.real - 1:+.2%} | {row.json:+.3%} "
        f"| {row.bound:,} | {row.slack - 1:+.2%} |"
    )


def summarize(rows: Sequence[Row]) -> int:
    """Say the worst cases; a bound that is too low is a failure."""
    large = [row for row in rows if row.peak > LARGE]
    below = [row for row in rows if row.slack < 1]
    far = [row for row in large if row.slack > 1.04]
    for title, found in (("all", rows), ("over 50 KiB", large)):
        if found:
            ratios = sorted(row.predicted / row.real - 1 for row in found)
            slacks = sorted(row.slack - 1 for row in found)
            print(
                f"{title}: {len(found)} records, predicted {ratios[0]:+.2%} to {ratios[-1]:+.2%}, "
                f"bound {slacks[0]:+.2%} to {slacks[-1]:+.2%}"
            )
    print(f"below: {[row.name for row in below]}\nmore than 4 % above: {[row.name for row in far]}")
    return 1 if below or far else 0


if __name__ == "__main__":
    sys.exit(main())
