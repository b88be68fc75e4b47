"""The composite schema of each target, and what is found on the way."""

from __future__ import annotations

import contextlib
import json
import posixpath
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from brolly import schemas, values
from brolly.chart import Chart, Requirement
from brolly.composite.definitions import definition as defined
from brolly.composite.definitions import written as as_json
from brolly.composite.partial import clash_of, keys_of
from brolly.composite.subcharts import GLOBAL, Path, Place, Schema, guarded, imported_paths, is_decidable, nested
from brolly.findings import Finding, Location, Rule, Severity, printable
from brolly.oci import Digest
from brolly.schemas.dialects import METASCHEMAS
from brolly.sources import SCHEMA
from brolly.versions import Version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from brolly.definition import Bundle
    from brolly.document import Document
    from brolly.sources import Component

    # as `definition`: a schema under an address, relaxed by names or whole
    Define = Callable[[bytes, str, frozenset[str] | None], dict[str, Any]]

FORBIDS_GLOBAL: Final = Rule("values/forbids-global", Severity.ERROR, "a schema that refuses every umbrella's `global`")
LEFT_OUT: Final = Rule("values/left-out-schema", Severity.WARNING, "a schema that the composite schema does not hold")

RULES: Final = (FORBIDS_GLOBAL, LEFT_OUT)

# what may be said of a `global` that is there and could be another
_ASKING: Final = {
    "required",
    "minProperties",
    "dependencies",
    "dependentRequired",
    "anyOf",
    "oneOf",
    "if",
    "const",
    "enum",
}
_UNDECIDABLE: Final = "what switches its chart may come from another one (import-values, global)"


@dataclass(frozen=True)
class LeftOut:
    """A schema that the composite does not hold. `path` leads to its chart in keys; () is the bundle's own."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Composite:
    """A bundle's composite values schema, JSON that ends with a newline.

    `content` is for editors and for whoever judges a values file: it holds for a part of the values, and refuses only
    what Helm refuses. `embedded` is values.schema.json of the chart itself, where the bundle's own schema stands whole,
    as Helm would judge by it anyway. None where it must not take the place of the bundle's own schema: because that was
    left out, or under kustomize.
    """

    content: bytes = field(repr=False)
    embedded: bytes | None = field(default=None, repr=False)
    left_out: tuple[LeftOut, ...] = ()


@dataclass
class _Shelf:
    """The `$defs` of a composite while it is made; `faults` say why a schema cannot be there. Both by digest.

    `provided` are the names of keys that the values may have from elsewhere.
    """

    provided: frozenset[str]
    define: Define
    definitions: dict[str, Any] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)

    def taken(self, schema: bytes | None, path: Path, *, whole: bool = False) -> list[Schema]:
        """Take a chart's schema in, unless it is there, and give the reference to it, if there can be one."""
        if schema is None:
            return []
        name = Digest.of(schema).hex + (":whole" if whole else "")
        address = f"urn:brolly:sha256:{name}"
        if name not in self.definitions and name not in self.faults:
            try:
                provided = None if whole else self.provided & _asked(schema)
                self.definitions[name] = self.define(schema, address, provided)
            except schemas.SchemaFault as fault:
                self.faults[name] = str(fault)
        if name in self.faults:
            self.left_out.append(LeftOut(path, self.faults[name]))
            return []
        return [{"$ref": address}]


def _asked(schema: bytes) -> set[str]:
    """Give the names that stand in a schema's lists of what is required, wherever they are."""
    found: set[str] = set()

    def collect(table: dict[str, Any]) -> dict[str, Any]:
        required = table.get("required")
        found.update(name for name in (required if isinstance(required, list) else ()) if isinstance(name, str))
        return table

    with contextlib.suppress(ValueError, RecursionError):
        json.loads(schema, object_hook=collect)
    return found


