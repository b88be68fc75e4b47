"""What a schema says of a part of the values, whatever the rest may be.

An operator's file, an overlay, and the values that `helm lint` judges lack what the defaults of charts add, and a null
in them takes a default away. Nothing tells them from coalesced values: all that Helm adds, a person could have written,
and what a null has taken away leaves no trace. So a relaxed schema refuses only what stays refused when keys are added,
and when keys with null disappear: it lets null pass, asks for no key that may be provided, and does not look at what
is about absence or about a whole (`not`, `if`, `dependencies`, `minProperties`, ...).
"""

from __future__ import annotations

import graphlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from brolly.schemas import SchemaFault
from brolly.schemas.dialects import below

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

_DROPPED: Final = (
    *("not", "if", "then", "else", "contains", "propertyNames", "unevaluatedProperties", "unevaluatedItems"),
    *("dependencies", "dependentSchemas", "dependentRequired"),
    *("minContains", "maxContains", "minProperties", "maxProperties"),
)
_NAMED: Final = {"dependencies", "dependentSchemas"}


@dataclass(frozen=True)
class Node:
    """A schema in a document: its pointer, the schema, and its draft."""

    pointer: str
    schema: dict[str, Any] = field(repr=False)
    draft: int

    @property
    def kept(self) -> str:
        """The keyword below which this draft keeps schemas for others to refer to."""
        return "$defs" if self.draft >= 2019 else "definitions"


@dataclass(frozen=True)
class Move:
    """Where a subschema goes, in keys from the schema that it stands in, whose pointer is `around`."""

    around: str
    keys: tuple[str | int, ...]


def require_no_circle(nodes: Sequence[Node], targets: Mapping[str, set[str]]) -> None:
    """Refuse schemas that apply themselves to one value: a null that reaches them may be gone when Helm judges."""
    graph = {node.pointer: {*targets.get(node.pointer, ())} for node in nodes}
    for node in nodes:
        for keyword in ("allOf", "anyOf", "oneOf"):
            several = node.schema.get(keyword)
            for number in range(len(several) if isinstance(several, list) else 0):
                graph[node.pointer].add(below(node.pointer, keyword, number))
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError:
        raise SchemaFault("its references go round in circles") from None


def may_be_gone(target: str) -> bool:
    """Say whether a pointer leads through what `relax` may take away."""
    return not set(_DROPPED).isdisjoint(target.split("/"))


def followed(pointer: str, moved: Mapping[str, Move]) -> str:
    """Give the pointer to where something is now."""
    before, now = "", ""
    for part in pointer.split("/")[1:]:
        before += "/" + part
        move = moved.get(before)
        now = below(followed(move.around, moved), *move.keys) if move else f"{now}/{part}"
    return now


def moves(node: Node, targets: AbstractSet[str], *, is_relaxed: bool) -> dict[str, Move]:
    """Say what of a schema must move, by its pointer: what nothing refers to may as well be gone."""
    taken = {*_table(node.schema, "$defs"), *_table(node.schema, node.kept)}
    found = dict(_of_2019(node, taken, is_relaxed=is_relaxed)) if node.draft == 2019 else {}
    return {**found, **dict(_of_dropped(node, targets, taken))} if is_relaxed else found


def _of_2019(node: Node, taken: set[str], *, is_relaxed: bool) -> Iterator[tuple[str, Move]]:
    """Move what Helm's validator misreads in a 2019-09 schema within a document of another draft.

    Its metaschema speaks of these two keywords by `$recursiveRef`, which leads astray there.
    """
    for name in _table(node.schema, "definitions"):
        yield below(node.pointer, "definitions", name), Move(node.pointer, ("$defs", _new(name, taken)))
    for name, needs in () if is_relaxed else _table(node.schema, "dependencies").items():
        keyword = "dependentRequired" if isinstance(needs, list) else "dependentSchemas"
        if name in _table(node.schema, keyword):
            raise SchemaFault("Helm misreads `dependencies` of draft 2019-09 beside other drafts")
        yield below(node.pointer, "dependencies", name), Move(node.pointer, (keyword, name))


def _new(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _of_dropped(node: Node, targets: AbstractSet[str], taken: set[str]) -> Iterator[tuple[str, Move]]:
    for keyword in [keyword for keyword in _DROPPED if keyword in node.schema]:
        value = node.schema[keyword]
        names = list(value) if keyword in _NAMED and isinstance(value, dict) else []
        paths: list[tuple[str, ...]] = [(keyword, name) for name in names]
        for path in paths or [(keyword,)]:
            at = below(node.pointer, *path)
            if any(target == at or target.startswith(at + "/") for target in targets):
                yield at, Move(node.pointer, (node.kept, _new(keyword, taken)))
    if isinstance(node.schema.get("oneOf"), list):
        beside = node.schema.get("allOf", ())
        keys = ("allOf", len(beside), "anyOf") if "anyOf" in node.schema else ("anyOf",)
        yield below(node.pointer, "oneOf"), Move(node.pointer, keys)


def _table(schema: Mapping[str, Any], keyword: str) -> dict[str, Any]:
    value = schema.get(keyword)
    return value if isinstance(value, dict) else {}


def move(node: Node, moved: Mapping[str, Move]) -> None:
    """Do in a schema what was said."""
    for keyword in ("definitions", *_DROPPED, "oneOf"):
        if keyword not in node.schema:
            continue
        value = node.schema[keyword]
        at = below(node.pointer, keyword)
        inner = {below(at, name): item for name, item in _table(node.schema, keyword).items()}
        for pointer, item in {at: value, **inner}.items():
            if pointer in moved:
                _put(node.schema, moved[pointer].keys, item)
        emptied = node.draft == 2019 and keyword in {"definitions", "dependencies"}
        if value is not None and (emptied or at in moved or any(pointer in moved for pointer in inner)):
            del node.schema[keyword]


def _put(schema: dict[str, Any], keys: tuple[str | int, ...], item: Any) -> None:
    match keys:
        case ("allOf", int(), str(keyword)):
            schema["allOf"] = [*schema.get("allOf", ()), {keyword: item}]
        case (str(keyword),):
            schema[keyword] = item
        case (str(keyword), str(name)):
            schema[keyword] = {**_table(schema, keyword), name: item}


def relax(node: Node, provided: frozenset[str]) -> None:
    """Take out of a schema what it asks of complete values."""
    schema = node.schema
    for keyword in _DROPPED:
        schema.pop(keyword, None)
    if isinstance(schema.get("required"), list):
        schema["required"] = [name for name in schema["required"] if name not in provided]
        if not schema["required"]:
            del schema["required"]  # draft 4 allows no empty list
    kinds = schema.get("type", [])
    if kinds:
        listed = kinds if isinstance(kinds, list) else [kinds]
        schema["type"] = listed if "null" in listed else [*listed, "null"]
    _relax_members(schema, node.draft)


def _relax_members(schema: dict[str, Any], draft: int) -> None:
    members = [schema.pop("const")] if draft >= 6 and "const" in schema else schema.get("enum")
    if isinstance(members, list):
        schema.pop("enum", None)
        if not any(isinstance(member, dict) for member in members):
            schema["enum"] = members if None in members else [*members, None]
