"""Read a definition: a located document becomes a Bundle, or findings, all of them at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from brolly import limits
from brolly.definition.meaning import Meaning
from brolly.definition.rules import SHAPE, UNKNOWN_FIELD
from brolly.definition.shape import BundleShape, DependencyShape, ImportValue, Maintainer, Target, json_schema
from brolly.findings import Finding, printable
from brolly.suggestions import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from brolly.definition.bundle import Bundle
    from brolly.document import Document, Route


def parse(
    document: Document, *, folder: str, repositories: Mapping[str, str], usual: limits.Policy = limits.USUAL
) -> tuple[Bundle | None, tuple[Finding, ...]]:
    """Read a definition: the bundle, or every fault that it has.

    `folder` is the bundle's folder relative to the workspace, `repositories` what `@name` stands for, `usual` the
    limits that hold without the bundle's own.
    """
    faults = tuple(_shape_faults(document))
    if faults:
        return None, faults
    shape = msgspec.convert(document.data, BundleShape)
    reader = Meaning(document, shape, folder, repositories, usual)
    bundle = reader.bundle()
    return (None if reader.found else bundle), (*reader.found, *reader.warned)


def _shape_faults(document: Document) -> Iterator[Finding]:
    from brolly.schemas import judge_parsed

    for violation in judge_parsed(json_schema(), document.data):
        if violation.keyword == "additionalProperties":
            yield from _unknown_fields(document, violation.route)
        else:
            yield shape_finding(document, violation.route, violation.keyword, violation.message)


def _unknown_fields(document: Document, route: Route) -> Iterator[Finding]:
    inside = at_route(document.data, route)
    names = [*inside] if isinstance(inside, dict) else [route[-1]]
    outer = route if isinstance(inside, dict) else route[:-1]
    for name in names:
        if name not in _known_fields((*outer, name)):
            yield unknown_field(document, (*outer, name))


def shape_finding(document: Document, route: Route, keyword: str, message: str) -> Finding:
    """Say what a violation of one of our own schemas means, at its place."""
    at = document.location(route)
    value = at_route(document.data, route)
    name = _written(route)
    if keyword == "type" and isinstance(value, int | float) and message.endswith("text"):
        return SHAPE.finding(
            f"{name} is read as {_yaml_word(value)}, a text is expected", at, hint='put it in quotes: "..."'
        )
    hint = did_you_mean(value, tuple(Target)) if keyword == "enum" and isinstance(value, str) else ""
    if route[:1] == ("limits",) and (len(route) == 2 or name == "limit"):
        hint = limits.QUANTITIES
    return SHAPE.finding(f"{name}: {printable(message)}", at, hint=hint)


def _written(route: Route) -> str:
    """Name a place as a person would: its last key, an element of a list with the list's name."""
    if not route:
        return "the file"
    last = route[-1]
    return f"{route[-2]}[{last}]" if isinstance(last, int) and len(route) > 1 else str(last)


def unknown_field(document: Document, route: Route) -> Finding:
    """Say that a field is unknown; `route` ends with its name."""
    known = _known_fields(route)
    name = printable(str(route[-1]))
    return UNKNOWN_FIELD.finding(
        f"bundle.yaml knows no field {name!r} here",
        document.location(route, key=True),
        hint=did_you_mean(name, known) or f"known here: {', '.join(known)}",
    )


def _known_fields(route: Route) -> tuple[str, ...]:
    shape: type[msgspec.Struct] = BundleShape
    if "dependencies" in route[:-1]:
        shape = ImportValue if "import-values" in route[:-1] else DependencyShape
    elif "maintainers" in route[:-1]:
        shape = Maintainer
    return tuple(shape.__struct_encode_fields__)


def at_route(data: Any, route: Route) -> Any:
    """Follow a route into data; None where it ends early."""
    for step in route:
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def _yaml_word(value: Any) -> str:
    match value:
        case bool():
            return f"the boolean {str(value).lower()}"
        case _:
            return f"the number {value}"
