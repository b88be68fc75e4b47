"""What somebody else refuses: the limits of Kubernetes, Helm, Flux and registries, as a table.

A bundle may tighten a limit; loosening one needs a reason, since it promises that somebody changed the one who sets it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from brolly.findings import Finding, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from brolly.findings import Location

WARN_FROM: Final = 0.8
_QUANTITY: Final = re.compile(r"([1-9][0-9]{0,14})(Ki|Mi|Gi)?")
_FACTORS: Final = {None: 1, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}


class Setting(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How a bundle or a workspace sets a limit in its long form."""

    limit: Annotated[
        str,
        msgspec.Meta(
            title="Limit", description="Bytes, or with Ki, Mi or Gi.", pattern="^[1-9][0-9]{0,14}(Ki|Mi|Gi)?$"
        ),
    ] = ""
    reason: Annotated[
        str, msgspec.Meta(title="Reason", description="Why more than the usual limit is accepted where this goes.")
    ] = ""
    severity: Annotated[
        Severity | None,
        msgspec.Meta(title="Severity", description="`warning` lets a bundle pass that is over the limit."),
    ] = None


@dataclass(frozen=True)
class Limit:
    """A limit: `bytes` that must not be passed, who sets it, and the rules that speak of it."""

    name: str
    bytes: int
    of: str
    source: str
    too_large: Rule
    near: Rule


def _limit(name: str, size: int, of: str, source: str, *, severity: Severity = Severity.ERROR) -> Limit:
    return Limit(
        name,
        size,
        of,
        source,
        Rule(f"size/{name}", severity, f"{of} is larger than {source} takes"),
        Rule(f"size/{name}-near", Severity.WARNING, f"{of} is close to what {source} takes"),
    )


RELEASE_RECORD: Final = _limit("release-record", 1 << 20, "the release record", "Kubernetes (a Secret's data)")
CHART_UNPACKED: Final = _limit("chart-unpacked", (100 << 20) - 1, "the unpacked chart", "Helm's loader")
CHART_FILE: Final = _limit("chart-file", 5 << 20, "a file of a chart", "Helm's loader, and Flux")
CHART_PACKAGE: Final = _limit(
    "chart-package", 10 << 20, "the chart package", "Flux (--helm-chart-max-size)", severity=Severity.WARNING
)
CONFIG_MAP: Final = _limit("config-map", 1 << 20, "a ConfigMap's data", "Kubernetes")
SECRET: Final = _limit("secret", 1 << 20, "a Secret's data", "Kubernetes")
OBJECT: Final = _limit("object", 3 << 19, "an object", "etcd (--max-request-bytes)")
ANNOTATIONS: Final = _limit("annotations", 256 << 10, "an object's annotations", "Kubernetes")
MANIFEST: Final = _limit("oci-manifest", 4 << 20, "the OCI manifest", "registries")

LIMITS: Final = (
    RELEASE_RECORD,
    CHART_UNPACKED,
    CHART_FILE,
    CHART_PACKAGE,
    CONFIG_MAP,
    SECRET,
    OBJECT,
    ANNOTATIONS,
    MANIFEST,
)
NAMES: Final = tuple(limit.name for limit in LIMITS)

LOOSE: Final = Rule("size/no-reason", Severity.ERROR, "a limit that was loosened without a reason")
UNKNOWN: Final = Rule("size/unknown-limit", Severity.ERROR, "a limit that Brolly does not know")

RULES: Final = (LOOSE, UNKNOWN, *(rule for limit in LIMITS for rule in (limit.too_large, limit.near)))


@dataclass(frozen=True)
class Measure:
    """Something that was measured: `bytes` is never less than it really is. `what` names it in a message.

    `location` is what the author can edit, `label` stands there, `hint` says how to make it smaller.
    """

    limit: Limit
    bytes: int
    what: str
    location: Location | None = None
    label: str = ""
    hint: str = ""


@dataclass(frozen=True)
class Policy:
    """The limits that hold for a bundle: its own over the workspace's, over the table."""

    settings: Mapping[str, Setting]

    def limit_of(self, limit: Limit) -> int:
        """Give the bytes that must not be passed."""
        setting = self.settings.get(limit.name)
        return quantity(setting.limit) if setting and setting.limit else limit.bytes

    def severity_of(self, limit: Limit) -> Severity:
        """Give what passing it means."""
        setting = self.settings.get(limit.name)
        return setting.severity if setting and setting.severity else limit.too_large.severity


def policy(workspace: Mapping[str, str | Setting], bundle: Mapping[str, str | Setting]) -> Policy:
    """Merge a bundle's limits over the workspace's."""
    merged = {name: _long(setting) for name, setting in workspace.items()}
    for name, setting in bundle.items():
        before = merged.get(name, Setting())
        mine = _long(setting)
        merged[name] = Setting(
            mine.limit or before.limit, mine.reason or before.reason, mine.severity or before.severity
        )
    return Policy(merged)


def _long(setting: str | Setting) -> Setting:
    return Setting(limit=setting) if isinstance(setting, str) else setting


def loosened(settings: Mapping[str, str | Setting]) -> Iterator[str]:
    """Name the limits that were set above the table's, or made a warning, without a reason."""
    table = {limit.name: limit for limit in LIMITS}
    for name, setting in settings.items():
        limit, long = table.get(name), _long(setting)
        if limit is None or long.reason.strip():
            continue
        is_higher = is_quantity(long.limit) and quantity(long.limit) > limit.bytes
        is_softer = long.severity is Severity.WARNING and limit.too_large.severity is Severity.ERROR
        if is_higher or is_softer:
            yield name


def check(measures: Iterable[Measure], rules: Policy) -> Iterator[Finding]:
    """Compare what was measured with the limits: an error (or what the policy says) over, a warning from 80 %."""
    for one in measures:
        limit = rules.limit_of(one.limit)
        if one.bytes > limit:
            finding = one.limit.too_large.finding(
                f"{one.what} is {_size(one.bytes)}, the limit is {_size(limit)}",
                one.location,
                label=one.label,
                hint=one.hint,
            )
            yield msgspec.structs.replace(finding, severity=rules.severity_of(one.limit))
        elif one.bytes >= limit * WARN_FROM:
            share = round(100 * one.bytes / limit)
            yield one.limit.near.finding(
                f"{one.what} is {_size(one.bytes)}, {share} % of the limit of {_size(limit)}",
                one.location,
                label=one.label,
                hint=one.hint,
            )


def quantity(text: str) -> int:
    """Read bytes as Kubernetes writes them: `1048576`, `1024Ki`, `1Mi`; ValueError for anything else."""
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError(f"not a number of bytes: {text!r}")
    return int(match[1]) * _FACTORS[match[2]]


def is_quantity(text: str) -> bool:
    """Say whether `quantity` can read it."""
    return _QUANTITY.fullmatch(text) is not None


def _size(size: int) -> str:
    if size < 1 << 10:
        return f"{size} B"
    return f"{size / (1 << 10):.1f} KiB" if size < 1 << 20 else f"{size / (1 << 20):.2f} MiB"
