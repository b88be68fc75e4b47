"""What the author wrote for one bundle, read and located: definition, lock, values, overlays."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from brolly import definition as definitions
from brolly import document, helm, limits
from brolly import lock as locks
from brolly.archive import ArchiveError
from brolly.definition import Bundle, LocalChart, Target
from brolly.findings import Finding, Location, Rule, Severity, printable
from brolly.oci import Digest
from brolly.sources import DEFINITION, LOCK, README, SCHEMA, VALUES, Sources
from brolly.suggestions import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from brolly.document import Document
    from brolly.lock import Lock

NO_DEFINITION: Final = Rule("bundle/no-definition", Severity.ERROR, "a bundle's folder without bundle.yaml")
UNKNOWN_FILE: Final = Rule("bundle/unknown-file", Severity.WARNING, "a file that no bundle has")
FOREIGN_FOLDER: Final = Rule("bundle/foreign-folder", Severity.ERROR, "files that the target cannot honour")
NO_CHART: Final = Rule("bundle/no-local-chart", Severity.ERROR, "a file:// repository without a chart")

RULES: Final = (NO_DEFINITION, UNKNOWN_FILE, FOREIGN_FOLDER, NO_CHART)

_FILES: Final = (DEFINITION, LOCK, VALUES, SCHEMA, README)
_FOLDERS: Final = ("overlays", "charts", "templates", "resources", "patches")


@dataclass(frozen=True)
class Overlay:
    """Values that a real consumer sets: `name` is the file's name without its ending."""

    name: str
    document: Document


@dataclass(frozen=True)
class LocalPackage:
    """A local chart, packaged: its .tgz and the digest that the lock holds."""

    package: bytes
    digest: str


@dataclass(frozen=True)
class Authored:
    """A bundle's files, read. `lock` and `values` are None where they are absent or cannot be read."""

    name: str
    sources: Sources
    definition: Document
    bundle: Bundle
    lock: Lock | None
    values: Document | None
    overlays: tuple[Overlay, ...]
    local: Mapping[str, LocalPackage]


def read(
    name: str, sources: Sources, repositories: Mapping[str, str], usual: limits.Policy = limits.USUAL
) -> tuple[Authored | None, tuple[Finding, ...]]:
    """Read a bundle's files: what they say, unless the definition cannot be read, and everything wrong with them.

    `repositories` is what `@name` stands for, `usual` the limits that hold without the bundle's own.
    """
    found: list[Finding] = []
    definition, bundle = _definition(sources, repositories, usual, found)
    lock = _lock(sources, found)
    values = _values(sources, VALUES, found)
    overlays = tuple(_overlays(sources, found))
    found += _unknown_files(sources)
    if definition is None or bundle is None:
        return None, tuple(found)
    found += _foreign_folders(bundle, sources)
    local = dict(_local_packages(bundle, definition, sources, found))
    return Authored(name, sources, definition, bundle, lock, values, overlays, local), tuple(found)


def outside(authored: Authored) -> tuple[str, ...]:
    """Name the local charts that lie outside the bundle's folder: their paths begin with `../`."""
    repositories = (dependency.repository for dependency in authored.bundle.dependencies)
    return tuple(one.path for one in repositories if isinstance(one, LocalChart) and one.path.startswith("../"))


def lock_findings(authored: Authored) -> tuple[Finding, ...]:
    """Compare the lock with the definition, without any network."""
    if authored.lock is None and LOCK in authored.sources.files:
        return ()  # it is damaged, and that has been said
    digests = {key: package.digest for key, package in authored.local.items()}
    path = authored.sources.path(LOCK)
    return tuple(locks.faults(authored.bundle, authored.definition, authored.lock, path, digests))


def _definition(
    sources: Sources, repositories: Mapping[str, str], usual: limits.Policy, found: list[Finding]
) -> tuple[Document | None, Bundle | None]:
    path = sources.path(DEFINITION)
    content = sources.files.get(DEFINITION)
    if content is None:
        near = did_you_mean(DEFINITION, [name for name in sources.files if "/" not in name])
        hint = f"rename it: {near}" if near else "write one (docs/tutorial.md shows how), or remove the folder"
        found.append(NO_DEFINITION.finding(f"{sources.folder} has no {DEFINITION}", Location(path), hint=hint))
        return None, None
    read, faults = document.read(content, path, strict=True)
    found += faults
    if read is None or faults:
        return read, None
    bundle, faults = definitions.parse(read, folder=sources.folder, repositories=repositories, usual=usual)
    found += faults
    return read, bundle


