"""libyaml as the reader of YAML's syntax, and what it says when the text is wrong.

Where libyaml 0.2.5 and go-yaml v2 differ, the text is refused as Helm refuses it.
"""

from __future__ import annotations

import re
from typing import Any, Final

import yaml

from brolly.document.rules import CONTROL_CHARACTER, ENCODING, SYNTAX, TAB, FaultError, Place

# without libyaml PyYAML's own parser does: ten times slower, and stricter about tabs
Reader: Final = yaml.CBaseLoader if yaml.__with_libyaml__ else yaml.BaseLoader

BOM: Final = b"\xef\xbb\xbf"
_UTF16: Final = (b"\xff\xfe", b"\xfe\xff")
_NOT_YAML: Final = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# libyaml reports these where it gave up; they are repaired where the construct begins
_FROM_THE_START: Final = ("unexpected end of stream", "unexpected document indicator", "expected ':'")
_HINTS: Final = (
    ("mapping values are not allowed", "put the text in double quotes, or check the indentation"),
    ("unexpected end of stream", "close the quotes, the bracket or the brace that opens here"),
    ("unexpected document indicator", "close the quotes that open here"),
    ("expected ':'", "write `key: value`, or put the text in double quotes"),
    ("cannot start any token", "put the text in double quotes"),
    ("unknown escape", "write \\\\ for a backslash, or use single quotes"),
    ("block end", "check the indentation of this line"),
    ("expected ',' or", "close the bracket or the brace, or put a comma before this"),
)


def place_of(event: Any) -> Place:
    """Give the event's place in lines and columns from 1."""
    start, end = event.start_mark, event.end_mark
    return (start.line + 1, start.column + 1, end.line + 1, end.column + 1)


def require_text(content: bytes) -> None:
    """Refuse what is no UTF-8 text of YAML's characters."""
    if content.startswith(_UTF16):
        raise FaultError(ENCODING, "the file is UTF-16", hint="save it as UTF-8")
    try:
        text = content.removeprefix(BOM).decode()
    except UnicodeDecodeError as error:
        before = error.object[: error.start].decode()
        raise FaultError(
            ENCODING,
            f"byte 0x{error.object[error.start]:02x} is no UTF-8",
            _place_after(before),
            hint="save the file as UTF-8",
        ) from None
    if found := _NOT_YAML.search(text):
        code = f"U+{ord(found[0]):04X}"
        raise FaultError(
            CONTROL_CHARACTER,
            f"the character {code} must not stand in YAML as it is",
            _place_after(text[: found.start()]),
            hint=f'delete it, or write it in double quotes as "\\u{ord(found[0]):04X}"',
        )


def _place_after(text: str) -> Place:
    line, column = text.count("\n") + 1, len(text) - text.rfind("\n")
    return (line, column, line, column + 1)


def syntax_fault(error: yaml.YAMLError, content: bytes) -> FaultError:
    """Tell libyaml's complaint as a fault at the place where an author would repair it."""
    require_text(content)
    if not isinstance(error, yaml.MarkedYAMLError):
        return FaultError(SYNTAX, str(error))
    problem = error.problem or error.context or "no YAML"
    mark = error.problem_mark or error.context_mark
    if error.context_mark and any(part in problem for part in _FROM_THE_START):
        mark = error.context_mark
    place = (mark.line + 1, mark.column + 1, mark.line + 1, mark.column + 2) if mark else None
    if mark and _is_indented_by_tab(content, mark.line):
        return FaultError(TAB, "a tab stands in the indentation", place, hint="indent with spaces")
    context = f" {error.context}" if error.context else ""
    hint = next((hint for part, hint in _HINTS if part in problem), "")
    return FaultError(SYNTAX, problem + context, place, hint=hint)


def _is_indented_by_tab(content: bytes, line: int) -> bool:
    lines = content.removeprefix(BOM).split(b"\n", line + 1)
    row = lines[line] if line < len(lines) else b""
    return b"\t" in row[: len(row) - len(row.lstrip())]
