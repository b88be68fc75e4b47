"""Compare predicted release records with those that Helm's engine stores: `measure_records.py DIR_OF_CHARTS`.

Each packaged chart (*.tgz, in subfolders too) is installed with its defaults, and so are umbrellas of random ones
(seeded): into the API server of `api_server`, on loopback, once under the name that is predicted for (the chart's own,
which its templates mention most) and once under names as long as Helm allows. Prints a table in Markdown; it fails
where a bound is too low, or more than 4 % above a record of over 50 KiB.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from dataclasses import asdict, dataclass
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
# what no chart has in it, and what does not compress
LONG_NAME: Final = "q7zk3x9vwm2h8tj4rb6nf5pydg1lsc0ae7uok9ixqz3vmw8h2tjr4"
LONG_NAMESPACE: Final = "k4w9zq2x7vjm3hb8tnr6fy1pgd5lsc0uaeio7xkqz9w3vjh8mt2b4rnf6yp1gd5"


@dataclass(frozen=True)
class Row:
    """One chart; sizes are bytes of `data.release`.

    `real` is the record of the finished install, `highest` the largest that was stored at any time under either name.
    `json` is by how much the predicted JSON is longer, as a share.
    """

    name: str
    real: int
    highest: int
    predicted: int
    bound: int
    json: float


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--umbrellas", type=int, default=20)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--json", type=Path, help="write the rows there too")
    given = arguments.parse_args()
    rows: list[Row] = []
    with Engine() as engine, ApiServer() as server, Installer(server) as installer:

        def measures(title: str, package: bytes) -> bool:
            found = measured(title, package, engine, installer)
            say(line(found) if isinstance(found, Row) else f"left out: {title}: {found}")
            rows.extend([found] if isinstance(found, Row) else [])
            return isinstance(found, Row)

        say("| chart | real | predicted | off | JSON | bound | above real | above highest |")
        say("|---" + "|--:" * 7 + "|")
        packages = sorted(given.folder.rglob("*.tgz"))
        # what cannot be installed with its defaults would spoil an umbrella too
        good = [path for path in packages if measures(f"{path.parent.name}/{path.stem}", path.read_bytes())]
        for title, package in umbrellas(good, given.umbrellas, given.seed):
            measures(title, package)
    if given.json:
        given.json.write_text(json.dumps([asdict(row) for row in rows], indent=1), encoding="utf-8")
    return summarize(rows)


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


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


def measured(title: str, package: bytes, engine: Engine, installer: Installer) -> Row | str:
    """Predict a record for one name, and install under this one and a long one; or say why that cannot be."""
    try:
        chart = charts.read_package(package)
    except ChartError as error:
        return str(error)
    name = chart.name[:53]
    rendering = engine.render(package, {}, name=name)
    if isinstance(rendering, EngineFailure):
        return rendering.message.splitlines()[0][:160]
    predicted = release.record(release.parent(chart, package), rendering, {}, name=name, namespace="default")
    known = kinds(rendering)
    records, fault = installer.install(package, {}, name=name, kinds=known)
    long, _ = installer.install(package, {}, name=LONG_NAME, namespace=LONG_NAMESPACE, kinds=known)
    if not records:
        return (fault.splitlines() or ["nothing was stored"])[0][:160]
    return Row(
        name=title,
        real=len(records[-1]),
        highest=max(map(len, records + long)),
        predicted=predicted.size,
        bound=predicted.upper_bound,
        json=len(predicted.json) / len(text_of(records[-1])) - 1,
    )


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
        f"| {row.bound:,} | {row.bound / row.real - 1:+.2%} | {row.bound / row.highest - 1:+.2%} |"
    )


def summarize(rows: Sequence[Row]) -> int:
    """Say the worst cases."""
    large = [row for row in rows if row.real > LARGE]
    for title, found in (("all", rows), ("over 50 KiB", large)):
        if found:
            predicted = [row.predicted / row.real - 1 for row in found]
            above = [row.bound / row.real - 1 for row in found]
            spare = [row.bound / row.highest - 1 for row in found]
            say(
                f"{title}: {len(found)} records; predicted {min(predicted):+.2%} to {max(predicted):+.2%}; bound "
                f"{min(above):+.2%} to {max(above):+.2%} above real, {min(spare):+.2%} at least above the highest"
            )
    below = [row.name for row in rows if row.bound < row.highest]
    far = [row.name for row in large if row.bound > 1.04 * row.real]
    say(f"too low: {below}\nmore than 4 % above: {far}")
    return 1 if below or far else 0


if __name__ == "__main__":
    sys.exit(main())
