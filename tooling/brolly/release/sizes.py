"""The size of a release record, and its upper bound."""

from __future__ import annotations

import base64
import math
import re
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from brolly.release import storing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from brolly.release.storing import Parent, Part
    from brolly.rendering import Rendering

# Fitted to real records of public charts, alone and in umbrellas: docs/fidelity.md has the figures. Go's compressor
# takes no repetition of three bytes, zlib does: it gains where text is base64, and loses in prose. With
# Z_FILTERED zlib takes none under six, so the two lengths tell how much that weighs, and which way
_EXPECTED: Final = 0.992
_IF_SHORT_ONES_GAIN: Final = 0.36
_IF_SHORT_ONES_LOSE: Final = 0.75
_AT_MOST: Final = 1.0115
# bytes before base64. A name and a namespace, times of hooks and of an upgrade, and a word on how it went
_ANY_RELEASE: Final = 350
# a longer name or namespace where one is written, counted at most so many times for each object: as words they may
# stand for something else
_EACH_NAME: Final = 1.1
_NAMES: Final = 5
_NAMESPACES: Final = 3
# what a name turns into inside of base64, of which there are three forms; a certificate is made for several host names
_NAME_IN_BASE64: Final = 300
_CERTIFICATE: Final = 200
_CERTIFICATES: Final = 4
_ENCODED: Final = re.compile(rb"[A-Za-z0-9+/]{16,}={0,2}")


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
    return _packed(name, namespace, tuple(storing.parts(parent, rendering, user, name, namespace)))


def without(record: Record, source: str) -> Record:
    """Predict the record without one dependency, to say what a remedy saves."""
    kept = tuple(part for part in record.parts if part.source != source)
    return _packed(record.name, record.namespace, kept)


def _packed(name: str, namespace: str, parts: tuple[Part, ...]) -> Record:
    packed = _packed_by_go(parts)
    bound = packed * _AT_MOST + _ANY_RELEASE + _other_names(name, namespace, parts)
    return Record(_base64_length(packed), _base64_length(bound), name, namespace, parts)


def _packed_by_go(parts: Iterable[Part]) -> float:
    """Estimate the length of Go's gzip from two of zlib's."""
    text = b"".join(part.json for part in parts)
    short, long = (_packed_length(text, strategy) for strategy in (zlib.Z_DEFAULT_STRATEGY, zlib.Z_FILTERED))
    gain = long / short - 1
    return short * (_EXPECTED + (_IF_SHORT_ONES_GAIN if gain > 0 else _IF_SHORT_ONES_LOSE) * gain)


def _other_names(name: str, namespace: str, parts: Iterable[Part]) -> float:
    """Say by how much other names can enlarge what is rendered: a name of 53 characters, a namespace of 63."""
    rendered = [part for part in parts if part.what in {"manifests", "hooks"}]
    names = _counted(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])", rendered)
    # `default` is a word of its own: count it where a namespace is meant, also in the names of hosts
    space = re.escape(namespace)
    namespaces = _counted(
        rf"(?:namespace\S{{0,4}}[ =]\\?\"?|[./@]){space}(?![A-Za-z0-9_-])|(?<!\w){space}\.svc", rendered
    )
    most = len(rendered)
    written = min(names, _NAMES * most) + min(namespaces, _NAMESPACES * most)
    return _EACH_NAME * written + _inside_secrets(name, namespace, rendered)


def _counted(pattern: str, parts: Iterable[Part]) -> int:
    wanted = re.compile(pattern.encode())
    return sum(len(wanted.findall(part.json)) for part in parts)


def _inside_secrets(name: str, namespace: str, parts: Iterable[Part]) -> int:
    secrets = b" ".join(part.json for part in parts if part.kind == "Secret")
    decoded = [base64.b64decode(text[: len(text) // 4 * 4]) for text in _ENCODED.findall(secrets)]
    certificates = {text[:400] for text in decoded if b"BEGIN CERTIFICATE" in text}
    found = sum(any(word.encode() in text for text in decoded) for word in (name, f".{namespace}"))
    return found * _NAME_IN_BASE64 + min(len(certificates), _CERTIFICATES) * _CERTIFICATE


def _packed_length(text: bytes, strategy: int) -> int:
    # Go closes a block after 16384 symbols, as zlib does with this amount of memory
    packer = zlib.compressobj(9, zlib.DEFLATED, -15, 8, strategy)
    # the header of gzip has 10 bytes, a checksum and a length follow
    return 18 + len(packer.compress(text)) + len(packer.flush())


def _base64_length(size: float) -> int:
    return (math.ceil(size) + 2) // 3 * 4
