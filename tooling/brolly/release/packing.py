"""What Go's gzip makes of a text, told from what zlib makes of it."""

from __future__ import annotations

import zlib
from typing import Final

# Go's compressor takes no repetition of three bytes, zlib does: it gains where text is base64, and loses in prose. With
# Z_FILTERED zlib takes none under six, so the two lengths tell how much that weighs, and which way. The factors are
# fitted to real records; docs/fidelity.md has the figures
_EXPECTED: Final = 0.992
_IF_SHORT_ONES_GAIN: Final = 0.36
_IF_SHORT_ONES_LOSE: Final = 0.75


def packed_by_go(text: bytes) -> float:
    """Estimate the length of Go's gzip at level 9."""
    short, long = packed_length(text), packed_length(text, zlib.Z_FILTERED)
    gain = long / short - 1
    return short * (_EXPECTED + (_IF_SHORT_ONES_GAIN if gain > 0 else _IF_SHORT_ONES_LOSE) * gain)


def packed_length(text: bytes, strategy: int = zlib.Z_DEFAULT_STRATEGY, level: int = 9) -> int:
    """Give the length of zlib's gzip, with blocks as long as Go's."""
    # Go closes a block after 16384 symbols, as zlib does with this amount of memory
    packer = zlib.compressobj(level, zlib.DEFLATED, -15, 8, strategy)
    # the header of gzip has 10 bytes, a checksum and a length follow
    return 18 + len(packer.compress(text)) + len(packer.flush())
