"""What Brolly says about a file that an author can edit."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Annotated

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable


def _meta(title: str, description: str) -> msgspec.Meta:
    return msgspec.Meta(title=title, description=description)


class Severity(enum.StrEnum):
    """Only two: what stops a publication, and what does not."""

    ERROR = "error"
    WARNING = "warning"


class Location(msgspec.Struct, frozen=True, order=True, forbid_unknown_fields=True, rename="camel"):
    """A place in a file of the workspace.

    `path` is relative to the workspace, with slashes; lines and columns count from 1, in characters; the end is
    exclusive. A fault of a whole file stands at 1:1.
    """

    path: Annotated[str, _meta("Path", "The file, relative to the workspace, with slashes.")]
    line: Annotated[int, _meta("Line", "The line, from 1.")] = 1
    column: Annotated[int, _meta("Column", "The column, from 1, in characters.")] = 1
    end_line: Annotated[int, _meta("End line", "The line in which the place ends.")] = 1
    end_column: Annotated[int, _meta("End column", "The first column behind the place.")] = 1

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}"


class Finding(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One fault, at a place that the author can edit.

    `label` stands under the marked text in a code frame, `hint` says what to type, `bundle` is the bundle's name.
    """

    code: Annotated[str, _meta("Code", "The rule's code, such as `lock/stale`.")]
    severity: Annotated[Severity, _meta("Severity", "An error stops a publication.")]
    message: Annotated[str, _meta("Message", "What is wrong.")]
    location: Annotated[Location | None, _meta("Location", "Where it is.")] = None
    label: Annotated[str, _meta("Label", "What stands under the marked text in a code frame.")] = ""
    hint: Annotated[str, _meta("Hint", "What to type.")] = ""
    bundle: Annotated[str, _meta("Bundle", "The bundle's name.")] = ""


class Rule(msgspec.Struct, frozen=True):
    """What a check looks for: a stable `code` (area/slug), its severity and a title of one line.

    Each rule has a page in `explain/<area>/<slug>.md`.
    """

    code: str
    severity: Severity
    title: str

    def finding(self, message: str, location: Location | None = None, *, label: str = "", hint: str = "") -> Finding:
        """Give the finding of this rule at a place."""
        return Finding(
            code=self.code, severity=self.severity, message=message, location=location, label=label, hint=hint
        )


def has_errors(findings: Iterable[Finding]) -> bool:
    """Say whether any of the findings stops a publication."""
    return any(finding.severity is Severity.ERROR for finding in findings)


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Sort by path, line, column and code; what has no place comes first. Equal findings are said once."""
    return tuple(sorted(dict.fromkeys(findings), key=_order))


def _order(finding: Finding) -> tuple[str, int, int, str, str]:
    at = finding.location
    return (
        (at.path, at.line, at.column, finding.code, finding.message)
        if at
        else ("", 0, 0, finding.code, finding.message)
    )


def printable(text: str) -> str:
    """Strip control characters from text that comes from outside, before a terminal sees it (CVE-2021-21303)."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in "\n\t" else "�" for char in text)
