"""The workspace: where bundles lie, what is the same for all of them, and how outputs are written."""

from __future__ import annotations

import fcntl
import os
import re
import tomllib
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

from brolly import limits
from brolly.errors import UsageError, WorldError
from brolly.findings import Finding, Location, Rule, Severity, printable
from brolly.limits import CHART_FILE, CHART_UNPACKED, Given
from brolly.sources import Settings, Sources
from brolly.suggestions import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

LINK: Final = Rule("bundle/link", Severity.ERROR, "a link that leads out of the repository, to a folder or to nothing")
FILE_TOO_LARGE: Final = Rule("bundle/file-too-large", Severity.ERROR, "a file that Helm would refuse to read")
TOO_MUCH: Final = Rule("bundle/too-much", Severity.ERROR, "a bundle with more than a chart can hold")
UNREADABLE: Final = Rule("bundle/unreadable-file", Severity.ERROR, "a file that cannot be read")

RULES: Final = (LINK, FILE_TOO_LARGE, TOO_MUCH, UNREADABLE)

_MAX_FILES: Final = 20_000
# the labels that can be given other keys, with their own
_LABELS: Final = {"part-of": Settings.part_of_label, "version": Settings.version_label}
_LABEL_HINT: Final = (
    "a key is a name, such as team or domain.example/team; names and values have at most 63 letters, digits, '.', '_' "
    "and '-', and begin and end with a letter or digit"
)
_IGNORED: Final = {".git", "__pycache__", ".DS_Store"}
# what `write_file` leaves if its process is killed
_TEMPORARY: Final = re.compile(r"\..+\.[0-9a-f]{12}\.tmp")
DEFAULT_ADDRESS: Final = "oci://registry.example/bundles"


class WorkspaceShape(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="kebab"):
    """What is the same for all bundles of a repository."""

    address: Annotated[
        str,
        msgspec.Meta(
            title="Address",
            description="Where clusters pull from: `oci://host/path`. A bundle is `<address>/<name>:<version>`.",
            pattern="^oci://",
        ),
    ] = ""
    publish: Annotated[
        str,
        msgspec.Meta(
            title="Publish",
            description="Where `brolly publish` copies to: `oci-layout:FOLDER` (a registry in a folder) or `oci://host/path`.",
        ),
    ] = "oci-layout:registry"
    repositories: Annotated[
        dict[str, str], msgspec.Meta(title="Repositories", description="What `@name` stands for in a definition.")
    ] = {}
    mirrors: Annotated[
        dict[str, str],
        msgspec.Meta(
            title="Mirrors",
            description="Where to fetch from instead: the beginning of a repository's address, and what replaces it. "
            "Locks and published artifacts keep the canonical address.",
        ),
    ] = {}
    limits: Annotated[
        dict[str, Given],
        msgspec.Meta(
            title="Limits",
            description='Limits for all bundles, by name, such as `release-record = "800Ki"`. More than the usual '
            "limit needs a reason.",
        ),
    ] = {}
    labels: Annotated[
        dict[str, str],
        msgspec.Meta(
            title="Labels",
            description="Labels of generated objects: `part-of` and `version` give other keys to the two that hold the "
            "bundle's name and version; every other entry is added as it is.",
        ),
    ] = {}


@dataclass(frozen=True)
class Workspace:
    """A repository of bundles: its folder and its configuration."""

    root: Path
    config: WorkspaceShape
    config_path: Path

    @property
    def bundles(self) -> Path:
        """Where the bundles lie."""
        return self.root / "bundles"

    @property
    def dist(self) -> Path:
        """Where `build` writes and `publish` reads."""
        return self.root / "dist"


def find(start: Path) -> Workspace:
    """Find the workspace that a folder belongs to: the nearest brolly.toml, or pyproject.toml with [tool.brolly]."""
    for folder in (start, *start.parents):
        for name in ("brolly.toml", "pyproject.toml"):
            path = folder / name
            table = _table(path)
            if table is not None:
                return Workspace(folder, _config(table, path), path)
    raise UsageError(
        f"{start} belongs to no workspace",
        hint="put an empty brolly.toml beside the bundles/ folder, or [tool.brolly] into pyproject.toml",
    )


