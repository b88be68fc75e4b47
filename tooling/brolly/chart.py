"""Charts as Helm loads them: a package's files, read into a tree of charts.

Source: Helm's pkg/chart/loader (v4.2): any folder name around Chart.yaml, a byte order mark stripped, `charts/` holding
folders or packages, and names that start with `_` or `.` in `charts/` left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from brolly import document
from brolly.archive import ArchiveError, Entry, read_tar_gz
from brolly.versions import Version

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_NAME: Final = re.compile(r"[A-Za-z0-9._-]+")
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
    """A chart and its subcharts. `values` are the defaults as Helm reads them; `metadata` is Chart.yaml's data."""

    name: str
    version: str
    metadata: Mapping[str, Any] = field(repr=False)
    requirements: tuple[Requirement, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict, repr=False)
    schema: bytes | None = field(default=None, repr=False)
    files: tuple[Entry, ...] = field(default=(), repr=False)
    subcharts: tuple[Chart, ...] = field(default=(), repr=False)

    @property
    def templates(self) -> tuple[Entry, ...]:
        """The files below `templates/`."""
        return tuple(entry for entry in self.files if entry.name.startswith("templates/"))

    @property
    def crds(self) -> tuple[Entry, ...]:
        """The YAML and JSON files below `crds/`."""
        return tuple(
            entry
            for entry in self.files
            if entry.name.startswith("crds/") and entry.name.endswith((".yaml", ".yml", ".json"))
        )


def read_package(content: bytes) -> Chart:
    """Read a chart package (.tgz); ChartError says what is wrong with it."""
    try:
        entries = read_tar_gz(content)
    except ArchiveError as error:
        raise ChartError(str(error)) from error
    tops = {
        entry.name.split("/", 1)[0]
        for entry in entries
        if entry.name.count("/") == 1 and entry.name.endswith("/Chart.yaml")
    }
    if not tops:
        raise ChartError("no Chart.yaml in a folder at its top")
    if len(tops) > 1:
        raise ChartError(f"several charts side by side: {', '.join(sorted(tops)[:5])}")
    # like Helm, drop the first folder of every name, whatever it is
    return read_files(Entry(entry.name.split("/", 1)[1], entry.content) for entry in entries if "/" in entry.name)


def read_files(entries: Iterable[Entry], *, depth: int = 0) -> Chart:
    """Read a chart from its files, names relative to the chart; ChartError says what is wrong with it."""
    if depth > _MAX_DEPTH:
        raise ChartError(f"charts nested more than {_MAX_DEPTH} deep")
    files = {entry.name: (entry.content or b"").removeprefix(_BOM) for entry in entries}
    metadata = _mapping(files, "Chart.yaml", required=True)
    name, version = _text(metadata.get("name")), _text(metadata.get("version"))
    _require_valid(name, version)
    requirements = metadata.get("dependencies")
    if requirements is None and "requirements.yaml" in files:
        requirements = _mapping(files, "requirements.yaml").get("dependencies")
    own = tuple(Entry(path, content) for path, content in files.items() if not path.startswith("charts/"))
    return Chart(
        name=name,
        version=version,
        metadata=metadata,
        requirements=_requirements(requirements),
        values=_values(files.get("values.yaml")),
        schema=files.get("values.schema.json") or None,
        files=own,
        subcharts=_subcharts(files, depth),
    )


def _require_valid(name: str, version: str) -> None:
    if not _NAME.fullmatch(name) or name in {".", ".."}:
        raise ChartError(f"Chart.yaml: not a chart name: {name[:80]!r}")
    try:
        Version.parse(version)
    except ValueError as error:
        raise ChartError(f"Chart.yaml: not a version: {version[:80]!r}") from error


def _mapping(files: Mapping[str, bytes], path: str, *, required: bool = False) -> Mapping[str, Any]:
    if path not in files:
        if required:
            raise ChartError(f"no {path}")
        return {}
    try:
        data = document.parse(files[path])
    except ValueError as error:
        raise ChartError(f"{path}: {error}") from error
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise ChartError(f"{path}: not a mapping")
    return data


def _values(content: bytes | None) -> Mapping[str, Any]:
    try:
        return document.parse_values(content or b"")
    except ValueError as error:
        raise ChartError(f"values.yaml: {error}") from error


def _text(value: Any) -> str:
    """Read a scalar into one of Helm's string fields: sigs.k8s.io/yaml coerces numbers and booleans."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case str() | int() | float():
            return str(value)
        case _:
            raise ChartError(f"a text is expected, not {type(value).__name__}")


def _requirements(data: Any) -> tuple[Requirement, ...]:
    if data is None:
        return ()
    if not isinstance(data, list):
        raise ChartError("dependencies: not a list")
    return tuple(_requirement(item) for item in data if item is not None)


def _requirement(item: Any) -> Requirement:
    if not isinstance(item, dict):
        raise ChartError("dependencies: not a list of mappings")
    texts = {key: _text(item.get(key)) for key in ("name", "version", "repository", "alias", "condition")}
    return Requirement(
        **texts,
        tags=tuple(_text(tag) for tag in item.get("tags") or ()),
        import_values=tuple(item.get("import-values") or ()),
    )


def _subcharts(files: Mapping[str, bytes], depth: int) -> tuple[Chart, ...]:
    folders: dict[str, list[Entry]] = {}
    packages: list[Chart] = []
    for path, content in files.items():
        if not path.startswith("charts/"):
            continue
        top, _, rest = path.removeprefix("charts/").partition("/")
        if top.startswith(("_", ".")):
            continue
        if rest:
            folders.setdefault(top, []).append(Entry(rest, content))
        elif top.endswith(".tgz"):
            packages.append(_nested(top, content, depth))
    return (*packages, *(read_files(entries, depth=depth + 1) for _, entries in sorted(folders.items())))


def _nested(name: str, content: bytes, depth: int) -> Chart:
    if depth >= _MAX_DEPTH:
        raise ChartError(f"charts nested more than {_MAX_DEPTH} deep")
    try:
        entries = read_tar_gz(content)
    except ArchiveError as error:
        raise ChartError(f"charts/{name}: {error}") from error
    return read_files(
        (Entry(entry.name.split("/", 1)[1], entry.content) for entry in entries if "/" in entry.name), depth=depth + 1
    )
