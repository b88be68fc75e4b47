"""How deflate cuts a text into symbols, as zlib does it and as Go does: to tell by how much they differ."""

from __future__ import annotations

import heapq
from collections import Counter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# a repetition has its bytes and how far back they were; none is (0, 0)
Repetition = tuple[int, int]
_NONE: Final = (0, 0)
_WINDOW: Final = 32 << 10
_LONGEST: Final = 258
# the shortest repetitions are worth it only so near: TOO_FAR of zlib's deflate.c; Go's deflate.go has the same number
_NEAR: Final = 4096
# both look at up to 4096 places. Where so many bytes repeat, only places with all of them can have more: few are left
_CHAINS: Final = (16, 12, 9, 6, 4)
_TRIES: Final = 64


class Symbols:
    """What deflate makes of a text, of which what is before `start` is only looked back to."""

    def __init__(self, text: bytes, start: int) -> None:
        self._text = text
        self._start = start
        self._threes = _places(text, 3)
        self._chains = [(size, _places(text, size)) for size in _CHAINS]
        self._found: dict[int, Repetition] = {}

    def size(self, shortest: int) -> float:
        """Give the bytes of what is after `start`, where a repetition has 3 bytes at least (zlib) or 4 (Go)."""
        letters: Counter[int] = Counter()
        distances: Counter[int] = Counter()
        bits = 0
        for what, back in self._symbols(shortest):
            symbol, more = _length_code(what) if back else (what, 0)
            letters[symbol] += 1
            bits += more
            if back:
                symbol, more = _distance_code(back)
                distances[symbol] += 1
                bits += more
        return (bits + _huffman_bits(letters.values()) + _huffman_bits(distances.values())) / 8

    def _symbols(self, shortest: int) -> Iterator[tuple[int, int]]:
        """Give bytes as (byte, 0) and repetitions; one waits for the next byte's, which may be longer."""
        at, end, waiting, length, back = self._start, len(self._text), False, 0, 0
        while at < end:
            longer, farther = self._repetition(at, shortest)
            if length and longer <= length:
                yield length, back
                at, waiting, longer, farther = at + length - 1, False, 0, 0
            else:
                if waiting:
                    yield self._text[at - 1], 0
                at, waiting = at + 1, True
            length, back = longer, farther
        if waiting:
            yield self._text[end - 1], 0

    def _repetition(self, at: int, shortest: int) -> Repetition:
        found = self._found.get(at)
        if found is None:
            found = self._found[at] = self._longest(at)
        if shortest == 3 and not found[0] and self._threes[at] >= 0:
            found = 3, at - self._threes[at]
        return _NONE if found[0] == shortest and found[1] > _NEAR else found

    def _longest(self, at: int) -> Repetition:
        """Find the nearest of the longest repetitions of four bytes and more."""
        for size, known in self._chains:
            if known[at] >= 0 and at - known[at] <= _WINDOW:
                found = self._longest_of(at, known, size)
                if found[0]:
                    return found
        return _NONE

    def _longest_of(self, at: int, known: list[int], size: int) -> Repetition:
        text, before = self._text, known[at]
        best, back, limit = size - 1, 0, min(_LONGEST, len(text) - at)
        for _ in range(_TRIES):
            if before < 0 or at - before > _WINDOW or best >= limit:
                break
            if text[before : before + best + 1] == text[at : at + best + 1]:
                best, back = best + 1, at - before
                while (
                    best + 16 <= limit and text[before + best : before + best + 16] == text[at + best : at + best + 16]
                ):
                    best += 16
                while best < limit and text[before + best] == text[at + best]:
                    best += 1
            before = known[before]
        return (best, back) if back else _NONE


def _places(text: bytes, size: int) -> list[int]:
    """Give for each place where the same bytes were before, or -1."""
    last: dict[bytes, int] = {}
    places = []
    for at in range(len(text)):
        few = text[at : at + size]
        places.append(last.get(few, -1))
        last[few] = at
    return places


def _length_code(length: int) -> tuple[int, int]:
    """Give a length's symbol and how many bits follow it: RFC 1951, 3.2.5."""
    if length == _LONGEST or length < 11:
        return 254 + length, 0
    bits = (length - 3).bit_length() - 3
    return 257 + 4 * bits + ((length - 3) >> bits), bits


def _distance_code(back: int) -> tuple[int, int]:
    if back < 5:
        return back, 0
    bits = (back - 1).bit_length() - 2
    return 2 * bits + ((back - 1) >> bits), bits


def _huffman_bits(counts: Iterable[int]) -> int:
    heap = list(counts)
    heapq.heapify(heap)
    bits = 0
    while len(heap) > 1:
        two = heapq.heappop(heap) + heap[0]
        heapq.heapreplace(heap, two)
        bits += two
    return bits
