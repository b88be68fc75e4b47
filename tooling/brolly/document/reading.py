"""Author's files: data with places, and all faults at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import msgspec
import yaml

from brolly.document import scalars, syntax
from brolly.document.builder import ITEM, MERGED, NO_KEY, Builder, Frame, mergeable
from brolly.document.parsing import ended, paused_gc
from brolly.document.rules import (
    ANCHOR,
    DIRECTIVE,
    DUPLICATE_KEY,
    EMPTY,
    KEY,
    MERGE,
    ROOT,
    SEVERAL_DOCUMENTS,
    TAG,
    TOO_LARGE,
    FaultError,
    Place,
    shown,
)
from brolly.findings import Finding, Location, Rule, Severity, in_order

if TYPE_CHECKING:
    from collections.abc import Callable

# keys and indexes from the root
Route: TypeAlias = tuple[str | int, ...]

# Helm reads no larger file of a chart (pkg/chart/loader/archive)
MAX_BYTES: Final = 5 << 20
_KNOWN_TAGS: Final = frozenset({"str", "bool", "int", "float", "null", "timestamp", "binary", "map", "seq", "merge"})


class Node(NamedTuple):
    """Where a value stands: libyaml's event, the mark of its end, and the nodes below by key or by index.

    A key comes with its own event.
    """

    event: Any
    end: Any
    children: dict[str, tuple[Any, Node]] | list[Node] | None = None

    @property
    def place(self) -> Place:
        """Lines and columns from 1."""
        start, end = self.event.start_mark, self.end
        return (start.line + 1, start.column + 1, end.line + 1, end.column + 1)


@dataclass(frozen=True)
class Document:
    """A YAML file that was read: its data as Helm sees it, and where each of it stands.

    `path` is what findings say; it is never opened.
    """

    path: str
    text: str = field(repr=False)
    data: Any = field(repr=False, compare=False)
    root: Node | None = field(repr=False, compare=False, default=None)

    def has(self, route: Route) -> bool:
        """Say whether the route leads to a value."""
        return self.root is not None and len(self._trail(route)) == len(route) + 1

    def location(self, route: Route, *, key: bool = False) -> Location:
        """Give the place of the value, or of its key; of what the route reaches last, if it leads nowhere.

        What an alias or a merge brought in stands where it is written.
        """
        trail = self._trail(route)
        event, node = trail[-1] if trail else (None, None)
        if key and event and len(trail) == len(route) + 1:
            return Location(self.path, *syntax.place_of(event))
        return Location(self.path, *node.place) if node else Location(self.path)

    def node(self, route: Route) -> Node | None:
        """Give the node of the value, None if the route leads nowhere."""
        return self._trail(route)[-1][1] if self.has(route) else None

    def _trail(self, route: Route) -> list[tuple[Any, Node]]:
        trail = [(None, self.root)] if self.root else []
        for step in route:
            below = trail[-1][1].children if trail else None
            if isinstance(below, dict) and isinstance(step, str) and step in below:
                trail.append(below[step])
            elif isinstance(below, list) and isinstance(step, int) and 0 <= step < len(below):
                trail.append((None, below[step]))
            else:
                break
        return trail


def read(content: bytes, path: str, *, strict: bool) -> tuple[Document | None, tuple[Finding, ...]]:
    """Read an author's file; the document is None if its data would mislead.

    `strict` is for files of our own (bundle.yaml, bundle.lock): whatever readers of YAML disagree about is an error.
    Otherwise the file holds values: what Helm reads is read, its traps are warnings, an empty file is {}.
    """
    reader = _Reader(strict=strict)
    try:
        text = _readable(content)
        # Helm 4 reads values line by line and ends each with a break, so a last block scalar has one
        with paused_gc(content):
            data = reader.build(content if strict else ended(content))
        reader.require_mapping(data)
    except FaultError as fault:
        return None, in_order(found.finding(path) for found in (*reader.faults, fault))
    document = Document(path, text, {} if data is None else data, reader.root)
    return document, in_order(fault.finding(path) for fault in reader.faults)


def _readable(content: bytes) -> str:
    if len(content) > MAX_BYTES:
        message = f"the file has {len(content)} bytes, Helm reads no more than {MAX_BYTES}"
        raise FaultError(TOO_LARGE, message, hint="split the file, or delete what the defaults say already")
    return syntax.decoded(content)


class _Reader(Builder):
    """A builder that keeps places, goes on after a fault, and knows what authors should not write."""

    def __init__(self, *, strict: bool) -> None:
        super().__init__()
        self.strict = strict
        self.faults: list[FaultError] = []
        self.frame.children = []
        self.frame.end = None

    @property
    def root(self) -> Node | None:
        """The root's node."""
        children = self.frame.children
        return children[0] if isinstance(children, list) and children else None

    def require_mapping(self, data: Any) -> None:
        """Refuse what is no mapping, and under `strict` an empty file."""
        if self.root is None or (data is None and not self.strict):
            if self.strict:
                raise FaultError(EMPTY, "the file is empty", hint="write its content, or delete it")
        elif type(data) is not dict:
            raise FaultError(ROOT, "the file must hold a mapping", self.root.place, hint="write `key: value`")

    def fault(self, rule: Rule, message: str, event: Any, *, hint: str = "") -> None:
        """Note a fault."""
        self.faults.append(FaultError(rule, message, syntax.place_of(event), hint=hint))

    def trap(self, rule: Rule, message: str, event: Any, *, hint: str) -> None:
        """Note what Helm reads without a word: an error in files of our own, a warning in values."""
        severity = Severity.ERROR if self.strict else Severity.WARNING
        self.fault(msgspec.structs.replace(rule, severity=severity), message, event, hint=hint)

    def look_behind(self, event: Any, read: Callable[[], Any]) -> None:
        """Refuse a second document: Helm's readers disagree about it."""
        if type(event) is yaml.DocumentEndEvent and type(event := read()) is yaml.DocumentStartEvent:
            message = "a second document begins here; what it means depends on the version of Helm"
            self.fault(SEVERAL_DOCUMENTS, message, event, hint="move it to a file of its own")

    def start_document(self, event: Any) -> None:
        """Refuse directives in files of our own."""
        super().start_document(event)
        if self.strict and (event.version or event.tags) and not self.faults:
            self.fault(DIRECTIVE, "directives have no place here", event, hint="delete the lines that begin with %")

    def start(self, event: Any) -> None:
        """Begin a mapping or a list."""
        super().start(event)
        self.frame.children = {} if type(event) is yaml.MappingStartEvent else []
        self.frame.merged = set()
        self.frame.end = event.end_mark

    def node(self, event: Any, frame: Frame | None = None) -> Node:
        """Give the node of a scalar or of an ended frame; a block ends with its last value, not with the next token."""
        if frame is None:
            return Node(event, event.end_mark)
        return Node(frame.event, event.end_mark if frame.event.flow_style else frame.end, frame.children)

    def key(self, raw: Any, event: Any) -> Any:
        """Read a key, and note what Helm makes of it without a word."""
        self._remark(event)
        key, frame = super().key(raw, event), self.frame
        frame.key_event = event
        if key is MERGED:
            if self.strict:
                self.fault(ANCHOR, "merge keys have no place here", event, hint="write the keys out")
        elif key in frame.data and key not in frame.merged:
            line = frame.children[key][0].start_mark.line + 1
            self.trap(
                DUPLICATE_KEY,
                f"{shown(key)} stands in line {line} already; Helm keeps the last",
                event,
                hint="delete one",
            )
        elif key is not NO_KEY and type(raw) is not str:
            self._remark_key(key, event)
        frame.merged.discard(key)
        return key

    def _remark_key(self, key: str, event: Any) -> None:
        written = getattr(event, "value", key)
        if key != written:
            self.trap(
                KEY, f"Helm reads the key {shown(written)} as {shown(key)}", event, hint="put the key in double quotes"
            )

    def put(self, value: Any, event: Any, node: Node | None) -> None:
        """Put a value in its place, and its node."""
        self._remark(event)
        frame, node = self.frame, node or Node(event, event.end_mark)
        frame.end = event.end_mark if type(event) is yaml.AliasEvent else node.end
        if frame.key is ITEM:
            frame.children.append(node)
        elif type(frame.key) is str:
            frame.children[frame.key] = (frame.key_event, node)
        super().put(value, event, node)

    def merge(self, value: Any, event: Any, node: Node) -> None:
        """Merge values and nodes, and note what is replaced."""
        frame = self.frame
        below = node.children[::-1] if isinstance(node.children, list) else [node]
        for mapping in below if mergeable(value) else ():
            nodes = mapping.children if isinstance(mapping.children, dict) else {}
            for key in nodes.keys() & frame.children.keys() - frame.merged:
                at = frame.children[key][0]
                self.trap(
                    MERGE,
                    f"Helm lets the merge below replace {shown(key)}",
                    at,
                    hint="move `<<` to the top of the mapping",
                )
            frame.children.update(nodes)
            frame.merged.update(nodes)
        super().merge(value, event, node)

    def _remark(self, event: Any) -> None:
        if self.strict and event.anchor:
            what = "aliases" if type(event) is yaml.AliasEvent else "anchors"
            self.fault(ANCHOR, f"{what} have no place here", event, hint="write the value out")
        tag = None if type(event) is yaml.AliasEvent else event.tag
        if tag and self.strict:
            self.fault(TAG, "tags have no place here", event, hint="delete the tag")
        elif tag and tag.removeprefix(scalars.TAGS) not in _KNOWN_TAGS:
            self.trap(TAG, f"Helm ignores the tag {shown(tag)}", event, hint="delete the tag")
