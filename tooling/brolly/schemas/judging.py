"""From bytes to verdict, and what a person reads of it."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from brolly.schemas.dialects import METASCHEMAS, ROOT, Budget, Route, SchemaFault, metaschema, read_json
from brolly.schemas.keywords import errors_of
from brolly.schemas.lowering import ENTER, ORIGIN, lower

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from jsonschema import ValidationError

_LONGEST_SHOWN: Final = 60
# Steps to judge values by a schema, and a schema by its metaschema: some seconds. Values of real charts take some ten
# thousand; a metaschema takes up to 45 for each schema in it; n schemas of two references each to the next take 2^n.
_STEPS: Final = 200_000
_STEPS_OF_CHECKS: Final = 2_000_000


@dataclass(frozen=True)
class Violation:
    """One place where values break a schema.

    `route` leads from the root of the values, `schema_route` to the keyword in the schema's own document. The message
    says what is allowed; of the values it quotes names, never content.
    """

    route: Route
    message: str
    keyword: str
    schema_route: Route


def judge(schema: bytes, instance: Any) -> tuple[Violation, ...]:
    """Judge values, sorted by route, as Helm would; SchemaFault where Helm refuses the schema whatever the values.

    The instance is what Helm makes of YAML: mappings with texts for keys, lists, texts, numbers, booleans and None.
    """
    return _violations(_compiled(schema), instance, Budget(_STEPS))


def judge_parsed(schema: Mapping[str, Any], instance: Any) -> tuple[Violation, ...]:
    """Judge by a parsed schema, such as our own: its draft is 2020-12 unless it names another."""
    return judge(json.dumps(schema).encode(), instance)


@functools.lru_cache(maxsize=128)
def _compiled(schema: bytes) -> Any:
    budget = Budget(_STEPS_OF_CHECKS)
    return lower(read_json(schema), ROOT, functools.partial(_check, budget=budget), budget)


@functools.cache
def _compiled_metaschema(draft: int) -> Any:
    return lower(metaschema(METASCHEMAS[draft]), METASCHEMAS[draft], None, Budget(_STEPS_OF_CHECKS))


def _check(schema: Any, draft: int, route: Route, *, budget: Budget) -> None:
    """Judge a schema by its draft's metaschema, as the compiler does before anything else."""
    for violation in _violations(_compiled_metaschema(draft), schema, budget):
        raise SchemaFault(violation.message, (*route, *violation.route))


def _violations(schema: Any, instance: Any, budget: Budget) -> tuple[Violation, ...]:
    try:
        found = [_violation(leaf) for error in errors_of(schema, instance, budget) for leaf in _telling(error)]
    except RecursionError as error:
        raise SchemaFault("nested too deeply") from error
    others = [violation for violation in found if violation.keyword != "$ref"]
    if found and not others:
        raise SchemaFault(found[0].message, found[0].schema_route)
    return tuple(sorted(dict.fromkeys(others), key=_order))


def _order(violation: Violation) -> tuple[Any, ...]:
    return tuple(
        tuple((isinstance(part, str), 0, part) if isinstance(part, str) else (False, part, "") for part in route)
        for route in (violation.route, violation.schema_route)
    )


def _telling(error: ValidationError) -> Iterator[ValidationError]:
    """Descend into anyOf and oneOf where one alternative is plainly meant: the only one of the value's type."""
    alternatives: dict[Any, list[ValidationError]] = {}
    for inner in error.context or ():
        alternatives.setdefault(inner.schema_path[0] if inner.schema_path else None, []).append(inner)
    meant = [errors for errors in alternatives.values() if not any(_is_of_another_kind(inner) for inner in errors)]
    if len(meant) == 1:
        for inner in meant[0]:
            yield from _telling(inner)
    else:
        yield error


def _is_of_another_kind(error: ValidationError) -> bool:
    return not error.path and error.validator in {"type", "const", "enum", None}


