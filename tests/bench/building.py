"""Measure building: cold, warm, edited and unchanged, against the whole job with Helm."""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bench import measure, umbrellas
from bench.brolly_side import Side, environment
from bench.helm_side import PHASES
from bench.table import Group, Row, side

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bench.generate import Bundle
    from bench.measure import Measured
    from bench.repository import Repository

_TESTS: Final = Path(__file__).resolve().parents[1]
_OVERLAYS: Final = 2
# Helm's rows come first: their names are no work of Brolly's
_HELM: Final = "helm"


def helm_jobs(folders: Sequence[Path], processes: int) -> Measured:
    """Do the job with Helm for each umbrella chart, in so many processes."""
    shares = [[str(folder) for folder in folders[start::processes]] for start in range(processes)]
    commands = [[sys.executable, "-m", "bench.helm_side", "jobs", *share] for share in shares if share]
    return measure.run(commands, environ=environment(), cwd=_TESTS)


class Builds:
    """The measurements of some bundles at one latency, by the name of the work."""

    def __init__(self, folder: Path, bundles: Sequence[Bundle], repository: Repository, workers: int) -> None:
        self._names = [bundle.name for bundle in bundles]
        self._umbrellas = [folder / "umbrellas" / name for name in self._names]
        self._repository = repository
        self._done: defaultdict[str, list[Measured]] = defaultdict(list)
        self.side = Side(folder, workers)
        self.failed: set[str] = set()
        umbrellas.write_workspace(self.side.workspace, bundles, repository.url)
        umbrellas.write_umbrellas(folder / "umbrellas", bundles, repository.url)

    def lock(self) -> None:
        """Lock the bundles, at no latency: it is done once, by whoever edits."""
        self._repository.latency = 0
        self._done["lock"].append(self.side.lock())

    def round(self, latency: float, number: int) -> None:
        """Do all the work once: Helm's before, between and after, so that all see the same machine."""
        self._repository.latency = latency
        self._done[_HELM + " 1"].append(helm_jobs(self._umbrellas, 1))
        self.side.forget_cache()
        self.side.forget_dist()
        self._build("cold")
        self._build("nothing changed")
        self.side.forget_dist()
        self._build("warm, no dist/")
        self._done[_HELM + " 2"].append(helm_jobs(self._umbrellas, 2))
        umbrellas.edit(self.side.workspace, self._names[0], f"{latency} {number}")
        self._build("one edited")
        umbrellas.edit(self.side.workspace, self._names[0], f"{latency} {number} again")
        umbrellas.add_overlays(self.side.workspace, self._names[0], _OVERLAYS)
        self._build(f"one edited, {_OVERLAYS} overlays")
        umbrellas.remove_overlays(self.side.workspace, self._names[0])
        self._build("all changed", epoch=1 + number)

    def _build(self, work: str, epoch: int = 0) -> None:
        done = self.side.build(epoch)
        self.failed |= set(self.side.failed())
        self._done[work].append(done)

    def group(self, title: str) -> Group:
        """Give the medians."""
        one, two = self._done[_HELM + " 1"], self._done[_HELM + " 2"]
        rows = tuple(
            Row(work, side(done), (side(one), side(two)))
            for work, done in self._done.items()
            if not work.startswith(_HELM) and work != "lock"
        )
        return Group(title, ("helm", "2 helms"), rows, self._facts(rows), tuple(self._notes()))

    def _facts(self, rows: Sequence[Row]) -> dict[str, float]:
        answers = [_sum(done) for done in self._done[_HELM + " 1"]]
        seconds = {phase: statistics.median(answer["seconds"][phase] for answer in answers) for phase in PHASES}
        by_work = {row.work: row.brolly.seconds for row in rows}
        edited, overlays = by_work["one edited"], by_work[f"one edited, {_OVERLAYS} overlays"]
        return {
            "brolly lock, once before, s": statistics.median(done.seconds for done in self._done["lock"]),
            **{f"helm {phase}, s": value for phase, value in seconds.items()},
            "helm / half of its own lint and render (what two engines can do at best)": _floor(
                self._done[_HELM + " 1"], seconds
            ),
            "one edited, more than nothing changed, s": edited - by_work["nothing changed"],
            "each overlay more, s": (overlays - edited) / _OVERLAYS,
            "rendered, MB per bundle": answers[0]["rendered"] / len(self._names) / 1e6,
            "templates per bundle": answers[0]["templates"] / len(self._names),
        }

    def _notes(self) -> list[str]:
        failed = sorted({said for done in self._done[_HELM + " 1"] for said in _sum(done)["failed"]})
        notes = [f"Helm refuses {len(failed)} of {len(self._names)}: {failed[0]}"] if failed else []
        if self.failed:
            notes.append(f"Brolly refuses {len(self.failed)} of {len(self._names)}: {', '.join(sorted(self.failed))}")
        return notes


