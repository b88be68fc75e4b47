"""Build: lock → components → artifacts → facts → findings → outcome. Nothing is resolved, nothing is written."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import msgspec

from brolly import checks, composite, conflicts, facts, kustomization, limits, schemas, sizes, umbrella
from brolly import release as records
from brolly.chart import ChartError, read_package
from brolly.checks import Release, Subject
from brolly.definition import Dependency, Target
from brolly.errors import BrollyError
from brolly.facts import ReleaseFacts
from brolly.findings import Finding, has_errors, printable
from brolly.oci import Digest
from brolly.outcome import BuiltArtifact, BuiltDependency, BundleReport, Outcome, Size, Status
from brolly.pipeline.fingerprints import fingerprint, inputs_digest
from brolly.pipeline.locking import BAD_CHART
from brolly.pipeline.settings import policy_of
from brolly.pipeline.shop import DOWNLOADS, Draft, Shop, each_or_fault, fetch_address, lock_findings, read, side_by_side
from brolly.results import key_of, tool_identity
from brolly.sources import LOCK, SCHEMA, Component
from brolly.values_table import values_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from brolly.authored import Authored
    from brolly.composite import Composite
    from brolly.definition import Bundle
    from brolly.lock import LockedDependency
    from brolly.oci import Artifact
    from brolly.repositories import Package

Compiled = umbrella.Umbrella | kustomization.FluxBundle


@dataclass(frozen=True)
class Compilation:
    """What a bundle was compiled to, with the schema of all its values."""

    target: Compiled
    schema: Composite
    forbidding: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Built:
    """One bundle's outcome, with the draft that it came from."""

    draft: Draft
    outcome: Outcome = field(repr=False)


@dataclass(frozen=True)
class Ended:
    """What is left of a bundle when its bytes were let go: the report, and what the world did."""

    name: str
    report: BundleReport
    faults: tuple[BrollyError, ...] = ()


def build_bundles(shop: Shop, names: Sequence[str], put: Callable[[Outcome], None]) -> list[Ended]:
    """Compile and check bundles. Each outcome goes to the result cache and to `put`; its bytes are not kept.

    What `put` raises ends the run: it is no fault of the bundle.
    """

    def step(name: str) -> Ended:
        draft = read(shop, name)
        known = fingerprint(draft.sources, shop.settings, tool_identity(), policy_of(shop.workspace))
        try:
            built = _build(shop, draft, known)
            if _is_settled(built) and shop.engines:
                shop.results.keep_outcome(known, built.outcome)
        except BrollyError as error:
            built = _failed(shop, draft.failed(error), known)
        put(built.outcome)
        return Ended(name, built.outcome.report, tuple(map(_let_go, built.draft.faults)))

    return side_by_side(step, names, shop.jobs)


def _let_go(fault: BrollyError) -> BrollyError:
    """Forget where a fault came up: a traceback holds all that was at hand there, such as charts."""
    fault.__traceback__ = fault.__cause__ = fault.__context__ = None
    return fault


def _is_settled(built: Built) -> bool:
    """Say whether the outcome is worth keeping: what failed may end otherwise the next time, as when an engine died."""
    return built.outcome.report.status is not Status.FAILED


def _build(shop: Shop, draft: Draft, known: str) -> Built:
    wrote = draft.authored
    if wrote is None:
        return _failed(shop, draft, known)
    draft = draft.found((*lock_findings(draft), *_authored_findings(wrote)))
    if wrote.lock is None or has_errors(draft.findings):
        return _failed(shop, draft, known)
    shop.progress(draft.name, "fetching")
    draft, components = fetch_components(shop, draft, wrote)
    if not draft.is_good:
        return _failed(shop, draft, known)
    shop.progress(draft.name, "compiling")
    compiled, found = compile_bundle(wrote, components, shop)
    draft = draft.found(found)
    if compiled is None:
        return _failed(shop, draft, known)
    shop.progress(draft.name, "checking")
    policy = limits.policy(shop.workspace.config.limits, wrote.bundle.limits)
    enabled, releases = releases_of(wrote, components, compiled.target)
    answered = list(zip(releases, release_facts(shop, releases, policy), strict=True))
    measures = [*_measures(wrote, enabled, compiled.target), *_release_measures(wrote, answered)]
    draft = draft.found(
        (
            *_checked(shop, wrote, enabled, compiled, answered),
            *conflicts.check(wrote, answered),
            *limits.check(measures, policy),
        )
    )
    draft = replace(draft, findings=tuple(_said_once(draft.findings)))
    if has_errors(draft.findings):
        return _failed(shop, draft, known, tuple(sizes.reported(answered, policy)))
    records = tuple(sizes.reported(answered, policy))
    return Built(draft, _outcome(shop, draft, wrote, components, compiled, records, known))