def _violation(error: ValidationError) -> Violation:
    origin = error.schema[ORIGIN] if isinstance(error.schema, dict) and ORIGIN in error.schema else None
    keyword = str(error.validator) if origin else "false"
    schema = origin.schema if origin else {}
    if keyword == ENTER:
        keyword = "$ref"
    elif keyword == "items" and isinstance(schema.get("items"), list):
        keyword = "additionalItems"
    elif keyword == "prefixItems" and keyword not in schema:
        keyword = "items"
    route = (*origin.route, keyword) if origin else tuple(error.absolute_schema_path)
    return Violation(tuple(error.absolute_path), _message(error, keyword, schema.get(keyword)), keyword, route)


def _message(error: ValidationError, keyword: str, wanted: Any) -> str:
    """Say what is allowed, in the words of the schema as its author wrote it."""
    if say := _SAYINGS.get(keyword):
        return say(wanted)
    match keyword:
        case "required":
            missing = [name for name in wanted if name not in cast("dict[str, Any]", error.instance)]
            return f"{_names(missing)} {'is' if len(missing) == 1 else 'are'} required"
        case "additionalProperties" | "unevaluatedProperties" | "unevaluatedItems" if error.path:
            return f"{_shown(error.path[-1])} is not known here"
        case "anyOf" | "oneOf":
            return _alternatives(error, keyword)
        case _:
            return error.message or f"breaks {keyword}"


def _alternatives(error: ValidationError, keyword: str) -> str:
    if not error.context:
        return "meets more than one of the alternatives, of which exactly one is allowed"
    kinds = [_kinds(inner.validator_value) for inner in error.context if inner.validator == "type" and not inner.path]
    number = len(cast("list[Any]", error.validator_value))
    if len(kinds) == number:
        return f"must be {' or '.join(dict.fromkeys(kinds))}"
    return f"meets none of the {number} alternatives of {keyword}"


def _kinds(wanted: Any) -> str:
    names = [wanted] if isinstance(wanted, str) else wanted
    articles = {"array": "a list", "object": "a mapping", "string": "a text", "integer": "an integer", "null": "null"}
    return " or ".join(articles.get(name, f"a {name}") for name in names)


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=float)
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 3] + "..."


def _names(names: Iterable[str]) -> str:
    return ", ".join(_shown(name) for name in names)


def _enumerated(values: Any) -> str:
    text = ", ".join(_shown(value) for value in values[:12])
    return f"must be one of {text}{', ...' if len(values) > 12 else ''}"


_SAYINGS: Final[Mapping[str, Callable[[Any], str]]] = {
    "false": lambda _: "nothing is allowed here",
    "type": lambda wanted: f"must be {_kinds(wanted)}",
    "enum": _enumerated,
    "const": lambda wanted: f"must be {_shown(wanted)}",
    "format": lambda wanted: f"must be of the format {wanted}",
    "pattern": lambda wanted: f"must match {wanted}",
    "minimum": lambda wanted: f"must be at least {wanted}",
    "maximum": lambda wanted: f"must be at most {wanted}",
    "exclusiveMinimum": lambda wanted: f"must be more than {wanted}" if wanted is not True else "is too small",
    "exclusiveMaximum": lambda wanted: f"must be less than {wanted}" if wanted is not True else "is too large",
    "multipleOf": lambda wanted: f"must be a multiple of {wanted}",
    "minLength": lambda wanted: f"must have at least {wanted} characters",
    "maxLength": lambda wanted: f"must have at most {wanted} characters",
    "minItems": lambda wanted: f"must have at least {wanted} items",
    "maxItems": lambda wanted: f"must have at most {wanted} items",
    "uniqueItems": lambda _: "must not have equal items",
    "minProperties": lambda wanted: f"must have at least {wanted} keys",
    "maxProperties": lambda wanted: f"must have at most {wanted} keys",
    "not": lambda _: "is what the schema excludes",
    "contains": lambda _: "has too few or too many of the items it must contain",
    "additionalItems": lambda _: "has more items than are allowed",
    "items": lambda _: "has more items than are allowed",
    "$ref": lambda _: "the schema's references go round in circles",
}
