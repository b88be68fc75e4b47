"""The keywords of JSON Schema as Helm's validator applies them, on the machinery of `jsonschema`.

Its stock keywords serve where Go and Python agree; the others are here. They read lowered schemas (`lowering`).
"""

from __future__ import annotations

import contextlib
import functools
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from brolly.schemas import formats
from brolly.schemas.dialects import Budget, canonical, exact
from brolly.schemas.lowering import ENTER, DynamicReference, Entrance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from fractions import Fraction

    from jsonschema import ValidationError

_STOCK: Final = (
    *("type", "required", "properties", "prefixItems", "items", "contains", "dependentRequired", "dependentSchemas"),
    *("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"),
    *("allOf", "anyOf", "oneOf", "not", "if"),
)
_KINDS: Final[Mapping[str, type]] = {"null": type(None), "boolean": bool, "string": str, "array": list, "object": dict}


def errors_of(schema: Any, instance: Any, budget: Budget) -> Iterator[ValidationError]:
    """Apply a lowered schema to an instance.

    RecursionError if one of them is nested too deeply, TooMuchWork if the budget does not suffice.
    """
    validator = _validator_type()(schema, format_checker=_judgment(budget))
    return validator.iter_errors(instance)  # type: ignore[no-any-return]


@functools.cache
def _validator_type() -> Any:
    from jsonschema import Draft202012Validator, TypeChecker, validators

    stock = Draft202012Validator.VALIDATORS
    kinds: dict[str, Any] = {name: functools.partial(_is_kind, kind) for name, kind in _KINDS.items()}
    kinds |= {"number": _is_number, "integer": _is_integer}
    return validators.create(
        meta_schema={},
        validators={
            name: _counted(apply) for name, apply in {**{name: stock[name] for name in _STOCK}, **_KEYWORDS}.items()
        },
        type_checker=TypeChecker(kinds),
    )


def _counted(apply: Callable[..., Any]) -> Callable[..., Any]:
    def keyword(validator: Any, wanted: Any, instance: Any, schema: Any) -> Any:
        validator.format_checker.budget.spend()
        return apply(validator, wanted, instance, schema)

    return keyword


def _is_kind(kind: type, _checker: Any, value: Any) -> bool:
    return isinstance(value, kind)


def _is_number(_checker: Any, value: Any) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def _is_integer(checker: Any, value: Any) -> bool:
    return _is_number(checker, value) and (isinstance(value, int) or _is_whole(value))


def _is_whole(number: float | Decimal) -> bool:
    # `//` has no more digits than the context
    return number == number.to_integral_value() if isinstance(number, Decimal) else number.is_integer()


def _judgment(budget: Budget) -> Any:
    """Give the state of one judgment, in the one place that jsonschema hands down untouched.

    `entered` holds the schemas that are being applied, outermost first, each with the value it is applied to.
    """
    from jsonschema import FormatChecker

    judgment = FormatChecker(formats=())
    judgment.entered = []  # type: ignore[attr-defined]
    judgment.budget = budget  # type: ignore[attr-defined]
    return judgment


def _error(message: str, *path: str | int, schema: Any = None) -> ValidationError:
    from jsonschema import ValidationError

    return ValidationError(message, path=path, **({"schema": schema} if schema else {}))


