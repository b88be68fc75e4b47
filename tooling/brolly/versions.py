"""Versions and version constraints as Helm reads them.

The authority is Masterminds/semver v3.5, which Helm 3.21 and 4.2 use. It reads versions more loosely than semver.org
(`v1.2` is 1.2.0), and its ranges are its own: `>1` begins at 2.0.0, `^*` is 0.0.0 alone, `1-2` is a prerelease. The
`semver` package reads the normalised version and decides precedence; the ranges are written here. Helm's engine judges
both in the tests.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import total_ordering
from typing import TYPE_CHECKING, Final, Self

import semver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

# Masterminds counts bytes; whatever is valid is ASCII, so characters will do
MAX_VERSION: Final = 256
MAX_CONSTRAINT: Final = 512
MAX_GROUPS: Final = 32
_MAX_NUMBER: Final = 2**64 - 1

_IDENTIFIERS: Final = r"[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*"
_SUFFIX: Final = rf"(?:-(?P<prerelease>{_IDENTIFIERS}))?(?:\+(?P<build>{_IDENTIFIERS}))?"
_VERSION: Final = re.compile(rf"v?(?P<numbers>[0-9]+(?:\.[0-9]+){{0,2}})(?P<suffix>{_SUFFIX})")
_ZERO_LED: Final = re.compile(r"(?<![^.])0[0-9]+(?![^.])")
# Go's ParseUint refuses these as numbers, so Helm compares them as texts
_LONG_NUMBER: Final = re.compile(r"(?<![0-9A-Za-z-])[0-9]{20,}(?![0-9A-Za-z])")

_SPACES: Final = "\t\n\f\r "  # Go's \s: Python's has \v too
_S: Final = rf"[{_SPACES}]"
# as loose as Masterminds': what is neither a number nor a wildcard fails later, unless a wildcard stands before it
_PARTS: Final = r"v?[0-9xX*|]+(?:\.[0-9xX*|]+){0,2}"
_END: Final = rf"{_PARTS}(?:-{_IDENTIFIERS})?(?:\+{_IDENTIFIERS})?"
# atomic: an end is never shorter than it looks, and 512 characters must not cost 100 ms
_HYPHEN_RANGE: Final = re.compile(rf"(?>{_S}*)((?>{_END})){_S}+-{_S}+((?>{_END})){_S}*")
_COMPARISON: Final = re.compile(
    rf"(?P<operator>!=|=[<>]?|[<>]=?|~>?|\^|){_S}*(?P<version>(?P<parts>{_PARTS}){_SUFFIX})"
)
_SEPARATOR: Final = re.compile(rf"{_S}*,{_S}*|{_S}+")


@total_ordering
@dataclass(frozen=True, slots=True, eq=False)
class Version:
    """One version. It is equal to another, and has its hash, if neither precedes the other.

    So `1.2.3+a`, `1.2.3+b` and `v1.2.3` are equal, as they are to Helm's constraints: build metadata and spelling do
    not count. `original` tells them apart.
    """

    original: str
    _semver: semver.Version = field(repr=False)
    _precedence: semver.Version = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a version as Masterminds' NewVersion does; ValueError for what it refuses.

        A leading `v`, missing parts and leading zeros of the three numbers are accepted.
        """
        try:
            parsed = semver.Version.parse(_normalised(text))
        except ValueError as error:
            raise ValueError(f"{_not_a_version(text)}: {error}") from error
        return cls(text, parsed, _precedence(parsed))

    @classmethod
    def parse_strict(cls, text: str) -> Self:
        """Read a version as semver.org writes it (Masterminds' StrictNewVersion); ValueError for anything else.

        Of the tags of a registry, Helm sees only these.
        """
        version = cls.parse(text)
        if str(version) != text:
            raise ValueError(f"{_not_a_version(text)}: written in full it is {version}")
        return version

    @property
    def numbers(self) -> tuple[int, int, int]:
        """The major, minor and patch number."""
        return self._semver.major, self._semver.minor, self._semver.patch

    @property
    def prerelease(self) -> str:
        """What stands after `-`; empty for a release."""
        return self._semver.prerelease or ""

    @property
    def build(self) -> str:
        """What stands after `+`; empty if nothing does."""
        return self._semver.build or ""

    def __str__(self) -> str:
        return str(self._semver)

    def __eq__(self, other: object) -> bool:
        return self._precedence == other._precedence if isinstance(other, Version) else NotImplemented

    def __lt__(self, other: Version) -> bool:
        return self._precedence < other._precedence

    def __hash__(self) -> int:
        return hash((self.numbers, self.prerelease))


