"""Target kustomize: compile a bundle to a Flux bundle, the kustomization of one HelmRelease per dependency.

`releases/<key>.yaml` holds a release with its source and the bundle's own values, `operator-values.yaml` placeholders
of what operators may create, `resources/` the author's objects. Flux edits kustomization.yaml (prefix, namespace,
patches), so every name in here has to follow (kustomize_generator.go of fluxcd/pkg).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from brolly import additions, flux, helm, values
from brolly.additions import CLASH, KubeObject, Patch, Resource
from brolly.archive import Entry
from brolly.chart import Requirement
from brolly.definition import OciRepository
from brolly.document import emit
from brolly.findings import Finding, Rule, Severity, has_errors, printable
from brolly.oci import Reference, tag_of
from brolly.suggestions import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from brolly.definition import Bundle, Dependency
    from brolly.document import Document, Route
    from brolly.oci import Artifact
    from brolly.sources import Component, Settings, Sources

STRAY_KEY: Final = Rule("kustomize/stray-key", Severity.ERROR, "a value that reaches no release")
VALUES_SHAPE: Final = Rule("kustomize/values-shape", Severity.ERROR, "a release's values that are no mapping")
ALL_OFF: Final = Rule("kustomize/all-off", Severity.ERROR, "every dependency is switched off")
WAITS_FOR_NOTHING: Final = Rule(
    "kustomize/waits-for-nothing", Severity.WARNING, "a release waits for one that is switched off"
)
UPSTREAM: Final = Rule("kustomize/upstream", Severity.WARNING, "a chart that Flux takes without a digest")
UNPINNED: Final = Rule("kustomize/unpinned", Severity.ERROR, "the lock has no manifest for a chart from a registry")
AMBIGUOUS: Final = Rule("kustomize/ambiguous-chart", Severity.ERROR, "two packages of one name and version differ")
CHART_NAME: Final = Rule("kustomize/chart-name", Severity.ERROR, "a chart's name that no registry takes")
VERIFY: Final = Rule("kustomize/verify", Severity.ERROR, "a `verify` that trusts anybody, or that Flux refuses")
UNKNOWN_FIELD: Final = Rule("kustomize/unknown-field", Severity.WARNING, "a field that Flux does not know")

RULES: Final = (
    STRAY_KEY,
    VALUES_SHAPE,
    ALL_OFF,
    WAITS_FOR_NOTHING,
    UPSTREAM,
    UNPINNED,
    AMBIGUOUS,
    CHART_NAME,
    VERIFY,
    UNKNOWN_FIELD,
    *additions.RULES,
)

_NAME_REFERENCES: Final = "name-references.yaml"
_OPERATOR_VALUES: Final = "operator-values.yaml"
_IMAGE: Final = "org.opencontainers.image."


@dataclass(frozen=True)
class FluxBundle:
    """A compiled Flux bundle.

    `files` is the kustomization's folder, sorted, names relative to it; `layer` the same as tar.gz; `charts` are the
    charts that are published beside it, byte for byte, each once; `enabled` are the keys of what is not switched off.
    `releases` are the objects that were written for each of these, `resources` the author's.
    """

    files: tuple[Entry, ...] = field(repr=False)
    layer: bytes = field(repr=False)
    artifact: Artifact = field(repr=False)
    charts: tuple[Artifact, ...] = field(repr=False)
    enabled: tuple[str, ...] = ()
    releases: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict, repr=False)
    resources: tuple[KubeObject, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class _Context:
    """What every release of a bundle is made with. `charts` are those beside the bundle, by name and version."""

    bundle: Bundle
    switched: tuple[Component, ...]
    written: Mapping[str, Any]
    settings: Settings
    charts: Mapping[tuple[str, str], Artifact]

    @property
    def labels(self) -> dict[str, str]:
        return flux.labels(self.bundle.name, self.bundle.version, self.settings)

    @property
    def enabled(self) -> tuple[str, ...]:
        return tuple(component.key for component in self.switched)


@dataclass(frozen=True)
class _Additions:
    """What the author adds in `resources/` and `patches/`."""

    resources: tuple[Resource, ...] = ()
    patches: tuple[Patch, ...] = ()

    @property
    def objects(self) -> tuple[KubeObject, ...]:
        """All objects of `resources/`."""
        return tuple(described for resource in self.resources for described in resource.objects)


def compile_bundle(
    bundle: Bundle,
    components: Sequence[Component],
    sources: Sources,
    definition: Document,
    written: Document | None,
    settings: Settings,
    *,
    inputs: str,
    lock: str,
) -> tuple[FluxBundle | None, tuple[Finding, ...]]:
    """Compile a bundle: the Flux bundle, or every reason why it cannot be.

    `written` is values.yaml, `inputs` and `lock` are the digests of all inputs and of bundle.lock.
    """
    data: Mapping[str, Any] = written.data if written else {}
    switched = switched_on(components, data)
    resources, resource_faults = additions.read_resources(sources)
    patches, patch_faults = additions.read_patches(sources)
    found = (
        *_value_faults(bundle, written),
        *_dependency_faults(bundle, components, switched, definition, settings),
        *resource_faults,
        *patch_faults,
    )
    if has_errors(found):
        return None, found
    context = _Context(bundle, switched, data, settings, _charts_beside(switched, settings))
    releases = {component.key: _release_objects(context, component) for component in switched}
    added = _Additions(resources, patches)
    found += tuple(_additions_faults(bundle, releases, added))
    if has_errors(found):
        return None, found
    files = _files(bundle, releases, added)
    layer = flux.layer(files)
    noted = _annotations(bundle, settings, inputs=inputs, lock=lock)
    artifact = flux.artifact(bundle.name, bundle.version, layer, noted)
    charts = tuple(context.charts.values())
    return FluxBundle(files, layer, artifact, charts, context.enabled, releases, added.objects), found


def switched_on(components: Sequence[Component], written: Mapping[str, Any]) -> tuple[Component, ...]:
    """Leave out what `condition` and `tags` switch off, as Helm does with these values over the charts' defaults."""
    defaults = {component.key: component.chart.values for component in components}
    table = values.merge(defaults, written)
    return tuple(component for component in components if not values.switched_off(_requirement(component), table))


