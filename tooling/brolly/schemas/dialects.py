"""A JSON Schema document as Helm's validator reads it: its drafts, its resources and its anchors.

Source: santhosh-tekuri/jsonschema v6 under Helm's loaders (pkg/chart/common/util/jsonschema.go). Nothing is fetched.
"""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urljoin, urlsplit

from brolly.schemas import formats

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Route = tuple[str | int, ...]

ROOT: Final = "file:///values.schema.json"  # the address under which Helm compiles a chart's schema
MAX_BYTES: Final = 5 << 20  # Helm reads no larger file from a chart
_MAX_EXPONENT: Final = 4000
_DRAFTS: Final = {
    "json-schema.org/schema": 2020,
    "json-schema.org/draft/2020-12/schema": 2020,
    "json-schema.org/draft/2019-09/schema": 2019,
    "json-schema.org/draft-07/schema": 7,
    "json-schema.org/draft-06/schema": 6,
    "json-schema.org/draft-04/schema": 4,
}
METASCHEMAS: Final = {
    2020: "https://json-schema.org/draft/2020-12/schema",
    2019: "https://json-schema.org/draft/2019-09/schema",
    7: "http://json-schema.org/draft-07/schema",
    6: "http://json-schema.org/draft-06/schema",
    4: "http://json-schema.org/draft-04/schema",
}


class SchemaFault(ValueError):  # noqa: N818 - a fault of the schema, as `Finding` has none
    """Helm refuses this schema, whatever the values. `route` leads into the schema where that is known."""

    def __init__(self, message: str, route: Route = ()) -> None:
        super().__init__(message)
        self.route = route


class TooMuchWork(SchemaFault):
    """Judging takes more steps than are worth it: Helm may come to a verdict, and may take long for it."""

    def __init__(self) -> None:
        super().__init__("takes too many steps to judge by: its references multiply")


class Budget:
    """How many keywords may still be applied: a count, since no clock gives the same verdict twice."""

    def __init__(self, steps: int) -> None:
        self._left = steps

    def spend(self, steps: int = 1) -> None:
        """Take steps; TooMuchWork if there are none left."""
        self._left -= steps
        if self._left < 0:
            raise TooMuchWork


class RemoteReference(SchemaFault):
    """A reference to another document: Helm would fetch it, or read it from the host, whenever it renders.

    `is_fetched` says which: what is at a web address may be there for those who install.
    """

    def __init__(self, reference: str, address: str, route: Route = ()) -> None:
        super().__init__(f"refers to another document: {reference[:200]}", route)
        self.reference = reference
        self.is_fetched = urlsplit(address).scheme in {"http", "https"}


@dataclass(eq=False)
class Resource:
    """A schema with an address of its own: its draft and its anchors, each a pointer."""

    pointer: str
    address: str
    draft: int
    anchors: dict[str, str] = field(default_factory=dict)
    dynamic: dict[str, Any] = field(default_factory=dict)
    is_recursive: bool = False


@dataclass(frozen=True, eq=False)
class Document:
    """One JSON document of schemas and what was found in it."""

    address: str
    content: Any = field(repr=False)
    resources: dict[str, Resource] = field(default_factory=dict, repr=False)
    collected: set[str] = field(default_factory=set, repr=False)
    addresses: dict[str, Resource] = field(default_factory=dict, repr=False)

    def add(self, resource: Resource) -> Resource:
        """Take a resource in, the first with its address."""
        self.addresses.setdefault(resource.address, resource)
        return self.resources.setdefault(resource.pointer, resource)

    def resource_at(self, pointer: str) -> Resource:
        """Give the innermost resource around a pointer."""
        while pointer not in self.resources:
            pointer = pointer.rpartition("/")[0]
        return self.resources[pointer]

    def resource_of(self, address: str) -> Resource | None:
        """Give the resource with an address; the document's own address is its root."""
        if address == self.address:
            return self.resources[""]
        return self.addresses.get(address)


def read_json(content: bytes) -> Any:
    """Read JSON as Go does: no NaN, numbers exact, what is no Unicode replaced; SchemaFault if it is none."""
    if len(content) > MAX_BYTES:
        raise SchemaFault(f"larger than {MAX_BYTES} bytes")
    try:
        text = content.decode("utf-8-sig", errors="replace")
        data = json.loads(text, parse_int=_integer, parse_float=_decimal, parse_constant=_refuse)
        return _without_surrogates(data) if b"\\ud" in content.lower() else data
    except RecursionError as error:
        raise SchemaFault("nested too deeply") from error
    except ValueError as error:
        raise SchemaFault(f"not JSON: {error}") from error


def _integer(text: str) -> int | Decimal:
    return int(text) if len(text) < 16 else _decimal(text)  # a Decimal stays exact where Helm's values do not


