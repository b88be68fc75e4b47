"""JSON Schemas out of the structs that Brolly reads and writes: the models generate `schemas/*.json`."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final, TypeVar

_Shape = TypeVar("_Shape")

if TYPE_CHECKING:
    import msgspec

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def settled(shape: type[_Shape]) -> type[_Shape]:
    """Let msgspec work out a struct's types now. It does so at the first use, and not safely in two threads at once.

    Seen with msgspec 0.22: 22 of 60 processes whose four threads began with a `convert` of one type died of SIGSEGV.
    """
    import msgspec

    msgspec.json.Decoder(shape)
    return shape


@functools.cache
def published_schema(shape: type[msgspec.Struct], name: str, title: str) -> dict[str, Any]:
    """Give a struct's schema as a document of its own; msgspec takes titles and descriptions from the annotations."""
    import msgspec

    generated = msgspec.json.schema(shape)
    definitions = generated.pop("$defs", {})
    root = definitions.pop(generated["$ref"].rsplit("/", 1)[1]) if "$ref" in generated else generated
    schema: dict[str, Any] = {"$schema": _DIALECT, "$id": f"urn:brolly:schema:{name}", **root, "title": title}
    if definitions:
        schema["$defs"] = dict(sorted(definitions.items()))
    return schema
