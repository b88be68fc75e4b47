"""Build: lock → components → artifacts → facts → findings → outcome. Nothing is resolved, nothing is written."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import msgspec

from brolly import checks, composite, conflicts, limits, schemas, sizes, umbrella
from brolly.chart import ChartError, read_package
from brolly.checks import Release, Subject
from brolly.errors import BrollyError
from brolly.findings import Finding, has_errors, printable
from brolly.outcome import BuiltArtifact, BuiltDependency, BundleReport, Outcome, Size, Status
from brolly.pipeline.asking import release_facts
from brolly.pipeline.compiling import Compilation, Compiled, compile_bundle, forbidding_global, releases_of
from brolly.pipeline.fingerprints import fingerprint, inputs_digest
from brolly.pipeline.locking import BAD_CHART
from brolly.pipeline.settings import policy_of
from brolly.pipeline.shop import DOWNLOADS, Draft, Shop, each_or_fault, fetch_address, lock_findings, read, side_by_side
from brolly.results import key_of, tool_identity
from brolly.sources import Component
from brolly.values_table import values_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from brolly.authored import Authored
    from brolly.definition import Bundle, Dependency
    from brolly.facts import ReleaseFacts
    from brolly.lock import LockedDependency
    from brolly.oci import Artifact
    from brolly.repositories import Package


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

    return side_by_side(step, names, shop.jobs + 1 if shop.jobs > 1 else 1)  # one is prepared while Helm has the others


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
    measures = list(_measures(wrote, enabled, compiled.target, policy))
    if limits.ends_it(measures, policy):
        return _failed(shop, draft.found(limits.check(measures, policy)), known)
    answered = list(zip(releases, release_facts(shop, releases, policy), strict=True))
    forbidding = forbidding_global(wrote, components, compiled.target, answered)
    measures += _release_measures(wrote, answered)
    draft = draft.found(
        (
            *forbidding.values(),
            *_checked(shop, wrote, enabled, frozenset(forbidding), answered),
            *conflicts.check(wrote, answered),
            *limits.check(measures, policy),
        )
    )
    draft = replace(draft, findings=tuple(_said_once(draft.findings)))
    if has_errors(draft.findings):
        return _failed(shop, draft, known, tuple(sizes.reported(wrote, answered, policy)))
    records = tuple(sizes.reported(wrote, answered, policy))
    return Built(draft, _outcome(shop, draft, wrote, components, compiled, records, known))


def _said_once(found: Sequence[Finding]) -> Iterator[Finding]:
    """Leave out that a schema is not in the composite where it was said what is wrong with that schema."""
    faults = {checks.BROKEN_SCHEMA.code, checks.COSTLY_SCHEMA.code, checks.REMOTE_SCHEMA.code}
    judged = {one.location for one in found if one.code in faults}
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


def _checked(
    shop: Shop,
    wrote: Authored,
    components: tuple[Component, ...],
    forbidding: frozenset[str],
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
        subject = Subject(wrote, components, release, news, forbidding, judge)
        for check in checks.RELEASE_CHECKS:
            yield from check(subject)
    if shop.engines is None:
        yield checks.NO_ENGINE.finding(
            "Helm's engine is not installed: lint and render were left out", hint="pip install 'brolly[helm]'"
        )


def _measures(
    wrote: Authored, components: Sequence[Component], target: Compiled, policy: limits.Policy
) -> Iterator[limits.Measure]:
    if isinstance(target, umbrella.Umbrella):
        yield from sizes.of_umbrella(wrote, components, target)
        yield from sizes.of_artifacts(wrote, (target.artifact,))
    else:
        yield from sizes.of_components(wrote, components)
        yield from sizes.of_artifacts(wrote, (*target.charts, target.artifact))
        yield from sizes.of_flux_bundle(wrote, target, policy)


def _release_measures(wrote: Authored, answered: Sequence[tuple[Release, ReleaseFacts]]) -> Iterator[limits.Measure]:
    for release, known in answered:
        yield from sizes.of_release(wrote, release, known)


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
        address=shop.settings.address,
        configured=shop.settings.is_configured,
        epoch=shop.settings.epoch,
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
