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
QUANTITIES: Final = "write 800Ki, 1Mi or 819200"
_QUANTITY: Final = re.compile(r"([1-9][0-9]{0,14})(Ki|Mi|Gi)?")
_FACTORS: Final = {None: 1, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}


_Text = Annotated[str, msgspec.Meta(title="Text", description="Bytes, or with Ki, Mi or Gi.")]
_Bytes = Annotated[int, msgspec.Meta(title="Number", description="Bytes.", ge=1, lt=10**15)]
_Quantity = Annotated[str, msgspec.Meta(pattern="^[1-9][0-9]{0,14}(Ki|Mi|Gi)?$")] | _Bytes


class Setting(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How a bundle or a workspace sets a limit in its long form."""

    limit: Annotated[_Quantity, msgspec.Meta(title="Limit", description="Bytes, or with Ki, Mi or Gi.")] = ""
    reason: Annotated[
        str, msgspec.Meta(title="Reason", description="Why more than the usual limit is accepted where this goes.")
    ] = ""
    severity: Annotated[
        Severity | None,
        msgspec.Meta(title="Severity", description="`warning` lets a bundle pass that is over the limit."),
    ] = None


# how a limit is set: bytes alone, or the long form
Given = _Text | _Bytes | Setting


@dataclass(frozen=True)
class Limit:
    """A limit: `bytes` that must not be passed, and the rules that speak of it. To be near is a warning at most.

    `is_fixed` says that who sets it has no setting for it: a reason does not help.
    """

    name: str
    bytes: int
    too_large: Rule
    near: Rule
    is_fixed: bool = False


LOOSE: Final = Rule("size/no-reason", Severity.ERROR, "a limit that was loosened without a reason")
UNKNOWN: Final = Rule("size/unknown-limit", Severity.ERROR, "a limit that Brolly does not know")
RELEASE_TOO_LARGE: Final = Rule("size/release-too-large", Severity.ERROR, "a release record that Kubernetes refuses")
RELEASE_NEAR_LIMIT: Final = Rule("size/release-near-limit", Severity.WARNING, "a release record near its limit")
LARGE_UNPACKED: Final = Rule("size/chart-unpacked", Severity.ERROR, "a chart that unpacks to more than Helm reads")
LARGE_FILE: Final = Rule("size/chart-file", Severity.ERROR, "a file of a chart that is larger than Helm reads")
LARGE_PACKAGE: Final = Rule("size/chart-package", Severity.WARNING, "a chart package larger than Flux takes")
LARGE_INDEX: Final = Rule("size/repository-index", Severity.ERROR, "a repository with a larger index than Flux reads")
LARGE_CONFIG_MAP: Final = Rule("size/config-map", Severity.ERROR, "a ConfigMap with more data than Kubernetes takes")
LARGE_SECRET: Final = Rule("size/secret", Severity.ERROR, "a Secret with more data than Kubernetes takes")
LARGE_OBJECT: Final = Rule("size/object", Severity.ERROR, "an object larger than etcd takes")
LARGE_ANNOTATIONS: Final = Rule("size/annotations", Severity.ERROR, "more annotations than Kubernetes takes")
LARGE_MANIFEST: Final = Rule("size/oci-manifest", Severity.ERROR, "an OCI manifest larger than registries take")

# Whose limits they are: Kubernetes' ValidateSecret and ValidateConfigMap, etcd's DefaultMaxRequestBytes, apimachinery's
# TotalAnnotationSizeLimitB; helm's pkg/chart/loader/archive; source-controller's --helm-chart-max-size and
# --helm-index-max-size; the 4 MiB that registries take of a manifest.
RELEASE_RECORD: Final = Limit("release-record", 1 << 20, RELEASE_TOO_LARGE, RELEASE_NEAR_LIMIT)
CHART_UNPACKED: Final = Limit("chart-unpacked", (100 << 20) - 1, LARGE_UNPACKED, LARGE_UNPACKED, is_fixed=True)
CHART_FILE: Final = Limit("chart-file", 5 << 20, LARGE_FILE, LARGE_FILE, is_fixed=True)
CHART_PACKAGE: Final = Limit("chart-package", 10 << 20, LARGE_PACKAGE, LARGE_PACKAGE)
REPOSITORY_INDEX: Final = Limit("repository-index", 50 << 20, LARGE_INDEX, LARGE_INDEX)
CONFIG_MAP: Final = Limit("config-map", 1 << 20, LARGE_CONFIG_MAP, LARGE_CONFIG_MAP)
SECRET: Final = Limit("secret", 1 << 20, LARGE_SECRET, LARGE_SECRET)
OBJECT: Final = Limit("object", 3 << 19, LARGE_OBJECT, LARGE_OBJECT)
ANNOTATIONS: Final = Limit("annotations", 256 << 10, LARGE_ANNOTATIONS, LARGE_ANNOTATIONS)
MANIFEST: Final = Limit("oci-manifest", 4 << 20, LARGE_MANIFEST, LARGE_MANIFEST)

LIMITS: Final = (
    RELEASE_RECORD,
    CHART_UNPACKED,
    CHART_FILE,
    CHART_PACKAGE,
    REPOSITORY_INDEX,
    CONFIG_MAP,
    SECRET,
    OBJECT,
    ANNOTATIONS,
    MANIFEST,
)
NAMES: Final = tuple(limit.name for limit in LIMITS)

RULES: Final = (
    LOOSE,
    UNKNOWN,
    RELEASE_TOO_LARGE,
    RELEASE_NEAR_LIMIT,
    LARGE_UNPACKED,
    LARGE_FILE,
    LARGE_PACKAGE,
    LARGE_INDEX,
    LARGE_CONFIG_MAP,
    LARGE_SECRET,
    LARGE_OBJECT,
    LARGE_ANNOTATIONS,
    LARGE_MANIFEST,
)


@dataclass(frozen=True)
class Measure:
    """Something that was measured: `bytes` is never less than it really is. `what` names it in a message.

    `location` is what the author can edit, `label` stands there, `hint` says how to make it smaller. `is_vital` says
    that nothing can be rendered, or installed, of what is over the table's limit.
    """

    limit: Limit
    bytes: int
    what: str
    location: Location | None = None
    label: str = ""
    hint: str = ""
    is_vital: bool = False


@dataclass(frozen=True)
class Policy:
    """The limits that hold for a bundle: its own over the workspace's, over the table."""

    settings: Mapping[str, Setting]

    def limit_of(self, limit: Limit) -> int:
        """Give the bytes that must not be passed."""
        setting = self.settings.get(limit.name)
        held = quantity(setting.limit) if setting and setting.limit else limit.bytes
        return min(held, limit.bytes) if limit.is_fixed else held

    def severity_of(self, limit: Limit, size: int = 0) -> Severity:
        """Give what passing it means; `size` bytes that nobody takes are never less than the table says."""
        setting = self.settings.get(limit.name)
        is_settled = limit.is_fixed and size > limit.bytes
        return setting.severity if setting and setting.severity and not is_settled else limit.too_large.severity


# what holds where nobody set anything: the table
USUAL: Final = Policy({})


def policy(workspace: Mapping[str, Given], bundle: Mapping[str, Given]) -> Policy:
    """Merge a bundle's limits over the workspace's."""
    merged = {name: _long(setting) for name, setting in workspace.items()}
    for name, setting in bundle.items():
        before = merged.get(name, Setting())
        mine = _long(setting)
        merged[name] = Setting(
            mine.limit or before.limit, mine.reason or before.reason, mine.severity or before.severity
        )
    return Policy(merged)


def _long(setting: Given) -> Setting:
    return setting if isinstance(setting, Setting) else Setting(limit=setting)


def loosened(settings: Mapping[str, Given], usual: Policy = USUAL) -> Iterator[str]:
    """Name the limits that were set above what holds otherwise, or made a warning, without a reason."""
    table = {limit.name: limit for limit in LIMITS}
    for name, setting in settings.items():
        limit, long = table.get(name), _long(setting)
        if limit is None or long.reason.strip():
            continue
        is_higher = is_quantity(long.limit) and quantity(long.limit) > usual.limit_of(limit)
        is_softer = long.severity is Severity.WARNING and usual.severity_of(limit) is Severity.ERROR
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
            yield msgspec.structs.replace(finding, severity=rules.severity_of(one.limit, one.bytes))
        elif one.bytes >= limit * WARN_FROM:
            share = round(100 * one.bytes / limit)
            finding = one.limit.near.finding(
                f"{one.what} is {_size(one.bytes)}, {share} % of the limit of {_size(limit)}",
                one.location,
                label=one.label,
                hint=one.hint,
            )
            yield msgspec.structs.replace(finding, severity=Severity.WARNING)


def ends_it(measures: Iterable[Measure], rules: Policy) -> bool:
    """Say whether something vital is over its limit: Helm would only say so once more, in other words."""
    over = (one for one in measures if one.is_vital and one.bytes > max(one.limit.bytes, rules.limit_of(one.limit)))
    return any(rules.severity_of(one.limit, one.bytes) is Severity.ERROR for one in over)


def quantity(text: str | int) -> int:
    """Read bytes as Kubernetes writes them: `1048576`, `1024Ki`, `1Mi`; ValueError for anything else."""
    match = _QUANTITY.fullmatch(str(text))
    if match is None:
        raise ValueError(f"not a number of bytes: {text!r}")
    return int(match[1]) * _FACTORS[match[2]]


def is_quantity(text: str | int) -> bool:
    """Say whether `quantity` can read it."""
    return _QUANTITY.fullmatch(str(text)) is not None


def _size(size: int) -> str:
    if size < 1 << 10:
        return f"{size} B"
    return f"{size / (1 << 10):.1f} KiB" if size < 1 << 20 else f"{size / (1 << 20):.2f} MiB"
