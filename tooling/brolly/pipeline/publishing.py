"""Publish: dist/ → a registry. Copies what was checked and never builds; tags come last."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar, cast

import msgspec

from brolly import __version__
from brolly.errors import BrollyError
from brolly.findings import printable
from brolly.oci import HELM_CHART
from brolly.outcome import BundleReport, Report, Status
from brolly.pipeline.fingerprints import fingerprint
from brolly.pipeline.proving import NotCurrent
from brolly.pipeline.settings import policy_of
from brolly.pipeline.shop import Shop, attempts, read, side_by_side
from brolly.pipeline.unchanged import may_reach_out
from brolly.registry.port import NotFound, RegistryMisbehaved, TagTaken
from brolly.results import tool_identity
from brolly.sources import DEFINITION
from brolly.workspace import read_sources

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from brolly.oci import Blob, StoredArtifact, StoredBlob
    from brolly.pipeline.proving import Listed
    from brolly.registry import Registry
    from brolly.sources import Sources

_Result = TypeVar("_Result")
# the repository below the address, the tag, the digest
_Key: TypeAlias = tuple[str, str, str]

INPUTS: Final = "io.brolly.bundle.inputs"
# artifacts under way for each job: most of the time, they wait for the registry
_PER_JOB: Final = 4
# bytes of a blob that is under way for some time
_LARGE: Final = 8 << 20


class VersionExists(BrollyError):  # noqa: N818 - it names a state
    """The version was published before, with other content."""

    exit_code = 1

    def __init__(self, artifact: StoredArtifact, place: str, there: str, *, is_lost: bool = False) -> None:
        lost = ", which is lost or damaged" if is_lost else ""
        where = "in the chart's Chart.yaml, and lock again" if _is_chart(artifact) else "in bundle.yaml"
        super().__init__(
            f"{printable(place)} is published already with {there}{lost}; this build has {artifact.digest}",
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
    shop: Shop, listed: Listed, registry: Registry, prefix: str, *, dry_run: bool = False
) -> tuple[Publication, ...]:
    """Copy bundles from `dist/` to a registry, below a prefix; with `dry_run` only ask what is there.

    Charts go first, and what is in several bundles is asked for and sent once. Nothing is written unless all that is
    listed is whole: the registry is asked, and uploads begin, while blobs are still hashed, but none ends before.
    NotCurrent, DamagedDist.
    """
    bundles = listed.bundles
    _require_current(shop, list(bundles), listed.report)
    whose = {_key(one): name for name, artifacts in reversed([*bundles.items()]) for one in artifacts}
    each = {_key(one): one for artifacts in bundles.values() for one in artifacts}
    firsts = {(one.repository, one.tag): one for one in reversed(each.values())}

    def plan(key: _Key) -> _Plan:
        one = each[key]
        return _plan(one, firsts[one.repository, one.tag], registry, prefix)

    def write(plan: _Plan) -> Published:
        shop.progress(whose[_key(plan.artifact)], f"publishing {plan.repository}")
        if not dry_run:
            _write(plan, registry, listed.prove)
        return _published(plan, registry)

    under_way = shop.jobs * _PER_JOB
    plans, faults = _tried(plan, list(each), under_way)
    done: dict[_Key, Published] = {}
    for is_turn in (_is_chart, lambda one: not _is_chart(one)):
        # nothing of a bundle is written if one of its artifacts is refused, nor a bundle without its charts
        good = (artifacts for artifacts in bundles.values() if faults.keys().isdisjoint(map(_key, artifacts)))
        turn = dict.fromkeys(_key(one) for artifacts in good for one in artifacts if is_turn(one))
        written, failed = _tried(lambda key: write(plans[key]), list(turn), under_way)
        done, faults = done | written, faults | failed
    # damage is told once, whatever else it stopped, and nobody publishes the rest
    listed.prove()
    return tuple(_publications(bundles, plans, done, faults))


def _publications(
    bundles: Mapping[str, tuple[StoredArtifact, ...]],
    plans: Mapping[_Key, _Plan],
    done: Mapping[_Key, Published],
    faults: Mapping[_Key, BrollyError],
) -> Iterator[Publication]:
    """Tell of each bundle what was done; what an earlier one had published, too, is unchanged for a later one."""
    told: set[_Key] = set()
    for name, artifacts in bundles.items():
        keys = [_key(one) for one in artifacts]
        fault = next((faults[key] for key in keys if key in faults), None)
        if not plans.keys() >= set(keys):
            yield Publication(name, fault=fault)  # refused as a whole
            continue
        published = tuple(
            msgspec.structs.replace(done[key], status="unchanged") if key in told else done[key]
            for key in keys
            if key in done
        )
        told.update(keys)
        notes = () if fault else tuple(plans[key].note for key in keys if plans[key].note)
        yield Publication(name, published, notes, fault)


def _tried(
    step: Callable[[_Key], _Result], keys: Sequence[_Key], jobs: int
) -> tuple[dict[_Key, _Result], dict[_Key, BrollyError]]:
    """Run a step for every key side by side: what it gave, and what stopped it."""
    tried = dict(zip(keys, attempts(step, keys, jobs), strict=True))
    faults = {key: fault for key, (_, fault) in tried.items() if fault}
    return {key: cast("_Result", result) for key, (result, _) in tried.items() if key not in faults}, faults


def _require_current(shop: Shop, names: Sequence[str], report: Report) -> None:
    """Refuse a report that is not about the workspace as it is now; NotCurrent says why."""
    reasons = {name: reason for name in names if (reason := _staleness(shop, name, report))}
    if reasons:
        # no build helps before the faults are gone
        has_faults = any(reason == _faulty(name) for name, reason in reasons.items())
        hint = "run `brolly check`" if has_faults else "run `brolly build`"
        raise NotCurrent("; ".join(reasons.values()), hint=hint)


def _faulty(name: str) -> str:
    return f"{name} has faults now"


def _staleness(shop: Shop, name: str, report: Report) -> str:
    bundle: BundleReport | None = report.bundle(name)
    if bundle is None:
        return f"{name} was not built yet"
    if bundle.status is Status.FAILED:
        return f"the last build of {name} failed"
    if report.tool != __version__:
        return f"{name} was built by Brolly {printable(report.tool)}, this is {__version__}"
    sources = _sources(shop, name)
    if sources is None:
        return _faulty(name)
    # what was given to the build holds for the publication too
    built_with = replace(shop.settings, address=bundle.address, epoch=bundle.epoch)
    if fingerprint(sources, built_with, tool_identity(), policy_of(shop.workspace)) != bundle.fingerprint:
        return f"{name} changed since it was built"
    return _other_settings(shop, bundle)


def _other_settings(shop: Shop, bundle: BundleReport) -> str:
    """Say in what a build would differ now; only what is set now differs from what was given to the build."""
    config, settings = shop.workspace.config, shop.settings
    if bundle.configured and bundle.address != settings.address:
        now = f"says {printable(settings.address)}" if config.address else "has no address"
        return f"{bundle.name} was built for {printable(bundle.address)}, {shop.workspace.config_path.name} {now}"
    if settings.epoch not in {0, bundle.epoch}:
        return f"{bundle.name} was built with SOURCE_DATE_EPOCH={bundle.epoch}, it is {settings.epoch} now"
    return ""


def _sources(shop: Shop, name: str) -> Sources | None:
    """Read a bundle's files; None if a build would not take them."""
    sources, faults = read_sources(shop.workspace, name)
    if faults:
        return None
    if not may_reach_out(shop.workspace, sources.files.get(DEFINITION, b"")):
        return sources
    # only its parser can say which charts outside its folder it names, but not many name any
    draft = read(shop, name)
    return draft.sources if draft.is_good else None