def _normalised(text: str) -> str:
    """Write in full what Masterminds accepts; ValueError says what is wrong with the rest."""
    if len(text) > MAX_VERSION:
        raise ValueError(f"longer than {MAX_VERSION} characters")
    match = _VERSION.fullmatch(text)
    if not match:
        raise ValueError("expected MAJOR.MINOR.PATCH, such as 1.2.3 or 1.2.3-rc.1")
    numbers = [int(number) for number in match["numbers"].split(".")]
    if max(numbers) > _MAX_NUMBER:
        raise ValueError(f"a number is larger than {_MAX_NUMBER}")
    if _ZERO_LED.search(match["prerelease"] or ""):
        raise ValueError("a number in the prerelease starts with 0")
    return ".".join(map(str, [*numbers, 0, 0][:3])) + match["suffix"]


def _precedence(version: semver.Version) -> semver.Version:
    """Give the version that stands where Helm sorts this one.

    A hyphen makes a text of a number. It is the first character in the order, so the text keeps its place.
    """
    text = _LONG_NUMBER.sub(lambda number: _as_text(number[0]), version.prerelease or "")
    return version.replace(prerelease=text) if text != (version.prerelease or "") else version


def _as_text(number: str) -> str:
    return number if int(number) <= _MAX_NUMBER else number + "-"


def _not_a_version(text: str) -> str:
    return f"not a version: {_shown(text)}"


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")


@dataclass(frozen=True, slots=True)
class _Comparison:
    """An operator and the lowest version of what was written, of which the first `given` numbers count."""

    operator: str
    version: Version
    given: int

    @classmethod
    def of(cls, match: re.Match[str]) -> Self:
        """Read a match of `_COMPARISON`; ValueError if its version is none."""
        parts = match["parts"].removeprefix("v").split(".")
        given = next((index for index, part in enumerate(parts) if part in {"x", "X", "*"}), len(parts))
        if given == 3:
            return cls(match["operator"], Version.parse(match["version"]), given)
        suffix = f"-{match['prerelease']}" if match["prerelease"] else ""
        lowest = ".".join([*parts[:given], "0", "0", "0"][:3]) + suffix
        return cls(match["operator"], Version.parse(lowest), given)

    def allows(self, version: Version) -> bool:
        return _OPERATORS[self.operator](self, version)

    def shares(self, version: Version, count: int) -> bool:
        """Say whether the first numbers are the same."""
        return self.version.numbers[:count] == version.numbers[:count]


