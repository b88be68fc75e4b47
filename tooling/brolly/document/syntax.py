"""libyaml as the reader of YAML's syntax, and what it says when the text is wrong.

The builder mends where libyaml 0.2.5 accepts what go-yaml v2 refuses.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import yaml

from brolly.document.rules import CONTROL_CHARACTER, ENCODING, SYNTAX, TAB, FaultError, Place

if TYPE_CHECKING:
    from collections.abc import Callable

# without libyaml PyYAML's own parser does: ten times slower, and stricter about tabs
_Reader: Final = yaml.CBaseLoader if yaml.__with_libyaml__ else yaml.BaseLoader

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


def events(content: bytes) -> Callable[[], Any]:
    """Give a function that reads the next event; it raises yaml.YAMLError. UTF-16, which libyaml reads, is a fault."""
    body = content.removeprefix(BOM)  # libyaml's marks do not count it either
    if body.startswith(_UTF16):
        decoded(body)
    read: Callable[[], Any] = _Reader(body).get_event
    return read


def place_of(event: Any) -> Place:
    """Give the event's place in lines and columns from 1."""
    start, end = event.start_mark, event.end_mark
    return (start.line + 1, start.column + 1, end.line + 1, end.column + 1)


def decoded(content: bytes) -> str:
    """Decode UTF-8, a byte order mark kept; a fault for anything else."""
    if content.startswith(_UTF16):
        raise FaultError(ENCODING, "the file is UTF-16", hint="save it as UTF-8")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        place = _place_after(content[: error.start].decode().removeprefix("\ufeff"))
        message = f"the byte 0x{content[error.start]:02X} is no UTF-8"
        raise FaultError(ENCODING, message, place, hint="save the file as UTF-8") from None


def _require_text(content: bytes) -> None:
    text = decoded(content).removeprefix("\ufeff")
    if found := _NOT_YAML.search(text):
        code = f"{ord(found[0]):04X}"
        raise FaultError(
            CONTROL_CHARACTER,
            f"the character U+{code} must not stand in YAML as it is",
            _place_after(text[: found.start()]),
            hint=f'delete it, or write it in double quotes as "\\u{code}"',
        )


def _place_after(text: str) -> Place:
    line, column = text.count("\n") + 1, len(text) - text.rfind("\n")
    return (line, column, line, column + 1)


def syntax_fault(error: yaml.YAMLError, content: bytes) -> FaultError:
    """Tell libyaml's complaint as a fault at the place where an author would repair it."""
    if not isinstance(error, yaml.MarkedYAMLError):
        _require_text(content)
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