def _floor(one: Sequence[Measured], seconds: dict[str, float]) -> float:
    """How much faster two workers are at best that do nothing but lint and render."""
    return statistics.median(done.seconds for done in one) / ((seconds["lint"] + seconds["render"]) / 2)


def _sum(done: Measured) -> dict[str, Any]:
    """Add up what the processes of a Helm job say."""
    answers = [json.loads(output) for output in done.outputs]
    return {
        "seconds": {phase: sum(answer["seconds"][phase] for answer in answers) for phase in PHASES},
        "rendered": sum(answer["rendered"] for answer in answers),
        "templates": sum(answer["templates"] for answer in answers),
        "failed": [said for answer in answers for said in answer["failed"]],
    }


def measure_builds(
    bundles: Sequence[Bundle],
    repository: Repository,
    latencies: Sequence[float],
    repeats: int,
    workers: int,
    *,
    progress: Callable[[str], None],
) -> Iterator[Group]:
    """Measure some bundles at each latency (seconds); medians of so many rounds."""
    for latency in latencies:
        title = f"{_count(len(bundles))}, {latency * 1000:.0f} ms"
        with tempfile.TemporaryDirectory(prefix="brolly-bench-") as folder:
            builds = Builds(Path(folder), bundles, repository, workers)
            builds.lock()
            for number in range(repeats):
                progress(f"{title}: round {number + 1} of {repeats}")
                builds.round(latency, number)
        yield builds.group(title)


def _count(bundles: int) -> str:
    return "1 bundle" if bundles == 1 else f"{bundles} bundles"


def measure_growth(
    few: Sequence[Bundle], many: Sequence[Bundle], repository: Repository, workers: int, repeats: int
) -> Group:
    """Compare many bundles with few: time may grow with the work and no faster, memory not at all.

    What has nothing to do but to verify is repeated so often: it is short, and noise would pass for growth.
    """
    repository.latency = 0
    small, large = (_grown(bundles, repository, workers, repeats) for bundles in (few, many))
    rows = tuple(Row(work, side(large[work]), (side(small[work]),)) for work in large)
    facts = {f"{row.work}, times as long": 1 / row.ratios[0] for row in rows}
    facts |= {f"{row.work}, times the processor time": row.brolly.cpu / row.peers[0].cpu for row in rows}
    for work in large:
        own = [max(done.own for done in grown[work]) for grown in (small, large)]
        facts |= {
            f"{work}, MiB without the engines, {count}": peak >> 20
            for count, peak in zip(("few", "many"), own, strict=True)
        }
    return Group(f"{_count(len(many))} and {len(few)}", (f"brolly, {_count(len(few))}",), rows, facts)


def _grown(bundles: Sequence[Bundle], repository: Repository, workers: int, repeats: int) -> dict[str, list[Measured]]:
    with tempfile.TemporaryDirectory(prefix="brolly-bench-") as folder:
        made = Side(Path(folder), workers)
        umbrellas.write_workspace(made.workspace, bundles, repository.url)
        made.lock()
        cold = [made.build()]
        unchanged = [made.build() for _ in range(repeats)]
        made.forget_dist()
        return {"cold": cold, "nothing changed": unchanged, "warm, no dist/": [made.build()]}
