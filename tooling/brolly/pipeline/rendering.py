"""Render: the final objects of every release, through Helm's engine."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import msgspec

from brolly import checks, document, values
from brolly.authored import Overlay
from brolly.errors import BrollyError, UsageError
from brolly.facts import ReleaseFacts, objects_of
from brolly.findings import has_errors
from brolly.pipeline.building import fetch_components
from brolly.pipeline.compiling import compile_bundle, forbidding_global, releases_of
from brolly.pipeline.shop import Draft, Shop, lock_findings, read
from brolly.rendering import EngineFailure, Rendering

if TYPE_CHECKING:
    from collections.abc import Sequence

    from brolly.checks import Release
    from brolly.engines import Engines


@dataclass(frozen=True)
class Rendered:
    """A release with its objects; `values` is what the bundle and the operator set on top of the chart's defaults."""

    release: Release = field(repr=False)
    rendering: Rendering = field(repr=False)


def render_bundle(
    shop: Shop, name: str, value_files: Sequence[tuple[str, bytes]]
) -> tuple[Draft, tuple[Rendered, ...]]:
    """Render one bundle with operators' values (path, content), later files over earlier ones."""
    draft = read(shop, name)
    try:
        return _render(shop, draft, value_files)
    except BrollyError as error:
        return draft.failed(error), ()


def _render(shop: Shop, draft: Draft, value_files: Sequence[tuple[str, bytes]]) -> tuple[Draft, tuple[Rendered, ...]]:
    wrote = draft.authored
    overlay, faults = _operator(value_files)
    draft = draft.found(faults)
    if wrote:
        wrote = replace(wrote, overlays=overlay)
        draft = draft.found((*lock_findings(draft), *checks.check_overlay_keys(wrote)))
    if wrote is None or wrote.lock is None or has_errors(draft.findings):
        return draft, ()
    draft, components = fetch_components(shop, draft, wrote)
    if not draft.is_good:
        return draft, ()
    compiled, found = compile_bundle(wrote, components, shop)
    forbidding = forbidding_global(wrote, components, compiled.target) if compiled else {}
    draft = draft.found((*found, *forbidding.values()))
    if compiled is None or has_errors(draft.findings):
        return draft, ()
    if shop.engines is None:
        raise UsageError("rendering needs Helm's engine", hint="pip install 'brolly[helm]'")
    enabled, releases = releases_of(wrote, components, compiled.target)
    rendered: list[Rendered] = []
    for release in releases:
        if bool(release.overlay) != bool(overlay):
            continue
        answer, skips = _answer(shop.engines, release)
        known = msgspec.structs.replace(_facts(release, answer), skips_remote=skips)
        subject = checks.Subject(wrote, enabled, release, known, frozenset(forbidding))
        if isinstance(answer, EngineFailure) or skips:
            draft = draft.found((*checks.check_values(subject), *checks.check_rendering(subject)))
        if not isinstance(answer, EngineFailure):
            rendered.append(Rendered(release, answer))
            draft = draft.found(checks.check_crds(subject))
    return draft, tuple(rendered)


def _facts(release: Release, answer: Rendering | EngineFailure) -> ReleaseFacts:
    if isinstance(answer, EngineFailure):
        return ReleaseFacts(failure=answer)
    _, refused = objects_of(answer, release.chart)
    return ReleaseFacts(refused_crds=refused)


def _answer(engines: Engines, release: Release) -> tuple[Rendering | EngineFailure, bool]:
    """Ask Helm's engine, if need be without the schemas that it would fetch; say whether that was needed."""

    def asked(package: bytes) -> Rendering | EngineFailure:
        return engines.render(package, dict(release.values), name=release.name, namespace=release.namespace)

    answer = asked(release.package)
    if not isinstance(answer, EngineFailure) or answer.kind != "values-schema":
        return answer, False
    package = checks.without_remote_schemas(release.package)
    return (answer, False) if package is release.package else (asked(package), True)


def _operator(value_files: Sequence[tuple[str, bytes]]) -> tuple[tuple[Overlay, ...], list[Any]]:
    """Merge the operator's files into one overlay, as Helm merges several -f; the last file gives the places."""
    found: list[Any] = []
    merged: dict[str, Any] = {}
    last = None
    for path, content in value_files:
        read_file, faults = document.read(content, path, strict=False)
        found += faults
        if read_file is not None:
            merged, last = values.merge(merged, read_file.data), read_file
    return ((Overlay("the given values", replace(last, data=merged)),) if last else ()), found
