"""YAML text to data, by one walk over libyaml's events.

The meaning is Helm's: go-yaml v2 below sigs.k8s.io/yaml (go-yaml's decode.go). The walk keeps its own stack, so no text
exhausts Python's; it counts as go-yaml counts, so no alias exhausts the memory.
"""

from __future__ import annotations

import math
import re
import sys
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

import yaml

from brolly.document import scalars, syntax
from brolly.document.rules import (
    ALIAS,
    DIRECTIVE,
    DUPLICATE_KEY,
    KEY,
    MERGE,
    NUMBER,
    SYNTAX,
    TAG,
    TOO_DEEP,
    FaultError,
    shown,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from brolly.findings import Rule

# Helm stops at 10,000 levels, Python's readers of the data at 1,000 calls, a few a level. Real files stay below 50.
MAX_DEPTH: Final = 200
ITEM: Final = object()  # the key of whatever comes next in a list
MERGED: Final = object()  # the key `<<`
NO_KEY: Final = object()  # in place of a key that cannot be one
_HINTS: Final = scalars.HINTS
# what libyaml 0.2.5 reads in another way than go-yaml v2
_DOUBTFUL: Final = re.compile(rb"\\/|\?|!")
_SLASH_ESCAPE: Final = re.compile(r"(?<!\\)(?:\\\\)*\\/")
_OPEN_TAG: Final = re.compile(r"(?:^|\s)!\S*[],}]$")
_NON_SPECIFIC_TAG: Final = re.compile(r"(?:&\S+\s+)?!\s")


class Frame:
    """A mapping or a list that is being read; `key` is None where a mapping waits for one.

    `count` is the builder's at its start. The declared ones are of use where places are kept.
    """

    __slots__ = ("children", "count", "data", "end", "event", "key", "key_event", "merged")

    children: Any
    end: Any
    key_event: Any
    merged: set[str]

    def __init__(self, data: Any, key: Any, event: Any, count: int) -> None:
        self.data = data
        self.key = key
        self.event = event
        self.count = count


class Anchored(NamedTuple):
    """What an anchor names: its value, its node where places are kept, its size in go-yaml's decode operations."""

    value: Any
    node: Any
    size: int


class Builder:
    """Builds the data of the first document, and raises the first fault.

    `unique` refuses a key that its mapping has already, merged ones included, as go-yaml's UnmarshalStrict does.
    `typed` keeps numbers as YAML has them, instead of what is left of them in JSON.
    """

    def __init__(self, *, unique: bool = False, typed: bool = False) -> None:
        self.unique = unique
        self.typed = typed
        self.frame = Frame([], ITEM, None, 0)
        self.frames: list[Frame] = []
        self.anchors: dict[str, Anchored | Frame] = {}
        self.count = 1
        self.aliased = 0

    def build(self, content: bytes) -> Any:
        """Read the first document; None if there is none."""
        scalar = self._checked(content) if _DOUBTFUL.search(content) else self.scalar
        steps: dict[type, Callable[[Any], None]] = {
            yaml.StreamStartEvent: lambda _: None,
            yaml.DocumentStartEvent: self.start_document,
            yaml.ScalarEvent: scalar,
            yaml.AliasEvent: self.alias,
            yaml.MappingStartEvent: self.start,
            yaml.SequenceStartEvent: self.start,
            yaml.MappingEndEvent: self.end,
            yaml.SequenceEndEvent: self.end,
        }
        read = syntax.events(content)
        try:
            while type(event := read()) in steps:
                steps[type(event)](event)
            self.look_behind(event, read)
        except yaml.YAMLError as error:
            raise syntax.syntax_fault(error, content) from None
        return self.frame.data[0] if self.frame.data else None

    def _checked(self, content: bytes) -> Callable[[Any], None]:
        """Take scalars, but those that libyaml and go-yaml v2 read differently as go-yaml v2 does."""
        text = content.removeprefix(syntax.BOM).decode(errors="replace")

        def scalar(event: Any) -> None:
            start, end = event.start_mark.index, event.end_mark.index
            if event.style == '"' and _SLASH_ESCAPE.search(text, start, end):
                self.stop(SYNTAX, r"Helm does not read the escape \/", event, hint="write / alone")
            if not event.style and self._in_flow():
                self._check_flow_scalar(event, text[start : end + 1])
            if event.value != "<<" and _NON_SPECIFIC_TAG.match(text, start, end + 1):
                event.implicit, event.tag = (False, False), "!"
            self.scalar(event)

        return scalar

    def _check_flow_scalar(self, event: Any, source: str) -> None:
        if "?" in event.value:
            self.stop(SYNTAX, "Helm does not read a bare ? between brackets", event, hint="put it in double quotes")
        if not event.value and _OPEN_TAG.search(source):
            self.stop(SYNTAX, "Helm takes the character behind a tag for a part of it", event, hint="delete the tag")

    def _in_flow(self) -> bool:
        return bool(self.frames and self.frame.event.flow_style)

    def look_behind(self, event: Any, read: Callable[[], Any]) -> None:
        """See what follows the first document. Helm does not look."""

    def fault(self, rule: Rule, message: str, event: Any, *, hint: str = "") -> None:
        """Raise a fault that others could be told along with."""
        self.stop(rule, message, event, hint=hint)

    def stop(self, rule: Rule, message: str, event: Any, *, hint: str = "") -> NoReturn:
        """Raise a fault after which nothing can be read."""
        raise FaultError(rule, message, syntax.place_of(event), hint=hint)

    def start_document(self, event: Any) -> None:
        """Refuse `%YAML 1.2` as go-yaml v2 does; it knows 1.1 alone."""
        if event.version and tuple(event.version) != (1, 1):
            text = f"%YAML {'.'.join(map(str, event.version))}"
            self.fault(DIRECTIVE, f"Helm does not read {text}", event, hint=f"delete the line {text}")

    def scalar(self, event: Any) -> None:
        """Take a scalar."""
        self.count += 1
        text = event.value
        if event.implicit[0]:
            raw = text if text and text[0] not in _HINTS else scalars.resolve(text)
        else:
            raw = text if event.tag is None else self._tagged(event)
        if event.anchor:
            self.anchors[event.anchor] = Anchored(raw, self.node(event), 1)
        self._take(raw, event, None)

    def _tagged(self, event: Any) -> scalars.Scalar:
        try:
            return scalars.resolve_tagged(event.tag, event.value)
        except ValueError as error:
            self.fault(TAG, f"Helm cannot read this: {error}", event, hint="delete the tag")
        return None

    def start(self, event: Any) -> None:
        """Begin a mapping or a list."""
        if len(self.frames) >= MAX_DEPTH:
            self.stop(
                TOO_DEEP, f"mappings and lists are nested more than {MAX_DEPTH} deep", event, hint="make it flatter"
            )
        self.frames.append(self.frame)
        is_mapping = type(event) is yaml.MappingStartEvent
        self.frame = Frame({} if is_mapping else [], None if is_mapping else ITEM, event, self.count)
        self.count += 1
        if event.anchor:
            self.anchors[event.anchor] = self.frame

    def end(self, event: Any) -> None:
        """End the mapping or the list."""
        frame = self.frame
        self.frame = self.frames.pop()
        node = self.node(event, frame)
        # a later anchor of that name, inside, has replaced this one
        if frame.event.anchor and self.anchors[frame.event.anchor] is frame:
            self.anchors[frame.event.anchor] = Anchored(frame.data, node, self.count - frame.count)
        self._take(frame.data, frame.event, node)

    def alias(self, event: Any) -> None:
        """Take what an anchor names, once more: go-yaml decodes it anew each time."""
        anchored = self._anchored(event)
        self.count += 1 + anchored.size
        self.aliased += anchored.size
        if self.aliased > 100 and self.count > 1000 and self.aliased > self.count * _allowed_ratio(self.count):
            self.stop(
                ALIAS,
                "the aliases of this document multiply its size beyond what Helm reads",
                event,
                hint="write the values out",
            )
        if self.frame.key is MERGED and type(anchored.value) is list:
            self.fault(MERGE, "an alias of a list cannot be merged", event, hint="write `<<: [*name, *other]`")
        try:
            value = _copied(anchored.value, MAX_DEPTH - len(self.frames))
        except RecursionError:
            self.stop(
                TOO_DEEP,
                f"with its aliases this is nested more than {MAX_DEPTH} deep",
                event,
                hint="write the values out",
            )
        self._take(value, event, anchored.node)

    def _anchored(self, event: Any) -> Anchored:
        name = event.anchor
        if name not in self.anchors:
            self.stop(
                ALIAS,
                f"no anchor {shown(name)} stands before this alias",
                event,
                hint="write `&` and the name before the value",
            )
        anchored = self.anchors[name]
        if isinstance(anchored, Frame):
            self.stop(
                ALIAS, f"the value of the anchor {shown(name)} contains itself", event, hint="write the value out"
            )
        return anchored

    def node(self, event: Any, frame: Frame | None = None) -> Any:
        """Give the node of a scalar or of an ended frame, where places are kept."""

    def _take(self, raw: Any, event: Any, node: Any) -> None:
        if self.frame.key is None:
            self.frame.key = self.key(raw, event)
        else:
            self.put(raw if type(raw) is str else self._json_value(raw, event), event, node)

    def _json_value(self, raw: Any, event: Any) -> Any:
        if type(raw) is float and not math.isfinite(raw):
            self.fault(
                NUMBER, "JSON has no infinity and no NaN, so Helm refuses this", event, hint="put it in double quotes"
            )
        return raw if self.typed else scalars.json_value(raw)

    def key(self, raw: Any, event: Any) -> Any:
        """Read a key: its text, MERGED, or NO_KEY after a fault."""
        if raw == "<<" and is_merge(event):
            self.count -= 1  # go-yaml does not decode it
            return MERGED
        text = raw if type(raw) is str else scalars.key_text(raw)
        if text is None:
            self.fault(KEY, "only a text can be a key", event, hint="put the key in double quotes")
            return NO_KEY
        if self.unique and text in self.frame.data:
            self.fault(DUPLICATE_KEY, f"the key {shown(text)} is written twice", event)
        return sys.intern(text)

    def put(self, value: Any, event: Any, node: Any) -> None:
        """Put a value in its place."""
        frame = self.frame
        if frame.key is ITEM:
            frame.data.append(value)
            return
        if frame.key is MERGED:
            self.merge(value, event, node)
        elif frame.key is not NO_KEY:
            frame.data[frame.key] = value
        frame.key = None

    def merge(self, value: Any, event: Any, node: Any) -> None:  # noqa: ARG002 - of use where places are kept
        """Merge at once: in go-yaml `<<` replaces what stands before it; of a list of mappings the first one wins."""
        mappings = mergeable(value)
        if mappings is None:
            self.fault(MERGE, "only mappings can be merged", event, hint="write `<<: *name`, the name of a mapping")
            return
        for mapping in mappings:
            twice = [key for key in mapping if key in self.frame.data] if self.unique else None
            if twice:
                self.fault(DUPLICATE_KEY, f"the merged key {shown(twice[0])} is there already", event)
            self.frame.data.update(mapping)


def mergeable(value: Any) -> list[dict[str, Any]] | None:
    """Give the mappings to merge, in the order in which go-yaml does it; None if there is anything else."""
    mappings = value[::-1] if type(value) is list else [value]
    return mappings if all(type(mapping) is dict for mapping in mappings) else None


def is_merge(event: Any) -> bool:
    """Say whether the scalar `<<` is a merge key."""
    return type(event) is yaml.ScalarEvent and (event.implicit[0] or event.tag == scalars.MERGE_TAG)


def _allowed_ratio(count: int) -> float:
    """Give the share of decode operations that may come from aliases (go-yaml's allowedAliasRatio)."""
    return 0.99 - 0.89 * min(max(count - 400_000, 0) / 3_600_000, 1)


def _copied(value: Any, room: int) -> Any:
    if type(value) not in {dict, list}:
        return value
    if room <= 0:
        raise RecursionError
    if type(value) is dict:
        return {key: _copied(item, room - 1) for key, item in value.items()}
    return [_copied(item, room - 1) for item in value]