def _requirement(component: Component) -> Requirement:
    dependency = component.dependency
    return Requirement(dependency.name, alias=dependency.alias, condition=dependency.condition, tags=dependency.tags)


def _value_faults(bundle: Bundle, written: Document | None) -> Iterator[Finding]:
    if written is None:
        return
    yield from stray_keys(bundle, written)
    for key in ("global", *(dependency.key for dependency in bundle.dependencies)):
        value = written.data.get(key, {})
        if isinstance(value, dict) or (key == "global" and value is None):
            continue
        yield VALUES_SHAPE.finding(
            f"the values of {printable(key)} are no mapping",
            written.location((key,), key=True),
            hint=f"write `{key}:` and its values below, indented, or `{key}: {{}}`",
        )


def stray_keys(bundle: Bundle, written: Document) -> Iterator[Finding]:
    """Find top-level keys that reach no release. What a `condition` names is read at build time."""
    keys = ("global", "tags", *(dependency.key for dependency in bundle.dependencies))
    conditions = {path for dependency in bundle.dependencies for path in dependency.condition.split(",")}
    heads = {path.split(".")[0] for path in conditions}
    for key, value in written.data.items():
        strays = (route for route in _leaves(value, (key,)) if ".".join(map(str, route)) not in conditions)
        stray = None if key in keys else next(strays, None)
        if stray:
            yield STRAY_KEY.finding(
                f"{printable('.'.join(map(str, stray)) if key in heads else str(key))!r} is no dependency of "
                f"{bundle.name}: no release would see it",
                written.location(stray if key in heads else (key,), key=True),
                hint=did_you_mean(key, keys) or f"keys here: {', '.join(keys)}",
            )


def _leaves(value: Any, route: Route) -> Iterator[Route]:
    if not isinstance(value, dict) or not value:
        yield route
        return
    for key, inner in value.items():
        yield from _leaves(inner, (*route, key))


def _dependency_faults(
    bundle: Bundle,
    components: Sequence[Component],
    switched: Sequence[Component],
    definition: Document,
    settings: Settings,
) -> Iterator[Finding]:
    if not switched:
        at = definition.location(("dependencies",), key=True)
        hint = "switch at least one on in values.yaml"
        yield ALL_OFF.finding(f"every dependency of {bundle.name} is switched off", at, hint=hint)
    on = {component.key for component in switched}
    for component in components:
        yield from _release_faults(bundle, component.dependency, definition, on)
        yield from _source_faults(component, definition, settings)
    yield from _ambiguous(switched, definition)


