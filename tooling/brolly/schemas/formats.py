"""Formats and patterns as Helm's validator reads them: santhosh-tekuri/jsonschema v6, which leans on Go's libraries.

Where Go's own parsers are lenient (`+1.2.3.4` is an IPv4 address, `"ab@x.y` an e-mail address) so are these: the
question is never whether a text is right, but whether Helm takes it.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class PatternError(ValueError):
    """A regular expression that Go's RE2 does not compile."""


@dataclass(frozen=True)
class Pattern:
    """A compiled regular expression; `search` finds it anywhere in a text."""

    text: str
    search: Callable[[str], Any] = field(repr=False, compare=False)


@functools.lru_cache(maxsize=4096)
def pattern(text: str) -> Pattern:
    """Compile as Go's RE2 does; PatternError for what it refuses."""
    try:
        import re2
    except ImportError:
        return _without_re2(text)
    if r"\C" in text.replace("\\\\", ""):
        raise PatternError(r"Go's RE2 has no \C")
    options = re2.Options()
    options.log_errors = False
    try:
        return Pattern(text, re2.compile(text, options).search)
    except re2.error as error:
        # google-re2 hands over C++'s bytes
        reason = error.args[0].decode(errors="replace") if error.args else ""
        raise PatternError(reason) from error


# What Python's `re` compiles and RE2 does not: look-around, conditions, comments, back-references, possessive
# quantifiers, atomic groups and Python's or Perl's own escapes.
_FOREIGN: Final = re.compile(
    r"\(\?(?:[=!>#(&]|<[=!]|P[=>]|[a-zA-Z]*x)|\\(?:[1-9ZGKXRkcuUNgehH])|[*+?}]\+|\{(?:1\d{3,}|[2-9]\d{3,}|\d+,[1-9]\d{3,})\}"
)
_UNKNOWN: Final = re.compile(r"\\[pPQC]|\[\[:")
_SAFE_ESCAPE: Final = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\$", re.DOTALL)


def _without_re2(text: str) -> Pattern:
    plain = text.replace("\\\\", "")
    if foreign := _FOREIGN.search(plain):
        raise PatternError(f"Go's RE2 has no {foreign[0]}")
    if unknown := _UNKNOWN.search(plain):
        raise PatternError(f"{unknown[0]} can be judged with google-re2 only: pip install 'brolly[re2]'")
    translated = text if "(?m" in text or re.search(r"\(\?[a-z]*m", text) else _SAFE_ESCAPE.sub(_in_python, text)
    try:
        # RE2's \d, \w and \b are ASCII
        return Pattern(text, re.compile(translated.replace("(?<", "(?P<"), re.ASCII).search)
    except (re.error, OverflowError, RecursionError) as error:
        raise PatternError(str(error)) from error


def _in_python(found: re.Match[str]) -> str:
    # RE2's $ is the end of the text, Python's also stands before a last newline
    return r"\Z" if found[0] in {"$", r"\z"} else found[0]


def allows(name: str, text: Any) -> bool:
    """Say whether Helm's validator finds the value to be of the format; what is no text is of every format."""
    return not isinstance(text, str) or FORMATS[name](text)


_NUMBER: Final = re.compile(r"[+-]?[0-9]+")
_HEX: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_POINTER: Final = re.compile(r"(?:/(?:[^~/]|~[01])*)*", re.DOTALL)
_RELATIVE_POINTER: Final = re.compile(r"(?:0|[1-9][0-9]*)(?:#|" + _POINTER.pattern + ")", re.DOTALL)
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_DURATION: Final = re.compile(
    r"P(?!\Z)(?:[0-9]+W|(?:[0-9]+Y)?(?:[0-9]+M)?(?:[0-9]+D)?"
    r"(?:T(?=[0-9])(?:[0-9]+H)?(?:[0-9]+M)?(?:[0-9]+S)?)?)"
)
_LABEL: Final = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)")
_LOCAL: Final = re.compile(r"[A-Za-z0-9.!#$%&'*+\-/=?^_`{|}~]*")
_SEMVER: Final = re.compile(
    r"(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*)){2}"
    r"(?:-(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)(?:\.(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*))*)?"
    r"(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
)
_DATE: Final = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
_FRACTION: Final = re.compile(r"\.[0-9]+")
_DAYS: Final = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def _is_number(text: str, highest: int) -> bool:
    return bool(_NUMBER.fullmatch(text)) and 0 <= int(text) <= highest


def _is_ipv4(text: str) -> bool:
    groups = text.split(".")
    return len(groups) == 4 and all(
        _is_number(group, 255) and not (len(group) > 1 and group[0] == "0") for group in groups
    )


def _is_ipv6(text: str) -> bool:
    try:
        return ":" in text and "%" not in text and bool(ipaddress.IPv6Address(text))
    except ValueError:
        return False


def _is_hostname(text: str) -> bool:
    host = text.removesuffix(".")
    return len(host) <= 253 and all(_LABEL.fullmatch(label) for label in host.split("."))


def _is_email(text: str) -> bool:
    local, at, domain = text.rpartition("@")
    if not at or len(text.encode()) > 254 or len(local.encode()) > 64:
        return False
    if len(local) > 1 and local.startswith('"'):  # Go's code looks twice at the first quote, never at the last
        if "\\" in local[1:-1] or '"' in local[1:-1]:
            return False
    elif local.startswith(".") or local.endswith(".") or ".." in local or not _LOCAL.fullmatch(local):
        return False
    if domain.startswith("[") and domain.endswith("]"):
        address = domain[1:-1]
        return _is_ipv6(address[5:]) if address.startswith("IPv6:") else _is_ipv4(address)
    return _is_hostname(domain)


