"""The index of a chart repository, read as Helm reads it, but only as far as one chart needs it.

Helm decodes the whole index strictly (pkg/repo/v1/index.go): one unknown field anywhere makes every chart of the
repository unusable. Here the keys at the top and the wanted chart's entries are held to that; somebody else's broken
entry does not stop you. An index of 28 MB holds 60 000 entries, which take seconds to parse, so the wanted chart's
lines are cut out and parsed alone. Whatever does not look like the usual layout is parsed whole.
"""

from __future__ import annotations

import json
import re
import threading
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from brolly import document
from brolly.findings import printable
from brolly.versions import Version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


class IndexFault(ValueError):  # noqa: N818 - the house's word
    """An index that Helm could not use."""


@dataclass(frozen=True)
class Entry:
    """A chart's version as an index lists it. `url` is the first one, as written, and None where there is none."""

    version: str
    url: str | None
    digest: str | None


@dataclass(frozen=True)
class Listing:
    """A chart's entries, the newest first, and what was said of entries that were dropped."""

    entries: tuple[Entry, ...]
    warnings: tuple[str, ...] = ()


class Index:
    """An index.yaml of `size` bytes. IndexFault where Helm could not use it; from any thread."""

    def __init__(self, content: bytes) -> None:
        self.size = len(content)
        self._lock = threading.Lock()
        self._layout = _layout(content)
        self._whole: Any = None
        if self._layout is None:
            self._whole, self._is_json = _parsed(content)
            _require_header(self._whole, strict=not self._is_json)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all charts, sorted."""
        if self._layout:
            return tuple(sorted(self._layout.spans))
        return tuple(sorted(str(name) for name in self._entries()))

    def listing(self, name: str) -> Listing | None:
        """Give the chart's entries, or None where the index does not know the chart."""
        if self._layout is None:
            entries = self._entries()
            return _listing(name, entries[name], strict=not self._is_json) if name in entries else None
        if name not in self._layout.spans:
            return None
        with self._lock:
            return _listing(name, self._cut(name), strict=True)

    def _entries(self) -> Mapping[str, Any]:
        entries: Mapping[str, Any] = _field(self._whole, "entries") or {}
        return entries

    def _cut(self, name: str) -> Any:
        """Parse the lines of one chart; if they refer to what stands elsewhere, parse the index once as a whole."""
        layout = self._layout
        assert layout is not None  # noqa: S101 - for the type checker
        if self._whole is None:
            try:
                sliced = document.parse_strict(layout.cut(name))
            except ValueError:
                self._whole, _ = _parsed(layout.content)
            else:
                if isinstance(sliced, dict) and list(sliced) == [name]:
                    return sliced[name]
                self._whole, _ = _parsed(layout.content)
        return self._entries().get(name)


# --- where the charts stand -------------------------------------------------------------------------------------------

# what readers of YAML take for a line break, for white space or for the end, besides line feed and space
_OTHER_SPACE: Final = (b"\r", b"\t", b"\x00")
_ASCII: Final = bytes(range(128))
_OTHER_WIDE_SPACE: Final = tuple(char.encode() for char in "\x85\u2028\u2029\ufeff")
# A line that says where a chart stands: at the margin, or up to two spaces in and no item of a list. Nearly all lines
# are further in or items, which the look-ahead tells by four characters: a million lines take 15 ms.
_OUTER_LINE: Final = rb"(?!  [ -] )((?:[^ \n]| [^ \n#]|  (?!-\n)[^ \n#])[^\n]*)"
_FIRST_LINE: Final = re.compile(_OUTER_LINE)
_LATER_LINE: Final = re.compile(rb"\n" + _OUTER_LINE)
_TOP_KEY: Final = re.compile(rb"[A-Za-z]+:(?: [^\n]*)?")
_KEY: Final = re.compile(rb"  (['\"]?)[A-Za-z0-9][A-Za-z0-9_.-]*\1:(?: \[\])? *")


