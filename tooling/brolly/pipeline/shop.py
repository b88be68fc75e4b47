"""What a run has at hand, and how it works through the bundles: side by side, in the order of their names."""

from __future__ import annotations

import queue
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from brolly import __version__, authored, workspace
from brolly.findings import Finding, Rule, Severity, in_order
from brolly.sources import Settings, Sources

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from brolly.authored import Authored
    from brolly.engine import Engine
    from brolly.errors import BrollyError
    from brolly.repositories import Repositories
    from brolly.workspace import Workspace

NO_ADDRESS: Final = Rule("workspace/no-address", Severity.WARNING, "nothing says where clusters pull from")

RULES: Final = (NO_ADDRESS,)

_Result = TypeVar("_Result")


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
    engines: Engines | None = None
    jobs: int = 1
    progress: Callable[[str, str], None] = _silent


@dataclass(frozen=True)
class Draft:
    """A bundle as read, with what was found so far. `fault` is what the world did, if it did."""

    name: str
    sources: Sources
    authored: Authored | None
    findings: tuple[Finding, ...] = field(default=())
    fault: BrollyError | None = None

    def found(self, more: Iterable[Finding]) -> Draft:
        """Give the draft with more findings."""
        mine = (msgspec.structs.replace(finding, bundle=self.name) for finding in more)
        return replace(self, findings=in_order((*self.findings, *mine)))

    def texts(self) -> Mapping[str, str]:
        """Give the texts of the bundle's files by path, for code frames."""
        files = self.sources.files.items()
        return {self.sources.path(name): content.decode("utf-8", "replace") for name, content in files}


class Engines:
    """Helm's engines, one per job, lent to whoever asks."""

    def __init__(self, make: Callable[[], Engine], count: int) -> None:
        self._all = tuple(make() for _ in range(count))
        self._idle: queue.LifoQueue[Engine] = queue.LifoQueue()
        for engine in self._all:
            self._idle.put(engine)

    @contextmanager
    def lend(self) -> Iterator[Engine]:
        """Lend an engine; waits for one."""
        engine = self._idle.get()
        try:
            yield engine
        finally:
            self._idle.put(engine)

    def close(self) -> None:
        """Stop all workers."""
        for engine in self._all:
            engine.close()


def settings_of(space: Workspace, address: str, epoch: int) -> tuple[Settings, tuple[Finding, ...]]:
    """Work out what is the same for all bundles; a missing address is a warning."""
    labels = dict(space.config.labels)
    chosen = address or space.config.address
    made = Settings(
        address=(chosen or workspace.DEFAULT_ADDRESS).rstrip("/"),
        epoch=epoch,
        part_of_label=labels.pop("part-of", Settings.part_of_label),
        version_label=labels.pop("version", Settings.version_label),
        extra_labels=labels,
        version=__version__,
    )
    if chosen:
        return made, ()
    missing = NO_ADDRESS.finding(
        f"no address is set, {made.address} stands in for it",
        hint=f'set address = "oci://HOST/PATH" in {space.config_path.name}, or give --address',
    )
    return made, (missing,)


def side_by_side(shop: Shop, step: Callable[[str], _Result], names: Sequence[str]) -> list[_Result]:
    """Run a step for every bundle on the jobs; the results have the order of the names."""
    if len(names) <= 1 or shop.jobs <= 1:
        return [step(name) for name in names]
    executor = ThreadPoolExecutor(min(shop.jobs, len(names)), thread_name_prefix="bundle")
    try:
        return list(executor.map(step, names))
    finally:
        # after Ctrl-C nothing new is begun
        executor.shutdown(wait=False, cancel_futures=True)


def read(shop: Shop, name: str) -> Draft:
    """Read one bundle."""
    shop.progress(name, "reading")
    space, epoch = shop.workspace, shop.settings.epoch
    sources, found = workspace.read_sources(space, name)
    wrote, faults = authored.read(name, sources, space.config.repositories, epoch)
    if wrote and (outside := authored.outside(wrote)):
        sources, found = workspace.read_sources(space, name, outside)
        wrote, faults = authored.read(name, sources, space.config.repositories, epoch)
    # a file that is there and cannot be read has been said: it is not missing
    unread = {finding.location.path for finding in found if finding.location}
    faults = tuple(fault for fault in faults if not (fault.location and fault.location.path in unread))
    return Draft(name, sources, wrote).found((*found, *faults))


def fetch_address(mirrors: Mapping[str, str], url: str) -> str:
    """Put a mirror's address in the place of a repository's; the longest beginning wins."""
    for start in sorted(mirrors, key=len, reverse=True):
        bare = start.rstrip("/")
        if url == bare or url.startswith(bare + "/"):
            return mirrors[start].rstrip("/") + url[len(bare) :]
    return url