def _said_once(found: Sequence[Finding]) -> Iterator[Finding]:
    """Leave out that a schema is not in the composite where it was said what is wrong with that schema."""
    judged = {one.location for one in found if one.code in {checks.BROKEN_SCHEMA.code, checks.REMOTE_SCHEMA.code}}
    for one in found:
        if one.code != composite.LEFT_OUT.code or one.location not in judged:
            yield one


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
    if local is None:
        fetched = _fetch(shop, entry)
        return Component(dependency, entry, fetched.content, fetched.chart)
    try:
        return Component(dependency, entry, local.package, read_package(local.package))
    except ChartError as error:
        at = wrote.definition.location(dependency.route)
        return BAD_CHART.finding(f"the chart of {dependency.key} cannot be read: {printable(str(error))}", at)


def _fetch(shop: Shop, entry: LockedDependency) -> Package:
    url = fetch_address(shop.workspace.config.mirrors, entry.repository)
    manifest = entry.manifest or None
    return shop.repositories().fetch(url, entry.name, entry.version, digest=entry.digest, manifest_digest=manifest)


def compile_bundle(
    wrote: Authored, components: tuple[Component, ...], shop: Shop
) -> tuple[Compilation | None, tuple[Finding, ...]]:
    """Compile a bundle into what its target asks for."""
    inputs, lock = inputs_digest(wrote.sources, shop.settings), str(Digest.of(wrote.sources.files[LOCK]))
    given = (wrote.bundle, components, wrote.sources, wrote.definition, wrote.values, shop.settings)
    author, bundle = wrote.sources.files.get(SCHEMA), wrote.bundle
    if bundle.target is Target.UMBRELLA:
        written: Mapping[str, Any] = wrote.values.data if wrote.values else {}
        schema, found = composite.compose_umbrella(bundle, components, author, written, wrote.definition)
        embedded = schema.embedded if bundle.embeds_schema else None
        chart, faults = umbrella.compile_bundle(*given, inputs=inputs, lock=lock, schema=embedded)
        forbidding = frozenset(
            component.key
            for component in components
            if any(_is_about(one, composite.FORBIDS_GLOBAL, wrote, component) for one in found)
        )
        return Compilation(chart, schema, forbidding) if chart else None, (*found, *faults)
    flux, faults = kustomization.compile_bundle(*given, inputs=inputs, lock=lock)
    if flux is None:
        return None, faults
    enabled = tuple(component for component in components if component.key in flux.enabled)
    schema, found = composite.compose_kustomize(bundle, enabled, author, wrote.definition)
    return Compilation(flux, schema), (*faults, *found)


def _is_about(finding: Finding, rule: Any, wrote: Authored, component: Component) -> bool:
    return finding.code == rule.code and finding.location == wrote.definition.location(component.dependency.route)


def releases_of(
    wrote: Authored, components: tuple[Component, ...], compiled: Compiled
) -> tuple[tuple[Component, ...], tuple[Release, ...]]:
    """List the components that are switched on, and what Helm will install of them."""
    if isinstance(compiled, umbrella.Umbrella):
        return components, tuple(checks.releases(wrote, components, (compiled.package, compiled.chart)))
    enabled = tuple(component for component in components if component.key in compiled.enabled)
    return enabled, tuple(checks.releases(wrote, enabled, None))


def _checked(
    shop: Shop,
    wrote: Authored,
    components: tuple[Component, ...],
    compiled: Compilation,
    answered: Sequence[tuple[Release, ReleaseFacts]],
) -> Iterator[Finding]:
    def judge(schema: bytes, values: Mapping[str, Any]) -> tuple[schemas.Violation, ...]:
        key = key_of(schema, values, tool_identity())
        made = shop.results.remembered(
            "verdict", key, list[schemas.Violation], lambda: list(schemas.judge(schema, values))
        )
        return tuple(made)

    defaults: dict[str, ReleaseFacts] = {}
    for release, known in answered:
        first = defaults.setdefault(release.key, known)
        news = known if first is known else checks.beyond(known, first)
        subject = Subject(wrote, components, release, news, compiled.forbidding, judge)
        for check in checks.RELEASE_CHECKS:
            yield from check(subject)
    if shop.engines is None:
        yield checks.NO_ENGINE.finding(
            "Helm's engine is not installed: lint and render were left out", hint="pip install 'brolly[helm]'"
        )