@dataclass(frozen=True)
class _Layout:
    """An index in the usual layout: keys at the margin, charts two spaces in, each with a list."""

    content: bytes
    spans: Mapping[str, tuple[int, int]]

    def cut(self, name: str) -> bytes:
        start, end = self.spans[name]
        return self.content[start:end]


def _layout(content: bytes) -> _Layout | None:
    """Find where each chart stands; None for an index in any other layout, or one that might be misread this way."""
    if _is_flow(content) or _has_other_space(content):
        return None
    top, inner = _outer_lines(content)
    region = _entries_region(content, top)
    if region is None:
        return None
    lines = [line for line in inner if region[0] < line.start(1) < region[1]]
    if not lines or not all(_KEY.fullmatch(line[1]) for line in lines):
        return None
    names = _names(lines)
    if names is None:
        return None
    starts = [line.start(1) for line in lines]
    spans = zip(starts, (*starts[1:], region[1]), strict=True)
    return _Layout(content, dict(zip(names, spans, strict=True)))


def _has_other_space(content: bytes) -> bool:
    if any(other in content for other in _OTHER_SPACE):
        return True
    # one byte is found fast, several are not: so look for these in the little that is not ASCII
    rest = b"" if content.isascii() else content.translate(None, delete=_ASCII)
    return any(other in rest for other in _OTHER_WIDE_SPACE)


def _outer_lines(content: bytes) -> tuple[list[re.Match[bytes]], list[re.Match[bytes]]]:
    """Find, in one pass, the lines at the margin but comments, and those one or two spaces in."""
    top, inner = [], []
    for line in chain(filter(None, [_FIRST_LINE.match(content)]), _LATER_LINE.finditer(content)):
        if line[1].startswith(b" "):
            inner.append(line)
        elif not line[1].startswith(b"#"):
            top.append(line)
    return top, inner


def _is_flow(content: bytes) -> bool:
    return content[:100].lstrip()[:1] in {b"{", b"["}


def _entries_region(content: bytes, lines: list[re.Match[bytes]]) -> tuple[int, int] | None:
    """Find the lines below `entries:`, and prove that what stands around them is a header that Helm accepts."""
    if lines and lines[0][1].rstrip() == b"---":
        lines = lines[1:]
    at = [index for index, line in enumerate(lines) if line[1].rstrip() == b"entries:"]
    if len(at) != 1 or not all(_TOP_KEY.fullmatch(line[1]) for line in lines):
        return None
    start = lines[at[0]].end(1)
    end = lines[at[0] + 1].start(1) if at[0] + 1 < len(lines) else len(content)
    try:
        header = document.parse_strict(content[:start] + b" {}\n" + content[end:])
        _require_header(header, strict=True)
    except ValueError:
        return None
    # a document may end early, and Helm reads no further
    return (start, end) if len(header) == len(lines) else None


def _names(lines: list[re.Match[bytes]]) -> list[str] | None:
    """Read the charts' names as YAML reads them; None where two are equal or one is no text."""
    bare = b"".join(line[1].strip().removesuffix(b" []") + b"\n" for line in lines)
    try:
        names = document.parse_strict(bare)
    except ValueError:
        return None
    known = isinstance(names, dict) and len(names) == len(lines) and all(isinstance(name, str) for name in names)
    return list(names) if known else None


# --- the whole --------------------------------------------------------------------------------------------------------


def _parsed(content: bytes) -> tuple[Any, bool]:
    """Parse the whole index; says whether it is JSON, which Helm reads leniently."""
    if not content:
        raise IndexFault("it is empty")
    if _is_flow(content):
        try:
            return json.loads(content), True
        except (ValueError, RecursionError):
            pass  # like Helm, take it for YAML
    try:
        return document.parse_strict(content), False
    except ValueError as error:
        raise IndexFault(printable(str(error))) from error


def _field(data: Any, name: str) -> Any:
    """Look a field up as Go does: the exact spelling first, then any capitals."""
    if not isinstance(data, dict):
        return None
    if name in data:
        return data[name]
    return next((value for key, value in data.items() if isinstance(key, str) and key.lower() == name.lower()), None)


