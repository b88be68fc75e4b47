"""What Helm makes of a scalar.

Helm reads YAML with go.yaml.in/yaml/v2 and hands it on as JSON, where every number is a float64.
Source: go-yaml v2.4.3 resolve.go; sigs.k8s.io/yaml 1.6 yaml.go (convertToJSONableObject).
"""

from __future__ import annotations

import base64
import functools
import math
import re
import struct
from typing import Final, TypeAlias

Scalar: TypeAlias = str | bool | int | float | None

TAGS: Final = "tag:yaml.org,2002:"
MERGE_TAG: Final = TAGS + "merge"
# what a plain scalar must start with to be a number, and to be anything but a string; an empty one is null
_NUMERIC: Final = frozenset("+-.0123456789")
HINTS: Final = _NUMERIC | frozenset("yYnNtTfFoO~")

_WORDS: Final[dict[str, Scalar]] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
}
_INTEGER: Final = re.compile(r"([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]?([0-7]+)|(0|[1-9][0-9]*))")
_BASES: Final = {2: 16, 3: 2, 4: 8, 5: 10}
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
# Go's ParseFloat takes underscores between digits
_FRACTION: Final = re.compile(r"\.[0-9](?:_?[0-9])*(?:[eE][-+]?[0-9](?:_?[0-9])*)?")
_TIMESTAMP: Final = re.compile(
    r"[0-9]{4}-(?:0?[1-9]|1[0-2])-(?:0?[1-9]|[12][0-9]|3[01])"
    r"(?:[Tt](?:[01]?[0-9]|2[0-3]):[0-5]?[0-9]:[0-5]?[0-9](?:[.,][0-9]+)?(?:Z|[-+][0-9]{2}:[0-9]{2})"
    r"| (?:[01]?[0-9]|2[0-3]):[0-5]?[0-9]:[0-5]?[0-9](?:[.,][0-9]+)?)?"
)


def resolve(text: str) -> Scalar:
    """Read a plain scalar as go-yaml does: integers are exact, `.inf` and `.nan` are floats."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMERIC:
        return text
    # longer ones are worth no place in the cache
    return _numeric(text) if len(text) <= 64 else _numeric.__wrapped__(text)


@functools.lru_cache(maxsize=4096)
def _numeric(text: str) -> Scalar:
    digits = text.replace("_", "")
    if text[0] == ".":
        return _finite(digits, text) if _FRACTION.fullmatch(text) else text
    return _number(digits, text)


def _number(digits: str, text: str) -> Scalar:
    found = _INTEGER.fullmatch(digits)
    if found and found.lastindex:
        value = _int64(found[1], found[found.lastindex].lstrip("0") or "0", _BASES[found.lastindex])
        if value is not None:
            return value
    return _finite(digits, text) if _FLOAT.fullmatch(digits) else text


def _int64(sign: str, digits: str, base: int) -> int | None:
    """Read what fits int64, or without a sign uint64."""
    # 64 digits are enough in any base; Python refuses to convert thousands
    if len(digits) > 64:
        return None
    value = int(sign + digits, base)
    return value if -(1 << 63) <= value < (1 << 63 if sign else 1 << 64) else None


def _finite(digits: str, text: str) -> float | str:
    value = float(digits)
    return text if math.isinf(value) else value


def resolve_tagged(tag: str, text: str) -> Scalar:
    """Read a scalar with a tag; ValueError if the text is not of that kind. With an unknown tag it is text."""
    kind = tag.removeprefix(TAGS)
    if kind == "binary" and kind != tag:
        return _binary(text)
    if kind == tag or kind not in {"bool", "int", "float", "null", "timestamp"}:
        return text
    value = resolve(text)
    if kind == "float" and _kind(value, text) == "int" and -(1 << 63) <= int(value or 0) < 1 << 63:
        return float(value or 0)
    if _kind(value, text) != kind:
        raise ValueError(f"{text[:40]!r} is not of the kind {kind}")
    return value


def _kind(value: Scalar, text: str) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "bool"
        case int():
            return "int"
        case float():
            return "float"
        case _:
            return "timestamp" if _TIMESTAMP.fullmatch(text) else "str"


def _binary(text: str) -> str:
    """Decode base64 as Go's StdEncoding; what is no UTF-8 becomes U+FFFD, byte by byte, when Go writes the JSON."""
    content = base64.b64decode(text.replace("\n", "").replace("\r", ""), validate=True)
    return re.sub("[\udc80-\udcff]", "�", content.decode("utf-8", "surrogateescape"))


def json_value(value: Scalar) -> Scalar:
    """Give the value as it leaves JSON: a float64, kept as an int where it is integral and Go writes no exponent."""
    if type(value) is int:
        return value if -(1 << 53) <= value <= 1 << 53 else int(float(value))
    if type(value) is float and value.is_integer() and abs(value) < 1e21:
        return int(value)
    return value


def key_text(value: Scalar) -> str | None:
    """Give a key as the text that JSON has for it; None for what cannot be a key (null, and more than an int64)."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int():
            return str(value) if value < 1 << 63 else None
        case float():
            return float_text(value)
        case _:
            return None


def float_text(value: float) -> str:
    """Format like Go's strconv.FormatFloat(value, 'g', -1, 32), infinities and NaN as YAML spells them."""
    if math.isnan(value):
        return ".nan"
    try:
        single = struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        single = math.copysign(math.inf, value)
    if math.isinf(single):
        return ".inf" if single > 0 else "-.inf"
    mantissa, _, exponent = _shortest(single).partition("e")
    if -4 <= int(exponent) < 6:
        return f"{single:.{max(0, len(mantissa.lstrip('-').replace('.', '')) - 1 - int(exponent))}f}"
    return f"{mantissa}e{exponent}"


def _shortest(single: float) -> str:
    for precision in range(9):
        text = f"{single:.{precision}e}"
        if struct.pack("f", float(text)) == struct.pack("f", single):
            return text
    return f"{single:.9e}"
