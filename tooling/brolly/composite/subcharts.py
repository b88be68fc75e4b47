"""Which subcharts a chart has, and with which coalesced values Helm judges them.

Source: Helm v4.2's pkg/chart/v2/util/dependencies.go. A schema sees the outcome only: the defaults of a chart that was
disabled are missing from it, and what was imported came in after Helm had decided. So a guard here holds for certain
where it lets a chart be judged; where it cannot know, it takes the chart for disabled.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from brolly import values
from brolly.versions import Constraint, Version

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from brolly.chart import Chart, Requirement

GLOBAL: Final = "global"
Path = tuple[str, ...]
Schema = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """A chart in its place below a root. `above` are those around it, from the root; `switches` decide about it.

    Helm looks at neither conditions nor aliases below a chart that declares no dependencies: it `is_processed` no more.
    """

    path: Path
    chart: Chart
    above: tuple[Place, ...] = ()
    switches: tuple[Requirement, ...] = ()
    is_processed: bool = True

    @classmethod
    def of(cls, root: Chart) -> Place:
        """Give the root's place."""
        return cls((), root, is_processed=_declares(root))

    @functools.cached_property
    def below(self) -> tuple[Place, ...]:
        """The subcharts, whether enabled or not."""
        return tuple(self._subcharts(self.chart.requirements if self.is_processed else ()))

    def _subcharts(self, required: Sequence[Requirement]) -> Iterator[Place]:
        for sub in self.chart.subcharts:
            if not any(_matches(need, sub) for need in required):
                yield self._place(sub.name, sub, required)
        for need in required:
            found = next((sub for sub in self.chart.subcharts if _matches(need, sub)), None)
            if found:
                yield self._place(need.key, found, required)

    def _place(self, key: str, sub: Chart, required: Sequence[Requirement]) -> Place:
        # Helm drops what is disabled by its key, whichever requirement brought it in
        switches = tuple(need for need in required if need.key == key)
        is_processed = self.is_processed and _declares(sub)
        return Place((*self.path, key), sub, (*self.above, self), switches, is_processed=is_processed)

    def walk(self) -> Iterator[Place]:
        """Give this place and all below it."""
        yield self
        for place in self.below:
            yield from place.walk()

    def conditions(self, switch: Requirement) -> list[Path]:
        """Give the paths of a condition from the root, split as Helm splits them."""
        texts = (text for text in switch.condition.strip().split(",") if text)
        return [(*self.path[:-1], *text.split(".")) for text in texts]


def _declares(chart: Chart) -> bool:
    return bool(chart.requirements) or isinstance(chart.metadata.get("dependencies"), list)


def _matches(need: Requirement, sub: Chart) -> bool:
    try:
        return need.name == sub.name and Constraint.parse(need.version).allows(Version.parse(sub.version))
    except ValueError:
        return False


# -- guards -----------------------------------------------------------------------------------------------------------


def guarded(place: Place, body: Schema) -> Schema:
    """Give a schema of the root's values that holds unless the chart in this place may be disabled."""
    off = [schema for switch in place.switches if (schema := _off(place, switch, place.conditions(switch)))]
    return {"if": off[0] if len(off) == 1 else {"anyOf": off}, "else": body} if off else body


def nested(path: Path, schema: Schema) -> Schema:
    """Give a schema for what stands at a path, if anything does."""
    for part in reversed(path):
        schema = {"properties": {part: schema}}
    return schema


def present(path: Path, schema: Any) -> Schema:
    """Claim that something stands at a path, and meets a schema."""
    for part in reversed(path):
        schema = {"type": "object", "required": [part], "properties": {part: schema}}
    return schema  # type: ignore[no-any-return]


def _off(place: Place, switch: Requirement, conditions: Sequence[Path]) -> Schema | None:
    """Say with which values a requirement may disable its chart; None if it never does."""
    if not conditions:
        return _off_by_tags(place, switch.tags)
    path, *others = conditions
    # where nothing stands Helm may have seen the default of a chart that is disabled now
    by_default = _is_false(place, path)
    here = {"not": present(path, {"not": {"const": False}})} if by_default else present(path, {"const": False})
    later = _off(place, switch, others)
    return {"anyOf": [here, {"allOf": [{"not": present(path, {"const": True})}, later]}]} if later else here


def _off_by_tags(place: Place, tags: Sequence[str]) -> Schema | None:
    if not tags:
        return None
    none_on = {"not": {"anyOf": [present(("tags", tag), {"const": True}) for tag in tags]}}
    if any(_is_false(place, ("tags", tag)) for tag in tags):
        return none_on
    return {"allOf": [{"anyOf": [present(("tags", tag), {"const": False}) for tag in tags]}, none_on]}


def _is_false(place: Place, path: Path) -> bool:
    """Say whether a default at a path is false; Helm looks for it from the top of every chart above."""
    return any(found is False for above in place.above for found in _defaults(above, path))


def _defaults(place: Place, path: Path) -> Iterator[Any]:
    """Give what a chart and those below it have at a path, each in its own values.yaml."""
    found: Any = place.chart.values
    for part in path:
        found = found.get(part) if isinstance(found, dict) else None
    yield found
    for sub in place.below:
        if path and sub.path[-1] == path[0]:
            yield from _defaults(sub, path[1:])


# -- what coalesced values do not show --------------------------------------------------------------------------------


def is_decidable(place: Place, imported: Sequence[Path]) -> bool:
    """Say whether coalesced values show what Helm decided about a place by.

    They do not where import-values brought something in afterwards, or where `global` stands in a chart that may itself
    be disabled, since only the enabled get it handed down.
    """
    paths = [path for switch in place.switches for path in place.conditions(switch)]
    paths += [("tags", tag) for switch in place.switches for tag in switch.tags]
    return not any(_is_others_global(place, path) or any(_meet(path, one) for one in imported) for path in paths)


def _is_others_global(place: Place, path: Path) -> bool:
    above = place.path[:-1]
    return any(part == GLOBAL and path[:at] != above[:at] for at, part in enumerate(path))


def _meet(path: Path, other: Path) -> bool:
    return all(one == two for one, two in zip(path, other, strict=False))


def imported_paths(place: Place) -> tuple[Path, ...]:
    """Give the paths, in keys from the root, at and below which import-values may write."""
    inner = tuple(path for sub in place.below for path in imported_paths(sub))
    return (*inner, *_imported_here(place, inner))


def _imported_here(place: Place, inner: Sequence[Path]) -> Iterator[Path]:
    for need in place.chart.requirements:
        for child, parent in values.imports(need):
            if parent != ".":
                yield (*place.path, *parent.split("."))
                continue
            for key in {need.key, need.name}:
                yield from ((*place.path, *head) for head in _heads(place, (key, *child.split(".")), inner))


def _heads(place: Place, path: Path, inner: Sequence[Path]) -> set[Path]:
    """Give the keys of a table that is imported; () where only Helm could tell them."""
    if GLOBAL in path or any(_meet((*place.path, *path), one) for one in inner):
        return {()}
    return {(key,) for found in _tables(place, path) for key in found}


def _tables(place: Place, path: Path) -> list[Mapping[str, Any]]:
    return [found for found in _defaults(place, path) if isinstance(found, dict)]
