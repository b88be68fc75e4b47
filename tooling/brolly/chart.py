"""Charts as Helm loads them: a package's files, read into a tree of charts.

Source: Helm 4.2's pkg/chart/loader, pkg/chart/v2 (Metadata and its Validate), encoding/json and sigs.k8s.io/yaml.
Refused though Helm takes them, since nobody writes them in good faith: several charts or two files of one name in a
package, chart names with other characters than letters, digits, `.`, `_` and `-`, charts nested more than 16 deep.
"""

from __future__ import annotations

import datetime as dt
import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from brolly import document
from brolly.archive import ArchiveError, Entry, read_tar_gz
from brolly.versions import Version

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_NAME: Final = re.compile(r"[A-Za-z0-9._-]+")
_ALIAS: Final = re.compile(r"[A-Za-z0-9_-]+")
_DRIVE: Final = re.compile(r"[A-Za-z]:/")
_RFC3339: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[-+]\d\d:\d\d)", re.ASCII)
_MAX_DEPTH: Final = 16
_BOM: Final = b"\xef\xbb\xbf"


class ChartError(ValueError):
    """A chart that Helm would not load, or that must not be read."""


@dataclass(frozen=True)
class Requirement:
    """A dependency as a chart's own Chart.yaml declares it: Helm's words, a name and a range."""

    name: str
    version: str = ""
    repository: str = ""
    alias: str = ""
    condition: str = ""
    tags: tuple[str, ...] = ()
    import_values: tuple[Any, ...] = ()

    @property
    def key(self) -> str:
        """The subchart's key in values: its alias, else its name."""
        return self.alias or self.name


@dataclass(frozen=True)
class Chart:
    """A chart and its subcharts.

    `values` are the defaults as Helm reads them. `metadata` is what Helm keeps of Chart.yaml: the fields that it knows,
    each of its type, in its spelling and cleaned. `largest_file` and `unpacked` are the bytes that Helm counts:
    a packed subchart is a file of its parent, and has the same limits for itself; the larger figure stands here.
    """

    name: str
    version: str
    metadata: Mapping[str, Any] = field(repr=False)
    requirements: tuple[Requirement, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict, repr=False)
    schema: bytes | None = field(default=None, repr=False)
    files: tuple[Entry, ...] = field(default=(), repr=False)
    subcharts: tuple[Chart, ...] = field(default=(), repr=False)
    largest_file: int = 0
    unpacked: int = 0

    @property
    def templates(self) -> tuple[Entry, ...]:
        """The files below `templates/`."""
        return tuple(entry for entry in self.files if entry.name.startswith("templates/"))

    @property
    def lints_alike(self) -> bool:
        """Whether `helm lint` says the same with all values, without nulls, that the chart can be rendered with.

        Of values it judges those that its own schema speaks of, of documents those of its own templates; subcharts are
        only rendered. Source: helm v4.2.3 pkg/chart/v2/lint/rules (values.go, template.go).
        """
        names = (entry.name.rpartition("/")[2] for entry in self.templates)
        return self.schema is None and all(name == "NOTES.txt" or name.startswith("_") for name in names)

    @property
    def crds(self) -> tuple[Entry, ...]:
        """The YAML and JSON files below `crds/`."""
        return tuple(
            entry
            for entry in self.files
            if entry.name.startswith("crds/") and entry.name.lower().endswith((".yaml", ".yml", ".json"))
        )


def read_package(content: bytes, *, depth: int = 0) -> Chart:
    """Read a chart package (.tgz); ChartError says what is wrong with it."""
    if depth > _MAX_DEPTH:
        raise ChartError(f"charts nested more than {_MAX_DEPTH} deep")
    try:
        entries = read_tar_gz(content)
    except ArchiveError as error:
        raise ChartError(str(error)) from error
    return read_files(_inside(entries), depth=depth)


