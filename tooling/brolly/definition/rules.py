"""What can be wrong with a definition."""

from __future__ import annotations

from typing import Final

from brolly.findings import Rule, Severity

SHAPE: Final = Rule("definition/shape", Severity.ERROR, "the definition does not have the shape of a bundle")
UNKNOWN_FIELD: Final = Rule("definition/unknown-field", Severity.ERROR, "a field that bundle.yaml does not know")
NAME: Final = Rule("definition/name", Severity.ERROR, "a name that cannot be used")
VERSION: Final = Rule("definition/version", Severity.ERROR, "a version or a constraint that Helm cannot read")
REPOSITORY: Final = Rule("definition/repository", Severity.ERROR, "a repository that cannot be used")
CLASH: Final = Rule("definition/clash", Severity.ERROR, "two dependencies have the same key")
TARGET: Final = Rule("definition/target", Severity.ERROR, "a field that the target cannot honour")
DEPENDS_ON: Final = Rule("definition/depends-on", Severity.ERROR, "dependsOn names nothing, or goes in a circle")
RELEASE: Final = Rule("definition/release", Severity.ERROR, "a field of `release` that Brolly writes itself")
CONDITION: Final = Rule("definition/condition", Severity.WARNING, "a condition that Helm does not read as it looks")

RULES: Final = (
    SHAPE,
    UNKNOWN_FIELD,
    NAME,
    VERSION,
    REPOSITORY,
    CLASH,
    TARGET,
    DEPENDS_ON,
    RELEASE,
    CONDITION,
)
