"""The shortest way: what has not changed is neither parsed nor compiled, and nothing heavy is loaded for it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from brolly import workspace
from brolly.pipeline.fingerprints import fingerprint
from brolly.pipeline.settings import policy_of
from brolly.results import tool_identity
from brolly.sources import DEFINITION

if TYPE_CHECKING:
    from collections.abc import Iterable

    from brolly.results import KeptOutcome, Results
    from brolly.sources import Settings
    from brolly.workspace import Workspace

# an escape may hide anything from a search, and nobody needs one in a path
_UPWARD: Final = re.compile(rb"file:[^\s\"']*\.\.|\\")


def kept_outcomes(
    space: Workspace, settings: Settings, results: Results, names: Iterable[str]
) -> dict[str, KeptOutcome]:
    """Give what is kept for bundles whose files, all of them hashed, are what they were."""
    found = {}
    for name in names:
        kept = _kept(space, settings, results, name)
        if kept is not None:
            found[name] = kept
    return found


def _kept(space: Workspace, settings: Settings, results: Results, name: str) -> KeptOutcome | None:
    sources, faults = workspace.read_sources(space, name)
    if faults or may_reach_out(space, sources.files.get(DEFINITION, b"")):
        return None
    return results.outcome(fingerprint(sources, settings, tool_identity(), policy_of(space)))


def may_reach_out(space: Workspace, definition: bytes) -> bool:
    """Say whether a definition may name a chart outside its folder; only its parser knows for certain."""
    return bool(_UPWARD.search(definition)) or any(
        url.startswith("file:") for url in space.config.repositories.values()
    )
