"""Resolve: definition → lock. The only step that asks repositories which versions there are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import msgspec

from brolly import limits, lock, workspace
from brolly.chart import Chart, ChartError, read_package
from brolly.definition import Dependency, HttpRepository, LocalChart
from brolly.errors import BrollyError, UsageError
from brolly.findings import Finding, Location, Rule, Severity, printable
from brolly.lock import Lock, LockedDependency
from brolly.pipeline.shop import DOWNLOADS, Draft, Shop, each_or_fault, fetch_address, lock_findings, read, side_by_side
from brolly.sources import DEFINITION, LOCK
from brolly.suggestions import did_you_mean
from brolly.versions import Version

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from brolly.authored import Authored

UNRESOLVED: Final = Rule("lock/unresolved", Severity.ERROR, "no version fits")
BAD_CHART: Final = Rule("lock/bad-chart", Severity.ERROR, "a chart that Helm would not load")
OTHER_CHART: Final = Rule("lock/other-chart", Severity.ERROR, "a local chart of another name or version than asked")
NOT_VENDORED: Final = Rule("lock/not-vendored", Severity.ERROR, "a local chart without its own dependencies")
OTHER_FORM: Final = Rule("lock/other-form", Severity.ERROR, "a lock with other bytes than Brolly writes")

RULES: Final = (UNRESOLVED, BAD_CHART, OTHER_CHART, NOT_VENDORED, OTHER_FORM)

Resolution = tuple[LockedDependency | None, tuple[Finding, ...]]


@dataclass(frozen=True)
class Locking:
    """What `lock` did for one bundle; `moves` says it in words, one per dependency that changed."""

    draft: Draft
    lock: Lock | None
    is_changed: bool = False
    moves: tuple[str, ...] = ()


def lock_bundles(shop: Shop, names: Sequence[str], *, upgrade: frozenset[str] | None = None) -> list[Locking]:
    """Resolve bundles and write their locks; `upgrade` names the dependencies to move (empty: all; None: none).

    UsageError if one to move is a dependency of none of the bundles. Written is what could be resolved.
    """
    drafts = side_by_side(lambda name: read(shop, name), names, shop.jobs)
    _require_known(drafts, upgrade or frozenset())

    def step(draft: Draft) -> Locking:
        try:
            return _lock_bundle(shop, draft, upgrade)
        except BrollyError as error:
            return Locking(draft.failed(error), None)

    return [_written(shop, one) for one in side_by_side(step, drafts, shop.jobs)]


def _require_known(drafts: Sequence[Draft], upgrade: frozenset[str]) -> None:
    read_all = [draft.authored.bundle for draft in drafts if draft.authored]
    if len(read_all) < len(drafts):
        return  # what cannot be read may have it
    known = {name for bundle in read_all for one in bundle.dependencies for name in (one.key, one.name)}
    for name in sorted(upgrade - known):
        hint = did_you_mean(name, sorted(known)) or f"known here: {', '.join(sorted(known))}"
        if name in {draft.name for draft in drafts}:
            hint = f"to move all of this bundle: brolly lock {name} --upgrade"
        raise UsageError(f"no bundle has a dependency {printable(name)!r}", hint=hint)


def _written(shop: Shop, locking: Locking) -> Locking:
    if locking.lock is None:
        return locking
    path = shop.workspace.bundles / locking.draft.name / LOCK
    try:
        return replace(locking, is_changed=workspace.write_alone(path, lock.serialize(locking.lock)))
    except BrollyError as error:
        return Locking(locking.draft.failed(error), None)


def check_locks(shop: Shop, names: Sequence[str]) -> list[Draft]:
    """Say what `lock` would change for a reason in this repository; no network, nothing written."""

    def step(name: str) -> Draft:
        draft = _for_lock(read(shop, name))
        return draft.found((*lock_findings(draft), *_other_form(draft)))

    return side_by_side(step, names, shop.jobs)


def _lock_bundle(shop: Shop, draft: Draft, upgrade: frozenset[str] | None) -> Locking:
    draft = _for_lock(draft)
    wrote = draft.authored
    if wrote is None or not draft.is_good:
        return Locking(draft, None)
    shop.progress(draft.name, "resolving")
    resolved, faults = each_or_fault(
        lambda one: _resolve(shop, wrote, one, upgrade), wrote.bundle.dependencies, DOWNLOADS
    )
    draft = draft.found(finding for _, found in resolved for finding in found).failed(*faults)
    entries = {entry.key: entry for entry, _ in resolved if entry}
    if not draft.is_good or len(entries) < len(wrote.bundle.dependencies):
        return Locking(draft, None)
    made = lock.make(wrote.bundle, entries)
    return Locking(draft, made, moves=tuple(_moves(wrote.lock, made)))


def _for_lock(draft: Draft) -> Draft:
    """Leave out what is no business of the lock."""
    return replace(draft, findings=tuple(one for one in draft.findings if _concerns_lock(one, draft)))


def _other_form(draft: Draft) -> Iterator[Finding]:
    if draft.authored and draft.authored.lock:
        content = draft.sources.files.get(LOCK, b"")
        if lock.serialize(draft.authored.lock) != content:
            how = "with carriage returns" if b"\r" in content else "in another way than `brolly lock` writes it"
            at = Location(draft.sources.path(LOCK))
            yield OTHER_FORM.finding(f"{LOCK} is written {how}", at, hint=f"run `brolly lock {draft.name}`")


def _concerns_lock(finding: Finding, draft: Draft) -> bool:
    """Say whether a finding is about what is locked. A damaged lock is written anew, and values are none of its own."""
    folder = draft.sources.folder + "/"
    path = finding.location.path if finding.location else ""
    if not path.startswith(folder):
        return True
    inside = path.removeprefix(folder)
    if inside == LOCK:
        return not finding.code.startswith(("yaml/", "lock/"))
    return inside == DEFINITION or inside.startswith("charts/")


def _moves(old: Lock | None, new: Lock) -> Iterator[str]:
    for entry in new.dependencies:
        before = old.dependency(entry.key) if old else None
        if before is None:
            yield f"{entry.key} {entry.version}"
        elif before.version != entry.version:
            yield f"{entry.key} {before.version} -> {entry.version}"
        elif msgspec.structs.replace(before, index_size=entry.index_size) != entry:
            yield f"{entry.key} {entry.version} (other content)"
        elif before != entry:
            yield f"{entry.key} {entry.version} (its repository's index changed its size)"
    for entry in old.dependencies if old else ():
        if new.dependency(entry.key) is None:
            yield f"{entry.key} removed"


def _resolve(shop: Shop, wrote: Authored, dependency: Dependency, upgrade: frozenset[str] | None) -> Resolution:
    if isinstance(dependency.repository, LocalChart):
        return _resolve_local(wrote, dependency, dependency.repository)
    before = _comparable(wrote, dependency)
    moves = upgrade is not None and (not upgrade or bool(upgrade & {dependency.key, dependency.name}))
    if before and not moves and lock.is_allowed(dependency, before):
        return before, ()
    from brolly.repositories import Republished, Unresolvable

    url = fetch_address(shop.workspace.config.mirrors, dependency.repository.url)
    try:
        candidate = shop.repositories().find(url, dependency.name, str(dependency.constraint))
    except Unresolvable as error:
        at = wrote.definition.location((*dependency.route, "version"))
        hint = error.hint or _left_out(shop, url, dependency.name)
        return None, (UNRESOLVED.finding(printable(str(error)), at, hint=hint),)
    package = shop.repositories().fetch(url, dependency.name, candidate, digest=None, manifest_digest=None)
    entry = LockedDependency(
        digest=str(package.digest),
        name=dependency.name,
        repository=dependency.repository.url,
        version=candidate.version,
        alias=dependency.alias,
        manifest=str(package.manifest_digest or ""),
        index_size=_index_size(shop, wrote, dependency, url),
    )
    if before and before.version == entry.version and before.digest != entry.digest:
        raise Republished(dependency.name, entry.version, dependency.repository.url, before.digest, entry.digest)
    return entry, ()


def _index_size(shop: Shop, wrote: Authored, dependency: Dependency, url: str) -> int:
    """Measure a repository's index for the lock: `check` is to say without a network that it comes near the limit.

    It is 0 where it does not, and in whole MiB where it does: an index grows with every version of every chart, and
    that should not change the lock each time. Of a mirror's index, which no cluster reads, nothing is kept.
    """
    if not isinstance(dependency.repository, HttpRepository) or url != dependency.repository.url:
        return 0
    size = shop.repositories().index_size(url)
    limit = limits.policy(shop.workspace.config.limits, wrote.bundle.limits).limit_of(limits.REPOSITORY_INDEX)
    if size < limit * limits.WARN_FROM:
        return 0
    rounded = -(-size >> 20) << 20
    return min(rounded, limit) if size <= limit else rounded


def _left_out(shop: Shop, url: str, name: str) -> str:
    """Say what the repository's index has of the chart in vain."""
    from brolly.repositories import Unresolvable

    try:
        warnings = shop.repositories().warnings(url, name)
    except Unresolvable:
        return ""
    return printable("; ".join(warnings[:3]))


