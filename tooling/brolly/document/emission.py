"""Data to YAML that Helm, PyYAML and yaml.v3 (Flux, kustomize) read as the same data."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final

import yaml

from brolly.document.builder import MAX_DEPTH

if TYPE_CHECKING:
    from brolly.document.reading import Document, Route

# texts that no reader takes for anything else: words, names, URLs, digests; versions and ranges of them
_PLAIN: Final = re.compile(
    r"[A-Za-z][A-Za-z0-9_./@+=(),'-]*(?::[A-Za-z0-9_./@+=(),'-]+)*"
    r"(?: [A-Za-z0-9(][A-Za-z0-9_./@+=(),'-]*(?::[A-Za-z0-9_./@+=(),'-]+)*)*"
    r"|[~^]?[0-9]+\.[0-9]+\.(?:[0-9]+(?:[-+][0-9A-Za-z.+-]+)?|x)|[0-9]+\.x"
)
_WORDS: Final = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf", "infinity"})
# what YAML forbids or takes for a break of lines, what nobody sees, what turns the direction of text; not tab and \n.
# Fixed ranges: what Python calls printable depends on its version, and the bytes must not.
_HIDDEN: Final = (
    "\x00-\x08\x0b-\x1f\x7f-\xa0\xad\u061c\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff\ufff0-\uffff"
    "\U000e0000-\U000e0fff"
)
_ESCAPED: Final = re.compile(f'[\t\n"\\\\{_HIDDEN}]')
_SHORT: Final = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
# lines survive a block if the first one begins with a character and none is of blanks alone
_BLOCK: Final = re.compile(rf"[^\s{_HIDDEN}][^\n{_HIDDEN}]*(?:\n(?:[ \t]*[^\s{_HIDDEN}][^\n{_HIDDEN}]*)?)*")
_MAX_SIMPLE_KEY: Final = 512  # YAML's own limit is 1024 characters


def emit(data: Any) -> str:
    """Write data of JSON's kinds in block style, keys in the order given; the text ends with a line break.

    ValueError for what JSON has not (infinities, other types, lone surrogates, keys that are no text) and for what is
    nested more than `MAX_DEPTH` deep.
    """
    lines: list[str] = []
    _write(data, "", 0, lines)
    text = "\n".join(lines) + "\n"
    text.encode()  # UnicodeEncodeError, a ValueError, for a lone surrogate
    return text


def _write(value: Any, lead: str, column: int, lines: list[str]) -> None:
    """Write a value behind `lead`, which opens its line (`key:`, `- `); what comes below it stands at `column`."""
    if column > 2 * MAX_DEPTH:
        raise ValueError(f"nested more than {MAX_DEPTH} deep")
    if value and isinstance(value, (dict, list)):
        if lead.endswith(":"):
            lines.append(lead)
            lead = " " * column
        _write_collection(value, lead, column, lines)
        return
    lead += " " * lead.endswith(":")
    block = _block(value) if isinstance(value, str) else None
    if block:
        lines.append(lead + block[0])
        lines += [line and " " * max(column, 2) + line for line in block[1:]]
    else:
        lines.append(lead + _scalar(value))


def _write_collection(value: Any, lead: str, column: int, lines: list[str]) -> None:
    for item in value:
        if isinstance(value, list):
            _write(item, lead + "- ", column + 2, lines)
        else:
            key = _key(item)
            if len(key) > _MAX_SIMPLE_KEY:
                lines.append(f"{lead}? {key}")
                lead, key = " " * column, ""
            _write(value[item], f"{lead}{key}:", column + 2, lines)
        lead = " " * column


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise ValueError(f"a key must be a text, not {type(key).__name__}")  # noqa: TRY004 - one kind of error for all data
    return _text(key)


def _scalar(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float() if math.isfinite(value):
            return _float(value)
        case str():
            return _text(value)
        case {} if not value:
            return "{}"
        case [] if isinstance(value, list):
            return "[]"
        case _:
            raise ValueError(f"not a value of JSON: {value if isinstance(value, float) else type(value).__name__}")


def _float(value: float) -> str:
    """Write a float with the point and the sign without which PyYAML reads a text (`1e5`)."""
    mantissa, e, exponent = repr(value).partition("e")
    point = "" if "." in mantissa else ".0"
    return f"{mantissa}{point}{e}{exponent}"


def _text(text: str) -> str:
    return text if is_plain(text) else _quoted(text)


def is_plain(text: str) -> bool:
    """Say whether every reader takes the bare text for this text."""
    return bool(_PLAIN.fullmatch(text)) and text.lower() not in _WORDS


def _quoted(text: str) -> str:
    return '"' + _ESCAPED.sub(lambda found: _escape(found[0]), text) + '"'


def _escape(char: str) -> str:
    if char in _SHORT:
        return _SHORT[char]
    return f"\\u{ord(char):04X}" if ord(char) <= 0xFFFF else f"\\U{ord(char):08X}"


def _block(text: str) -> list[str] | None:
    """Give the header and the lines of a literal block, None if a block cannot hold the text exactly."""
    body = text.rstrip("\n")
    ends = len(text) - len(body)
    if "\n" not in text or not _BLOCK.fullmatch(body):
        return None
    header = ("|-", "|", "|+")[min(ends, 2)]
    return [header, *body.split("\n"), *[""] * (ends - 1)]


def replace(document: Document, route: Route, text: str) -> str:
    """Give the document's text with another string at the route; all else stays, byte for byte.

    `text` is the string that is to be read there; it is quoted as the old one was, or as it needs. KeyError if the
    route leads nowhere, ValueError if it leads to no plain or quoted scalar, or to one with a tag or an anchor.
    """
    node = document.node(route)
    if node is None:
        raise KeyError(route)
    event = node.event
    if type(event) is not yaml.ScalarEvent or event.anchor or event.tag or event.style in {"|", ">"}:
        raise ValueError(f"not a plain or quoted scalar: {'.'.join(map(str, route))}")
    before = document.text.startswith("\ufeff")
    start, end = node.event.start_mark.index + before, node.end.index + before
    gap = " " if start == end and not document.text[:start].endswith((" ", "\n")) else ""
    return document.text[:start] + gap + _spelled(text, event.style) + document.text[end:]


def _spelled(text: str, style: str | None) -> str:
    if style == "'" and not _ESCAPED.search(text):
        return "'" + text.replace("'", "''") + "'"
    # a comma would end a bare text between brackets
    return text if style != '"' and is_plain(text) and "," not in text else _quoted(text)
