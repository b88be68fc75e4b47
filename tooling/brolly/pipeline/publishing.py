"""Publish: dist/ → a registry. Copies what was checked and never builds; tags come last."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import msgspec

from brolly import __version__, dist
from brolly.errors import BrollyError
from brolly.findings import printable
from brolly.oci import HELM_CHART, Artifact, Descriptor
from brolly.outcome import BundleReport, Report, Status
from brolly.pipeline.fingerprints import fingerprint
from brolly.pipeline.settings import policy_of
from brolly.pipeline.shop import Shop, read, side_by_side
from brolly.results import tool_identity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from brolly.registry import Registry

INPUTS: Final = "io.brolly.bundle.inputs"


class NotCurrent(BrollyError):  # noqa: N818 - it names a state
    """`dist/` does not hold what the workspace declares now."""

    exit_code = 1


class VersionExists(BrollyError):  # noqa: N818 - it names a state
    """The version was published before, with other content."""

    exit_code = 1

    def __init__(self, artifact: Artifact, place: str, there: str) -> None:
        where = "in the chart's Chart.yaml, and lock again" if _is_chart(artifact) else "in bundle.yaml"
        super().__init__(
            f"{printable(place)} is published already with {there}; this build has {artifact.digest}",
            hint=f"a published version never changes: raise `version:` {where}",
        )


class Published(msgspec.Struct, frozen=True):
    """One artifact in a registry. `repository` has no scheme and no tag; `status` is published or unchanged."""

    url: str
    repository: str
    version: str
    digest: str
    size: int
    status: str


@dataclass(frozen=True)
class Publication:
    """What `publish` did with one bundle: in order, with what was odd about it, and what stopped it."""

    bundle: str
    published: tuple[Published, ...] = ()
    notes: tuple[str, ...] = ()
    fault: BrollyError | None = None


def publish(
    shop: Shop, names: Sequence[str], registry: Registry, prefix: str, *, dry_run: bool = False
) -> tuple[Publication, ...]:
    """Copy bundles from `dist/` to a registry, below a prefix; with `dry_run` only ask what is there.

    Nothing is written unless all that is listed is whole; NotCurrent, DamagedDist.
    """
    report = current_report(shop, names)
    artifacts = {name: _artifacts(shop, report, name) for name in names}

    def step(name: str) -> Publication:
        done = Publication(name)
        try:
            # nothing of a bundle is written if one of its artifacts is refused
            plans = [_plan(artifact, registry, prefix) for artifact in artifacts[name]]
            for plan in plans:
                shop.progress(name, f"publishing {plan.artifact.repository}")
                if not dry_run:
                    _write(plan, registry)
                done = replace(done, published=(*done.published, _published(plan, registry)))
        except BrollyError as error:
            return replace(done, fault=error)
        return replace(done, notes=tuple(plan.note for plan in plans if plan.note))

    return tuple(side_by_side(step, names, shop.jobs))


def _artifacts(shop: Shop, report: Report, name: str) -> list[Artifact]:
    bundle = report.bundle(name)
    return [dist.read_artifact(shop.workspace.dist, artifact) for artifact in (bundle.artifacts if bundle else ())]


def current_report(shop: Shop, names: Sequence[str]) -> Report:
    """Read the report of the last build, if it is about the workspace as it is now; NotCurrent says why not."""
    report = dist.read_report(shop.workspace.dist)
    if report is None:
        raise NotCurrent("nothing was built yet", hint="run `brolly build`")
    # what was given to the build holds for the publication too
    built_with = replace(shop, settings=replace(shop.settings, address=report.address, epoch=report.epoch))
    reasons = [reason for name in names if (reason := _staleness(built_with, name, report))]
    if reasons:
        raise NotCurrent("; ".join(reasons), hint="run `brolly build`")
    return report


def _staleness(shop: Shop, name: str, report: Report) -> str:
    bundle: BundleReport | None = report.bundle(name)
    if bundle is None:
        return f"{name} was not built yet"
    if bundle.status is Status.FAILED:
        return f"the last build of {name} failed"
    if report.tool != __version__:
        return f"{name} was built by Brolly {printable(report.tool)}, this is {__version__}"
    now = fingerprint(read(shop, name).sources, shop.settings, tool_identity(), policy_of(shop.workspace))
    if now != bundle.fingerprint:
        return f"{name} changed since it was built"
    return ""


@dataclass(frozen=True)
class _Plan:
    """What is to be done with one artifact: `there` is the digest under its version, if there is one already."""

    artifact: Artifact
    repository: str
    there: str = ""
    note: str = ""

    @property
    def digest(self) -> str:
        """What the version names in the end; a bundle refers to its charts by its own digest."""
        return self.there if self.there and not _is_chart(self.artifact) else self.artifact.digest


def _plan(artifact: Artifact, registry: Registry, prefix: str) -> _Plan:
    repository = f"{prefix}/{artifact.repository}" if prefix else artifact.repository
    there = registry.resolve(repository, artifact.tag)
    if there is None:
        return _Plan(artifact, repository)
    note = "" if there.digest == artifact.digest else _tolerated(artifact, registry, repository, there)
    return _Plan(artifact, repository, str(there.digest), note)


def _tolerated(artifact: Artifact, registry: Registry, repository: str, there: Descriptor) -> str:
    """Say why another manifest under this version may stay; VersionExists if it may not."""
    manifest = json.loads(registry.manifest(repository, there.digest).content)
    place = registry.location(repository, artifact.tag)
    ours = json.loads(artifact.manifest.content)
    inputs = _annotation(ours, INPUTS)
    if inputs and inputs == _annotation(manifest, INPUTS):
        return f"{place} was made from the same inputs by another Brolly; it stays as it is"
    if _is_chart(artifact) and not inputs and _layer(ours) == _layer(manifest):
        # the same package under another manifest: Helm writes the time into it
        return f"{place} has the same chart under another manifest; the bundle refers to its own by digest"
    raise VersionExists(artifact, place, there.digest)


def _write(plan: _Plan, registry: Registry) -> None:
    """Blobs first, then the manifest by its digest, the tag last: no reader finds anything without what it names."""
    artifact, repository = plan.artifact, plan.repository
    if plan.digest != artifact.digest:
        return  # another one is tolerated in its place
    # what is there already is completed, if a blob of it was lost or damaged
    for blob in artifact.blobs:
        registry.put_blob(repository, blob)
    if not plan.there or not registry.resolve(repository, artifact.digest):
        registry.put_manifest(repository, artifact.digest, artifact.manifest)
    if not plan.there:
        registry.put_manifest(repository, artifact.tag, artifact.manifest)


def _published(plan: _Plan, registry: Registry) -> Published:
    artifact = plan.artifact
    url = registry.location(plan.repository, artifact.tag)
    status = "unchanged" if plan.there else "published"
    return Published(url, _bare(url), artifact.version, plan.digest, artifact.size, status)


def _is_chart(artifact: Artifact) -> bool:
    return artifact.repository.startswith("charts/")


def _annotation(manifest: Any, name: str) -> str:
    annotations = manifest.get("annotations") if isinstance(manifest, dict) else None
    return str(annotations.get(name, "")) if isinstance(annotations, dict) else ""


def _layer(manifest: Any) -> str:
    layers = manifest.get("layers") if isinstance(manifest, dict) else None
    found = [layer for layer in layers or () if isinstance(layer, dict) and layer.get("mediaType") == HELM_CHART]
    return str(found[0].get("digest")) if found else ""


def _bare(url: str) -> str:
    rest = url.removeprefix("oci://").removeprefix("oci-layout:")
    head, colon, tail = rest.rpartition(":")
    return head if colon and "/" not in tail else rest
