"""Policy for sizes: what is measured of a bundle, and where its author can make it smaller."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from brolly import limits
from brolly.conflicts import source_key
from brolly.facts import described
from brolly.findings import Location, Severity, printable
from brolly.limits import Measure
from brolly.outcome import Size
from brolly.sources import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from brolly.archive import Entry
    from brolly.authored import Authored
    from brolly.checks import Release
    from brolly.facts import ObjectFacts, ReleaseFacts
    from brolly.kustomization import FluxBundle
    from brolly.oci import Artifact
    from brolly.sources import Component
    from brolly.umbrella import Umbrella

_OF_KIND: Final = {"ConfigMap": limits.CONFIG_MAP, "Secret": limits.SECRET}


def of_components(authored: Authored, components: Iterable[Component]) -> Iterator[Measure]:
    """Measure the chart packages, and what they unpack to."""
    for component in components:
        at = authored.definition.location(component.dependency.route)
        name = f"{component.key} ({component.chart.name} {component.chart.version})"
        hint = "ask for a smaller chart, or write a reason into `limits:` if yours may be larger"
        yield Measure(limits.CHART_PACKAGE, len(component.package), f"the package of {name}", at, hint=hint)
        yield from _of_chart(authored, component)
        yield from _of_index(authored, component)


def _of_chart(authored: Authored, component: Component) -> Iterator[Measure]:
    """Measure what Helm's loader counts of a chart; of an embedded one too."""
    at, chart = authored.definition.location(component.dependency.route), component.chart
    name = f"{component.key} ({chart.name} {chart.version})"
    hint = "ask for a chart with less in it, or leave it out with .helmignore if it is yours; Helm has no such setting"
    yield Measure(limits.CHART_UNPACKED, chart.unpacked, f"the unpacked chart of {name}", at, hint=hint)
    yield Measure(limits.CHART_FILE, chart.largest_file, f"the largest file of {name}", at, hint=hint)


def _of_index(authored: Authored, component: Component) -> Iterator[Measure]:
    """Measure a repository's index where a cluster reads it; every other chart is published, and pinned, without."""
    dependency, size = component.dependency, component.locked.index_size
    if dependency.is_upstream and size:
        yield Measure(
            limits.REPOSITORY_INDEX,
            size,
            f"the index of {printable(component.locked.repository)}, from which Flux takes {component.key},",
            authored.definition.location((*dependency.route, "repository")),
            label="Flux takes no chart from a repository whose index is above its limit; Helm does",
            hint="remove `source: upstream`: the chart is published beside the bundle, and no cluster reads the index",
        )


def of_umbrella(authored: Authored, components: Iterable[Component], target: Umbrella) -> Iterator[Measure]:
    """Measure the umbrella, and the charts in it.

    Its package is stored, not compressed, so this is what Helm unpacks too. An embedded package is one of its files.
    """
    at, package = authored.definition.location(("name",)), target.package
    hint = "split the bundle, or set `target: kustomize`"
    yield Measure(limits.CHART_PACKAGE, len(package), f"the package of {authored.name}", at, hint=hint)
    yield Measure(limits.CHART_UNPACKED, len(package), f"the unpacked chart of {authored.name}", at, hint=hint)
    for entry in target.chart.files:
        yield _of_file(authored, entry)
    for component in components:
        yield from _of_embedded(authored, component)
        yield from _of_chart(authored, component)


def _of_file(authored: Authored, entry: Entry) -> Measure:
    """Measure a file of the umbrella that is no chart: its author's, or the schema of all values."""
    at = authored.definition.location(("embedSchema",) if entry.name == SCHEMA else ("name",))
    if entry.name in authored.sources.files and not (entry.name == SCHEMA and authored.bundle.embeds_schema):
        at = Location(authored.sources.path(entry.name))
    what = f"{printable(entry.name)} of {authored.name}"
    return Measure(limits.CHART_FILE, len(entry.content or b""), what, at, hint="divide it; Helm has no such setting")