def _release_faults(bundle: Bundle, dependency: Dependency, definition: Document, on: set[str]) -> Iterator[Finding]:
    route = dependency.route
    for place, other in enumerate(dependency.depends_on):
        if dependency.key in on and other not in on:
            yield WAITS_FOR_NOTHING.finding(
                f"{dependency.key} waits for {other}, which is switched off: it will not wait",
                definition.location((*route, "dependsOn", place)),
                hint=f"remove it, or switch {other} on in values.yaml",
            )
    if flux.values_name(dependency.key) == flux.shared_values_name(bundle.name):
        yield CLASH.finding(
            f"{flux.values_name(dependency.key)} would configure {dependency.key} and all other releases too",
            definition.location((*route, "alias" if dependency.alias else "name")),
            hint="give it another `alias:`",
        )
    yield from _unknown_fields(dependency.release, flux.RELEASE_FIELDS, (*route, "release"), definition)
    yield from _unknown_fields(dependency.verify, flux.VERIFY_FIELDS, (*route, "verify"), definition)


def _unknown_fields(
    fields: Mapping[str, Any], known: Sequence[str], route: Route, definition: Document
) -> Iterator[Finding]:
    for name in fields:
        if name not in known:
            yield UNKNOWN_FIELD.finding(
                f"Flux 2.6 to 2.9 knows no `{route[-1]}.{printable(name)}`",
                definition.location((*route, name), key=True),
                hint=did_you_mean(name, known) or f"known here: {', '.join(known)}",
            )


def _source_faults(component: Component, definition: Document, settings: Settings) -> Iterator[Finding]:
    dependency = component.dependency
    if dependency.is_upstream:
        yield UPSTREAM.finding(
            f"Flux will take {printable(dependency.name)} from its repository, with no digest and no signature",
            definition.location((*dependency.route, "source")),
            hint="remove `source: upstream`, and the chart is published beside the bundle and pinned",
        )
    elif isinstance(dependency.repository, OciRepository):
        if not component.locked.manifest:
            yield UNPINNED.finding(
                f"bundle.lock has no manifest digest for {dependency.key}",
                definition.location(dependency.route),
                hint="run `brolly lock --upgrade " + dependency.key + "`",
            )
        yield from _verify_faults(dependency, definition)
    elif not _is_repository(settings, component.chart.name):
        yield CHART_NAME.finding(
            f"{printable(component.chart.name)!r} cannot be published beside the bundle: a registry takes lower-case "
            "letters, digits, '.', '_' and '-'",
            definition.location((*dependency.route, "name")),
            hint="take the chart from an oci:// repository, rename it, or set `source: upstream`",
        )


def _is_repository(settings: Settings, chart: str) -> bool:
    try:
        Reference.parse(_chart_url(settings, chart))
    except ValueError:
        return False
    return True


def _verify_faults(dependency: Dependency, definition: Document) -> Iterator[Finding]:
    verify = dependency.verify
    if not verify or verify.get("secretRef") or verify.get("provider", "cosign") != "cosign":
        return
    who = verify.get("matchOIDCIdentity") or ()
    if len(who) == 1:
        return
    message = "`verify` names nobody: whoever signs with Sigstore would pass"
    if who:
        message = f"`verify` names {len(who)} identities: Flux 2.8 and later refuse more than one"
    yield VERIFY.finding(
        message,
        definition.location((*dependency.route, "verify"), key=True),
        hint="name one under matchOIDCIdentity, anchored: `- {issuer: ^https://...$, subject: ^(...|...)$}`",
    )


def _ambiguous(switched: Sequence[Component], definition: Document) -> Iterator[Finding]:
    seen: dict[tuple[str, str], Component] = {}
    for component in filter(_is_beside, switched):
        first = seen.setdefault((component.chart.name, tag_of(component.chart.version)), component)
        if first.package != component.package:
            yield AMBIGUOUS.finding(
                f"{component.key} and {first.key} both need {component.chart.name} {component.chart.version} beside "
                f"the bundle, but their packages differ: {component.locked.digest[:19]}, {first.locked.digest[:19]}",
                definition.location(component.dependency.route),
                hint="take both from one repository, or give one of the charts another version",
            )


def _is_beside(component: Component) -> bool:
    """Say whether the chart is published beside the bundle: it comes from http(s) or from the workspace."""
    dependency = component.dependency
    return not dependency.is_upstream and not isinstance(dependency.repository, OciRepository)


