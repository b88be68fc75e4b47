"""The size of a release record, and its upper bound."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from brolly.release import naming, storing
from brolly.release.packing import added_bytes, packed_by_go

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from brolly.release.storing import Parent, Part
    from brolly.rendering import Rendering

# times are digits: Go makes more of them than zlib does without short repetitions
_MORE_IN_GO: Final = 1.15
# bytes before base64: the record's own name and namespace, times of hooks and of an upgrade, a word on how it went
_ANY_RELEASE: Final = 300


@dataclass(frozen=True)
class Record:
    """A release record. `size` counts the base64 bytes of `data.release`, as predicted for an install.

    `upper_bound` is never below what Helm stores, whatever the release's name and namespace, and which hooks have run.
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
    added = naming.added_by_longer_names(name, namespace, parts) + _added_by_later_hooks(parts)
    bound = packed.at_most + _ANY_RELEASE + added
    return Record(_base64_length(packed.size), _base64_length(bound), name, namespace, parts)


def _added_by_later_hooks(parts: Iterable[Part]) -> float:
    """Say by how many bytes the record grows once all hooks have run, in upgrades, rollbacks and tests."""
    return _MORE_IN_GO * added_bytes([(part.json, part.later) for part in parts if part.later])


def _base64_length(size: float) -> int:
    return (math.ceil(size) + 2) // 3 * 4
