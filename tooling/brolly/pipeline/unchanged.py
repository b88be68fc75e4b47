"""The shortest way: what has not changed is neither parsed nor compiled, and nothing heavy is loaded for it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from brolly import workspace
from brolly.pipeline.fingerprints import fingerprint
from brolly.pipeline.settings import policy_of
from brolly.results import tool_identity
from brolly.sources import DEFINITION

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from brolly.results import KeptOutcome, Results
    from brolly.sources import Settings
    from brolly.workspace import Workspace

_Found = TypeVar("_Found")

# an escape may hide anything from a search, and nobody needs one in a path
_UPWARD: Final = re.compile(rb"file:[^\s\"']*\.\.|\\")


def recall(space: Workspace, settings: Settings, results: Results) -> Callable[[str], KeptOutcome | None]:
    """Make what gives the kept outcome of a bundle whose files, all of them hashed, are what they were; else None."""
    identity, policy = tool_identity(), policy_of(space)

    def kept(name: str) -> KeptOutcome | None:
        sources, faults = workspace.read_sources(space, name)
        if faults or may_reach_out(space, sources.files.get(DEFINITION, b"")):
            return None
        found = results.outcome(fingerprint(sources, settings, identity, policy))
        return _said_by(found, settings) if found else None

    return kept


def _said_by(found: KeptOutcome, settings: Settings) -> KeptOutcome:
    """Note who says the address this time: it makes no other outcome."""
    report = msgspec.structs.replace(found.report, configured=settings.is_configured)
    return msgspec.structs.replace(found, report=report)


def each(step: Callable[[str], _Found | None], names: Sequence[str], jobs: int) -> dict[str, _Found]:
    """Take a step for each bundle on so many threads; give what was found, by name. Hashing needs no interpreter."""
    if jobs <= 1 or len(names) <= 1:
        found = [step(name) for name in names]
    else:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(min(jobs, len(names))) as threads:
            found = list(threads.map(step, names))
    return {name: one for name, one in zip(names, found, strict=True) if one is not None}


def may_reach_out(space: Workspace, definition: bytes) -> bool:
    """Say whether a definition may name a chart outside its folder; only its parser knows for certain."""
    return bool(_UPWARD.search(definition)) or any(
        url.startswith("file:") for url in space.config.repositories.values()
    )