def compose_umbrella(
    bundle: Bundle,
    components: Sequence[Component],
    author_schema: bytes | None,
    written: Mapping[str, Any],
    definition: Document,
    *,
    embeds: bool = True,
    define: Define = defined,
) -> tuple[Composite, tuple[Finding, ...]]:
    """Compose the schema of an umbrella chart's values; `written` is what values.yaml holds.

    Without `embeds` there is none for the chart itself. `define` does what `definition` does.
    """
    root = Place.of(_umbrella(bundle, components, written))
    owners = [(place.path, place.chart) for place in root.walk()]
    shelf = _Shelf(keys_of(owners), define)
    own, parts = shelf.taken(author_schema, ()), _parts(root, shelf)
    clash = clash_of(owners)
    content = _document(bundle, components, shelf.definitions, [], _without(clash, [*own, *parts]))
    embedded = None
    if embeds and all(one.path for one in shelf.left_out):
        inside = _Shelf(shelf.provided, define)
        whole = inside.taken(author_schema, (), whole=True)
        gated = _without(clash, _parts(root, inside))
        if not any(not one.path for one in inside.left_out):
            embedded = _document(bundle, components, inside.definitions, whole, gated)
    composite = Composite(content, embedded, tuple(shelf.left_out))
    return composite, tuple(_left_out(composite, bundle, definition))


def compose_kustomize(
    bundle: Bundle,
    components: Sequence[Component],
    author_schema: bytes | None,
    definition: Document,
    *,
    written: Mapping[str, Any] | None = None,
    define: Define = defined,
) -> tuple[Composite, tuple[Finding, ...]]:
    """Compose the schema of a Flux bundle's values: a key for each release, and `global`.

    `components` are those that are installed; what `condition` and `tags` switch off at build has no schema. `written`
    is what values.yaml holds. Below a key it judges what Helm coalesces to that release's values.
    """
    owners: list[tuple[Path, Chart]] = [((), Chart(bundle.name, bundle.version, {}, (), written or {}))]
    roots = [(component.key, Place.of(component.chart)) for component in components]
    owners += [((key, *place.path), place.chart) for key, root in roots for place in root.walk()]
    shelf = _Shelf(keys_of(owners), define)
    parts = shelf.taken(author_schema, ())
    for key, root in roots:
        below = _Shelf(shelf.provided, define, shelf.definitions, shelf.faults)
        own = [*below.taken(root.chart.schema, ()), *_parts(root, below)]
        parts += [nested((key,), _all_of(own))] if own else []
        shelf.left_out += [replace(one, path=(key, *one.path)) for one in below.left_out]
    content = _document(bundle, components, shelf.definitions, [], _without(clash_of(owners), parts))
    composite = Composite(content, None, tuple(shelf.left_out))
    return composite, tuple(_left_out(composite, bundle, definition))


def _without(clash: Schema, parts: list[Schema]) -> Schema:
    return {"if": clash, "else": {"allOf": parts}} if parts else {}


def _document(
    bundle: Bundle, components: Sequence[Component], definitions: Schema, parts: list[Schema], gated: Schema
) -> bytes:
    described = {GLOBAL: {"description": "Values that every chart sees."}}
    described |= {component.key: _described(component.chart) for component in components}
    data = {
        "$schema": METASCHEMAS[2020],
        "title": f"{bundle.name} {bundle.version}",
        "description": bundle.description,
        "properties": described,
        "allOf": parts,
        **gated,
        "$defs": definitions,
    }
    return as_json({keyword: value for keyword, value in data.items() if value})


def _described(chart: Chart) -> Schema:
    about = str(chart.metadata.get("description") or "")
    return {"title": f"{chart.name} {chart.version}", **({"description": about} if about else {})}


def _parts(root: Place, shelf: _Shelf) -> list[Schema]:
    """Give a schema for each subchart that has something to say, all about the root's values."""
    imported = imported_paths(root)
    return [part for place in root.below for part in _part(place, shelf, imported)]


