"""What a part of a bundle's values does not show: what its charts provide, and whose `global` wins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from brolly import values
from brolly.composite.subcharts import GLOBAL, Path, Schema, present

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from brolly.chart import Chart

    # charts, each after those around it, with the path of its values in those of the root
    Owners = Sequence[tuple[Path, Chart]]

_SOME: Final = {"minProperties": 1}


def keys_of(owners: Owners) -> frozenset[str]:
    """Give the names of all keys that Helm may add to values, at any depth."""
    names = {GLOBAL, *(part for path, _ in owners for part in path)}
    for _, chart in owners:
        names.update(_keys(chart.values))
        for need in chart.requirements:
            names.update(part for _, parent in values.imports(need) for part in parent.split("."))
    return frozenset(names)


def _keys(table: Any) -> Iterator[str]:
    for key, value in table.items():
        yield key
        if isinstance(value, dict):
            yield from _keys(value)


def clash_of(owners: Owners) -> Schema:
    """Say of the root's values that a chart's own `global` may not be the one that Helm shows it.

    Helm merges the `global` of every chart above over it.
    """
    parts: list[Schema] = []
    for path, _ in owners:
        above = [other for other, _ in owners if len(other) < len(path) and path[: len(other)] == other]
        if not above:
            continue
        own = present((*path, GLOBAL), _SOME)
        known = any(_provides_global(owners, other) for other in above)
        higher: list[Schema] = [present((*other, GLOBAL), _SOME) for other in above]
        parts.append(own if known else {"allOf": [own, _any_of(higher)]})
    return _any_of(parts) if parts else {"not": {}}


def _any_of(parts: list[Schema]) -> Schema:
    return parts[0] if len(parts) == 1 else {"anyOf": parts}


def _provides_global(owners: Owners, path: Path) -> bool:
    """Say whether there is a `global` at a path by default."""
    for around, chart in owners:
        if path[: len(around)] == around:
            found: Any = chart.values
            for part in (*path[len(around) :], GLOBAL):
                found = found.get(part) if isinstance(found, dict) else None
            if found:
                return True
    return False
