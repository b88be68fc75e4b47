"""The lock: what a definition resolved to. YAML, sorted, without times or tool versions.

`build` never resolves: it takes exactly what stands here and refuses anything else.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec

from brolly.definition import API_VERSION, Bundle, Dependency, LocalChart, Repository
from brolly.document import emit
from brolly.findings import Finding, Location, Rule, Severity, printable
from brolly.oci import compact_json
from brolly.shapes import settled
from brolly.versions import Version

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from brolly.document import Document

_DIGEST: Final = r"^sha256:[0-9a-f]{64}$"


def _digest(title: str, description: str) -> msgspec.Meta:
    return msgspec.Meta(title=title, description=description, pattern=_DIGEST)


class LockedDependency(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One dependency with what pins it.

    `digest` is that of the chart package's bytes; for a local chart's folder, of its uncompressed tar.
    """

    digest: Annotated[
        str, _digest("Digest", "The digest of the chart package; of a local folder: of its uncompressed tar.")
    ]
    name: Annotated[str, msgspec.Meta(title="Chart", description="The chart's name.")]
    repository: Annotated[
        str, msgspec.Meta(title="Repository", description="Where the chart came from, in its canonical form.")
    ]
    version: Annotated[str, msgspec.Meta(title="Version", description="The version that was resolved.")]
    alias: Annotated[str, msgspec.Meta(title="Alias", description="The instance's name, if it has one.")] = ""
    manifest: Annotated[
        str, msgspec.Meta(title="Manifest", description="For oci:// repositories, the digest of the manifest.")
    ] = ""
    index_size: Annotated[
        int,
        msgspec.Meta(
            title="Index size",
            description="For http(s) repositories with a large index: about its bytes, rounded up, when it was read.",
            ge=0,
        ),
    ] = msgspec.field(default=0, name="indexSize")

    @property
    def key(self) -> str:
        """The dependency's name in its bundle."""
        return self.alias or self.name