@dataclass(frozen=True)
class _Plan:
    """What is to be done with one artifact: `there` is the digest under its version, if there is one already."""

    artifact: StoredArtifact
    repository: str
    there: str = ""
    note: str = ""

    @property
    def digest(self) -> str:
        """What the version names in the end; a bundle refers to its charts by its own digest."""
        return self.there if self.there and not _is_chart(self.artifact) else self.artifact.digest


def _plan(artifact: StoredArtifact, first: StoredArtifact, registry: Registry, prefix: str) -> _Plan:
    """Ask for the version; if it is not there, the `first` artifact of this run that has it takes it."""
    repository = f"{prefix}/{artifact.repository}" if prefix else artifact.repository
    there = registry.resolve(repository, artifact.tag)
    if there is None and first.digest == artifact.digest:
        return _Plan(artifact, repository)
    digest = str(there.digest if there else first.digest)
    if digest == artifact.digest:
        return _Plan(artifact, repository, digest)
    manifest = _manifest(registry, repository, digest) if there else first.manifest
    place = registry.location(repository, artifact.tag)
    if manifest is None:
        raise VersionExists(artifact, place, digest, is_lost=True)
    return _Plan(artifact, repository, digest, _tolerated(artifact, place, manifest))


def _manifest(registry: Registry, repository: str, digest: str) -> Blob | None:
    """Fetch what a tag names; None if the registry has lost it, so that nobody can say what it was."""
    try:
        return registry.manifest(repository, digest)
    except (NotFound, RegistryMisbehaved):
        if registry.resolve(repository, digest):
            raise
        return None


