"""Findings as a person reads them in a terminal: code frame, cause, the next command to type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from brolly.findings import Severity, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from brolly.findings import Finding, Location

_COLOURS: Final = {Severity.ERROR: "1;31", Severity.WARNING: "1;33"}
_WIDTH: Final = 160
# names that are written out before the rest is counted
_NAMED: Final = 3


def paint(text: str, colour: str, *, is_coloured: bool) -> str:
    """Wrap a text into an ANSI colour, if colours are wanted."""
    return f"\x1b[{colour}m{text}\x1b[0m" if is_coloured and text else text


def findings_text(findings: Iterable[Finding], sources: Mapping[str, str], *, is_coloured: bool = False) -> str:
    """Write findings with their code frames; `sources` holds the texts of files by path."""
    return "\n".join(_finding_text(finding, sources, is_coloured=is_coloured) for finding in findings)


def _finding_text(finding: Finding, sources: Mapping[str, str], *, is_coloured: bool) -> str:
    head = paint(f"{finding.severity}[{finding.code}]", _COLOURS[finding.severity], is_coloured=is_coloured)
    lines = [f"{head}: {paint(printable(finding.message), '1', is_coloured=is_coloured)}"]
    gutter = " " * 3
    if finding.location:
        gutter = " " * (len(str(finding.location.line)) + 1)
        lines += _frame(finding, finding.location, sources, gutter, is_coloured=is_coloured)
    if finding.hint:
        lines.append(f"{gutter}{paint('= help:', '1;36', is_coloured=is_coloured)} {printable(finding.hint)}")
    lines.append(f"{gutter}{paint('= docs:', '1;36', is_coloured=is_coloured)} brolly explain {finding.code}")
    return "\n".join(lines) + "\n"


def _frame(finding: Finding, at: Location, sources: Mapping[str, str], gutter: str, *, is_coloured: bool) -> list[str]:
    def blue(text: str) -> str:
        return paint(text, "1;34", is_coloured=is_coloured)

    lines = [f"{gutter[:-1]}{blue('-->')} {printable(str(at))}"]
    text = sources.get(at.path)
    if text is None:
        return lines
    rows = [*text.splitlines(), ""]  # a text that is cut off has its fault behind the last line
    if not 0 < at.line <= len(rows):
        return lines
    row = printable(rows[at.line - 1].replace("\t", " "))
    start = min(at.column - 1, len(row))
    end = at.end_column - 1 if at.end_line == at.line else len(row)
    marks = "^" * max(1, min(end, len(row)) - start)
    if len(row) > _WIDTH:
        cut = max(0, start - 20)
        row, start = row[cut : cut + _WIDTH], start - cut
        marks = marks[: max(1, len(row) - start)]
    label = f" {printable(finding.label)}" if finding.label else ""
    mark = paint(marks + label, _COLOURS[finding.severity], is_coloured=is_coloured)
    bar = blue("|")
    lines += [
        f"{gutter}{bar}",
        f"{blue(str(at.line))} {bar} {row}",
        f"{gutter}{bar} {' ' * start}{mark}",
        f"{gutter}{bar}",
    ]
    return lines


def counted(number: int, noun: str) -> str:
    """Write a number with its noun: `1 error`, `2 errors`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def listed(names: Sequence[str]) -> str:
    """Name up to three, and count the others: `a`, `a and b`, `a, b, c and 97 more`."""
    shown, rest = list(names[:_NAMED]), len(names) - _NAMED
    last = f"{rest} more" if rest > 0 else shown.pop()
    return f"{', '.join(shown)} and {last}" if shown else last


def size_text(size: int) -> str:
    """Write bytes as a person reads them."""
    if size < 1024:
        return f"{size} B"
    return f"{size / 1024:.1f} KiB" if size < 1 << 20 else f"{size / (1 << 20):.2f} MiB"