def _lock(sources: Sources, found: list[Finding]) -> Lock | None:
    content = sources.files.get(LOCK)
    if content is None:
        return None
    read, faults = document.read(content, sources.path(LOCK), strict=True)
    found += faults
    if read is None or faults:
        return None
    lock, faults = locks.parse(read)
    found += faults
    return lock


def _values(sources: Sources, name: str, found: list[Finding]) -> Document | None:
    content = sources.files.get(name)
    if content is None:
        return None
    read, faults = document.read(content, sources.path(name), strict=False)
    found += faults
    return read


def _overlays(sources: Sources, found: list[Finding]) -> Iterator[Overlay]:
    for name in sources.below("overlays/"):
        stem, dot, ending = posixpath.basename(name).rpartition(".")
        if name.count("/") > 1 or not dot or ending not in {"yaml", "yml"}:
            found.append(
                UNKNOWN_FILE.finding(
                    f"{printable(name)} is no overlay", Location(sources.path(name)), hint="name it overlays/NAME.yaml"
                )
            )
            continue
        read = _values(sources, name, found)
        if read is not None:
            yield Overlay(stem, read)


def _unknown_files(sources: Sources) -> Iterator[Finding]:
    for name in sources.files:
        top, slash, _ = name.partition("/")
        known = _FOLDERS if slash else _FILES
        if (
            top in known
            or top == ".."
            or top.startswith(".")
            or (not slash and not top.endswith((".yaml", ".yml", ".json")))
        ):
            continue
        yield UNKNOWN_FILE.finding(
            f"a bundle has no {printable(top)}{slash}; it is left out",
            Location(sources.path(name)),
            hint=did_you_mean(top, known),
        )


def _foreign_folders(bundle: Bundle, sources: Sources) -> Iterator[Finding]:
    foreign = ("resources/", "patches/") if bundle.target is Target.UMBRELLA else ("templates/",)
    for prefix in foreign:
        first = next(iter(sources.below(prefix)), None)
        if first is not None:
            other = Target.KUSTOMIZE if bundle.target is Target.UMBRELLA else Target.UMBRELLA
            yield FOREIGN_FOLDER.finding(
                f"target {bundle.target} cannot honour {prefix}",
                Location(sources.path(first)),
                hint=f"remove the folder, or set `target: {other}`",
            )


def _local_packages(
    bundle: Bundle, definition: Document, sources: Sources, found: list[Finding]
) -> Iterator[tuple[str, LocalPackage]]:
    for dependency in bundle.dependencies:
        repository = dependency.repository
        if not isinstance(repository, LocalChart):
            continue
        at = definition.location((*dependency.route, "repository"))
        place = printable(repository.path)
        try:
            package = package_local(sources.files, repository.path, dependency.name)
        except ArchiveError as error:
            fault = f"the chart at {place} cannot be packaged: {printable(str(error))}"
            found.append(NO_CHART.finding(fault, at, hint="name its files so that a tar archive takes them"))
            continue
        if package is not None:
            yield dependency.key, package
            continue
        hint = "give the path of a folder with a Chart.yaml, or of a .tgz, relative to the bundle"
        found.append(NO_CHART.finding(f"there is no chart at {place}", at, hint=hint))


def package_local(files: Mapping[str, bytes], path: str, name: str) -> LocalPackage | None:
    """Package a local chart, a folder or a .tgz of the sources; None if there is none at that path.

    A folder's archive bears the time 0, whatever SOURCE_DATE_EPOCH says: its digest stands in the lock. ArchiveError if
    the name of a file fits into no archive.
    """
    if path.endswith(".tgz") and path in files:
        return LocalPackage(files[path], str(Digest.of(files[path])))
    prefix = path + "/"
    below = {inner.removeprefix(prefix): content for inner, content in files.items() if inner.startswith(prefix)}
    if "Chart.yaml" not in below:
        return None
    package, tar = helm.package_folder(below, name, 0)
    return LocalPackage(package, str(Digest.of(tar)))