def _measures(wrote: Authored, components: Sequence[Component], target: Compiled) -> Iterator[limits.Measure]:
    if isinstance(target, umbrella.Umbrella):
        yield from sizes.of_umbrella(wrote, target.package)
        yield from sizes.of_artifacts(wrote, (target.artifact,))
    else:
        yield from sizes.of_components(wrote, components)
        yield from sizes.of_artifacts(wrote, (*target.charts, target.artifact))


def _release_measures(wrote: Authored, answered: Sequence[tuple[Release, ReleaseFacts]]) -> Iterator[limits.Measure]:
    for release, known in answered:
        yield from sizes.of_release(wrote, release, known)


def release_facts(shop: Shop, releases: Sequence[Release], policy: limits.Policy) -> list[ReleaseFacts]:
    """Know what Helm's engine says of releases: from the result cache, or once per package with all its values."""
    if shop.engines is None:
        return [ReleaseFacts()] * len(releases)
    packages = {release.key: str(Digest.of(release.package)) for release in releases}
    remedy_from = int(policy.limit_of(limits.RELEASE_RECORD) * limits.WARN_FROM)
    shared = (tool_identity(), str(remedy_from))
    keys = [
        key_of(packages[release.key], dict(release.values), release.name, release.namespace, *shared)
        for release in releases
    ]
    found = {place: known for place, key in enumerate(keys) if (known := shop.results.facts(key))}
    groups: dict[str, list[int]] = {}
    for place, release in enumerate(releases):
        if place not in found:
            groups.setdefault(release.key, []).append(place)
    for places in groups.values():
        for place, known in zip(places, _asked(shop, [releases[place] for place in places], remedy_from), strict=True):
            found[place] = known
            if not known.failure and not known.lint_failure:
                shop.results.keep_facts(keys[place], known)
    return [found[place] for place in range(len(releases))]


def _asked(shop: Shop, releases: Sequence[Release], remedy_from: int) -> Iterator[ReleaseFacts]:
    first = releases[0]
    if shop.engines is None:
        return
    with shop.engines.lend() as engine:
        verdicts = engine.check(
            first.package, [release.values for release in releases], name=first.name, namespace=first.namespace
        )
    parent = records.parent(first.chart, first.package)
    for release, verdict in zip(releases, verdicts, strict=True):
        yield facts.of_release(
            verdict.lint,
            verdict.rendering,
            parent,
            release.values,
            name=release.name,
            namespace=release.namespace,
            remedy_from=remedy_from,
        )


def _failed(shop: Shop, draft: Draft, known: str, measured: tuple[Size, ...] = ()) -> Built:
    bundle = draft.authored.bundle if draft.authored else None
    report = _report(shop, draft, bundle, Status.FAILED, known)
    return Built(draft, Outcome(msgspec.structs.replace(report, sizes=measured)))


def _report(shop: Shop, draft: Draft, bundle: Bundle | None, status: Status, known: str) -> BundleReport:
    return BundleReport(
        name=draft.name,
        version=bundle.version if bundle else "",
        target=str(bundle.target) if bundle else "",
        status=status,
        inputs=inputs_digest(draft.sources, shop.settings),
        fingerprint=known,
        sizes=(),
        dependencies=(),
        artifacts=(),
        files=(),
        findings=draft.findings,
    )


def _outcome(
    shop: Shop,
    draft: Draft,
    wrote: Authored,
    components: Sequence[Component],
    compiled: Compilation,
    records: tuple[Size, ...],
    known: str,
) -> Outcome:
    bundle, target = wrote.bundle, compiled.target
    title = f"{bundle.name}-{bundle.version}"
    files = [
        (f"{title}.values.md", values_table(bundle, components, wrote.values).encode()),
        (f"{title}.values.schema.json", compiled.schema.content),
    ]
    if isinstance(target, umbrella.Umbrella):
        artifacts: tuple[Artifact, ...] = (target.artifact,)
        size = Size(name="package", bytes=len(target.package))
        files.append((f"{title}.tgz", target.package))
    else:
        # charts first: a reader of the bundle finds what it refers to
        artifacts = (*target.charts, target.artifact)
        size = Size(name="layer", bytes=len(target.layer))
        files += [(f"{title}/{entry.name}", entry.content or b"") for entry in target.files]
    report = msgspec.structs.replace(
        _report(shop, draft, bundle, Status.BUILT, known),
        sizes=(size, *records),
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
