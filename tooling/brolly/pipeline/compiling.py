"""Compile: a bundle and its components → what the target asks for, and the schema of all its values."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from brolly import checks, composite, kustomization, umbrella, values
from brolly.definition import Target
from brolly.oci import Digest
from brolly.pipeline.fingerprints import inputs_digest
from brolly.results import key_of, tool_identity
from brolly.sources import LOCK, SCHEMA, Component

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from brolly.authored import Authored
    from brolly.checks import Release
    from brolly.composite import Composite
    from brolly.facts import ReleaseFacts
    from brolly.findings import Finding
    from brolly.pipeline.shop import Shop
    from brolly.results import Results

Compiled = umbrella.Umbrella | kustomization.FluxBundle


@dataclass(frozen=True)
class Compilation:
    """What a bundle was compiled to, with the schema of all its values."""

    target: Compiled
    schema: Composite


def compile_bundle(
    wrote: Authored, components: tuple[Component, ...], shop: Shop
) -> tuple[Compilation | None, tuple[Finding, ...]]:
    """Compile a bundle into what its target asks for."""
    inputs, lock = inputs_digest(wrote.sources, shop.settings), str(Digest.of(wrote.sources.files[LOCK]))
    given = (wrote.bundle, components, wrote.sources, wrote.definition, wrote.values, shop.settings)
    author, bundle, define = wrote.sources.files.get(SCHEMA), wrote.bundle, partial(_definition, shop.results)
    if bundle.target is Target.UMBRELLA:
        schema, found = composite.compose_umbrella(
            bundle, components, author, _written(wrote), wrote.definition, embeds=bundle.embeds_schema, define=define
        )
        chart, faults = umbrella.compile_bundle(*given, inputs=inputs, lock=lock, schema=schema.embedded)
        return Compilation(chart, schema) if chart else None, (*found, *faults)
    flux, faults = kustomization.compile_bundle(*given, inputs=inputs, lock=lock)
    if flux is None:
        return None, faults
    enabled = tuple(component for component in components if component.key in flux.enabled)
    schema, found = composite.compose_kustomize(
        bundle, enabled, author, wrote.definition, written=_written(wrote), define=define
    )
    return Compilation(flux, schema), (*faults, *found)


def _written(wrote: Authored) -> Mapping[str, Any]:
    return wrote.values.data if wrote.values else {}


@cache
def _definition(results: Results, schema: bytes, address: str, provided: frozenset[str] | None) -> dict[str, Any]:
    """Do what `composite.definition` does, once for each schema on a machine; what it gives must not be changed."""
    key = key_of(schema, address, json.dumps(None if provided is None else sorted(provided)), tool_identity())
    content = results.remembered(
        "definition", key, str, lambda: json.dumps(composite.definition(schema, address, provided))
    )
    definition: dict[str, Any] = json.loads(content)
    return definition


def releases_of(
    wrote: Authored, components: tuple[Component, ...], compiled: Compiled
) -> tuple[tuple[Component, ...], tuple[Release, ...]]:
    """List the components that are switched on, and what Helm will install of them."""
    if isinstance(compiled, umbrella.Umbrella):
        return components, tuple(checks.releases(wrote, components, (compiled.package, compiled.chart)))
    enabled = tuple(component for component in components if component.key in compiled.enabled)
    return enabled, tuple(checks.releases(wrote, enabled, None))


def forbidding_global(
    wrote: Authored,
    components: Sequence[Component],
    compiled: Compiled,
    answered: Sequence[tuple[Release, ReleaseFacts]] = (),
) -> dict[str, Finding]:
    """Find the components of an umbrella that refuse `global`: none of those that Helm has just rendered with it."""
    if not isinstance(compiled, umbrella.Umbrella):
        return {}
    rest = [component for component in components if component.chart.schema]
    if answered and answered[0][1].is_accepted:
        rest = [one for one in rest if one.dependency.condition or one.dependency.tags]
        instance, _ = values.effective(compiled.chart, {}) if rest else (None, ())
        taken = {one.path[0] for one in instance.walk() if one.path} if instance else set()
        rest = [one for one in rest if one.key not in taken]
    return composite.forbidding_global(rest, _written(wrote), wrote.definition)