def _comparable(wrote: Authored, dependency: Dependency) -> LockedDependency | None:
    """Give the locked entry, if it is for the same chart of the same repository."""
    entry = wrote.lock.dependency(dependency.key) if wrote.lock else None
    asked = (dependency.name, lock.canonical(dependency.repository))
    return entry if entry and (entry.name, entry.repository) == asked else None


def _resolve_local(wrote: Authored, dependency: Dependency, repository: LocalChart) -> Resolution:
    local = wrote.local[dependency.key]
    at = wrote.definition.location((*dependency.route, "repository"))
    try:
        chart = read_package(local.package)
    except ChartError as error:
        return None, (BAD_CHART.finding(f"the chart of {dependency.key} cannot be read: {printable(str(error))}", at),)
    entry = LockedDependency(
        digest=local.digest,
        name=chart.name,
        repository=lock.canonical(repository),
        version=chart.version,
        alias=dependency.alias,
    )
    return entry, tuple(_local_faults(wrote, dependency, repository, chart))


def _local_faults(wrote: Authored, dependency: Dependency, repository: LocalChart, chart: Chart) -> Iterator[Finding]:
    vendored = {subchart.name for subchart in chart.subcharts}
    missing = [required.name for required in chart.requirements if required.name not in vendored]
    if missing:
        yield NOT_VENDORED.finding(
            f"the chart of {dependency.key} lacks its own dependencies: {printable(', '.join(missing))}",
            wrote.definition.location((*dependency.route, "repository")),
            hint=f"vendor them: helm dependency update {wrote.sources.path(repository.path)}",
        )
    if chart.name != dependency.name:
        yield OTHER_CHART.finding(
            f"the local chart is named {chart.name!r}, not {printable(dependency.name)!r}",
            wrote.definition.location((*dependency.route, "name")),
            hint=f"write `name: {chart.name}`, with `alias: {dependency.key}` to keep its key",
        )
    if not dependency.constraint.allows(Version.parse(chart.version)):
        yield OTHER_CHART.finding(
            f"{printable(str(dependency.constraint))} does not allow the local chart's version, {chart.version}",
            wrote.definition.location((*dependency.route, "version")),
            hint=f"write `version: {chart.version}`",
        )
