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
from brolly.pipeline.building import fingerprint
from brolly.pipeline.shop import Shop, read, side_by_side

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

    def __init__(self, place: str, there: str, here: str) -> None:
        super().__init__(
            f"{printable(place)} is published already with {there}; this build has {here}",
            hint="a published version never changes: raise `version:` in bundle.yaml",
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
        for artifact in artifacts[name]:
            shop.progress(name, f"publishing {artifact.repository}")
            try:
                published, note = _publish(artifact, registry, prefix, dry_run=dry_run)
            except BrollyError as error:
                return replace(done, fault=error)
            done = replace(done, published=(*done.published, published), notes=(*done.notes, *filter(None, (note,))))
        return done

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
    if fingerprint(read(shop, name).sources, shop.settings) != bundle.fingerprint:
        return f"{name} changed since it was built"
    return ""


def _publish(artifact: Artifact, registry: Registry, prefix: str, *, dry_run: bool) -> tuple[Published, str]:
    repository = f"{prefix}/{artifact.repository}" if prefix else artifact.repository
    there = registry.resolve(repository, artifact.tag)
    note = ""
    if there is None:
        status = "published"
        if not dry_run:
            _copy(artifact, registry, repository)
            registry.put_manifest(repository, artifact.tag, artifact.manifest)
    else:
        status = "unchanged"
        if there.digest != artifact.digest:
            note = _tolerated(artifact, registry, repository, there, dry_run=dry_run)
    url = registry.location(repository, artifact.tag)
    digest = there.digest if there and note and not _is_chart(artifact) else artifact.digest
    return Published(url, _bare(url), artifact.version, digest, artifact.size, status), note


def _copy(artifact: Artifact, registry: Registry, repository: str) -> None:
    """Blobs first, then the manifest by its digest: no reader ever finds a manifest without its blobs."""
    for blob in artifact.blobs:
        if not registry.has_blob(repository, blob.descriptor.digest):
            registry.put_blob(repository, blob)
    registry.put_manifest(repository, artifact.digest, artifact.manifest)


def _tolerated(artifact: Artifact, registry: Registry, repository: str, there: Descriptor, *, dry_run: bool) -> str:
    """Say why another manifest under this version may stay; VersionExists if it may not."""
    manifest = json.loads(registry.manifest(repository, there.digest).content)
    place = registry.location(repository, artifact.tag)
    ours = json.loads(artifact.manifest.content)
    inputs = _annotation(ours, INPUTS)
    if inputs and inputs == _annotation(manifest, INPUTS):
        return f"{place} was made from the same inputs by another Brolly; it stays as it is"
    if _is_chart(artifact) and not inputs and _layer(ours) == _layer(manifest):
        # the same package under another manifest (Helm writes the time into it): the bundle pins ours, by digest
        if not dry_run:
            _copy(artifact, registry, repository)
        return f"{place} has the same chart under another manifest; the bundle refers to its own by digest"
    raise VersionExists(place, there.digest, artifact.digest)


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