def _decimal(text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"the number {text[:40]} is out of bounds") from None
    if not number:
        return Decimal(0)
    if abs(number.adjusted()) > _MAX_EXPONENT:
        raise ValueError(f"the number {text[:40]} is out of bounds")
    return number


def _refuse(text: str) -> None:
    raise ValueError(f"{text} is no JSON number")


def _without_surrogates(data: Any) -> Any:
    match data:
        case str():
            return data.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        case list():
            return [_without_surrogates(item) for item in data]
        case dict():
            return {_without_surrogates(key): _without_surrogates(value) for key, value in data.items()}
        case _:
            return data


def exact(number: Any) -> Fraction:
    """Give a number's exact value as Helm sees it: a float counts as the shortest decimal that names it.

    An integer is one of the values, which are float64 in Helm; numbers of a schema are read exactly.
    """
    if isinstance(number, int) and abs(number) > 1 << 53:
        number = float(number)  # Helm's values are float64
    return Fraction(repr(number)) if isinstance(number, float) else Fraction(number)


def canonical(value: Any) -> Any:
    """Give a hashable that is equal exactly when JSON Schema calls two values equal (1 and 1.0 are, 1 and true not)."""
    match value:
        case bool():
            return ("boolean", value)
        case int() | float() | Decimal():
            return exact(value)
        case dict():
            return ("object", frozenset((key, canonical(item)) for key, item in value.items()))
        case list():
            return ("array", tuple(canonical(item) for item in value))
        case _:
            return value


# -- where subschemas stand -------------------------------------------------------------------------------------------

_ONE: Final = "one"
_MANY: Final = "many"
_NAMED: Final = "named"
_LOCATIONS: Final[tuple[tuple[int, str, str], ...]] = (
    (4, "definitions", _NAMED),
    (4, "not", _ONE),
    (4, "allOf", _MANY),
    (4, "anyOf", _MANY),
    (4, "oneOf", _MANY),
    (4, "properties", _NAMED),
    (4, "additionalProperties", _ONE),
    (4, "patternProperties", _NAMED),
    (4, "items", _ONE),
    (4, "items", _MANY),
    (4, "additionalItems", _ONE),
    (4, "dependencies", _NAMED),
    (6, "propertyNames", _ONE),
    (6, "contains", _ONE),
    (7, "if", _ONE),
    (7, "then", _ONE),
    (7, "else", _ONE),
    (2019, "$defs", _NAMED),
    (2019, "dependentSchemas", _NAMED),
    (2019, "unevaluatedProperties", _ONE),
    (2019, "unevaluatedItems", _ONE),
    (2019, "contentSchema", _ONE),
    (2020, "prefixItems", _MANY),
)


def _subschemas(schema: Mapping[str, Any], pointer: str, draft: int) -> Iterator[tuple[str, Any]]:
    for since, keyword, shape in _LOCATIONS:
        value = schema.get(keyword)
        if since > draft or value is None:
            continue
        at = below(pointer, keyword)
        if shape == _ONE:
            yield at, value
        elif shape == _MANY and isinstance(value, list):
            yield from ((below(at, index), item) for index, item in enumerate(value))
        elif shape == _NAMED and isinstance(value, dict):
            yield from ((below(at, name), item) for name, item in value.items())


def below(pointer: str, *parts: str | int) -> str:
    """Extend a JSON pointer."""
    return pointer + "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def route_of(pointer: str) -> Route:
    """Split a JSON pointer; parts of digits are taken for indices."""
    return tuple(int(part) if part.isdecimal() else part for part in _parts(pointer))


def named(part: str) -> str:
    """Decode one part of a JSON pointer."""
    return part.replace("~1", "/").replace("~0", "~")


def _parts(pointer: str) -> list[str]:
    return [named(part) for part in pointer.split("/")[1:]]


def found_at(content: Any, pointer: str, route: Route) -> Any:
    """Follow a JSON pointer; SchemaFault, at the route, if it leads nowhere."""
    for part in _parts(pointer) if not re.search(r"~(?![01])", pointer) else [None]:
        if isinstance(content, dict) and part in content:
            content = content[part]
        elif (
            isinstance(content, list) and part and re.fullmatch(r"[+-]?[0-9]+", part) and 0 <= int(part) < len(content)
        ):
            content = content[int(part)]
        else:
            raise SchemaFault(f"a reference leads nowhere: #{pointer[:200]}", route)
    return content


# -- reading a document: resources and anchors ------------------------------------------------------------------------


def draft_of(schema: Any, fallback: int, pointer: str) -> int:
    """Give the draft that `$schema` names; RemoteReference for a metaschema that Helm would fetch."""
    named = schema.get("$schema") if isinstance(schema, dict) else None
    if not isinstance(named, str):
        return fallback
    address = named.partition("#")[0]
    plain = address.removeprefix("http://") if address.startswith("http://") else address.removeprefix("https://")
    if plain in _DRAFTS:
        return _DRAFTS[plain]
    route = (*route_of(pointer), "$schema")
    match (formats.url_parts(address) or ("",))[0]:
        case "urn":
            return fallback  # unresolved, Helm reads it as the schema `true`
        case "http" | "https" | "file":
            raise RemoteReference(named, address, route)
        case _:
            raise SchemaFault(f"unknown draft: {named[:200]}", route)