def _tolerated(artifact: StoredArtifact, place: str, there: Blob) -> str:
    """Say why another manifest under this version may stay; VersionExists if it may not."""
    manifest, ours = json.loads(there.content), json.loads(artifact.manifest.content)
    inputs = _annotation(ours, INPUTS)
    if inputs and inputs == _annotation(manifest, INPUTS):
        return f"{place} was made from the same inputs by another Brolly; it stays as it is"
    if _is_chart(artifact) and not inputs and _layer(ours) == _layer(manifest):
        # the same package under another manifest: Helm writes the time into it
        return f"{place} has the same chart under another manifest; the bundle refers to its own by digest"
    raise VersionExists(artifact, place, there.descriptor.digest)


def _write(plan: _Plan, registry: Registry, prove: Callable[[], None]) -> None:
    """Blobs first, the manifest with its tag last: no reader finds anything without what it names.

    VersionExists if somebody else has published the version since the plan was made; see `Registry` of each kind for
    how close the two may come.
    """
    artifact, repository = plan.artifact, plan.repository
    if plan.digest != artifact.digest:
        return  # another one is tolerated in its place
    # what is there already is completed, if a blob of it was lost or damaged
    # the largest first: it is under way while all the others are hashed
    blobs = sorted(artifact.blobs, key=lambda blob: -blob.descriptor.size)

    def put(blob: StoredBlob) -> None:
        if not (plan.there and registry.has_blob(repository, blob.descriptor.digest)):
            registry.put_blob(repository, blob)

    # beside a large one the others take no time
    side_by_side(put, blobs, 2 if blobs and blobs[0].descriptor.size > _LARGE else 1)
    prove()
    if plan.there and not registry.resolve(repository, artifact.digest):
        registry.put_manifest(repository, artifact.digest, artifact.manifest)
    if plan.there:
        return
    try:
        registry.put_manifest(repository, artifact.tag, artifact.manifest, only_new=True)
    except TagTaken as taken:
        raise VersionExists(artifact, registry.location(repository, artifact.tag), taken.there) from taken


def _published(plan: _Plan, registry: Registry) -> Published:
    artifact = plan.artifact
    url = registry.location(plan.repository, artifact.tag)
    status = "unchanged" if plan.there else "published"
    return Published(url, _bare(url), artifact.version, plan.digest, artifact.size, status)


def _key(artifact: StoredArtifact) -> _Key:
    return artifact.repository, artifact.tag, artifact.digest


def _is_chart(artifact: StoredArtifact) -> bool:
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
