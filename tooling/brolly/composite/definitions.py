"""A schema, made part of another document: under an address of its own, with all that it refers to.

There are two forms: the whole schema, and what it says of a part of the values (`relaxing`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from brolly import schemas
from brolly.composite import relaxing
from brolly.schemas import dialects

if TYPE_CHECKING:
    from collections.abc import Iterator

_REFERENCES: Final = {"$ref": 4, "$recursiveRef": 2019, "$dynamicRef": 2020}
_UNRESOLVED: Final = "urn:unresolved"  # to Helm the schema `true`
_ROOM: Final = "root"  # where a schema moves that cannot have an address itself


def definition(schema: bytes, address: str, provided: frozenset[str] | None = None) -> dict[str, Any]:
    """Give a schema as it can stand in another document under an address; SchemaFault if it cannot.

    With `provided`, the names of keys that the values may get from elsewhere, it refuses a part of the values only if
    it refuses them whenever they are complete.
    """
    schemas.judge(schema, {})
    content = _numbers(dialects.read_json(schema))
    if isinstance(content, bool):
        content = {} if content else {"not": {}} if provided is None else {"type": "null"}
    rewriting = _Rewriting.of(content, address)
    rewritten = rewriting.run(provided)
    if rewriting.moves or any(map(relaxing.may_be_gone, rewriting.all_targets)):
        schemas.judge_parsed(rewritten, {})  # what refers to odd places may have lost them
    return rewritten


def written(document: dict[str, Any]) -> bytes:
    """Write a document of schemas as JSON."""
    return (json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n").encode()


def _numbers(value: Any) -> Any:
    """Give numbers as `json` writes them, each exactly; SchemaFault if there is one that it cannot."""
    match value:
        case Decimal():
            if value == value.to_integral_value():
                return int(value)
            if Decimal(repr(float(value))) != value:
                raise schemas.SchemaFault(f"the number {str(value)[:40]} has too many digits")
            return float(value)
        case dict():
            return {key: _numbers(item) for key, item in value.items()}
        case list():
            return [_numbers(item) for item in value]
        case _:
            return value


@dataclass(frozen=True)
class _Rewriting:
    """Gives each resource of a document a new address, and leads the references there."""

    document: dialects.Document
    address: str
    names: dict[str, str] = field(default_factory=dict)
    targets: dict[str, set[str]] = field(default_factory=dict)
    moves: dict[str, relaxing.Move] = field(default_factory=dict)

    @classmethod
    def of(cls, content: Any, address: str) -> _Rewriting:
        """Read a document that Helm takes."""
        document = dialects.Document(dialects.ROOT, content)
        dialects.collect(document, content, dialects.ROOT, "", 2020)
        return cls(document, address)

    def run(self, provided: frozenset[str] | None) -> dict[str, Any]:
        """Give the schema under its new address."""
        dict(self._references())  # reads what references lead to, wherever that is
        found = {pointer: self._at(pointer) for pointer in sorted(self.document.collected)}
        nodes = [
            relaxing.Node(pointer, schema, self.document.resource_at(pointer).draft)
            for pointer, schema in found.items()
            if isinstance(schema, dict)
        ]
        self._plan(nodes, is_relaxed=provided is not None)
        for (pointer, keyword), text in dict(self._references()).items():
            known = provided is None or text.startswith(("#", self.address))
            found[pointer][keyword] = text if known else _UNRESOLVED
        for pointer, resource in self.document.resources.items():
            if pointer:
                _set_address(found[pointer], resource.draft, self._name(pointer))
        for pointer in found if provided is not None else ():
            if found[pointer] is False:
                self._replace(pointer, {"type": "null"})
        for node in nodes:
            relaxing.move(node, self.moves)
            if provided is not None:
                relaxing.relax(node, provided)
        return self._root()

    def _plan(self, nodes: list[relaxing.Node], *, is_relaxed: bool) -> None:
        """Say what moves."""
        if is_relaxed:
            relaxing.require_no_circle(nodes, self.targets)
        targets = self.all_targets
        for node in nodes:
            self.moves.update(relaxing.moves(node, targets, is_relaxed=is_relaxed))

    @property
    def all_targets(self) -> set[str]:
        """What references may lead to: of dynamic ones every anchor."""
        dynamic = {one.anchors[name] for one in self.document.resources.values() for name in one.dynamic}
        return dynamic.union(*self.targets.values())

    def _replace(self, pointer: str, schema: dict[str, Any]) -> None:
        parent, _, last = pointer.rpartition("/")
        container = self._at(parent)
        container[dialects.route_of("/" + last)[0] if isinstance(container, list) else dialects.named(last)] = schema

    @property
    def _is_wrapped(self) -> bool:
        """Say whether the root is a reference, beside which an address would not count."""
        return self.document.resources[""].draft < 2019 and isinstance(self.document.content.get("$ref"), str)

    def _at(self, pointer: str) -> Any:
        return dialects.found_at(self.document.content, pointer, ())

    def _name(self, pointer: str) -> str:
        return self.names.setdefault(pointer, f"{self.address}:{len(self.names) + 1}") if pointer else self.address

    def _root(self) -> dict[str, Any]:
        content, draft = self.document.content, self.document.resources[""].draft
        if self._is_wrapped:
            content = {"allOf": [{"$ref": f"#/definitions/{_ROOM}"}], "definitions": {_ROOM: content}}
        _set_address(content, draft, self.address)
        content["$schema"] = dialects.METASCHEMAS[draft]
        first = ("$schema", "id" if draft == 4 else "$id")
        return {**{keyword: content[keyword] for keyword in first}, **content}

    def _references(self) -> Iterator[tuple[tuple[str, str], str]]:
        """Give what each reference becomes; what references lead to is read on the way."""
        seen: set[str] = set()
        while pointers := sorted(self.document.collected - seen):
            seen.update(pointers)
            for pointer in pointers:
                schema = self._at(pointer)
                draft = self.document.resource_at(pointer).draft
                for keyword, since in _REFERENCES.items() if isinstance(schema, dict) else ():
                    if draft >= since and isinstance(schema.get(keyword), str):
                        yield (pointer, keyword), self._moved(pointer, schema[keyword])

    def _moved(self, pointer: str, reference: str) -> str:
        """Give a reference anew; one that leads nowhere stands where Helm never looks, and is left as it is."""
        address, _, fragment = reference.partition("#")
        around = self.document.resource_at(pointer)
        try:
            address = dialects.joined(around.address, address)
            resource = self.document.resource_of(address)
            if resource is None:
                return f"{_foreign(address)}#{fragment}" if fragment else _foreign(address)
            self._collect(resource, dialects.unquoted(fragment, pointer), pointer)
        except ValueError:
            return reference
        if fragment.startswith("/"):
            fragment = self._followed(resource, fragment, pointer)
        if not resource.pointer and self._is_wrapped and (not fragment or fragment.startswith("/")):
            fragment = f"/definitions/{_ROOM}{fragment}"
        return ("" if resource is around else self._name(resource.pointer)) + "#" + fragment

    def _followed(self, resource: dialects.Resource, fragment: str, pointer: str) -> str:
        """Give the pointer to what may have moved."""
        at = resource.pointer + dialects.unquoted(fragment, pointer)
        now = relaxing.followed(at, self.moves)
        if now == at:
            return fragment
        return quote(now.removeprefix(relaxing.followed(resource.pointer, self.moves)), safe="/~$:@!&'()*+,;=")

    def _collect(self, resource: dialects.Resource, name: str, pointer: str) -> None:
        """Read what a reference leads to outside the places where a draft keeps schemas."""
        at = resource.anchors.get(name, resource.pointer + name)
        self.targets.setdefault(pointer, set()).add(at)
        schema = self._at(at)
        around = self.document.resource_at(at)
        dialects.collect(self.document, schema, around.address, at, around.draft)


def _set_address(schema: dict[str, Any], draft: int, address: str) -> None:
    keyword = "id" if draft == 4 else "$id"
    before = schema.get(keyword)
    # up to draft 7 the fragment of an address is an anchor
    anchor = before.partition("#")[2] if isinstance(before, str) and draft < 2019 else ""
    schema[keyword] = f"{address}#{anchor}" if anchor else address


def _foreign(address: str) -> str:
    """Give the address of what is not in the document, to Helm `true`: none may come to be one of ours."""
    return _UNRESOLVED if address.startswith("urn:brolly:") else address
