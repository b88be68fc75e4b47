"""Data without places: charts, indexes, values."""

from __future__ import annotations

import gc
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from brolly.document.builder import Builder
from brolly.document.rules import ROOT, SYNTAX, FaultError

if TYPE_CHECKING:
    from collections.abc import Iterator

_GC_PAUSE_FROM: Final = 50_000  # bytes
_SEPARATOR: Final = re.compile(rb"^---", re.MULTILINE)


@contextmanager
def paused_gc(content: bytes) -> Iterator[None]:
    """Keep the garbage collector from walking the data while it grows: three times as fast on an index of 28 MB."""
    pause = len(content) >= _GC_PAUSE_FROM and gc.isenabled()
    if pause:
        gc.disable()
    try:
        yield
    finally:
        if pause:
            gc.enable()


def parse(content: bytes) -> Any:
    """Read the first document as Helm does, None if it is empty; DocumentError if Helm would not, or must not."""
    with paused_gc(content):
        return Builder().build(content)


def parse_typed(content: bytes) -> Any:
    """Read the first document with its numbers as YAML has them: what Helm sees where it decodes into a Go struct."""
    with paused_gc(content):
        return Builder(typed=True).build(content)


def parse_strict(content: bytes) -> Any:
    """Read the first document as Helm reads an index.yaml: a key that is written twice is a DocumentError."""
    with paused_gc(content):
        return Builder(unique=True).build(content)


def parse_values(content: bytes) -> dict[str, Any]:
    """Read values as Helm 4 does: all documents, later ones merged over earlier ones; {} if empty.

    A document that is not a mapping is a DocumentError.
    """
    values: dict[str, Any] = {}
    for line, document in documents(content):
        try:
            data = parse(document)
        except FaultError as fault:
            raise fault.moved(line) from None
        if type(data) is not dict and data is not None:
            raise FaultError(ROOT, "values are a mapping", (line + 1, 1, line + 1, 2))
        values = _merged(values, data or {})
    return values


def _merged(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Merge as Helm's loader.MergeMaps: maps deeply, anything else is replaced, null included."""
    out = dict(under)
    for key, value in over.items():
        below = out.get(key)
        out[key] = _merged(below, value) if type(value) is dict and type(below) is dict else value
    return out


def documents(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Cut a stream where apimachinery's YAMLReader does, by its lines alone; each piece with the lines before it.

    As there, every piece ends with a line break, so a last block scalar always ends with one too.
    """
    if not _SEPARATOR.search(content):
        yield 0, ended(content)
        return
    piece: list[bytes] = []
    lines = ended(content).split(b"\n")[:-1]
    for number, line in enumerate(lines):
        if line.startswith(b"---"):
            rest = line[3:].strip()
            if rest and not rest.startswith(b"#"):
                place = (number + 1, 4, number + 1, 5)
                raise FaultError(SYNTAX, "Helm takes nothing but a comment behind ---", place)
            if piece:
                yield number - len(piece), b"\n".join(piece) + b"\n"
                piece = []
                continue
        piece.append(line)
    yield len(lines) - len(piece), b"\n".join(piece) + b"\n"


def ended(content: bytes) -> bytes:
    """Give the content with a line break at its end."""
    return content if content.endswith(b"\n") else content + b"\n"
