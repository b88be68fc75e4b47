"""What Go's gzip makes of a text, told from what zlib-ng makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from zlib_ng import zlib_ng

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    # a text before and after
    Change = tuple[bytes, bytes]

_USUAL: Final = zlib_ng.Z_DEFAULT_STRATEGY
_BEST: Final = 9
# Go's compressor takes no repetition of three bytes, and of four bytes only near ones. zlib-ng takes those of three at
# level 9 and not at level 8, and with Z_FILTERED none under six: pieces of the text are packed in these ways too, and
# tell how much that weighs, and which way. The factors are fitted to what Go makes of real records and generated texts
# of every kind; docs/fidelity.md has the figures
_NO_THREES: Final = 8
_EXPECTED: Final = 0.998
_IF_THREES_LOSE: Final = 0.972
_IF_THREES_GAIN: Final = 0.446
_IF_SHORT_ONES_LOSE: Final = 0.3
_IF_SHORT_ONES_GAIN: Final = 0.083
_AND_DENSE: Final = 0.585
# more where short repetitions lose, and where a text is dense, as base64 and numbers are
_AT_MOST: Final = 1.012
_AT_MOST_IF_THEY_LOSE: Final = 1.018
_AT_MOST_IF_DENSE: Final = 1.028
_LOSES: Final = 0.02
_DENSE: Final = 0.42
# bytes: four times as far as a repetition may reach back. Few pieces from all over a text suffice
_PIECE: Final = 128 << 10
_PIECES: Final = 3
# bytes of neighbours that are looked at together, and how many such runs suffice
_RUN: Final = 8 << 10
_RUNS: Final = 24


class Packed(NamedTuple):
    """The length of Go's gzip at level 9, as expected, and what it does not exceed."""

    size: float
    at_most: float


def packed_by_go(text: bytes) -> Packed:
    """Estimate the length of Go's gzip at level 9."""
    lengths = [(piece, packed_length(piece)) for piece in _cut(text)]
    whole = lengths[0][1] if len(lengths) == 1 else packed_length(text)
    share = whole / sum(length for _, length in lengths)
    ratios = ((length, _ratios(piece, length)) for piece, length in lengths)
    sizes = ((length * ratio.size, length * ratio.at_most) for length, ratio in ratios)
    return Packed(*(share * sum(each) for each in zip(*sizes, strict=True)))


def _ratios(piece: bytes, best: int) -> Packed:
    """Say how Go's length of a piece compares with zlib-ng's at its best, which is given."""
    length = packed_length(piece, level=_NO_THREES)
    threes = best / length - 1
    short_ones = 1 - packed_length(piece, zlib_ng.Z_FILTERED, _NO_THREES) / length
    density = length / max(1, len(piece))
    ratio = _EXPECTED - (_IF_THREES_LOSE if threes > 0 else _IF_THREES_GAIN) * threes
    ratio -= (_IF_SHORT_ONES_LOSE if short_ones > 0 else _IF_SHORT_ONES_GAIN + _AND_DENSE * density) * short_ones
    at_most = _AT_MOST_IF_THEY_LOSE if short_ones > _LOSES else _AT_MOST
    return Packed(ratio, ratio * (_AT_MOST_IF_DENSE if density > _DENSE else at_most))


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


def packed_length(text: bytes, strategy: int = _USUAL, level: int = _BEST) -> int:
    """Give the length of zlib-ng's gzip, with blocks as long as Go's."""
    # Go closes a block after 16384 symbols, as zlib does with this amount of memory
    packer = zlib_ng.compressobj(level, zlib_ng.DEFLATED, -15, 8, strategy)
    # the header of gzip has 10 bytes, a checksum and a length follow
    return 18 + len(packer.compress(text)) + len(packer.flush())


def added_bytes(changed: Sequence[Change], known: bytes = b"") -> float:
    """Compress what changed before and after; of much of it some runs tell what the rest adds.

    What is `known` does not count when it first occurs.
    """
    runs = list(_runs(changed))
    sample = [change for run in runs[:: len(runs) // _RUNS or 1] for change in run]
    before, after = (known + b"".join(change[side] for change in sample) for side in (0, 1))
    added = packed_length(after, level=_NO_THREES) - packed_length(before, level=_NO_THREES)
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
