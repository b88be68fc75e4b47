"""`python -m bench [DIR_OF_REAL_CHARTS]`, in tests/: measure, print ratios, write bench.json."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
import pytest

from bench import generate, measure
from bench.brolly_side import environment
from bench.building import measure_builds, measure_growth
from bench.others import measure_index, measure_start
from bench.publishing import measure_publishing
from bench.repository import Repository
from bench.table import Group, Results, group_text, machine, markdown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_TESTS: Final = Path(__file__).resolve().parents[1]


class Plan(msgspec.Struct, frozen=True):
    """How much is measured. `repeats` go with `sizes`; latencies are in seconds, sizes of data in bytes.

    `growth` is from few bundles to many, `unchanged` how often those are built that have not changed.
    """

    sizes: tuple[int, ...] = (1, 10, 100)
    repeats: tuple[int, ...] = (3, 3, 1)
    charts: int = generate.BUNDLE_CHARTS
    latencies: tuple[float, ...] = (0.0, 0.05)
    workers: int = 2
    artifacts: int = 200
    large: int = 100_000_000
    index: int = 28_000_000
    others: int = 3
    starts: int = 11
    growth: tuple[int, int] = (10, 100)
    unchanged: int = 5


QUICK: Final = Plan(sizes=(1, 10), repeats=(1, 1), others=1)


def measure_all(plan: Plan, pool: Sequence[generate.Chart], progress: Callable[[str], None]) -> Iterator[Group]:
    """Measure everything, one group after the other."""
    yield measure_start(plan.starts, progress=progress)
    repository = Repository()
    repository.add(pool)
    bundles = generate.bundles(pool, max(*plan.sizes, *plan.growth), size=plan.charts)
    with repository.serving():
        for size, repeats in zip(plan.sizes, plan.repeats, strict=True):
            yield from measure_builds(
                bundles[:size], repository, plan.latencies, repeats, plan.workers, progress=progress
            )
        few, many = plan.growth
        progress(f"growth from {few} to {many} bundles")
        yield measure_growth(bundles[:few], bundles[:many], repository, plan.workers, plan.unchanged)
    yield measure_index(plan.index, plan.others, progress=progress)
    try:
        yield measure_publishing(plan.artifacts, plan.large, plan.others, plan.workers, progress=progress)
    except pytest.skip.Exception as reason:
        yield Group("publish", (), (), notes=(f"left out: {reason}",))


def real_charts(folder: Path) -> tuple[generate.Chart, ...]:
    """Read the chart packages of a folder, those that lint and render with their defaults, one of each name."""
    from brolly.chart import read_package

    packages = sorted(str(path) for path in folder.rglob("*.tgz"))
    command = [sys.executable, "-m", "bench.helm_side", "usable", *packages]
    answer = measure.run([command], environ=environment(), cwd=_TESTS).outputs[0]
    found = {}
    for path in json.loads(answer):
        content = Path(path).read_bytes()
        chart = read_package(content)
        found[chart.name] = generate.Chart(chart.name, chart.version, content)
    return tuple(found.values())


def run(plan: Plan, pool: Sequence[generate.Chart], output: Path, command: str) -> Results:
    """Measure, print each group when it is done, write the figures as JSON."""
    started = time.monotonic()
    groups = []
    for group in measure_all(plan, pool, _say):
        sys.stdout.write(group_text(group) + "\n")
        sys.stdout.flush()
        groups.append(group)
    date = dt.datetime.now(dt.UTC).date().isoformat()
    results = Results(date, command, machine(), round((time.monotonic() - started) / 60, 1), tuple(groups))
    output.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=2) + b"\n")
    sys.stdout.write(f"{results.machine}; {results.minutes} minutes; all figures are in {output}\n")
    return results


def _say(doing: str) -> None:
    sys.stderr.write(f"... {doing}\n")


def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("charts", nargs="?", type=Path, metavar="DIR_OF_REAL_CHARTS", help="chart packages to use")
    parser.add_argument("--quick", action="store_true", help="1 and 10 bundles with Helm, 100 without, one round")
    parser.add_argument("--thousand", action="store_true", help="1,000 bundles beside 100: that takes long")
    parser.add_argument("--output", type=Path, default=Path("bench.json"), metavar="FILE", help="default: bench.json")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables as Markdown, too")
    args = parser.parse_args(argv)
    plan = QUICK if args.quick else Plan()
    if args.thousand:
        plan = msgspec.structs.replace(plan, growth=(100, 1000))
    pool = real_charts(args.charts) if args.charts else generate.charts()
    command = " ".join(["python -m bench", *(sys.argv[1:] if argv is None else argv)])
    results = run(plan, pool, args.output, command)
    if args.markdown:
        args.markdown.write_text("\n".join(markdown(results.groups)))


if __name__ == "__main__":
    main()