class Lock(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A bundle's locked dependencies, sorted by key. `request` is the digest of what was asked for."""

    api_version: Annotated[
        Literal["brolly/v1alpha1"], msgspec.Meta(title="API version", description="The version of this format.")
    ]
    dependencies: Annotated[
        tuple[LockedDependency, ...], msgspec.Meta(title="Dependencies", description="What the bundle resolved to.")
    ]
    request: Annotated[
        str, _digest("Request", "The digest of the dependencies as bundle.yaml asked for them: shows a stale lock.")
    ]

    def dependency(self, key: str) -> LockedDependency | None:
        """Find a locked dependency by its key."""
        return next((locked for locked in self.dependencies if locked.key == key), None)


settled(Lock)


@dataclass(frozen=True)
class Locked:
    """A dependency that was asked for, with what it resolved to."""

    asked: Dependency
    entry: LockedDependency

    @property
    def key(self) -> str:
        """The dependency's name in its bundle."""
        return self.entry.key


MISSING: Final = Rule("lock/missing", Severity.ERROR, "the bundle has no lock")
SHAPE: Final = Rule("lock/shape", Severity.ERROR, "the lock is damaged")
STALE: Final = Rule("lock/stale", Severity.ERROR, "the lock does not belong to the definition any more")
VIOLATED: Final = Rule("lock/violated", Severity.ERROR, "the lock holds a version that the definition does not allow")
LOCAL_CHANGED: Final = Rule("lock/local-changed", Severity.ERROR, "a local chart is not the one that was locked")

RULES: Final = (MISSING, SHAPE, STALE, VIOLATED, LOCAL_CHANGED)


def make(bundle: Bundle, entries: Mapping[str, LockedDependency]) -> Lock:
    """Lock a bundle: `entries` by key, one for every dependency."""
    return Lock(
        api_version=API_VERSION,
        dependencies=tuple(entries[key] for key in sorted(dependency.key for dependency in bundle.dependencies)),
        request=request_digest(bundle),
    )


def request_digest(bundle: Bundle) -> str:
    """Hash what decides a resolution: name, alias, constraint and repository of every dependency."""
    asked = sorted(
        (dependency.key, dependency.name, str(dependency.constraint), canonical(dependency.repository))
        for dependency in bundle.dependencies
    )
    return "sha256:" + hashlib.sha256(compact_json(asked)).hexdigest()


def canonical(repository: Repository) -> str:
    """Write a repository as the lock holds it."""
    return f"file://{repository.path}" if isinstance(repository, LocalChart) else repository.url


def serialize(lock: Lock) -> bytes:
    """Write a lock: sorted keys, a line that says who wrote it."""
    data = msgspec.to_builtins(lock)
    entries = [dict(sorted(entry.items())) for entry in data["dependencies"]]
    body = emit({"apiVersion": data["apiVersion"], "dependencies": entries, "request": data["request"]})
    return f"# Written by `brolly lock`: change bundle.yaml, not this file.\n{body}".encode()


def parse(document: Document) -> tuple[Lock | None, tuple[Finding, ...]]:
    """Read a lock: the lock, or every fault that it has."""
    from brolly.schemas import judge_parsed

    faults = tuple(
        SHAPE.finding(
            f"{'.'.join(map(str, violation.route)) or 'the lock'}: {printable(violation.message)}",
            document.location(violation.route),
            hint="keep one side of a merge, or run `brolly lock`: it writes the file anew",
        )
        for violation in judge_parsed(json_schema(), document.data)
    )
    return (None, faults) if faults else (msgspec.convert(document.data, Lock), ())


def json_schema() -> dict[str, Any]:
    """Generate the JSON Schema of bundle.lock (draft 2020-12)."""
    from brolly.shapes import published_schema

    return published_schema(Lock, "lock", "A Brolly lock")


def faults(
    bundle: Bundle, definition: Document, lock: Lock | None, lock_path: str, local_digests: Mapping[str, str]
) -> Iterator[Finding]:
    """Compare a lock with its definition, without any network.

    `local_digests` are the digests that local charts have now, by key.
    """
    again = f"run `brolly lock {bundle.name}`"
    if lock is None:
        at = definition.location(("dependencies",), key=True)
        yield MISSING.finding(f"{bundle.name} has no bundle.lock", at, hint=again)
        return
    if lock.request != request_digest(bundle):
        yield from _stale(bundle, definition, lock, lock_path, again)
    for dependency in bundle.dependencies:
        entry = lock.dependency(dependency.key)
        if entry is not None:
            yield from _entry_faults(dependency, entry, definition, local_digests, again)


def _stale(bundle: Bundle, definition: Document, lock: Lock, lock_path: str, again: str) -> Iterator[Finding]:
    keys = {dependency.key for dependency in bundle.dependencies}
    found = False
    for dependency in bundle.dependencies:
        entry = lock.dependency(dependency.key)
        if entry is None or (entry.name, entry.repository) != (dependency.name, canonical(dependency.repository)):
            found = True
            what = "is not in" if entry is None else "differs from"
            at = definition.location(dependency.route)
            yield STALE.finding(f"{printable(dependency.key)} {what} bundle.lock", at, hint=again)
    for entry in lock.dependencies:
        if entry.key not in keys:
            found = True
            yield STALE.finding(
                f"bundle.lock holds {printable(entry.key)}, which is no dependency any more",
                Location(lock_path),
                hint=again,
            )
    violated = any(
        (entry := lock.dependency(dependency.key)) and not is_allowed(dependency, entry)
        for dependency in bundle.dependencies
    )
    if not found and not violated:
        at = definition.location(("dependencies",), key=True)
        yield STALE.finding("the dependencies changed since bundle.lock was written", at, hint=again)


def _entry_faults(
    dependency: Dependency,
    entry: LockedDependency,
    definition: Document,
    local_digests: Mapping[str, str],
    again: str,
) -> Iterator[Finding]:
    if not is_allowed(dependency, entry):
        yield VIOLATED.finding(
            f"bundle.lock holds {printable(entry.key)} {printable(entry.version)}, "
            f"the definition asks for {printable(str(dependency.constraint))}",
            definition.location((*dependency.route, "version")),
            hint=again,
        )
    now = local_digests.get(dependency.key)
    if now is not None and now != entry.digest:
        yield LOCAL_CHANGED.finding(
            f"the chart of {printable(entry.key)} changed: it has {now[:19]}, the lock {entry.digest[:19]}",
            definition.location((*dependency.route, "repository")),
            hint=again,
        )


def is_allowed(dependency: Dependency, entry: LockedDependency) -> bool:
    """Say whether a locked version lies within what the definition asks for."""
    try:
        return dependency.constraint.allows(Version.parse(entry.version))
    except ValueError:
        return False
