"""What can be wrong with a chart that was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from brolly.errors import WorldError
from brolly.findings import printable
from brolly.registry.addresses import shown
from brolly.versions import Version

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_NEAREST: Final = 5


class Unresolvable(ValueError):  # noqa: N818 - the field's word
    """No version that a repository offers is what the definition asks for: the author's to change.

    `nearest` are a few versions that exist, the newest first; `hint` says what to write, if that is clear.
    """

    def __init__(
        self,
        name: str,
        repository: str,
        constraint: str,
        reason: str,
        versions: Sequence[str] = (),
        *,
        hint: str = "",
    ) -> None:
        self.name = name
        self.repository = repository
        self.constraint = constraint
        self.reason = reason
        self.nearest = _nearest(constraint, versions)
        self.hint = hint or _hint(constraint, versions)
        super().__init__(name, repository, constraint, reason)

    def __str__(self) -> str:
        asked = printable(f"{self.name} {self.constraint}".rstrip())
        there = f" (there are {', '.join(map(printable, self.nearest))})" if self.nearest else ""
        return f"{asked} from {_place(self.repository)}: {self.reason}{there}"


class Republished(WorldError):  # noqa: N818 - the field's word
    """What arrived is not what the lock names. `what` is what the digests are of: the package or the manifest."""

    def __init__(
        self, name: str, version: str, repository: str, expected: str, found: str, *, what: str = "package"
    ) -> None:
        self.name = name
        self.version = version
        self.repository = repository
        self.expected = expected
        self.found = found
        chart = printable(f"{name} {version}")
        super().__init__(
            f"{chart} from {_place(repository)} is not what was locked: "
            f"the lock has the {what} {expected}, the repository now has {found}",
            hint="a version was published again, or altered on the way: ask its publisher, lock again if it is right",
        )


class OfflineMiss(WorldError):  # noqa: N818 - the field's word
    """A package is not in the cache, and may not be downloaded."""

    def __init__(self, name: str, version: str, repository: str, digest: str | None) -> None:
        self.name = name
        self.version = version
        self.repository = repository
        self.digest = digest
        pinned = f" ({digest})" if digest else ""
        super().__init__(
            printable(f"{name} {version} from {_place(repository)}{pinned} is not in the cache")
            + ", and there is no network with --offline",
            hint="run once without --offline",
        )


def _place(repository: str) -> str:
    return printable(repository) if repository.startswith("oci://") else shown(repository)


def _nearest(constraint: str, versions: Sequence[str]) -> tuple[str, ...]:
    """Choose the neighbours of an exact version, or the newest."""
    try:
        wanted = Version.parse(constraint)
    except ValueError:
        return tuple(versions[:_NEAREST])
    newer = sum(Version.parse(version) > wanted for version in versions)
    start = max(0, min(newer - _NEAREST // 2, len(versions) - _NEAREST))
    return tuple(versions[start : start + _NEAREST])


def _hint(constraint: str, versions: Iterable[str]) -> str:
    parsed = [Version.parse(version) for version in versions]
    if constraint and parsed and all(version.prerelease for version in parsed):
        return f"there are only prereleases: write >=0-0, or {parsed[0].original} itself"
    try:
        wanted = Version.parse(constraint)
    except ValueError:
        return ""
    return next((f"write {version.original}" for version in parsed if version == wanted), "")