def _require_header(data: Any, *, strict: bool) -> None:
    _struct(data, _HEADER, "", strict=strict)
    if not _field(data, "apiVersion"):
        raise IndexFault("it has no apiVersion")


# --- one chart's entries ----------------------------------------------------------------------------------------------


def _listing(name: str, data: Any, *, strict: bool) -> Listing:
    where = f"entries.{printable(name)}"
    found: list[tuple[Version, Entry]] = []
    warnings = []
    for number, item in enumerate(_list(data, where)):
        here = f"{where}[{number}]"
        entry = _struct(item, _ENTRY, here, strict=strict)
        fault = "is empty" if item is None else _fault(entry)
        if fault:
            warnings.append(f"{here} {fault}; it is left out, as Helm does")
            continue
        urls = entry.get("urls") or [None]
        found.append((Version.parse(entry["version"]), Entry(entry["version"], urls[0], entry.get("digest") or None)))
    # Helm's sort is not stable over twelve entries; this one is: of equal versions the first in the index wins
    found.sort(key=lambda pair: pair[0], reverse=True)
    return Listing(tuple(entry for _, entry in found), tuple(warnings))


_ALIAS: Final = re.compile(r"[a-zA-Z0-9_-]+")


def _fault(entry: Mapping[str, Any]) -> str:
    """Say why Helm drops an entry (Metadata.Validate in pkg/chart/v2/metadata.go), or nothing."""
    name = "".join(char for char in entry.get("name") or "" if char.isprintable() or char.isspace())
    version = entry.get("version") or ""
    if not name or name in {".", ".."} or "/" in name:
        return f"has the name {printable(name)!r}"
    if not _is_version(version):
        return f"has the version {printable(version)[:80]!r}, which is none"
    if (entry.get("type") or "") not in {"", "application", "library"}:
        return f"is of type {printable(entry['type'])!r}"
    if None in (entry.get("maintainers") or ()):
        return "has an empty maintainer"
    dependencies = entry.get("dependencies") or ()
    if any(item is None or (item.get("alias") and not _ALIAS.fullmatch(item["alias"])) for item in dependencies):
        return "has an empty dependency or one with an unusable alias"
    return ""


def _is_version(text: str) -> bool:
    try:
        Version.parse(text)
    except ValueError:
        return False
    return True


# --- Go's typed decoding ----------------------------------------------------------------------------------------------


def _struct(data: Any, fields: Mapping[str, _Reader], where: str, *, strict: bool) -> dict[str, Any]:
    """Decode a mapping into fields, as encoding/json does after sigs.k8s.io/yaml; strict: no unknown field."""
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise IndexFault(f"{where or 'the index'} is no mapping")
    # YAML passes through a sorted JSON object; the later of two spellings wins
    keys = sorted(data, key=str) if strict else list(data)
    found: dict[str, Any] = {}
    for key in keys:
        name = key if key in fields else _folded(str(key), fields)
        here = f"{where}.{printable(str(key))[:80]}".lstrip(".")
        if name is not None:
            found[name] = fields[name](data[key], here, strict)
        elif strict:
            raise IndexFault(f"{here} is a field that Helm does not know")
    return found


def _folded(key: str, fields: Iterable[str]) -> str | None:
    return next((name for name in fields if name.lower() == key.lower()), None)


def _list(data: Any, where: str) -> list[Any]:
    if data is not None and not isinstance(data, list):
        raise IndexFault(f"{where} is no list")
    return data or []


def _text(value: Any, where: str, strict: bool) -> str:  # noqa: FBT001 - a row of a table
    match value:
        case None:
            return ""
        case str():
            return value
        case bool() if strict:
            return "true" if value else "false"
        case int() if strict:
            return str(value)
        case float() if strict:
            return _go_float(value)
        case _:
            raise IndexFault(f"{where} is no text")


def _string(value: Any, where: str, strict: bool) -> str:  # noqa: FBT001, ARG001 - a row of a table
    """Read a text of the chart's metadata: behind an embedded pointer sigs.k8s.io/yaml makes no text of a number."""
    if value is not None and not isinstance(value, str):
        raise IndexFault(f"{where} is no text: put it in quotes")
    return value or ""


