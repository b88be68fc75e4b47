"""All rules, from every room of the house: what `brolly explain` knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from brolly import authored, checks, definition, document, kustomization, lock, umbrella, workspace
from brolly.pipeline import locking, shop

if TYPE_CHECKING:
    from brolly.findings import Rule

_ROOMS: Final = (document, definition, lock, authored, workspace, shop, locking, umbrella, kustomization, checks)

RULES: Final[tuple[Rule, ...]] = tuple(
    sorted({rule.code: rule for room in _ROOMS for rule in room.RULES}.values(), key=lambda rule: rule.code)
)
