"""The short way through a document that has nothing special: no anchors, no tags, no merges, texts for keys.

Most of what Helm renders is like that. One loop with its state in variables takes two thirds of the builder's time; at
whatever it does not know it gives up, and the builder, which knows all and says what is wrong, begins again.
"""

from __future__ import annotations

import math
import sys
from typing import Any, Final

import yaml

from brolly.document import scalars, syntax
from brolly.document.builder import DOUBTFUL, MAX_DEPTH

SPECIAL: Final = object()  # in place of what only the builder can read


def read_plain(content: bytes) -> Any:
    """Read the first document as `Builder().build` does, or give SPECIAL."""
    if DOUBTFUL.search(content):
        return SPECIAL
    try:
        return _read(content)
    except (yaml.YAMLError, _SpecialError):
        return SPECIAL


class _SpecialError(Exception):
    """Something that only the builder can read, or refuse."""


def _read(content: bytes) -> Any:
    """Walk the events. Calls and lookups are most of what the builder costs, so there are few of them here."""
    read, hints, intern = syntax.events(content), scalars.HINTS, sys.intern
    scalar, mapping, sequence = yaml.ScalarEvent, yaml.MappingStartEvent, yaml.SequenceStartEvent
    whole: list[Any] = []
    data: Any = whole
    is_mapping = False
    key: str | None = None
    outer: list[tuple[Any, bool, str | None]] = []
    while True:
        event = read()
        kind = type(event)
        if kind is scalar:
            value = event.value
            if event.anchor:
                raise _SpecialError
            if not event.implicit[0]:
                if event.tag is not None:
                    raise _SpecialError
            elif not value or value[0] in hints:
                value = _resolved(value)
            if is_mapping and key is None:
                if type(value) is not str or value == "<<":
                    raise _SpecialError
                key = intern(value)
                continue
        elif kind is mapping or kind is sequence:
            if event.anchor or event.tag or (is_mapping and key is None) or len(outer) >= MAX_DEPTH:
                raise _SpecialError
            outer.append((data, is_mapping, key))
            is_mapping = kind is mapping
            data, key = {} if is_mapping else [], None
            continue
        elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
            value = data
            data, is_mapping, key = outer.pop()
        elif kind is yaml.StreamStartEvent or (kind is yaml.DocumentStartEvent and not event.version):
            continue
        elif kind is yaml.DocumentEndEvent or kind is yaml.StreamEndEvent:
            return whole[0] if whole else None
        else:
            raise _SpecialError
        if is_mapping:
            data[key], key = value, None
        else:
            data.append(value)


def _resolved(text: str) -> scalars.Scalar:
    value = scalars.resolve(text)
    if type(value) is str:
        return value
    if type(value) is float and not math.isfinite(value):
        raise _SpecialError
    return scalars.json_value(value)