def _go_float(value: float) -> str:
    """Write a float as Go's FormatFloat(value, 'g', -1, 64): `digest: 1.10` is 1.1."""
    if 1e-4 <= abs(value) < 1e6 or not value:
        return str(int(value)) if value.is_integer() else repr(value)
    mantissa, _, exponent = f"{Decimal(repr(value)).normalize():e}".partition("e")
    return f"{mantissa}e{int(exponent):+03d}"


def _boolean(value: Any, where: str, strict: bool) -> bool:  # noqa: FBT001, ARG001 - a row of a table
    if value is not None and not isinstance(value, bool):
        raise IndexFault(f"{where} is neither true nor false")
    return bool(value)


_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?(?:Z|[+-](\d\d):(\d\d))")


def _time(value: Any, where: str, strict: bool) -> None:  # noqa: FBT001, ARG001 - a row of a table
    if value is None:
        return
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    try:
        # Go has a year 0, a leap year; Python begins with 1
        usable = match is not None and bool(datetime.fromisoformat(re.sub(r"\A0000", "2000", match[1])))
    except ValueError:
        usable = False
    if not usable:
        raise IndexFault(f"{where} is no time of the form 2006-01-02T15:04:05Z")


def _anything(value: Any, where: str, strict: bool) -> Any:  # noqa: FBT001, ARG001 - a row of a table
    return value


def _each(reader: _Reader) -> _Reader:
    def read(value: Any, where: str, strict: bool) -> Any:  # noqa: FBT001 - a row of a table
        return [reader(item, f"{where}[{number}]", strict) for number, item in enumerate(_list(value, where))]

    return read


def _map_of(reader: _Reader) -> _Reader:
    def read(value: Any, where: str, strict: bool) -> Any:  # noqa: FBT001 - a row of a table
        if value is not None and not isinstance(value, dict):
            raise IndexFault(f"{where} is no mapping")
        return {key: reader(item, f"{where}.{printable(str(key))[:80]}", strict) for key, item in (value or {}).items()}

    return read


def _struct_of(fields: Mapping[str, _Reader]) -> _Reader:
    def read(value: Any, where: str, strict: bool) -> Any:  # noqa: FBT001 - a row of a table
        return None if value is None else _struct(value, fields, where, strict=strict)

    return read


if TYPE_CHECKING:
    _Reader = Callable[[Any, str, bool], Any]

_MAINTAINER: Final = dict.fromkeys(("name", "email", "url"), _string)
_DEPENDENCY: Final[Mapping[str, _Reader]] = {
    **dict.fromkeys(("name", "version", "repository", "condition", "alias"), _string),
    "tags": _each(_string),
    "enabled": _boolean,
    "import-values": _each(_anything),
}
_METADATA: Final[Mapping[str, _Reader]] = {
    **dict.fromkeys(("name", "home", "version", "description", "icon", "apiVersion", "condition", "tags"), _string),
    **dict.fromkeys(("appVersion", "kubeVersion", "type"), _string),
    **dict.fromkeys(("sources", "keywords"), _each(_string)),
    "maintainers": _each(_struct_of(_MAINTAINER)),
    "annotations": _map_of(_string),
    "deprecated": _boolean,
    "dependencies": _each(_struct_of(_DEPENDENCY)),
}
# ChartVersion; the last line holds fields that only Helm 2 knew
_ENTRY: Final[Mapping[str, _Reader]] = {
    **_METADATA,
    "urls": _each(_text),
    "created": _time,
    "removed": _boolean,
    "digest": _text,
    **dict.fromkeys(("checksum", "engine", "tillerVersion", "url"), _text),
}
_HEADER: Final[Mapping[str, _Reader]] = {
    "serverInfo": _map_of(_anything),
    "apiVersion": _text,
    "generated": _time,
    "entries": _map_of(_anything),
    "publicKeys": _each(_text),
    "annotations": _map_of(_text),
}