def _is_date(text: str) -> bool:
    found = _DATE.fullmatch(text)
    if not found:
        return False
    year, month, day = (int(part) for part in found.groups())
    leap = month == 2 and year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return 1 <= month <= 12 and 1 <= day <= _DAYS[month - 1] + leap


def _is_time(text: str) -> bool:
    if len(text) < 9 or not text.isascii() or text[2] != ":" or text[5] != ":":
        return False
    if not (_is_number(text[:2], 23) and _is_number(text[3:5], 59) and _is_number(text[6:8], 60)):
        return False
    rest = text[8:]
    if rest.startswith("."):
        fraction = _FRACTION.match(rest)
        if not fraction:
            return False
        rest = rest[fraction.end() :]
    minutes = int(text[:2]) * 60 + int(text[3:5])
    if rest not in {"z", "Z"}:
        if len(rest) != 6 or rest[0] not in "+-" or rest[3] != ":":
            return False
        if not (_is_number(rest[1:3], 23) and _is_number(rest[4:6], 59)):
            return False
        offset = int(rest[1:3]) * 60 + int(rest[4:6])
        minutes += offset if rest[0] == "-" else -offset
        minutes += 24 * 60 if minutes < 0 else 0
    return int(text[6:8]) < 60 or minutes == 23 * 60 + 59


def _is_date_time(text: str) -> bool:
    return len(text) >= 20 and text[10] in "tT" and _is_date(text[:10]) and _is_time(text[11:])


def _is_duration(text: str) -> bool:
    return bool(_DURATION.fullmatch(text))


def _is_period(text: str) -> bool:
    start, slash, end = text.partition("/")
    if not slash:
        return False
    if start.startswith("P"):
        return _is_duration(start) and _is_date_time(end)
    return _is_date_time(start) and (_is_duration(end) if end.startswith("P") else _is_date_time(end))


_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_USERINFO: Final = re.compile(r"[A-Za-z0-9\-._:~!$&'()*+,;=%@]*")
_HOST: Final = re.compile(r"""(?:[A-Za-z0-9\-_.~!$&'()*+,;=:\[\]<>"]|[^\x00-\x7f]|%25|%[89A-Fa-f][0-9A-Fa-f])*""")
_PORT: Final = re.compile(r"(?::[0-9]*)?")
_UNTOUCHED_PATH: Final = re.compile(r"[A-Za-z0-9\-_.~$&+,/:;=@%]*")


def url_parts(text: str) -> tuple[str, str] | None:
    """Split as Go's net/url does into scheme and path; None where Go refuses. An opaque URL has no path."""
    rest, _, fragment = text.partition("#")
    if re.search(r"[\x00-\x1f\x7f]", text) or _HEX.search(fragment) or rest.startswith(":"):
        return None
    found = _SCHEME.match(rest)
    scheme = found[0][:-1].lower() if found else ""
    path = rest[len(scheme) + 1 if found else 0 :].partition("?")[0]
    if not path.startswith("/"):
        if found:
            return scheme, ""
        return None if ":" in path.split("/")[0] or _HEX.search(path) else (scheme, path)
    if path.startswith("//") and (found or not path.startswith("///")):
        authority, slash, path = path[2:].partition("/")
        if not _is_authority(authority):
            return None
        path = slash + path
    return None if _HEX.search(path) else (scheme, path)


def _is_authority(text: str) -> bool:
    user, at, host = text.rpartition("@")
    if at and (not _USERINFO.fullmatch(user) or _HEX.search(user)):
        return False
    if not _HOST.fullmatch(host):
        return False
    if host.startswith("["):
        address, bracket, port = host[1:].rpartition("]")
        return bool(bracket) and bool(_PORT.fullmatch(port)) and _is_ipv6(address)
    name, colon, port = host.rpartition(":")
    return not colon or (bool(_PORT.fullmatch(colon + port)) and ":" not in name)


def _is_uri(text: str) -> bool:
    parts = url_parts(text)
    return bool(parts and parts[0])


def _is_uri_reference(text: str) -> bool:
    return "\\" not in text and url_parts(text) is not None


def _is_uri_template(text: str) -> bool:
    parts = url_parts(text)
    if parts is None:
        return False
    if _UNTOUCHED_PATH.fullmatch(parts[1]):  # Go keeps a raw path only where its own escaping would differ
        return True
    return all(_has_paired_braces(token) for token in parts[1].split("/"))


def _has_paired_braces(token: str) -> bool:
    from urllib.parse import unquote

    braces = re.sub(r"[^{}]", "", unquote(token))
    return braces == "{}" * (len(braces) // 2)


def _is_regex(text: str) -> bool:
    try:
        pattern(text)
    except PatternError:
        return False
    return True


FORMATS: Final[Mapping[str, Callable[[str], bool]]] = {
    "date": _is_date,
    "date-time": _is_date_time,
    "duration": _is_duration,
    "email": _is_email,
    "hostname": _is_hostname,
    "ipv4": _is_ipv4,
    "ipv6": _is_ipv6,
    "iri": _is_uri,
    "iri-reference": _is_uri_reference,
    "json-pointer": lambda text: bool(_POINTER.fullmatch(text)),
    "period": _is_period,
    "regex": _is_regex,
    "relative-json-pointer": lambda text: bool(_RELATIVE_POINTER.fullmatch(text)),
    "semver": lambda text: bool(_SEMVER.fullmatch(text)),
    "time": _is_time,
    "uri": _is_uri,
    "uri-reference": _is_uri_reference,
    "uri-template": _is_uri_template,
    "uuid": lambda text: bool(_UUID.fullmatch(text)),
}