def _address_in(schema: Mapping[str, Any], draft: int) -> str:
    if draft < 2019 and "$ref" in schema:
        return ""  # its siblings are ignored
    text = schema.get("id" if draft == 4 else "$id")
    return text.partition("#")[0] if isinstance(text, str) else ""


def joined(base: str, reference: str) -> str:
    """Resolve a reference without its fragment, as Go's net/url does; ValueError for what is no URL."""
    if formats.url_parts(reference) is None:
        raise ValueError("not a URL")
    if not reference:
        return base
    if base.startswith("urn:") and not urlsplit(reference).scheme:
        return base  # an opaque base stays what it is
    return urljoin(base, reference)


def collect(document: Document, schema: Any, base: str, pointer: str, fallback: int) -> None:
    """Find the resources and anchors in a schema and everything below it."""
    if pointer in document.collected:
        return
    document.collected.add(pointer)
    if not isinstance(schema, dict):
        if isinstance(schema, bool) and not pointer:
            document.add(Resource("", base, fallback))
        return
    draft = draft_of(schema, fallback, pointer)
    own = _address_in(schema, draft)
    if pointer and not own:
        draft = fallback
        own = _address_in(schema, draft)
    if own:
        try:
            base = joined(base, own)
        except ValueError as error:
            raise SchemaFault(f"not an address: {own[:200]}", route_of(pointer)) from error
    resource = _resource(document, base, pointer, draft, is_new=bool(own) or not pointer)
    _collect_anchors(schema, pointer, resource)
    for at, value in _subschemas(schema, pointer, draft):
        collect(document, value, base, at, resource.draft)


def _resource(document: Document, address: str, pointer: str, draft: int, *, is_new: bool) -> Resource:
    known = document.addresses.get(address)
    if known is None:
        return document.add(Resource(pointer, address, draft))
    if is_new and known.pointer != pointer:
        raise SchemaFault(f"two schemas have the address {address[:200]}", route_of(pointer))
    return known


def _collect_anchors(schema: Mapping[str, Any], pointer: str, resource: Resource) -> None:
    names: list[str] = []
    if resource.draft < 2019:
        text = schema.get("id" if resource.draft == 4 else "$id")
        if "$ref" not in schema and isinstance(text, str):
            fragment = unquoted(text.partition("#")[2], pointer)
            names += [fragment] if fragment and not fragment.startswith("/") else []
    elif isinstance(schema.get("$anchor"), str):
        names.append(schema["$anchor"])
    if resource.draft >= 2020 and isinstance(schema.get("$dynamicAnchor"), str):
        names.append(schema["$dynamicAnchor"])
        resource.dynamic.setdefault(schema["$dynamicAnchor"], None)
    if pointer == resource.pointer:
        resource.is_recursive = resource.draft >= 2019 and schema.get("$recursiveAnchor") is True
    for name in names:
        if resource.anchors.setdefault(name, pointer) != pointer:
            raise SchemaFault(f"two schemas have the anchor {name[:200]}", route_of(pointer))


def unquoted(fragment: str, pointer: str) -> str:
    """Decode the fragment of a reference that stands at a pointer."""
    if re.search(r"%(?![0-9A-Fa-f]{2})", fragment):
        raise SchemaFault(f"not a fragment: #{fragment[:200]}", route_of(pointer))
    return unquote(fragment)


# -- metaschemas ------------------------------------------------------------------------------------------------------

# Where the validator's own copies differ from the published ones.
_STRICT_ENUM: Final = {"enum": {"type": "array", "minItems": 1, "uniqueItems": True}}
_EDITED: Final[Mapping[str, Mapping[str, Any]]] = {
    METASCHEMAS[4]: {"$schema": {"type": "string", "format": "uri"}, "$ref": {"type": "string"}},
    METASCHEMAS[6]: {
        **_STRICT_ENUM,
        "patternProperties": {"type": "object", "additionalProperties": {"$ref": "#"}, "default": {}},
    },
    METASCHEMAS[7]: {**_STRICT_ENUM, "writeOnly": {"type": "boolean"}},
}


@functools.cache
def metaschema(address: str) -> Any:
    """Give a draft's published metaschema, or None for any other address."""
    from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped]

    plain = address if address.startswith("http://json-schema.org/draft-0") else address.replace("http:", "https:", 1)
    if plain not in REGISTRY and plain + "#" not in REGISTRY:
        return None
    published = REGISTRY.contents(plain if plain in REGISTRY else plain + "#")
    if plain not in _EDITED:
        return published
    return {**published, "properties": {**published["properties"], **_EDITED[plain]}}
