"""What Go's gzip makes of a text, told from what zlib makes of it."""

from __future__ import annotations

import math
import zlib
from typing import TYPE_CHECKING, Final, NamedTuple

from brolly.release.deflate import Symbols

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    # a text before and after
    Change = tuple[bytes, bytes]

_USUAL: Final = zlib.Z_DEFAULT_STRATEGY
# Go's compressor takes no repetition of three bytes, zlib does: it gains where text is base64, and loses in prose. With
# Z_FILTERED zlib takes none under six, so the two lengths tell how much that weighs, and which way. The factors are
# fitted to real records; docs/fidelity.md has the figures
_EXPECTED: Final = 0.992
_IF_SHORT_ONES_GAIN: Final = 0.386
_AT_MOST: Final = 1.0105
# Where short repetitions lose (text is hexadecimal, or numbers), this tells little: there the symbols are counted
_LOSS: Final = 0.5
_AT_MOST_IF_THEY_LOSE: Final = 1.02
# what is dense and gains, as base64 of text does, may gain more
_DENSE: Final = 0.5
_AT_MOST_IF_DENSE: Final = 1.032
# bytes. Pieces from all over a text tell the gain, at a lower level too; fewer still are counted: that takes long
_PIECE: Final = 32 << 10
_PIECES: Final = 32
_LEVEL: Final = 6
_COUNTED_PIECES: Final = 8
_COUNTED: Final = 40 << 10
# bytes of neighbours that are looked at together, and how many such runs suffice
_RUN: Final = 8 << 10
_RUNS: Final = 24


class Packed(NamedTuple):
    """The length of Go's gzip at level 9, as expected, and what it does not exceed."""

    size: float
    at_most: float


class _Piece(NamedTuple):
    text: bytes
    size: int
    gain: float


def packed_by_go(text: bytes) -> Packed:
    """Estimate the length of Go's gzip at level 9."""
    found = [_measured(piece) for piece in _cut(text)]
    whole = sum(piece.size for piece in found)
    losing = [piece for piece in found if piece.gain < 0]
    share = sum(piece.size for piece in losing) / whole
    if_lost = _ratio_if_lost(losing, share)
    ratios = (if_lost + _LOSS * gain if gain < 0 else _EXPECTED + _IF_SHORT_ONES_GAIN * gain for _, _, gain in found)
    expected = packed_length(text) * sum(piece.size * ratio for piece, ratio in zip(found, ratios, strict=True)) / whole
    dense = sum(piece.size for piece in found if piece.gain > 0 and piece.size > _DENSE * len(piece.text)) / whole
    doubt = (_AT_MOST_IF_THEY_LOSE - _AT_MOST) * share + (_AT_MOST_IF_DENSE - _AT_MOST) * dense
    return Packed(expected, expected * (_AT_MOST + doubt))


def _measured(text: bytes) -> _Piece:
    without, size = (packed_length(text, how, _LEVEL) for how in (zlib.Z_FILTERED, _USUAL))
    return _Piece(text, size, without / size - 1)


def _ratio_if_lost(losing: Sequence[_Piece], share: float) -> float:
    """Count the symbols of some pieces: what they say beyond the gain. Of a text with few of these, few are counted."""
    count = min(len(losing), math.ceil(_COUNTED_PIECES * share))
    chosen = [losing[len(losing) * place // count] for place in range(count)]
    weight = sum(piece.size for piece in chosen)
    return sum(
        piece.size * (_counted(piece.text, _COUNTED * share / count) - _LOSS * piece.gain) for piece in chosen
    ) / (weight or 1)


def _counted(text: bytes, size: float) -> float:
    """Say how much longer Go's symbols are than zlib's, in so many bytes at a text's end."""
    symbols = Symbols(text, max(0, len(text) - math.ceil(size)))
    return symbols.size(4) / symbols.size(3)


def _cut(text: bytes) -> list[bytes]:
    """Cut a text into pieces; of a long one take some from all over it."""
    length = len(text)
    if length > _PIECES * _PIECE:
        return [text[at : at + _PIECE] for at in range(0, length - _PIECE, length // _PIECES)]
    count = round(length / _PIECE) or 1
    return [text[length * place // count : length * (place + 1) // count] for place in range(count)]


def pieces(text: bytes, count: int, size: int) -> bytes:
    """Take about so many pieces, of so many bytes each, from all over a text; all of a text that has no more."""
    if len(text) <= count * size:
        return text
    return b"".join(text[at : at + size] for at in range(0, len(text), len(text) // count))


def packed_length(text: bytes, strategy: int = _USUAL, level: int = 9) -> int:
    """Give the length of zlib's gzip, with blocks as long as Go's."""
    # Go closes a block after 16384 symbols, as zlib does with this amount of memory
    packer = zlib.compressobj(level, zlib.DEFLATED, -15, 8, strategy)
    # the header of gzip has 10 bytes, a checksum and a length follow
    return 18 + len(packer.compress(text)) + len(packer.flush())


def added_bytes(changed: Sequence[Change], known: bytes = b"") -> float:
    """Compress what changed before and after; of much of it some runs tell what the rest adds.

    What is `known` does not count when it first occurs.
    """
    runs = list(_runs(changed))
    sample = [change for run in runs[:: len(runs) // _RUNS or 1] for change in run]
    before, after = (known + b"".join(change[side] for change in sample) for side in (0, 1))
    added = packed_length(after, zlib.Z_FILTERED, 6) - packed_length(before, zlib.Z_FILTERED, 6)
    grown = len(after) - len(before)
    return added * sum(len(after) - len(before) for before, after in changed) / grown if grown else added


def _runs(changed: Iterable[Change]) -> Iterator[list[Change]]:
    """Put neighbours together, for they are alike and compress as such."""
    run: list[Change] = []
    size = 0
    for change in changed:
        run.append(change)
        size += len(change[0])
        if size >= _RUN:
            yield run
            run, size = [], 0
    yield run
