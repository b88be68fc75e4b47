"""What Go's gzip makes of a text, told from what zlib makes of it."""

from __future__ import annotations

import zlib
from typing import Final

_USUAL: Final = zlib.Z_DEFAULT_STRATEGY
# Go's compressor takes no repetition of three bytes, zlib does: it gains where text is base64, and loses in prose. With
# Z_FILTERED zlib takes none under six, so the two lengths tell how much that weighs, and which way. The factors are
# fitted to real records; docs/fidelity.md has the figures
_EXPECTED: Final = 0.992
_IF_SHORT_ONES_GAIN: Final = 0.36
_IF_SHORT_ONES_LOSE: Final = 0.75
# bytes. Of a longer text pieces from all over it tell the gain as well, at a lower level too
_LONG: Final = 768 << 10
_PIECE: Final = 32 << 10
_PIECES: Final = 16
_SAMPLE_LEVEL: Final = 6


def packed_by_go(text: bytes) -> float:
    """Estimate the length of Go's gzip at level 9."""
    short = packed_length(text)
    gain = _gain_of_short_ones(text, short)
    return short * (_EXPECTED + (_IF_SHORT_ONES_GAIN if gain > 0 else _IF_SHORT_ONES_LOSE) * gain)


def _gain_of_short_ones(text: bytes, packed: int) -> float:
    if len(text) <= _LONG:
        return packed_length(text, zlib.Z_FILTERED) / packed - 1
    sample = pieces(text, _PIECES, _PIECE)
    without, with_them = (packed_length(sample, how, _SAMPLE_LEVEL) for how in (zlib.Z_FILTERED, _USUAL))
    return without / with_them - 1


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
