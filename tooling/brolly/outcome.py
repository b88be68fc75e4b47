"""What is kept of a build: artifacts, facts and findings, as values; and `dist/report.json`, which lists them."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from brolly.findings import Finding
from brolly.shapes import settled

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from brolly.oci import Artifact
    from brolly.sources import Settings


def _meta(title: str, description: str) -> msgspec.Meta:
    return msgspec.Meta(title=title, description=description)


class Status(enum.StrEnum):
    """What became of a bundle in a build."""

    BUILT = "built"
    UNCHANGED = "unchanged"
    FAILED = "failed"


class Split(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a share of a release record consists of, in bytes of the record."""

    manifests: Annotated[int, _meta("Manifests", "What is rendered.")] = 0
    hooks: Annotated[int, _meta("Hooks", "What is rendered, and run at an install or an upgrade.")] = 0
    values: Annotated[int, _meta("Values", "Merged defaults, and what an overlay sets.")] = 0
    files: Annotated[int, _meta("Files", "The chart's own templates, files and metadata; only of the parent.")] = 0


class Size(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel"):
    """A size that somebody limits."""

    name: Annotated[str, _meta("Name", "What is measured, such as `package`.")]
    bytes: Annotated[int, _meta("Bytes", "How large it is.")]
    values: Annotated[str, _meta("Values", "With which values: `defaults`, or an overlay's name.")] = "defaults"
    upper_bound: Annotated[
        int, _meta("Upper bound", "It is never larger than this, in bytes; 0: `bytes` is exact.")
    ] = 0
    limit: Annotated[int, _meta("Limit", "What it must not pass, in bytes; 0: there is none.")] = 0
    release: Annotated[str, _meta("Release", "The release that it is of, if it is of one.")] = ""
    shares: Annotated[
        dict[str, int],
        _meta(
            "Shares",
            "What each dependency adds to it, in bytes, by key, or each subchart if it is the release of a dependency. "
            "`` is the chart itself.",
        ),
    ] = {}
    split: Annotated[dict[str, Split], _meta("Split", "What each share consists of, by the same keys.")] = {}
    schema: Annotated[
        int, _meta("Schema", "What the schema of all values adds to it, in bytes, with `embedSchema: true`.")
    ] = 0


class BuiltArtifact(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """An artifact in `dist/oci`."""

    ref_name: Annotated[str, _meta("Ref name", "Its `org.opencontainers.image.ref.name` in `dist/oci/index.json`.")]
    repository: Annotated[str, _meta("Repository", "Its path below the address.")]
    version: Annotated[str, _meta("Version", "Its version; the tag has `_` for `+`.")]
    digest: Annotated[str, _meta("Digest", "The manifest's digest.")]
    size: Annotated[int, _meta("Size", "Bytes of the manifest and all blobs.")]


class BuiltDependency(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A dependency of a bundle, with its locked version."""

    key: Annotated[str, _meta("Key", "Its name in the bundle: alias or chart name.")]
    name: Annotated[str, _meta("Chart", "The chart's name.")]
    version: Annotated[str, _meta("Version", "The locked version.")]
    repository: Annotated[str, _meta("Repository", "Where it comes from.")]
    digest: Annotated[str, _meta("Digest", "What pins it.")]


class BundleReport(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a build found out about one bundle."""

    name: Annotated[str, _meta("Name", "The bundle's name.")]
    version: Annotated[str, _meta("Version", "Its version; empty if the definition cannot be read.")]
    target: Annotated[str, _meta("Target", "`umbrella` or `kustomize`; empty if the definition cannot be read.")]
    status: Annotated[Status, _meta("Status", "`built`, `unchanged` or `failed`.")]
    inputs: Annotated[str, _meta("Inputs", "The digest of what decides the bytes: an annotation of each artifact.")]
    fingerprint: Annotated[
        str, _meta("Fingerprint", "The digest of all that went in: overlays, local charts and the tool's version too.")
    ]
    sizes: Annotated[tuple[Size, ...], _meta("Sizes", "What was measured.")]
    dependencies: Annotated[tuple[BuiltDependency, ...], _meta("Dependencies", "The locked charts.")]
    artifacts: Annotated[
        tuple[BuiltArtifact, ...],
        _meta(
            "Artifacts",
            "What publish copies, in this order. A failed bundle keeps those of its last good build.",
        ),
    ]
    address: Annotated[str, _meta("Address", "Where clusters pull from.")]
    configured: Annotated[
        bool,
        _meta("Configured", "Whether the workspace says this address; if not, `--address` said it for this build."),
    ]
    epoch: Annotated[int, _meta("Epoch", "The time of all archives: SOURCE_DATE_EPOCH, in seconds.")]
    files: Annotated[
        tuple[str, ...], _meta("Files", "What lies in dist/ for a person: files, and folders with a slash.")
    ]
    findings: Annotated[tuple[Finding, ...], _meta("Findings", "What the checks found.")]


class Report(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`dist/report.json`: what the last build made."""

    tool: Annotated[str, _meta("Tool", "The version of Brolly.")]
    bundles: Annotated[tuple[BundleReport, ...], _meta("Bundles", "One entry per bundle, sorted by name.")]

    def bundle(self, name: str) -> BundleReport | None:
        """Find a bundle's entry."""
        return next((bundle for bundle in self.bundles if bundle.name == name), None)


@dataclass(frozen=True)
class Outcome:
    """One bundle's build: its report, its artifacts with their bytes, and the files for `dist/` by relative path."""

    report: BundleReport
    artifacts: tuple[Artifact, ...] = ()
    files: tuple[tuple[str, bytes], ...] = field(default=(), repr=False)


settled(Report)


def report_of(
    settings: Settings,
    built: Iterable[BundleReport],
    previous: Report | None,
    declared: Collection[str],
    lost: Collection[str],
) -> Report:
    """Make the report of a build. Bundles that were not built this time keep their entries while they are declared.

    `lost` names those that the world kept from being built: nothing new is known of them.
    """
    old = {bundle.name: bundle for bundle in previous.bundles if bundle.name in declared} if previous else {}
    new = {one.name: _entry(one, old.get(one.name), is_lost=one.name in lost) for one in built}
    return Report(
        tool=settings.version,
        bundles=tuple(bundle for _, bundle in sorted({**old, **new}.items())),
    )


def _entry(report: BundleReport, before: BundleReport | None, *, is_lost: bool) -> BundleReport:
    """Leave in dist/ what was there, if the bundle failed."""
    if report.status is not Status.FAILED or before is None:
        return report
    return before if is_lost else msgspec.structs.replace(report, artifacts=before.artifacts, files=before.files)


def serialize(report: Report) -> bytes:
    """Write a report as JSON that a person can read too."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"


def parse(content: bytes) -> Report:
    """Read a report; ValueError if it is none."""
    return msgspec.json.decode(content, type=Report)


def json_schema() -> dict[str, Any]:
    """Generate the JSON Schema of report.json (draft 2020-12)."""
    from brolly.shapes import published_schema

    return published_schema(Report, "report", "A Brolly build report")
