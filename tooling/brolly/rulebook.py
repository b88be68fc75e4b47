"""All rules, from every room of the house: what `brolly explain` knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from brolly import (
    authored,
    checks,
    composite,
    conflicts,
    definition,
    document,
    kustomization,
    limits,
    lock,
    umbrella,
    workspace,
)
from brolly.pipeline import locking, settings

if TYPE_CHECKING:
    from brolly.findings import Rule

_ROOMS: Final = (
    document,
    limits,
    definition,
    lock,
    authored,
    workspace,
    settings,
    locking,
    umbrella,
    composite,
    kustomization,
    checks,
    conflicts,
)

RULES: Final[tuple[Rule, ...]] = tuple(
    sorted({rule.code: rule for room in _ROOMS for rule in room.RULES}.values(), key=lambda rule: rule.code)
)
