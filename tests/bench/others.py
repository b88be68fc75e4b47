"""Measure what is no build: a large index, and the start of the program."""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from bench import measure
from bench.brolly_side import environment, program
from bench.repository import Repository, index_of
from bench.table import Group, Row, Side, side

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.measure import Measured

_TESTS: Final = Path(__file__).resolve().parents[1]


def measure_index(size: int, repeats: int, *, progress: Callable[[str], None]) -> Group:
    """Look one chart up in an index of about so many bytes."""
    progress("a large index")
    repository = Repository()
    name, content = index_of(size)
    repository.files["index.yaml"] = content
    brolly, helm = [], []
    with repository.serving():
        for _ in range(repeats):
            brolly.append(_ask("brolly_side", repository.url, name))
            helm.append(_ask("helm_side", repository.url, name))
    works = ("downloaded and read", "unchanged on the server")
    peer = _side([done for _, done in helm], [answer["seconds"] for answer, _ in helm])
    rows = tuple(
        Row(work, _side([done for _, done in brolly], [answer["seconds"][place] for answer, _ in brolly]), (peer,))
        for place, work in enumerate(works)
    )
    facts = {"index, MB": len(content) / 1e6}
    return Group("one chart of a large index", ("helm repo index",), rows, facts)


def _side(done: Sequence[Measured], seconds: Sequence[float]) -> Side:
    """Sum up lookups: the seconds without the start of the process, memory and processor with it."""
    return msgspec.structs.replace(side(done), seconds=statistics.median(seconds), runs=tuple(seconds))


def _ask(program: str, url: str, name: str) -> tuple[dict[str, Any], Measured]:
    command = [sys.executable, "-m", f"bench.{program}", "index", url, name]
    done = measure.run([command], environ=environment(), cwd=_TESTS)
    answer: dict[str, Any] = json.loads(done.outputs[0])
    return answer, done


def measure_start(repeats: int, *, progress: Callable[[str], None]) -> Group:
    """Start the program and Python alone, by turns."""
    progress("starting")
    commands = ([*program(), "--version"], [sys.executable, "-c", "pass"])
    runs: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for command, seconds in zip(commands, runs, strict=True):
            seconds.append(_start(command))
    rows = tuple(
        Row(f"--version, {name}", Side(pick(runs[0]), runs=tuple(runs[0])), (Side(pick(runs[1]), runs=tuple(runs[1])),))
        for name, pick in (("least", min), ("median", statistics.median))
    )
    facts = {f"{row.work}, ms more": (row.brolly.seconds - row.peers[0].seconds) * 1000 for row in rows}
    return Group("start-up", ("python",), rows, facts)


def _start(command: Sequence[str]) -> float:
    return measure.run([command], environ=environment(), cwd=_TESTS).seconds
