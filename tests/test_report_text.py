"""The report that a person reads: frames, hints, and nothing that upsets a terminal."""

from __future__ import annotations

import pytest

from brolly.findings import Finding, Location, Severity
from brolly.report.text import counted, findings_text, listed, size_text


def finding(message: str = "it is wrong", at: Location | None = None, **more: str) -> Finding:
    return Finding(code="area/slug", severity=Severity.ERROR, message=message, location=at, **more)


def report(found: Finding, text: str | None = None, *, is_coloured: bool = False) -> list[str]:
    sources = {} if text is None or found.location is None else {found.location.path: text}
    return findings_text([found], sources, is_coloured=is_coloured).splitlines()


def test_a_finding_has_a_frame_a_label_a_hint_and_a_page() -> None:
    at = Location("a.yaml", 12, 3, 12, 7)
    assert report(finding(at=at, label="584 KiB", hint="type this"), "\n" * 11 + "  size: 1\n") == [
        "error[area/slug]: it is wrong",
        "  --> a.yaml:12:3",
        "   |",
        "12 |   size: 1",
        "   |   ^^^^ 584 KiB",
        "   |",
        "   = help: type this",
        "   = docs: brolly explain area/slug",
    ]


def test_a_finding_without_a_place_or_a_text_has_no_frame() -> None:
    assert report(finding()) == ["error[area/slug]: it is wrong", "   = docs: brolly explain area/slug"]
    assert report(finding(at=Location("a.yaml", 1, 1)))[1] == " --> a.yaml:1:1"
    assert len(report(finding(at=Location("a.yaml", 9, 1)), "short\n")) == 3


@pytest.mark.parametrize(
    ("text", "at", "row", "mark"),
    [
        ("a:\tb\n", Location("f", 1, 4, 1, 5), "1 | a: b", "  |    ^"),
        ("a: [\n", Location("f", 2, 1, 2, 1), "2 | ", "  | ^"),
        ("", Location("f"), "1 | ", "  | ^"),
        ("a: |\n  b\n", Location("f", 1, 1, 3, 1), "1 | a: |", "  | ^^^^"),
        ("a: \x1b[31mred\x07\n", Location("f", 1, 4, 1, 8), "1 | a: \ufffd[31mred\ufffd", "  |    ^^^^"),
        ("a: b\n", Location("f", 1, 90, 1, 95), "1 | a: b", "  |     ^"),
        ("a: b\r\nc: d\r\n", Location("f", 2, 1, 2, 2), "2 | c: d", "  | ^"),
    ],
)
def test_the_mark_stands_under_what_is_meant(text: str, at: Location, row: str, mark: str) -> None:
    lines = report(finding(at=at), text)
    assert lines[3:5] == [row, mark]


def test_a_long_line_is_cut_around_the_mark() -> None:
    text = "x" * 500 + "HERE" + "y" * 500
    row, mark = report(finding(at=Location("f", 1, 501, 1, 505)), text)[3:5]
    assert len(row) < 170
    start = mark.index("^")
    assert row[start : start + 4] == "HERE"


def test_messages_hints_labels_and_places_lose_control_characters() -> None:
    text = "\n".join(report(finding("a\x1b[2Jb", Location("f\x1b"), hint="c\x07d", label="e\x1bf"), "x\n"))
    assert "\x1b" not in text
    assert "\x07" not in text


def test_colours_change_nothing_but_colours() -> None:
    import re

    found = finding(at=Location("f", 1, 1, 1, 2), hint="do")
    coloured = "\n".join(report(found, "a: b\n", is_coloured=True))
    assert "\x1b[1;31merror[area/slug]\x1b[0m" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == "\n".join(report(found, "a: b\n"))


def test_numbers_and_sizes_are_written_for_people() -> None:
    assert [counted(0, "error"), counted(1, "error"), counted(2, "error")] == ["0 errors", "1 error", "2 errors"]
    assert [size_text(size) for size in (0, 1023, 1024, 1536, (1 << 20) - 1, 1 << 20)] == [
        "0 B", "1023 B", "1.0 KiB", "1.5 KiB", "1024.0 KiB", "1.00 MiB",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ("a", "a"),
        ("ab", "a and b"),
        ("abc", "a, b and c"),
        ("abcd", "a, b, c and 1 more"),
        ("abcdef", "a, b, c and 3 more"),
    ],
)
def test_many_names_are_counted(names: str, text: str) -> None:
    assert listed(list(names)) == text