def _part(place: Place, shelf: _Shelf, imported: tuple[Path, ...]) -> list[Schema]:
    if not is_decidable(place, imported):
        shelf.left_out += [LeftOut(one.path, _UNDECIDABLE) for one in place.walk() if one.chart.schema is not None]
        return []
    parts = [nested(place.path, reference) for reference in shelf.taken(place.chart.schema, place.path)]
    parts += [part for sub in place.below for part in _part(sub, shelf, imported)]
    return [guarded(place, _all_of(parts))] if parts else []


def _all_of(parts: list[Schema]) -> Schema:
    return parts[0] if len(parts) == 1 else {"allOf": parts}


def _umbrella(bundle: Bundle, components: Sequence[Component], written: Mapping[str, Any]) -> Chart:
    """Give the umbrella chart as far as values are concerned."""
    required = tuple(_requirement(component) for component in components)
    embedded = {(one.chart.name, one.chart.version): one.chart for one in components}
    return Chart(bundle.name, bundle.version, {}, required, written, subcharts=tuple(embedded.values()))


def _requirement(component: Component) -> Requirement:
    asked = component.dependency
    return Requirement(
        component.chart.name,
        str(Version.parse(component.chart.version)),
        alias=asked.alias,
        condition=asked.condition,
        tags=asked.tags,
        import_values=asked.import_values,
    )


# -- findings ---------------------------------------------------------------------------------------------------------


def _left_out(composite: Composite, bundle: Bundle, definition: Document) -> Iterator[Finding]:
    for one in composite.left_out:
        dependency = bundle.dependency(one.path[0]) if one.path else None
        own = Location(posixpath.join(posixpath.dirname(definition.path), SCHEMA))
        yield LEFT_OUT.finding(
            f"the values schema of {printable('.'.join(one.path)) or bundle.name} is not part of the composite schema: "
            f"{printable(one.reason)}",
            definition.location(dependency.route) if dependency else own,
            hint="Helm judges by it all the same, whenever it renders",
        )


def forbidding_global(
    components: Sequence[Component], written: Mapping[str, Any], definition: Document
) -> dict[str, Finding]:
    """Find the components that refuse `global`, by their keys; `written` is what values.yaml of an umbrella holds."""
    found = {}
    for component in components:
        refusal = _refusal_of_global(component, written)
        if refusal:
            found[component.key] = FORBIDS_GLOBAL.finding(
                f"{printable(component.chart.name)} refuses `global`, which Helm adds to the values of every subchart "
                f"({printable(refusal)}): an umbrella with it cannot be installed",
                definition.location(component.dependency.route),
                hint="set `target: kustomize`: there a chart gets `global` only if the bundle writes one",
            )
    return found


def _refusal_of_global(component: Component, written: Mapping[str, Any]) -> str:
    """Say what a chart has against `global`, by its own values with and without it; empty if nothing."""
    schema, key = component.chart.schema, component.key
    if not schema:
        return ""
    try:
        own = written.get(key)
        table = values.effective(component.chart, own if isinstance(own, dict) else {})[0].values
        if GLOBAL in table:
            return ""
        handed = values.for_release({key: {}, GLOBAL: written.get(GLOBAL, {})}, key)
        found = schemas.judge(schema, {**table, **handed})
        before = schemas.judge(schema, table) if found else ()
    except (values.ValuesError, schemas.SchemaFault):
        return ""  # a fault of its own, found where values are judged
    new = [one for one in found if one not in before and not _asks_for_more(one)]
    return f"{'.'.join(map(str, new[0].route)) or 'its values'}: {new[0].message}" if new else ""


def _asks_for_more(violation: schemas.Violation) -> bool:
    """Say whether another `global` could mend it."""
    inside = len(violation.route) > 1 or violation.keyword in _ASKING
    return violation.route[:1] == (GLOBAL,) and inside
