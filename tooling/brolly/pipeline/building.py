"""Build: lock → components → artifacts → findings → outcome. Nothing is resolved and nothing is written here."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from brolly import __version__, checks, kustomization, umbrella
from brolly.chart import ChartError, read_package
from brolly.checks import Answer, Release, Subject
from brolly.definition import Dependency, Target
from brolly.errors import BrollyError
from brolly.findings import Finding, has_errors, printable
from brolly.oci import Digest, compact_json
from brolly.outcome import BuiltArtifact, BuiltDependency, BundleReport, Outcome, Report, Size, Status
from brolly.pipeline.locking import BAD_CHART
from brolly.pipeline.shop import DOWNLOADS, Draft, Shop, each_or_fault, fetch_address, lock_findings, read, side_by_side
from brolly.sources import LOCK, Component, Settings, Sources
from brolly.values_table import values_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from brolly.authored import Authored
    from brolly.definition import Bundle
    from brolly.lock import LockedDependency
    from brolly.oci import Artifact

Compiled = umbrella.Umbrella | kustomization.FluxBundle


@dataclass(frozen=True)
class Built:
    """One bundle's outcome, with the draft that it came from."""

    draft: Draft
    outcome: Outcome


def build_bundles(shop: Shop, names: Sequence[str]) -> list[Built]:
    """Compile and check bundles; nothing is written."""

    def step(name: str) -> Built:
        draft = read(shop, name)
        try:
            return _build(shop, draft)
        except BrollyError as error:
            return _failed(shop, draft.failed(error))

    return side_by_side(step, names, shop.jobs)


def inputs_digest(sources: Sources, settings: Settings) -> str:
    """Hash what decides the bytes of a bundle's artifacts: it stands in an annotation of each."""
    return _digest(sources.shipped(), settings)


def fingerprint(sources: Sources, settings: Settings) -> str:
    """Hash all that goes into a bundle's outcome: the overlays, the local charts and this version of Brolly too."""
    return _digest(sources.files, settings, __version__)


def _digest(files: Mapping[str, bytes], settings: Settings, *more: str) -> str:
    hashes = [(name, hashlib.sha256(content).hexdigest()) for name, content in sorted(files.items())]
    labels = [settings.part_of_label, settings.version_label, sorted(settings.extra_labels.items())]
    return str(Digest.of(compact_json([hashes, settings.address, settings.epoch, labels, *more])))


def _build(shop: Shop, draft: Draft) -> Built:
    wrote = draft.authored
    if wrote is None:
        return _failed(shop, draft)
    draft = draft.found((*lock_findings(draft), *_authored_findings(wrote)))
    if wrote.lock is None or has_errors(draft.findings):
        return _failed(shop, draft)
    shop.progress(draft.name, "fetching")
    draft, components = fetch_components(shop, draft, wrote)
    if not draft.is_good:
        return _failed(shop, draft)
    shop.progress(draft.name, "compiling")
    compiled, found = compile_bundle(wrote, components, shop.settings)
    draft = draft.found(found)
    if compiled is None:
        return _failed(shop, draft)
    shop.progress(draft.name, "checking")
    draft = draft.found(_check(shop, wrote, components, compiled))
    if has_errors(draft.findings):
        return _failed(shop, draft)
    return Built(draft, _outcome(shop, draft, wrote, components, compiled))


def _authored_findings(wrote: Authored) -> Iterator[Finding]:
    for check in checks.AUTHORED_CHECKS:
        yield from check(wrote)


def fetch_components(shop: Shop, draft: Draft, wrote: Authored) -> tuple[Draft, tuple[Component, ...]]:
    """Fetch exactly what the lock names, side by side; needs a lock that is not stale."""
    pairs = [
        (dependency, entry)
        for dependency in wrote.bundle.dependencies
        if wrote.lock and (entry := wrote.lock.dependency(dependency.key))
    ]
    fetched, faults = each_or_fault(lambda pair: _component(shop, wrote, *pair), pairs, DOWNLOADS)
    draft = draft.found(one for one in fetched if isinstance(one, Finding)).failed(*faults)
    return draft, tuple(one for one in fetched if isinstance(one, Component))


def _component(shop: Shop, wrote: Authored, dependency: Dependency, entry: LockedDependency) -> Component | Finding:
    local = wrote.local.get(dependency.key)
    package = local.package if local else _fetch(shop, entry)
    try:
        return Component(dependency, entry, package, read_package(package))
    except ChartError as error:
        at = wrote.definition.location(dependency.route)
        return BAD_CHART.finding(f"the chart of {dependency.key} cannot be read: {printable(str(error))}", at)


def _fetch(shop: Shop, entry: LockedDependency) -> bytes:
    url = fetch_address(shop.workspace.config.mirrors, entry.repository)
    manifest = entry.manifest or None
    found = shop.repositories().fetch(url, entry.name, entry.version, digest=entry.digest, manifest_digest=manifest)
    return found.content


def compile_bundle(
    wrote: Authored, components: tuple[Component, ...], settings: Settings
) -> tuple[Compiled | None, tuple[Finding, ...]]:
    """Compile a bundle into what its target asks for."""
    compile_target = umbrella.compile_bundle if wrote.bundle.target is Target.UMBRELLA else kustomization.compile_bundle
    return compile_target(
        wrote.bundle,
        components,
        wrote.sources,
        wrote.definition,
        wrote.values,
        settings,
        inputs=inputs_digest(wrote.sources, settings),
        lock=str(Digest.of(wrote.sources.files[LOCK])),
    )


