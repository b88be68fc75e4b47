"""What a run has at hand, and how it works through the bundles: side by side, in the order of their names."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, TypeVar, cast

import msgspec

from brolly import limits, workspace
from brolly.errors import BrollyError
from brolly.findings import Finding, has_errors, in_order
from brolly.sources import LOCK, Sources

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from brolly.authored import Authored
    from brolly.engines import Engines
    from brolly.repositories import Repositories
    from brolly.results import Results
    from brolly.sources import Settings
    from brolly.workspace import Workspace

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

# how many charts of one bundle are fetched at once
DOWNLOADS: Final = 8


def _silent(_name: str, _stage: str) -> None:
    """Show nothing."""


@dataclass(frozen=True)
class Shop:
    """The workspace, the build's settings, where charts come from, Helm's engines, and who is told of progress.

    `repositories` opens them at its first call: a run on local charts never does.
    """

    workspace: Workspace
    settings: Settings
    repositories: Callable[[], Repositories]
    results: Results
    engines: Engines | None = None
    jobs: int = 1
    progress: Callable[[str, str], None] = _silent


@dataclass(frozen=True)
class Draft:
    """A bundle as read, with what was found so far. `faults` are what the world did, or what was asked wrongly."""

    name: str
    sources: Sources
    authored: Authored | None
    findings: tuple[Finding, ...] = field(default=())
    faults: tuple[BrollyError, ...] = ()

    @property
    def is_good(self) -> bool:
        """Whether nothing stands in the way so far."""
        return not self.faults and not has_errors(self.findings)

    def found(self, more: Iterable[Finding]) -> Draft:
        """Give the draft with more findings."""
        mine = (msgspec.structs.replace(finding, bundle=self.name) for finding in more)
        return replace(self, findings=in_order((*self.findings, *mine)))

    def failed(self, *faults: BrollyError) -> Draft:
        """Give the draft with more faults of the world; what several dependencies meet is said once."""
        known = {str(fault): fault for fault in (*self.faults, *faults)}
        return replace(self, faults=tuple(known.values()))

    def texts(self, paths: Collection[str]) -> dict[str, str]:
        """Give the texts of the bundle's files at these paths, for code frames."""
        files = ((self.sources.path(name), content) for name, content in self.sources.files.items())
        return {path: content.decode("utf-8", "replace") for path, content in files if path in paths}


def side_by_side(step: Callable[[_Item], _Result], items: Sequence[_Item], jobs: int) -> list[_Result]:
    """Run a step for every item on so many threads; the results have the order of the items."""
    if len(items) <= 1 or jobs <= 1:
        return [step(item) for item in items]
    executor = ThreadPoolExecutor(min(jobs, len(items)), thread_name_prefix=step.__name__)
    try:
        results = list(executor.map(step, items))
    except BaseException:
        # after Ctrl-C nothing new is begun, and what hangs is not waited for
        executor.shutdown(wait=False, cancel_futures=True)
        raise
    executor.shutdown()
    return results


def attempts(
    step: Callable[[_Item], _Result], items: Sequence[_Item], jobs: int
) -> list[tuple[_Result | None, BrollyError | None]]:
    """Run a step for every item side by side: for each what it gave, or the fault of the world that it met."""

    def attempt(item: _Item) -> tuple[_Result | None, BrollyError | None]:
        try:
            return step(item), None
        except BrollyError as error:
            return None, error

    return side_by_side(attempt, items, jobs)


def each_or_fault(
    step: Callable[[_Item], _Result], items: Sequence[_Item], jobs: int
) -> tuple[list[_Result], tuple[BrollyError, ...]]:
    """Run a step for every item side by side: what it gave, in order, and all faults of the world that it met."""
    tried = attempts(step, items, jobs)
    faults = tuple(fault for _, fault in tried if fault)
    return [cast("_Result", result) for result, fault in tried if not fault], faults


def read(shop: Shop, name: str) -> Draft:
    """Read one bundle."""
    from brolly import authored  # what reads YAML; publishing what did not change never does

    shop.progress(name, "reading")
    space = shop.workspace
    sources, found = workspace.read_sources(space, name)
    usual = limits.policy({}, space.config.limits)
    wrote, faults = authored.read(name, sources, space.config.repositories, usual)
    if wrote and (outside := authored.outside(wrote)):
        sources, found = workspace.read_sources(space, name, outside)
        wrote, faults = authored.read(name, sources, space.config.repositories, usual)
    # a file that is there and cannot be read has been said: it is not missing
    unread = {finding.location.path for finding in found if finding.location}
    faults = tuple(fault for fault in faults if not (fault.location and _is_below(fault.location.path, unread)))
    return Draft(name, sources, wrote).found((*found, *faults))


def lock_findings(draft: Draft) -> tuple[Finding, ...]:
    """Compare a bundle's lock with its definition; a lock that cannot be read has been said."""
    from brolly import authored

    wrote, path = draft.authored, draft.sources.path(LOCK)
    is_said = any(finding.location and finding.location.path == path for finding in draft.findings)
    return () if wrote is None or (wrote.lock is None and is_said) else authored.lock_findings(wrote)


def _is_below(path: str, places: Collection[str]) -> bool:
    return any(path == place or path.startswith(place + "/") for place in places)


def fetch_address(mirrors: Mapping[str, str], url: str) -> str:
    """Put a mirror's address in the place of a repository's; the longest beginning wins."""
    for start in sorted(mirrors, key=len, reverse=True):
        bare = start.rstrip("/")
        if url == bare or url.startswith(bare + "/"):
            return mirrors[start].rstrip("/") + url[len(bare) :]
    return url
