"""JSON Schema's drafts, lowered to one.

Each schema that is reachable from the root becomes a mapping of 2020-12's keywords whose references are the target
mappings themselves, so that nothing is looked up while values are judged. A schema that a reference leads to is entered
through `ENTER`, which sees cycles and knows the dynamic scope.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from brolly.schemas import formats
from brolly.schemas.dialects import (
    ROOT,
    Budget,
    Document,
    RemoteReference,
    Resource,
    Route,
    SchemaFault,
    below,
    canonical,
    collect,
    found_at,
    joined,
    metaschema,
    route_of,
    unquoted,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ENTER: Final = "$enter"
ORIGIN: Final = ""


@dataclass(frozen=True)
class Origin:
    """Where a lowered schema stands in its document, and what it was."""

    route: Route
    schema: Any = field(repr=False)


@dataclass(frozen=True, eq=False)
class Entrance:
    """A schema that references lead to, with its resource (for the dynamic scope)."""

    schema: dict[str, Any] = field(repr=False)
    resource: Resource = field(repr=False)


@dataclass(frozen=True)
class DynamicReference:
    """A `$dynamicRef` or `$recursiveRef` (no anchor) that may move: to the outermost schema with the same anchor."""

    target: Any = field(repr=False)
    anchor: str


class _Lowering:
    """One compilation: a queue of (document, pointer), and the lowered schema of each."""

    def __init__(self, check: Callable[[Any, int, Route], None] | None, budget: Budget) -> None:
        self.check = check
        self.budget = budget
        self.documents: dict[str, Document] = {}
        self.lowered: dict[tuple[str, str], Any] = {}
        self.queue: list[tuple[Document, str]] = []
        self.entered: dict[tuple[str, str], None] = {}

    def document(self, address: str, content: Any, draft: int = 2020) -> Document:
        """Read a document: its resources, then Helm's check of each against its draft's metaschema."""
        document = self.documents[address] = Document(address, content)
        collect(document, content, address, "", draft)
        if not document.resources:
            document.add(Resource("", address, draft))
        self._check(document, content, "")
        return document

    def _check(self, document: Document, schema: Any, pointer: str) -> None:
        """Check a schema against its metaschema, and what is of another draft inside it against its own."""
        if self.check is None:
            return
        draft = document.resource_at(pointer).draft
        self.budget.spend(len(document.resources) >> 3)
        foreign = [
            resource
            for at, resource in document.resources.items()
            if at.startswith(pointer + "/") and resource.draft != _enclosing(document, at).draft
        ]
        for resource in foreign:
            inner = found_at(document.content, resource.pointer, ())
            self.check(_pruned(inner, resource, document), resource.draft, route_of(resource.pointer))
        shown = _pruned(schema, document.resource_at(pointer), document, pointer) if foreign else schema
        self.check(shown, draft, route_of(pointer))

    def node(self, document: Document, pointer: str) -> Any:
        """Give the lowered schema at a pointer; it is filled in when its turn comes."""
        key = (document.address, pointer)
        if key not in self.lowered:
            value = found_at(document.content, pointer, ())
            self._require_collected(document, value, pointer)
            self.lowered[key] = value if isinstance(value, bool) else {}
            self.queue.append((document, pointer))
        return self.lowered[key]

    def _require_collected(self, document: Document, schema: Any, pointer: str) -> None:
        """Read what a reference found outside the places where a draft keeps schemas."""
        if pointer in document.collected:
            return
        around = document.resource_at(pointer)
        collect(document, schema, around.address, pointer, around.draft)
        self._check(document, schema, pointer)

    def locate(self, document: Document, pointer: str, reference: str) -> tuple[Document, str]:
        """Find what a reference at a pointer leads to: a document, and a pointer into it."""
        route = (*route_of(pointer), "$ref")
        address, _, fragment = reference.partition("#")
        name = unquoted(fragment, pointer)
        try:
            address = joined(document.resource_at(pointer).address, address)
        except ValueError as error:
            raise SchemaFault(f"not a reference: {reference[:200]}", route) from error
        resource = document.resource_of(address)
        if resource is None:
            document = self._other(address, reference, route)
            resource = document.resources[""]
        at = resource.pointer + name if not name or name.startswith("/") else resource.anchors.get(name)
        if at is None:
            raise SchemaFault(f"no anchor {name[:200]!r}", route)
        found_at(document.content, at, route)
        return document, at

    def entrance(self, document: Document, pointer: str) -> Any:
        """Give the lowered schema at a pointer to which a reference leads."""
        lowered = self.node(document, pointer)
        if isinstance(lowered, dict):
            self.entered[document.address, pointer] = None
        return lowered

    def _other(self, address: str, reference: str, route: Route) -> Document:
        if address in self.documents:
            return self.documents[address]
        if address.startswith("urn:"):
            return self.document(address, content=True)  # as Helm reads an unresolved urn
        content = metaschema(address)
        if content is not None:
            return self.document(address, content)
        if urlsplit(address).scheme in {"http", "https", "file"}:
            raise RemoteReference(reference, address, route)
        raise SchemaFault(f"not a reference: {reference[:200]}", route)

    def run(self, document: Document) -> Any:
        """Lower everything that is reachable from the document's root."""
        root = self.entrance(document, "")
        for at, pointer in self.queue:  # grows as it goes
            value = self.lowered[at.address, pointer]
            if isinstance(value, dict):
                value.update(self._lower(at, pointer))
        for address, pointer in self.entered:
            schema = self.lowered[address, pointer]
            inner = dict(schema)
            schema.clear()
            schema[ENTER] = Entrance(inner, self.documents[address].resource_at(pointer))
        return root

    def _lower(self, document: Document, pointer: str) -> dict[str, Any]:
        schema = found_at(document.content, pointer, ())
        if not isinstance(schema, dict):
            raise SchemaFault("a reference leads to what is no schema", route_of(pointer))
        resource = document.resource_at(pointer)
        self.node(document, resource.pointer)
        if pointer == resource.pointer and (resource.dynamic or resource.is_recursive):
            self.entrance(document, pointer)
            for anchor in resource.dynamic:
                resource.dynamic[anchor] = self.entrance(document, resource.anchors[anchor])
        return {
            ORIGIN: Origin(route_of(pointer) if document.address == ROOT else (), schema),
            **_Schema(self, document, pointer, schema, resource.draft).lowered(),
        }