@dataclass(frozen=True, slots=True)
class Constraint:
    """What a dependency asks for: comparisons joined by `,` or a space (and), groups of them by `||` (or)."""

    text: str
    _groups: tuple[tuple[_Comparison, ...], ...] = field(repr=False, compare=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a constraint as Masterminds' NewConstraint does; ValueError for what it refuses."""
        if len(text) > MAX_CONSTRAINT:
            raise ValueError(f"{_not_a_constraint(text)}: longer than {MAX_CONSTRAINT} characters")
        groups = _HYPHEN_RANGE.sub(r">= \1, <= \2 ", text).split("||")
        if len(groups) > MAX_GROUPS:
            raise ValueError(f"{_not_a_constraint(text)}: more than {MAX_GROUPS} alternatives")
        try:
            return cls(text, tuple(tuple(_comparisons(group)) for group in groups))
        except ValueError as error:
            raise ValueError(f"{_not_a_constraint(text)}: {error}") from error

    @property
    def is_exact(self) -> bool:
        """Whether it is a version itself, which Helm takes for a registry's tag as it is written, without a search."""
        try:
            Version.parse(self.text)
        except ValueError:
            return False
        return True

    def allows(self, version: Version) -> bool:
        """Say whether the version is in the range.

        A prerelease is, only if some comparison of the same group names a prerelease.
        """
        return any(
            (not version.prerelease or any(one.version.prerelease for one in group))
            and all(one.allows(version) for one in group)
            for group in self._groups
        )

    def best(self, versions: Iterable[Version]) -> Version | None:
        """Give the highest version allowed, whatever the order they come in; None if none is.

        Of equal ones it is the one with the highest build metadata (compared as prereleases are; none is lowest), then
        the one written in full, then the last by text.
        """
        return max(filter(self.allows, versions), key=_preference, default=None)

    def __str__(self) -> str:
        return self.text


def _preference(version: Version) -> tuple[Version, bool, tuple[tuple[bool, int, str], ...], bool, str]:
    parts = version.build.split(".")
    build = tuple((not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in parts)
    return version, bool(version.build), build, str(version) == version.original, version.original


def _not_a_constraint(text: str) -> str:
    return f"not a version constraint: {_shown(text)}"


def _comparisons(group: str) -> Iterator[_Comparison]:
    rest = group.strip(_SPACES)
    while True:
        match = _COMPARISON.match(rest)
        if not match:
            found = _shown(rest) if rest else "nothing"
            raise ValueError(f"expected a comparison such as ^1.2.0, ~1.2 or >=1.2.0, found {found}")
        yield _Comparison.of(match)
        rest = rest[match.end() :]
        if not rest:
            return
        separator = _SEPARATOR.match(rest)
        if not separator:
            raise ValueError(f"expected ',' or '||', found {_shown(rest)}")
        rest = rest[separator.end() :]


# What follows is Masterminds' arithmetic, oddities included: with no number given (`*`), most operators see 0.0.0.


def _equal(one: _Comparison, version: Version) -> bool:
    return version == one.version if one.given == 3 else _tilde(one, version)


def _not_equal(one: _Comparison, version: Version) -> bool:
    if one.given == 2 and version.prerelease != one.version.prerelease:
        return True  # `!=1.2` is the releases 1.2.x, `!=1.2-rc` the versions 1.2.x-rc
    return not one.shares(version, one.given) if one.given in {1, 2} else version != one.version


def _greater(one: _Comparison, version: Version) -> bool:
    if one.given in {1, 2}:
        return version.numbers[: one.given] > one.version.numbers[: one.given]
    return version > one.version


def _less_equal(one: _Comparison, version: Version) -> bool:
    if one.given == 3:
        return version <= one.version
    count = one.given or 2
    return version.numbers[:count] <= one.version.numbers[:count]


def _tilde(one: _Comparison, version: Version) -> bool:
    anything = one.version.numbers == (0, 0, 0) and one.given == 3
    return version >= one.version and (anything or one.shares(version, min(one.given, 2)))


def _caret(one: _Comparison, version: Version) -> bool:
    major, minor, _ = one.version.numbers
    count = 1 if major or one.given == 1 else 2 if minor or one.given == 2 else 3
    return version >= one.version and one.shares(version, count)


_OPERATORS: Final[Mapping[str, Callable[[_Comparison, Version], bool]]] = {
    "": _equal,
    "=": _equal,
    "!=": _not_equal,
    ">": _greater,
    ">=": lambda one, version: version >= one.version,
    "=>": lambda one, version: version >= one.version,
    "<": lambda one, version: version < one.version,
    "<=": _less_equal,
    "=<": _less_equal,
    "~": _tilde,
    "~>": _tilde,
    "^": _caret,
}
