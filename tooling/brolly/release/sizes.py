"""The size of a release record, and its upper bound."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from brolly.release import naming, storing
from brolly.release.packing import packed_by_go

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brolly.release.storing import Parent, Part
    from brolly.rendering import Rendering

# what Go makes of public charts, alone and in umbrellas, is at most so much more: docs/fidelity.md has the figures
_AT_MOST: Final = 1.0105
# bytes before base64: the record's own name and namespace, times of hooks and of an upgrade, a word on how it went
_ANY_RELEASE: Final = 300


@dataclass(frozen=True)
class Record:
    """A release record. `size` counts the base64 bytes of `data.release`, as predicted for an install.

    `upper_bound` is never below what Helm stores, whatever the release's name and namespace.
    """

    size: int
    upper_bound: int
    name: str
    namespace: str
    parts: tuple[Part, ...] = field(repr=False)

    @property
    def json(self) -> bytes:
        """The JSON that Helm compresses."""
        return b"".join(part.json for part in self.parts)


def record(parent: Parent, rendering: Rendering, user: Mapping[str, Any], *, name: str, namespace: str) -> Record:
    """Predict the record of an installed release; ValuesError where Helm gives up on the values.

    `user` is what is given on top of the chart's defaults, `rendering` Helm's answer to it under this name.
    """
    return _of(name, namespace, tuple(storing.parts(parent, rendering, user, name, namespace)))


def without(record: Record, source: str, what: str = "") -> Record:
    """Predict the record without one dependency, or without something of it, to say what a remedy saves."""
    kept = tuple(part for part in record.parts if part.source != source or (what and part.what != what))
    return _of(record.name, record.namespace, kept)


def _of(name: str, namespace: str, parts: tuple[Part, ...]) -> Record:
    packed = packed_by_go(b"".join(part.json for part in parts))
    bound = packed * _AT_MOST + _ANY_RELEASE + naming.added_by_longer_names(name, namespace, parts)
    return Record(_base64_length(packed), _base64_length(bound), name, namespace, parts)


def _base64_length(size: float) -> int:
    return (math.ceil(size) + 2) // 3 * 4