def _enclosing(document: Document, pointer: str) -> Resource:
    return document.resource_at(pointer.rpartition("/")[0])


def _pruned(schema: Any, resource: Resource, document: Document, start: str | None = None) -> Any:
    """Copy a schema with `{}` for each resource of another draft in it."""
    begin = resource.pointer if start is None else start

    def copy(value: Any, pointer: str) -> Any:
        inner = document.resources.get(pointer)
        if inner and pointer != begin and inner.draft != resource.draft:
            return {}
        if isinstance(value, dict):
            return {key: copy(item, below(pointer, key)) for key, item in value.items()}
        return [copy(item, below(pointer, n)) for n, item in enumerate(value)] if isinstance(value, list) else value

    return copy(schema, begin)


# -- the keywords of one schema ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Schema:
    """One schema object on its way to 2020-12's keywords."""

    lowering: _Lowering
    document: Document
    pointer: str
    schema: Mapping[str, Any]
    draft: int

    def lowered(self) -> dict[str, Any]:
        """Give the lowered keywords, those that say most first."""
        if self.draft < 2019 and isinstance(self.schema.get("$ref"), str):
            return self._beside_reference()
        parts = {**self._assertions(), **self._references(), **self._objects(), **self._arrays(), **self._applicators()}
        return {keyword: value for keyword, value in parts.items() if value is not None}

    def _beside_reference(self) -> dict[str, Any]:
        """Up to draft 7 a reference stands alone, but the compiler reads on, and `const` is judged before it."""
        found = {"const": self._const(), "$ref": self._target("$ref")}
        for keyword in ("contains", "propertyNames"):
            self._sub(keyword, 6)
        self._conditions()
        return {keyword: value for keyword, value in found.items() if value is not None}

    def _target(self, keyword: str) -> Any:
        reference = self.schema.get(keyword)
        if not isinstance(reference, str):
            return None
        document, at = self.lowering.locate(self.document, self.pointer, reference)
        target, schema = self.lowering.entrance(document, at), found_at(document.content, at, ())
        anchor = "" if keyword == "$recursiveRef" else reference.partition("#")[2]
        mark = ("$recursiveAnchor", True) if keyword == "$recursiveRef" else ("$dynamicAnchor", anchor)
        moves = keyword != "$ref" and isinstance(schema, dict) and schema.get(mark[0]) == mark[1]
        return DynamicReference(target, anchor) if moves else target

    def _one(self, *path: str | int) -> Any:
        return self.lowering.node(self.document, below(self.pointer, *path))

    def _sub(self, keyword: str, since: int = 4) -> Any:
        return self._one(keyword) if keyword in self.schema and self.draft >= since else None

    def _many(self, keyword: str, since: int = 4) -> Any:
        value = self.schema.get(keyword)
        return (
            [self._one(keyword, n) for n in range(len(value))] if isinstance(value, list) and self._is(since) else None
        )

    def _named(self, keyword: str, since: int = 4) -> Any:
        value = self.schema.get(keyword)
        return (
            {name: self._one(keyword, name) for name in value} if isinstance(value, dict) and self._is(since) else None
        )

    def _is(self, since: int) -> bool:
        return self.draft >= since

    def _references(self) -> dict[str, Any]:
        since = {"$ref": 4, "$recursiveRef": 2019, "$dynamicRef": 2020}
        return {keyword: self._target(keyword) for keyword, draft in since.items() if self._is(draft)}

    def _assertions(self) -> dict[str, Any]:
        schema = self.schema
        counts = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")
        return {
            "type": schema.get("type"),
            "const": self._const(),
            "enum": frozenset(canonical(item) for item in schema["enum"]) if "enum" in schema else None,
            "format": self._format(),
            **self._bounds(),
            "multipleOf": self._number("multipleOf"),
            **{keyword: _count(schema.get(keyword)) for keyword in counts},
            "pattern": self._pattern(schema["pattern"], "pattern") if "pattern" in schema else None,
            "uniqueItems": schema.get("uniqueItems"),
            "required": schema.get("required"),
        }

    def _const(self) -> list[Any] | None:
        return [canonical(self.schema["const"])] if "const" in self.schema and self._is(6) else None

    def _format(self) -> str | None:
        name = self.schema.get("format")
        # from 2019-09 on a format is an annotation; metaschemas are the exception
        asserted = not self._is(2019) or self.lowering.check is None
        return name if asserted and isinstance(name, str) and name in formats.FORMATS else None

    def _bounds(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
            if self.schema.get(exclusive) is True:  # draft 4
                found[exclusive] = self._number(bound)
            else:
                found[bound], found[exclusive] = self._number(bound), self._number(exclusive)
        return found

    def _number(self, keyword: str) -> Fraction | None:
        value = self.schema.get(keyword)
        return Fraction(value) if isinstance(value, int | Decimal) and not isinstance(value, bool) else None

    def _pattern(self, text: str, *path: str) -> formats.Pattern:
        try:
            return formats.pattern(text)
        except formats.PatternError as error:
            raise SchemaFault(
                f"Helm cannot compile {text[:80]!r}: {error}", (*route_of(self.pointer), *path)
            ) from error

    def _objects(self) -> dict[str, Any]:
        patterns = self._named("patternProperties")
        return {
            "properties": self._named("properties"),
            "patternProperties": patterns
            and [(self._pattern(text, "patternProperties", text), below) for text, below in patterns.items()],
            "additionalProperties": self._sub("additionalProperties"),
            "propertyNames": self._sub("propertyNames", 6),
            "dependencies": self._dependencies(),
            "dependentRequired": self.schema.get("dependentRequired") if self._is(2019) else None,
            "dependentSchemas": self._named("dependentSchemas", 2019),
        }

    def _dependencies(self) -> Any:
        value = self.schema.get("dependencies")  # enforced in every draft, 2020-12 included
        if not isinstance(value, dict):
            return None
        return {
            name: item if isinstance(item, list) else self._one("dependencies", name) for name, item in value.items()
        }

    def _arrays(self) -> dict[str, Any]:
        if self._is(2020):
            found = {"prefixItems": self._many("prefixItems"), "items": self._sub("items")}
        elif isinstance(self.schema.get("items"), list):
            found = {"prefixItems": self._many("items"), "items": self._sub("additionalItems")}
        else:
            found = {"items": self._sub("items")}
        found["contains"] = self._sub("contains", 6)
        if self._is(2019):
            found |= {keyword: _count(self.schema.get(keyword)) for keyword in ("minContains", "maxContains")}
        # which items `contains` has seen counts for unevaluatedItems from 2020-12 on
        return found | ({"$containsEvaluates": True} if self._is(2020) and found["contains"] is not None else {})

    def _applicators(self) -> dict[str, Any]:
        return {
            "not": self._sub("not"),
            **{keyword: self._many(keyword) for keyword in ("allOf", "anyOf", "oneOf")},
            **self._conditions(),
            "unevaluatedProperties": self._sub("unevaluatedProperties", 2019),
            "unevaluatedItems": self._sub("unevaluatedItems", 2019),
        }

    def _conditions(self) -> dict[str, Any]:
        condition = self.schema.get("if") if self._is(7) else None
        return {
            "if": self._sub("if", 7),
            "then": self._sub("then") if condition not in (None, False) else None,
            "else": self._sub("else") if condition not in (None, True) else None,
        }


def _count(value: Any) -> int | None:
    """Give a count as Go does: of a number that no int64 holds, the lowest bits."""
    if not isinstance(value, int | Decimal):
        return None
    return (int(value) + (1 << 63)) % (1 << 64) - (1 << 63)


def lower(content: Any, address: str, check: Callable[[Any, int, Route], None] | None, budget: Budget) -> Any:
    """Lower a schema document; SchemaFault where Helm refuses it, TooMuchWork where the budget does not suffice.

    `check` judges a schema against its draft's metaschema and raises SchemaFault; without it the document is itself a
    metaschema: not checked, and its formats asserted.
    """
    try:
        lowering = _Lowering(check, budget)
        return lowering.run(lowering.document(address, content))
    except RecursionError as error:
        raise SchemaFault("nested too deeply") from error
