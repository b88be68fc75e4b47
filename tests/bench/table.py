"""The figures, as values, as text and as JSON."""

from __future__ import annotations

import os
import platform
import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.measure import Measured


class Side(msgspec.Struct, frozen=True):
    """What one side took for a piece of work: seconds (the median of `runs`), processor seconds, bytes at the peak."""

    seconds: float
    cpu: float = 0.0
    peak: int = 0
    runs: tuple[float, ...] = ()


class Row(msgspec.Struct, frozen=True):
    """One piece of work, as Brolly and as each peer does it."""

    work: str
    brolly: Side
    peers: tuple[Side, ...]

    @property
    def ratios(self) -> tuple[float, ...]:
        """How many times as long each peer takes."""
        return tuple(peer.seconds / self.brolly.seconds for peer in self.peers)


class Group(msgspec.Struct, frozen=True):
    """Rows with the same peers; `facts` are figures of the same runs that are no ratios."""

    title: str
    peers: tuple[str, ...]
    rows: tuple[Row, ...]
    facts: dict[str, float] = {}
    notes: tuple[str, ...] = ()


class Results(msgspec.Struct, frozen=True):
    """All figures of a run, with the machine that they come from."""

    date: str
    command: str
    machine: str
    minutes: float
    groups: tuple[Group, ...]


def machine() -> str:
    """Say on what this runs."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    python = f"Python {platform.python_version()} ({sys.implementation.name})"
    return f"{cores} cores, {_memory() >> 30} GiB, {platform.system()} {platform.release()}, {_processor()}, {python}"


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def side(done: Sequence[Measured]) -> Side:
    """Sum up several runs of one thing."""
    seconds = [each.seconds for each in done]
    cpu = statistics.median(each.cpu for each in done)
    return Side(statistics.median(seconds), cpu, max(each.peak for each in done), tuple(seconds))


def group_text(group: Group) -> str:
    """Write a group as text, in columns."""
    lines = [_head(group), *(_cells(group, row) for row in group.rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    parts = [group.title, *("  " + _line(cells, widths) for cells in lines)]
    parts += [f"  {name}: {value:.4g}" for name, value in group.facts.items()]
    return "\n".join([*parts, *(f"  note: {note}" for note in group.notes), ""])


def _head(group: Group) -> list[str]:
    head = ["", "brolly", *group.peers, *(f"x {peer}" for peer in group.peers)]
    return head + (["cpu s", "peers' cpu s", "MiB", "peers' MiB"] if _has_peaks(group) else [])


def _cells(group: Group, row: Row) -> list[str]:
    seconds = [f"{each.seconds:.3g} s" for each in (row.brolly, *row.peers)]
    cells = [row.work, *seconds, *(f"{ratio:.2f}" for ratio in row.ratios)]
    if _has_peaks(group):
        cells += [f"{row.brolly.cpu:.3g}", "/".join(f"{peer.cpu:.3g}" for peer in row.peers)]
        cells += [_mebibytes(row.brolly), "/".join(map(_mebibytes, row.peers))]
    return cells


def _has_peaks(group: Group) -> bool:
    return any(row.brolly.peak for row in group.rows)


def _mebibytes(one: Side) -> str:
    return str(one.peak >> 20) if one.peak else "-"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = (f"{cell:{'<' if place == 0 else '>'}{widths[place]}}" for place, cell in enumerate(cells))
    return "  ".join((first, *rest)).rstrip()


def markdown(groups: Sequence[Group]) -> Iterator[str]:
    """Write groups as Markdown, for docs/performance.md."""
    for group in groups:
        head = _head(group)
        yield f"### {group.title}\n"
        yield "| " + " | ".join(head) + " |"
        yield "|---" + "|---:" * (len(head) - 1) + "|"
        yield from ("| " + " | ".join(_cells(group, row)) + " |" for row in group.rows)
        yield ""
        yield from (f"* {name}: {value:.4g}" for name, value in group.facts.items())
        yield from (f"* {note}" for note in group.notes)
        yield ""