def _inside(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Drop the first folder of every name, whatever it is, as Helm does."""
    folders: dict[str, str] = {}
    for entry in entries:
        folder, slash, rest = entry.name.partition("/")
        name = posixpath.normpath(rest)
        if not slash:
            raise ChartError(f"{folder[:80]!r} lies outside of the chart's folder")
        if rest.startswith("/") or name.startswith("..") or _DRIVE.match(name):
            raise ChartError(f"unsafe name {entry.name[:80]!r}")
        if name in folders:
            raise ChartError(
                f"several charts side by side: {name[:80]!r} is in {folders[name][:80]!r} and {folder[:80]!r}"
            )
        folders[name] = folder
        yield Entry(name, entry.content)


def read_files(entries: Iterable[Entry], *, depth: int = 0) -> Chart:
    """Read a chart from its files, names relative to the chart; ChartError says what is wrong with it."""
    if depth > _MAX_DEPTH:
        raise ChartError(f"charts nested more than {_MAX_DEPTH} deep")
    contents = {entry.name: entry.content or b"" for entry in entries}
    files = {name: content.removeprefix(_BOM) for name, content in contents.items()}
    metadata = _metadata(files)
    for path in ("Chart.lock", "requirements.lock"):
        _decode(files, path, _LOCK, None)
    subcharts = tuple(_subcharts(files, depth))
    lengths = [len(content) for content in contents.values()]
    return Chart(
        name=metadata["name"],
        version=metadata["version"],
        metadata=metadata,
        requirements=tuple(_requirement(fields) for fields in metadata.get("dependencies") or ()),
        values=_values(files.get("values.yaml")),
        schema=files.get("values.schema.json"),
        files=tuple(Entry(path, content) for path, content in files.items() if not _is_subcharts(path)),
        subcharts=subcharts,
        largest_file=max((*lengths, *(subchart.largest_file for subchart in subcharts))),
        unpacked=max(sum(lengths), *(subchart.unpacked for subchart in subcharts), 0),
    )


def _is_subcharts(path: str) -> bool:
    """Say whether a file belongs to a subchart; a signature in charts/ is the parent's."""
    return path.startswith("charts/") and not path.endswith(".prov")


def _subcharts(files: Mapping[str, bytes], depth: int) -> Iterator[Chart]:
    groups: dict[str, list[Entry]] = {}
    for path, content in files.items():
        top, _, rest = path.removeprefix("charts/").partition("/")
        if _is_subcharts(path) and not top.startswith(("_", ".")):
            groups.setdefault(top, []).append(Entry(rest, content))
    for top, entries in sorted(groups.items()):
        try:
            yield _subchart(top, entries, depth + 1)
        except ChartError as error:
            raise ChartError(f"charts/{top[:80]}: {error}") from error


def _subchart(top: str, entries: list[Entry], depth: int) -> Chart:
    if not top.endswith(".tgz"):
        return read_files((entry for entry in entries if entry.name), depth=depth)
    if entries[0].name:
        raise ChartError("a folder with the name of a package")
    return read_package(entries[0].content or b"", depth=depth)


def _values(content: bytes | None) -> Mapping[str, Any]:
    try:
        return document.parse_values(content or b"")
    except ValueError as error:
        raise ChartError(f"values.yaml: {error}") from error


# Chart.yaml and Chart.lock, decoded as Go does: by type, field names in any case, over what was there before.

# the value, what was there before, and its place for a message
_Decoder: TypeAlias = Callable[[Any, Any, str], Any]


def _unexpected(expected: str, at: str) -> ChartError:
    return ChartError(f"{at}: {expected} is expected" if at else f"{expected} is expected")


def _text(value: Any, before: Any, at: str) -> str:
    """Read a scalar into one of Helm's string fields: sigs.k8s.io/yaml coerces numbers and booleans."""
    match value:
        case None:
            return before or ""
        case bool():
            return "true" if value else "false"
        case int() if -(2**63) <= value < 2**64:
            return str(value)
        case int() | float():
            return {".inf": "+Inf", "-.inf": "-Inf"}.get(text := document.float_text(float(value)), text)
        case str():
            return value
        case _:
            raise _unexpected("a text", at)


def _flag(value: Any, before: Any, at: str) -> bool:
    if value is None:
        return bool(before)
    if not isinstance(value, bool):
        raise _unexpected("true or false", at)
    return value


def _anything(value: Any, _before: Any, _at: str) -> Any:
    return value


def _time(value: Any, before: Any, at: str) -> Any:
    if value is None:
        return before
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        raise _unexpected("a time as in 2006-01-02T15:04:05Z", at)
    try:
        return dt.datetime.fromisoformat(value)
    except ValueError as error:
        raise ChartError(f"{at}: {error}") from error


def _list_of(item: _Decoder) -> _Decoder:
    def decode(value: Any, before: Any, at: str) -> list[Any] | None:
        if value is None:
            return None
        if not isinstance(value, list):
            raise _unexpected("a list", at)
        old = [*(before or ()), *([None] * len(value))]
        return [item(one, old[place], f"{at}[{place}]") for place, one in enumerate(value)]

    return decode


def _texts(value: Any, before: Any, at: str) -> dict[str, str] | None:
    if value is None:
        return None
    return {**(before or {}), **{key: _text(one, None, f"{at}.{key}") for key, one in _mapping(value, at).items()}}


def _mapping(value: Any, at: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _unexpected("a mapping", at)
    return value


def _struct(fields: Mapping[str, _Decoder]) -> _Decoder:
    spelling = {name.casefold(): name for name in fields}

    def decode(value: Any, before: Any, at: str) -> dict[str, Any] | None:
        if value is None:
            return None
        found = dict(before or {})
        # JSON made of YAML has its keys sorted, and the last spelling of a field wins
        for key, one in sorted(_mapping(value, at).items()):
            name = spelling.get(key.casefold())
            if name:
                found[name] = fields[name](one, found.get(name), f"{at}.{name}".removeprefix("."))
        return found

    return decode


_DEPENDENCY: Final = _struct(
    {
        **dict.fromkeys(("name", "version", "repository", "condition", "alias"), _text),
        "tags": _list_of(_text),
        "enabled": _flag,
        "import-values": _list_of(_anything),
    }
)
# what Metadata.Validate cleans, here and in a dependency
_CLEANED: Final = ("name", "description", "home", "icon", "condition", "tags", "appVersion", "kubeVersion")
_CLEANED_IN_DEPENDENCY: Final = ("name", "version", "repository", "condition")
_METADATA: Final = _struct(
    {
        **dict.fromkeys((*_CLEANED, "version", "apiVersion", "type"), _text),
        "sources": _list_of(_text),
        "keywords": _list_of(_text),
        "maintainers": _list_of(_struct(dict.fromkeys(("name", "email", "url"), _text))),
        "annotations": _texts,
        "deprecated": _flag,
        "dependencies": _list_of(_DEPENDENCY),
    }
)
_LOCK: Final = _struct({"generated": _time, "digest": _text, "dependencies": _list_of(_DEPENDENCY)})


def _decode(files: Mapping[str, bytes], path: str, decoder: _Decoder, before: Any) -> Any:
    try:
        data = document.parse_typed(files.get(path, b""))
        decoded = decoder(data, before, "")
    except ValueError as error:
        raise ChartError(f"{path}: {error}") from error
    return before if decoded is None else decoded


def _metadata(files: Mapping[str, bytes]) -> dict[str, Any]:
    if "Chart.yaml" not in files:
        raise ChartError("no Chart.yaml")
    found = _decode(files, "Chart.yaml", _METADATA, {})
    found["apiVersion"] = found.get("apiVersion") or "v1"
    # Helm decodes it over Chart.yaml, whatever the apiVersion
    found = _decode(files, "requirements.yaml", _METADATA, found)
    found = _cleaned(found, _CLEANED)
    found |= {name: [clean_text(one) for one in found[name]] for name in ("sources", "keywords") if found.get(name)}
    found |= {name: _cleaned_list(found, name) for name in ("maintainers", "dependencies") if found.get(name)}
    _require_valid(found)
    return found


def _cleaned_list(found: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    if None in found[name]:
        raise ChartError(f"Chart.yaml: {name}: an empty entry")
    if name == "maintainers":
        return [_cleaned(one, ("name", "email", "url")) for one in found[name]]
    return [
        {**_cleaned(one, _CLEANED_IN_DEPENDENCY), "tags": [clean_text(tag) for tag in one.get("tags") or ()]}
        for one in found[name]
    ]


def _cleaned(fields: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {**fields, **{name: clean_text(fields[name]) for name in names if name in fields}}


def clean_text(text: str) -> str:
    """Clean a text as Helm's sanitizeString does: white space becomes a space, the unprintable is dropped."""
    return "".join(" " if _is_space(char) else char for char in text if _is_space(char) or char.isprintable())


def _is_space(char: str) -> bool:
    # to Python, unlike Go, the separators of ASCII are white space too
    return char.isspace() and not "\x1c" <= char <= "\x1f"


def _require_valid(metadata: Mapping[str, Any]) -> None:
    name, version = metadata.get("name", ""), metadata.get("version", "")
    if not _NAME.fullmatch(name) or name in {".", ".."}:
        raise ChartError(f"Chart.yaml: not a chart name: {name[:80]!r}")
    try:
        Version.parse(version)
    except ValueError as error:
        raise ChartError(f"Chart.yaml: not a version: {version[:80]!r}") from error
    if metadata.get("type", "") not in {"", "application", "library"}:
        raise ChartError(f"Chart.yaml: type: not application or library: {metadata['type'][:80]!r}")
    keys: set[str] = set()
    for fields in metadata.get("dependencies") or ():
        alias = fields.get("alias", "")
        if alias and not _ALIAS.fullmatch(alias):
            raise ChartError(f"Chart.yaml: dependencies: not an alias: {alias[:80]!r}")
        key = alias or fields.get("name", "")
        if key in keys:
            raise ChartError(f"Chart.yaml: dependencies: two have the name or alias {key[:80]!r}")
        keys.add(key)


def _requirement(fields: Mapping[str, Any]) -> Requirement:
    return Requirement(
        **{name: fields.get(name, "") for name in ("name", "version", "repository", "alias", "condition")},
        tags=tuple(fields.get("tags") or ()),
        import_values=tuple(fields.get("import-values") or ()),
    )