def _charts_beside(switched: Sequence[Component], settings: Settings) -> dict[tuple[str, str], Artifact]:
    charts: dict[tuple[str, str], Artifact] = {}
    for component in filter(_is_beside, switched):
        chart = component.chart
        if (chart.name, chart.version) not in charts:
            repository = f"charts/{chart.name}"
            made = helm.chart_artifact(component.package, chart, repository, settings.epoch)
            charts[chart.name, chart.version] = made
    return charts


def _chart_url(settings: Settings, chart: str) -> str:
    return f"{settings.address.rstrip('/')}/charts/{chart}"


def _release_objects(context: _Context, component: Component) -> tuple[dict[str, Any], ...]:
    """Give the objects of one release: its source, its values, and the HelmRelease."""
    dependency, key, chart = component.dependency, component.key, component.chart
    taken_from = flux.chart_reference(key)
    if dependency.is_upstream:
        taken_from = flux.chart_template(key, chart.name, chart.version)
    release = flux.helm_release(
        key,
        taken_from,
        context.labels,
        bundle=context.bundle.name,
        depends_on=tuple(other for other in dependency.depends_on if other in context.enabled),
        target_namespace=dependency.target_namespace,
        release=dependency.release,
    )
    defaults = flux.defaults_config_map(key, emit(values.for_release(context.written, key)), context.labels)
    return _source(context, component), defaults, release


def _source(context: _Context, component: Component) -> dict[str, Any]:
    dependency, chart = component.dependency, component.chart
    if dependency.is_upstream:
        return flux.helm_repository(component.key, component.locked.repository, context.labels)
    if isinstance(dependency.repository, OciRepository):
        url, digest = f"{component.locked.repository}/{dependency.name}", component.locked.manifest
    else:
        url, digest = _chart_url(context.settings, chart.name), context.charts[chart.name, chart.version].digest
    title = f"{chart.name}-{chart.version}"
    return flux.oci_repository(component.key, url, digest, context.labels, chart=title, verify=dependency.verify)


def _additions_faults(
    bundle: Bundle, releases: Mapping[str, Sequence[Mapping[str, Any]]], added: _Additions
) -> Iterator[Finding]:
    made = [KubeObject.of(data) for objects in releases.values() for data in objects]
    reserved = [KubeObject.of(data) for data in _placeholders(bundle, releases)]
    yield from additions.clashes((*made, *reserved), added.resources)
    yield from additions.without_match(added.patches, (*made, *added.objects))


def _placeholders(bundle: Bundle, releases: Iterable[str]) -> Iterator[dict[str, Any]]:
    for name in (flux.shared_values_name(bundle.name), *map(flux.values_name, releases)):
        yield from flux.placeholders(name)


def _files(bundle: Bundle, releases: Mapping[str, Sequence[Mapping[str, Any]]], added: _Additions) -> tuple[Entry, ...]:
    made = [Entry(f"releases/{key}.yaml", _stream(objects)) for key, objects in releases.items()]
    made.append(Entry(_OPERATOR_VALUES, _stream(_placeholders(bundle, releases))))
    made += [resource.entry for resource in added.resources]
    patches = [patch.item for patch in added.patches]
    kustomization = flux.kustomization([entry.name for entry in made], [_NAME_REFERENCES], patches)
    made.append(Entry(flux.KUSTOMIZATION, emit(kustomization).encode()))
    made.append(Entry(_NAME_REFERENCES, emit(flux.name_references()).encode()))
    return tuple(sorted(made, key=lambda entry: entry.name))


def _stream(objects: Iterable[Mapping[str, Any]]) -> bytes:
    return "---\n".join(emit(data) for data in objects).encode()


def _annotations(bundle: Bundle, settings: Settings, *, inputs: str, lock: str) -> dict[str, str]:
    metadata = bundle.metadata
    described = {
        f"{_IMAGE}description": bundle.description,
        f"{_IMAGE}url": str(metadata.get("home", "")),
        f"{_IMAGE}source": str(next(iter(metadata.get("sources", ())), "")),
        **{name: str(text) for name, text in metadata.get("annotations", {}).items()},
        f"{_IMAGE}created": helm.timestamp(settings.epoch),
        f"{_IMAGE}title": bundle.name,
        f"{_IMAGE}version": bundle.version,
        "io.brolly.bundle.inputs": inputs,
        "io.brolly.bundle.lock": lock,
        "io.brolly.bundle.target": str(bundle.target),
    }
    return {name: text for name, text in described.items() if text}