def _enter(validator: Any, entrance: Entrance, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    if any(known is entrance and value is instance for known, value in validator.format_checker.entered):
        yield _error("", schema=entrance.schema)
        return
    with _entering(validator, entrance, instance):
        errors = list(validator.descend(instance, entrance.schema))
    yield from errors


@contextlib.contextmanager
def _entering(validator: Any, entrance: Entrance, instance: Any) -> Iterator[None]:
    validator.format_checker.entered.append((entrance, instance))
    try:
        yield
    finally:
        validator.format_checker.entered.pop()


def _ref(validator: Any, target: Any, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    yield from validator.descend(instance, _in_scope(validator, target))


def _in_scope(validator: Any, target: Any) -> Any:
    """Find what takes the place of a dynamic reference's target: the outermost schema with its anchor."""
    if not isinstance(target, DynamicReference):
        return target
    for entrance, _ in validator.format_checker.entered:
        if not target.anchor and entrance.resource.is_recursive:
            return {ENTER: entrance}
        if target.anchor in entrance.resource.dynamic:
            return entrance.resource.dynamic[target.anchor]
    return target.target


def _among(_validator: Any, allowed: Iterable[Any], instance: Any, _schema: Any) -> Iterator[ValidationError]:
    if canonical(instance) not in allowed:
        yield _error("")


def _format(_validator: Any, name: str, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    if not formats.allows(name, instance):
        yield _error("")


def _pattern(_validator: Any, pattern: formats.Pattern, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not pattern.search(instance):
        yield _error("")


def _bound(holds: Callable[[Fraction, Fraction], bool]) -> Callable[..., Iterator[ValidationError]]:
    def keyword(validator: Any, bound: Fraction, instance: Any, _schema: Any) -> Iterator[ValidationError]:
        if validator.is_type(instance, "number") and not holds(exact(instance), bound):
            yield _error("")

    return keyword


def _unique_items(_validator: Any, wanted: Any, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    if wanted and isinstance(instance, list) and len({canonical(item) for item in instance}) < len(instance):
        yield _error("")


def _pattern_properties(validator: Any, patterns: Any, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    if isinstance(instance, dict):
        for pattern, schema in patterns:
            for name in instance:
                if pattern.search(name):
                    yield from validator.descend(instance[name], schema, path=name)


def _additional_properties(validator: Any, rest: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    for name in _additional(instance, schema):
        if rest is False:
            yield _error("", name)
        else:
            yield from validator.descend(instance[name], rest, path=name)


def _additional(instance: Any, schema: Mapping[str, Any]) -> Iterator[str]:
    known, patterns = schema.get("properties", {}), schema.get("patternProperties", ())
    for name in instance if isinstance(instance, dict) else ():
        if name not in known and not any(pattern.search(name) for pattern, _ in patterns):
            yield name


def _property_names(validator: Any, names: Any, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    for name in instance if isinstance(instance, dict) else ():
        yield from validator.descend(name, names, path=name)


def _dependencies(validator: Any, dependencies: Any, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    for name, needs in dependencies.items() if isinstance(instance, dict) else ():
        if name not in instance:
            continue
        if not isinstance(needs, list):
            yield from validator.descend(instance, needs)
        elif missing := [other for other in needs if other not in instance]:
            yield _error(f"{missing[0]} is required beside {name}")


def _unevaluated(validator: Any, rest: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    own = {name: value for name, value in schema.items() if name not in {"unevaluatedProperties", "unevaluatedItems"}}
    seen = _evaluated(validator, own, instance)
    for part in _parts(instance):
        if part not in seen:
            if rest is False:
                yield _error("", part)
            else:
                yield from validator.descend(instance[part], rest, path=part)


def _unevaluated_of(kind: type) -> Callable[..., Iterator[ValidationError]]:
    def keyword(validator: Any, rest: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        if isinstance(instance, kind):
            yield from _unevaluated(validator, rest, instance, schema)

    return keyword


def _parts(instance: Any) -> list[Any]:
    return list(instance) if isinstance(instance, dict) else list(range(len(instance)))


def _evaluated(validator: Any, schema: Any, instance: Any) -> set[Any]:
    """Give the properties or indices of an instance that a schema which it meets has looked at."""
    if isinstance(schema, bool):
        return set()
    if ENTER in schema:
        with _entering(validator, schema[ENTER], instance):
            return _evaluated(validator, schema[ENTER].schema, instance)
    validator.format_checker.budget.spend()
    seen = _evaluated_here(validator, schema, instance)
    for below in _applied(validator, schema, instance):
        if validator.evolve(schema=below).is_valid(instance):
            seen |= _evaluated(validator, below, instance)
    return seen


def _evaluated_here(validator: Any, schema: Mapping[str, Any], instance: Any) -> set[Any]:
    if isinstance(instance, dict):
        if "additionalProperties" in schema or "unevaluatedProperties" in schema:
            return set(instance)
        return set(instance) - set(_additional(instance, schema))
    if "items" in schema or "unevaluatedItems" in schema:
        return set(_parts(instance))
    seen = set(range(min(len(instance), len(schema.get("prefixItems", ())))))
    if "$containsEvaluates" in schema:
        contained = validator.evolve(schema=schema["contains"])
        seen |= {index for index, item in enumerate(instance) if contained.is_valid(item)}
    return seen


def _applied(validator: Any, schema: Mapping[str, Any], instance: Any) -> Iterator[Any]:
    """Give the schemas that apply to the same instance."""
    for keyword in ("$ref", "$recursiveRef", "$dynamicRef"):
        if keyword in schema:
            yield _in_scope(validator, schema[keyword])
    for keyword in ("allOf", "anyOf", "oneOf"):
        yield from schema.get(keyword, ())
    if isinstance(instance, dict):
        for keyword in ("dependencies", "dependentSchemas"):
            needs = schema.get(keyword, {})
            yield from (needs[name] for name in needs if name in instance and not isinstance(needs[name], list))
    if "if" in schema:
        yield schema["if"]
        holds = validator.evolve(schema=schema["if"]).is_valid(instance)
        yield schema.get("then" if holds else "else", True)


_KEYWORDS: Final[Mapping[str, Callable[..., Iterator[ValidationError]]]] = {
    ENTER: _enter,
    "$ref": _ref,
    "$recursiveRef": _ref,
    "$dynamicRef": _ref,
    "const": _among,
    "enum": _among,
    "format": _format,
    "pattern": _pattern,
    "minimum": _bound(lambda number, bound: number >= bound),
    "maximum": _bound(lambda number, bound: number <= bound),
    "exclusiveMinimum": _bound(lambda number, bound: number > bound),
    "exclusiveMaximum": _bound(lambda number, bound: number < bound),
    "multipleOf": _bound(lambda number, step: (number / step).denominator == 1),
    "uniqueItems": _unique_items,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
    "propertyNames": _property_names,
    "dependencies": _dependencies,
    "unevaluatedProperties": _unevaluated_of(dict),
    "unevaluatedItems": _unevaluated_of(list),
}