def _of_embedded(authored: Authored, component: Component) -> Iterator[Measure]:
    yield Measure(
        limits.CHART_FILE,
        len(component.package),
        f"the package of {component.key} ({component.chart.name} {component.chart.version}), a file of the umbrella,",
        authored.definition.location(component.dependency.route),
        hint=f"give {component.key} a bundle of its own, or set `target: kustomize`: it is no file of a chart then",
        is_vital=True,
    )


def of_artifacts(authored: Authored, artifacts: Iterable[Artifact]) -> Iterator[Measure]:
    """Measure the manifests."""
    at = authored.definition.location(("name",))
    for artifact in artifacts:
        size = artifact.manifest.descriptor.size
        hint = "shorten the description and the annotations"
        yield Measure(limits.MANIFEST, size, f"the manifest of {artifact.repository}", at, hint=hint)


def of_release(authored: Authored, release: Release, facts: ReleaseFacts) -> Iterator[Measure]:
    """Measure a release's record, and each object that it renders."""
    title = release.name + (f" with overlay {release.overlay.name}" if release.overlay else "")
    record = facts.record
    if record:
        key = release.key or next((source for source, _ in record.shares if source), "")
        what = f"the release record of {title}, at most,"
        yield Measure(limits.RELEASE_RECORD, record.upper_bound, what, _place(authored, key), record.label, record.hint)
    for one in facts.objects:
        key = release.key or source_key(one.source)
        hint = "look for what fills it in the values of its chart"
        yield from _of_object(one, f"{one.kind} {one.name} of {title}", _place(authored, key), hint)


def _of_object(one: ObjectFacts, what: str, at: Location | None, hint: str) -> Iterator[Measure]:
    yield Measure(limits.OBJECT, one.size, what, at, hint=hint)
    yield Measure(limits.ANNOTATIONS, one.annotations, f"the annotations of {what}", at, hint=hint)
    if one.kind in _OF_KIND:
        yield Measure(_OF_KIND[one.kind], one.data, f"the data of {what}", at, hint=hint)


def of_flux_bundle(authored: Authored, target: FluxBundle, policy: limits.Policy) -> Iterator[Measure]:
    """Measure what Flux applies itself: the objects of each release, and those of `resources/`."""
    for key, objects in target.releases.items():
        for one in (one for data in objects for one in described(data)):
            if one.kind == "ConfigMap":
                yield from _of_defaults(authored, key, one, policy)
            else:
                hint = f"shorten `release:` of {key}"
                yield from _of_object(one, f"{one.kind} {one.name}", _place(authored, key), hint)
    for added in target.resources:
        for one in described(added.data):
            hint = "divide it, or let a chart or an image bring what fills it"
            yield from _of_object(one, printable(f"{one.kind} {one.name}"), added.at, hint)


def _of_defaults(authored: Authored, key: str, one: ObjectFacts, policy: limits.Policy) -> Iterator[Measure]:
    """Measure the ConfigMap of a release's values; what it is as an object counts where its data may pass."""
    what, values = f"the data of ConfigMap {one.name}, the values of {key},", authored.values
    at = values.location((key,), key=True) if values and values.has((key,)) else _place(authored, key)
    hint = "keep large files in the chart, or in an object of resources/ that the chart refers to"
    yield Measure(limits.CONFIG_MAP, one.data, what, at, hint=hint, is_vital=True)
    if one.data <= policy.limit_of(limits.CONFIG_MAP) or policy.severity_of(limits.CONFIG_MAP) is not Severity.ERROR:
        yield Measure(limits.OBJECT, one.size, f"ConfigMap {one.name}, the values of {key},", at, hint=hint)


def _place(authored: Authored, key: str) -> Location:
    dependency = authored.bundle.dependency(key)
    return authored.definition.location(dependency.route if dependency else ("name",))


def reported(measured: Iterable[tuple[Release, ReleaseFacts]], policy: limits.Policy) -> Iterator[Size]:
    """Give the sizes of release records for the report."""
    limit = policy.limit_of(limits.RELEASE_RECORD)
    for release, facts in measured:
        if facts.record:
            yield Size(
                name="release-record",
                bytes=facts.record.size,
                values=release.values_name,
                upper_bound=facts.record.upper_bound,
                limit=limit,
                release=release.name,
                shares=dict(facts.record.shares),
            )