def releases_of(
    wrote: Authored, components: tuple[Component, ...], compiled: Compiled
) -> tuple[tuple[Component, ...], tuple[Release, ...]]:
    """List the components that are switched on, and what Helm will install of them."""
    if isinstance(compiled, umbrella.Umbrella):
        return components, tuple(checks.releases(wrote, components, (compiled.package, compiled.chart)))
    enabled = tuple(component for component in components if component.key in compiled.enabled)
    return enabled, tuple(checks.releases(wrote, enabled, None))


def _check(shop: Shop, wrote: Authored, components: tuple[Component, ...], compiled: Compiled) -> Iterator[Finding]:
    enabled, releases = releases_of(wrote, components, compiled)
    defaults: dict[str, Answer] = {}
    for release, answer in zip(releases, _answers(shop, releases), strict=True):
        first = defaults.setdefault(release.key, answer)
        subject = Subject(wrote, enabled, release, answer if first is answer else checks.beyond(answer, first))
        for check in checks.RELEASE_CHECKS:
            yield from check(subject)
    if shop.engines is None:
        yield checks.NO_ENGINE.finding(
            "Helm's engine is not installed: lint and render were left out", hint="pip install 'brolly[helm]'"
        )


def _answers(shop: Shop, releases: Sequence[Release]) -> list[Answer]:
    """Ask Helm's engine about releases: once per package, with all values that it is installed with."""
    if shop.engines is None:
        return [Answer()] * len(releases)
    found: dict[int, Answer] = {}
    groups: dict[str, list[int]] = {}
    for place, release in enumerate(releases):
        groups.setdefault(release.key, []).append(place)
    for places in groups.values():
        first = releases[places[0]]
        with shop.engines.lend() as engine:
            verdicts = engine.check(
                first.package,
                [releases[place].values for place in places],
                name=first.name,
                namespace=first.namespace,
            )
        found |= {place: Answer(one.lint, one.rendering) for place, one in zip(places, verdicts, strict=True)}
    return [found[place] for place in range(len(releases))]


def _failed(shop: Shop, draft: Draft) -> Built:
    bundle = draft.authored.bundle if draft.authored else None
    return Built(draft, Outcome(_report(shop, draft, bundle, Status.FAILED)))


def _report(shop: Shop, draft: Draft, bundle: Bundle | None, status: Status) -> BundleReport:
    return BundleReport(
        name=draft.name,
        version=bundle.version if bundle else "",
        target=str(bundle.target) if bundle else "",
        status=status,
        inputs=inputs_digest(draft.sources, shop.settings),
        fingerprint=fingerprint(draft.sources, shop.settings),
        sizes=(),
        dependencies=(),
        artifacts=(),
        files=(),
        findings=draft.findings,
    )


def _outcome(shop: Shop, draft: Draft, wrote: Authored, components: Sequence[Component], compiled: Compiled) -> Outcome:
    bundle = wrote.bundle
    title = f"{bundle.name}-{bundle.version}"
    files = [(f"{title}.values.md", values_table(bundle, components, wrote.values).encode())]
    if isinstance(compiled, umbrella.Umbrella):
        artifacts: tuple[Artifact, ...] = (compiled.artifact,)
        size = Size(name="package", bytes=len(compiled.package))
        files.append((f"{title}.tgz", compiled.package))
    else:
        # charts first: a reader of the bundle finds what it refers to
        artifacts = (*compiled.charts, compiled.artifact)
        size = Size(name="layer", bytes=len(compiled.layer))
        files += [(f"{title}/{entry.name}", entry.content or b"") for entry in compiled.files]
    report = msgspec.structs.replace(
        _report(shop, draft, bundle, Status.BUILT),
        sizes=(size,),
        dependencies=tuple(_built_dependency(component) for component in components),
        artifacts=tuple(_built_artifact(artifact) for artifact in artifacts),
        files=tuple(sorted({name.split("/", 1)[0] + ("/" if "/" in name else "") for name, _ in files})),
    )
    return Outcome(report, artifacts, tuple(files))


def _built_dependency(component: Component) -> BuiltDependency:
    entry = component.locked
    return BuiltDependency(
        key=component.key, name=entry.name, version=entry.version, repository=entry.repository, digest=entry.digest
    )


def _built_artifact(artifact: Artifact) -> BuiltArtifact:
    return BuiltArtifact(
        ref_name=f"{artifact.repository}-{artifact.version}",
        repository=artifact.repository,
        version=artifact.version,
        digest=artifact.digest,
        size=artifact.size,
    )


def report_of(shop: Shop, built: Sequence[Built], previous: Report | None, declared: Sequence[str]) -> Report:
    """Make the report of a build; bundles that were not built this time keep their entries while they exist."""
    old = {bundle.name: bundle for bundle in previous.bundles if bundle.name in declared} if previous else {}
    new = {one.draft.name: _entry(one, old.get(one.draft.name)) for one in built}
    return Report(
        tool=__version__,
        address=shop.settings.address,
        epoch=shop.settings.epoch,
        bundles=tuple(bundle for _, bundle in sorted({**old, **new}.items())),
    )


def _entry(built: Built, before: BundleReport | None) -> BundleReport:
    """Leave in dist/ what was there, if the bundle failed; if the world did, nothing new is known of it."""
    report = built.outcome.report
    if report.status is not Status.FAILED or before is None:
        return report
    if built.draft.faults:
        return before
    return msgspec.structs.replace(report, artifacts=before.artifacts, files=before.files)