def _table(path: Path) -> dict[str, Any] | None:
    content = b""
    try:
        content = path.read_bytes()
        data = tomllib.loads(content.decode("utf-8-sig"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        if content and path.name != "brolly.toml" and b"brolly" not in content:
            return None  # somebody else's file, and their fault
        raise UsageError(f"{path} cannot be read: {error}", hint="it is TOML, see https://toml.io") from error
    if path.name == "brolly.toml":
        return data
    tool = data.get("tool")
    table = tool.get("brolly") if isinstance(tool, dict) else None
    return table if isinstance(table, dict) else None


def _config(table: dict[str, Any], path: Path) -> WorkspaceShape:
    known = WorkspaceShape.__struct_encode_fields__
    for name in table:
        if name not in known:
            hint = did_you_mean(name, known) or f"known here: {', '.join(known)}"
            raise UsageError(f"{path}: the workspace knows no setting {printable(name)!r}", hint=hint)
    try:
        config = msgspec.convert(table, WorkspaceShape)
    except msgspec.ValidationError as error:
        raise UsageError(f"{path}: {error}", hint="`brolly schema workspace` prints what may stand there") from error
    for name, setting in config.limits.items():
        if name not in limits.NAMES:
            raise UsageError(f"{path}: there is no limit {printable(name)!r}", hint=did_you_mean(name, limits.NAMES))
        if isinstance(setting, str) and not limits.is_quantity(setting):
            raise UsageError(f"{path}: {printable(setting)!r} is no number of bytes", hint=limits.QUANTITIES)
    for name in limits.loosened(config.limits):
        raise UsageError(f"{path}: the limit of {name} is loosened without a reason", hint="add `reason`")
    _require_labels(config.labels, path)
    return config


def _require_labels(labels: Mapping[str, str], path: Path) -> None:
    """Refuse what Kubernetes would: keys and values of another form, and one key for two labels."""
    own = [labels.get(name, key) for name, key in _LABELS.items()]
    others = {key: value for key, value in labels.items() if key not in _LABELS}
    for text, is_good in (
        *((key, _is_label_key(key)) for key in (*own, *others)),
        *map(_judged_value, others.values()),
    ):
        if not is_good:
            raise UsageError(f"{path}: {printable(text)!r} can be no part of a label", hint=_LABEL_HINT)
    keys = ["app.kubernetes.io/managed-by", *own, *others]
    if twice := [key for key in keys if keys.count(key) > 1]:
        raise UsageError(f"{path}: two labels have the key {twice[0]}", hint="give each label a key of its own")


def _judged_value(text: str) -> tuple[str, bool]:
    return text, not text or _is_label(text)


def _is_label_key(text: str) -> bool:
    prefix, slash, name = text.rpartition("/")
    return _is_label(name) and (not slash or _is_domain(prefix))


def _is_label(text: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", text) is not None


def _is_domain(text: str) -> bool:
    part = "[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
    return len(text) <= 253 and re.fullmatch(rf"{part}(?:\.{part})*", text) is not None


def json_schema() -> dict[str, Any]:
    """Generate the JSON Schema of brolly.toml (draft 2020-12)."""
    from brolly.shapes import published_schema

    return published_schema(WorkspaceShape, "workspace", "A Brolly workspace")


def bundle_names(workspace: Workspace, wanted: Iterable[str] = ()) -> tuple[str, ...]:
    """Name the bundles, sorted: all, or those that are wanted (a name, or the path of a bundle's folder)."""
    hint = "write bundles/NAME/bundle.yaml, see docs/tutorial.md"
    try:
        names = sorted(path.name for path in workspace.bundles.iterdir() if path.is_dir() and path.name[0] != ".")
    except OSError as error:
        raise UsageError(f"{workspace.root} has no bundles/ folder: {error.strerror}", hint=hint) from error
    if not names:
        raise UsageError(f"{workspace.bundles} holds no bundle", hint=hint)
    if unusable := [name for name in names if not _is_text(name)]:
        raise UsageError(f"the folder bundles/{printable(unusable[0])} has a name that is not UTF-8 text")
    chosen = tuple(dict.fromkeys(_folder_name(name) for name in wanted))
    for name in chosen:
        if name not in names:
            hint = did_you_mean(name, names) or f"bundles here: {', '.join(names)}"
            raise UsageError(f"there is no bundle {printable(name)!r}", hint=hint)
    return tuple(sorted(chosen)) or tuple(names)


def _folder_name(wanted: str) -> str:
    name = Path(wanted).name
    return name if name not in {"", ".."} else Path(wanted).resolve().name


def _is_ignored(name: str) -> bool:
    return name in _IGNORED or bool(_TEMPORARY.fullmatch(name))


def _is_text(name: str) -> bool:
    """Tell names that are UTF-8 from those that Python keeps as surrogates."""
    try:
        return bool(name.encode())
    except UnicodeEncodeError:
        return False


def read_sources(workspace: Workspace, name: str, extra: Iterable[str] = ()) -> tuple[Sources, tuple[Finding, ...]]:
    """Read a bundle's files. `extra` names local charts outside its folder, relative to it (`../shared/chart`)."""
    folder = workspace.bundles / name
    found: list[Finding] = []
    reader = _Reader(workspace.root, folder, found)
    files = dict(reader.tree(folder))
    for path in extra:
        if path.startswith("../"):
            files |= dict(reader.tree(Path(os.path.normpath(folder / path))))
    return Sources(f"bundles/{name}", dict(sorted(files.items()))), tuple(found)


@dataclass
class _Reader:
    """Reads files below a folder, within bounds; what cannot be read becomes a finding."""

    root: Path
    folder: Path
    found: list[Finding]
    total: int = 0
    count: int = 0

    def tree(self, top: Path) -> Iterator[tuple[str, bytes]]:
        """Read a file, or all files below a folder."""
        if not os.path.lexists(top):
            return  # who asked for it says so
        if top.parent.resolve() != top.parent and not top.resolve().is_relative_to(self.root.resolve()):
            self.fault(LINK, top, "lies behind a link out of the repository")
            return
        waiting = [top]
        while waiting and self.has_room():
            path = waiting.pop()
            if path.is_dir() and not path.is_symlink():
                waiting += reversed(self.inside(path))
            else:
                yield from self.file(path)

    def inside(self, folder: Path) -> list[Path]:
        try:
            return sorted(path for path in folder.iterdir() if not _is_ignored(path.name))
        except OSError as error:
            self.fault(UNREADABLE, folder, f"cannot be read: {error.strerror}")
            return []

    def file(self, path: Path) -> Iterator[tuple[str, bytes]]:
        if path.is_symlink() and not self.is_good_link(path):
            return
        name = Path(os.path.relpath(path, self.folder)).as_posix()
        if not _is_text(name):
            self.fault(UNREADABLE, path, "has a name that is not UTF-8 text")
            return
        try:
            if not path.is_file():
                self.fault(UNREADABLE, path, "is no regular file")
                return
            size = path.stat().st_size
            content = path.read_bytes() if size <= CHART_FILE.bytes else b""
        except OSError as error:
            self.fault(UNREADABLE, path, f"cannot be read: {error.strerror}")
            return
        self.total += len(content)
        self.count += 1
        if size > CHART_FILE.bytes:
            self.fault(FILE_TOO_LARGE, path, f"has {size} bytes, Helm reads at most {CHART_FILE.bytes} per file")
        elif self.has_room():
            yield name, content

    def has_room(self) -> bool:
        if self.total <= CHART_UNPACKED.bytes and self.count <= _MAX_FILES:
            return True
        if not any(finding.code == TOO_MUCH.code for finding in self.found):
            self.fault(TOO_MUCH, self.folder, f"holds more than {_MAX_FILES} files or {CHART_UNPACKED.bytes} bytes")
        return False

    def is_good_link(self, path: Path) -> bool:
        try:
            target = path.resolve(strict=True)
        except (OSError, RuntimeError):
            self.fault(LINK, path, "is a link to nothing")
            return False
        if not target.is_relative_to(self.root.resolve()):
            self.fault(LINK, path, "is a link out of the repository")
            return False
        if target.is_dir():
            self.fault(LINK, path, "is a link to a folder")
            return False
        return True

    def fault(self, rule: Rule, path: Path, message: str) -> None:
        name = printable(Path(os.path.relpath(path, self.root)).as_posix())
        hint = "copy what is needed into the bundle" if rule is LINK else "remove it from the bundle's folder"
        self.found.append(rule.finding(f"{name} {message}", Location(name), hint=hint))


def write_file(path: Path, content: bytes) -> bool:
    """Write a file whole or not at all, and only if its bytes differ; say whether it was written."""
    temporary = path.with_name(f".{path.name[:60]}.{os.urandom(6).hex()}.tmp")
    try:
        if _holds(path, content):
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(content)
            temporary.chmod(0o644)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise WorldError(f"writing {path}: {error.strerror or error}", hint="is there room, may you write?") from error
    return True


def write_alone(path: Path, content: bytes) -> bool:
    """Write a file as `write_file` does, one process after the other; what a killed one left beside it is removed."""
    with _alone(path.parent) as is_alone:
        for left in path.parent.glob(f".{path.name}.*.tmp") if is_alone else ():
            if _TEMPORARY.fullmatch(left.name):
                with suppress(OSError):
                    left.unlink()
        return write_file(path, content)


@contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Keep other processes waiting; False where a folder cannot be locked, as on NFS. No file stays for it."""
    handle, is_alone = -1, False
    try:
        with suppress(OSError):
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(handle, fcntl.LOCK_EX)
            is_alone = True
        yield is_alone
    finally:
        if handle >= 0:
            os.close(handle)


def _holds(path: Path, content: bytes) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    return path.stat().st_size == len(content) and path.read_bytes() == content


def epoch(environ: Mapping[str, str]) -> int:
    """Read SOURCE_DATE_EPOCH (seconds, default 0)."""
    text = environ.get("SOURCE_DATE_EPOCH", "0") or "0"
    # Python reads no number of more than some thousand digits
    if not (text.isascii() and text.isdecimal()) or len(text) > 20 or int(text) > 0o77777777777:
        raise UsageError(f"SOURCE_DATE_EPOCH is no number of seconds: {printable(text[:40])!r}")
    return int(text)
