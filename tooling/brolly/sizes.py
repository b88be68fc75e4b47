"""Policy for sizes: what is measured of a bundle, and where its author can make it smaller."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from brolly import limits
from brolly import release as records
from brolly.conflicts import source_key
from brolly.findings import Location, Severity, printable
from brolly.limits import Measure
from brolly.objects import described
from brolly.outcome import Size, Split
from brolly.sources import SCHEMA, VALUES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from brolly.archive import Entry
    from brolly.authored import Authored
    from brolly.checks import Release
    from brolly.document import Document
    from brolly.facts import ReleaseFacts
    from brolly.kustomization import FluxBundle
    from brolly.objects import ObjectFacts
    from brolly.oci import Artifact
    from brolly.release import Cause
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
    at, what = _file_place(authored, entry.name), f"{printable(entry.name)} of {authored.name}"
    return Measure(limits.CHART_FILE, len(entry.content or b""), what, at, hint="divide it; Helm has no such setting")


def _file_place(authored: Authored, name: str) -> Location:
    """Say where a file of the umbrella comes from: a file of that name, the schemas of all charts, or what all is."""
    if name == SCHEMA and authored.bundle.embeds_schema:
        return authored.definition.location(("embedSchema",), key=True)
    is_authored = name in authored.sources.files
    return Location(authored.sources.path(name)) if is_authored else authored.definition.location(("name",))


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
    if facts.record:
        cause, what = facts.record.cause, f"the release record of {title}, at most,"
        at = _cause_place(authored, release, cause) if cause else _place(authored, release.key)
        said = records.remedy(cause, release.key) if cause else ("", "")
        yield Measure(limits.RELEASE_RECORD, facts.record.upper_bound, what, at, *said)
    for one in facts.objects:
        key = release.key or source_key(one.source)
        hint = "look for what fills it in the values of its chart"
        yield from _of_object(one, f"{one.kind} {one.name} of {title}", _place(authored, key), hint)


def _cause_place(authored: Authored, release: Release, cause: Cause) -> Location:
    """Say where an author makes a record smaller: at the values, the file or the dependency that make it large."""
    if cause.what == "given":
        return _given_place(authored, release, cause.source)
    if release.key:
        return _place(authored, release.key)
    if cause.what == "schema":
        return _file_place(authored, SCHEMA)
    if not cause.source:
        return _file_place(authored, _largest_file(authored, release, cause))
    is_written = 2 * _weight(authored.values, (cause.source,)) >= cause.share.values
    if authored.values and is_written and 2 * cause.share.of("values") >= cause.share.size:
        return authored.values.location((cause.source,), key=True)
    return _place(authored, cause.source)


def _given_place(authored: Authored, release: Release, source: str) -> Location:
    """Find the largest of the values that belong to a dependency, or to none."""
    overlay = release.overlay.document if release.overlay else None
    documents = [one for one in (overlay, authored.values if release.key else None) if one]
    owners = {dependency.key for dependency in authored.bundle.dependencies}
    routes = [(release.key,), (release.key, source)] if release.key else [(source,)]
    if not release.key and not source:
        routes = [(key,) for document in documents for key in document.data if key not in owners]
    found = [
        (_weight(one, route), len(route), -place, route) for place, one in enumerate(documents) for route in routes
    ]
    weight, _, place, route = max(found, default=(0, 0, 0, ()))
    return documents[-place].location(route, key=True) if weight else _place(authored, release.key or source)


def _weight(document: Document | None, route: tuple[str, ...]) -> int:
    """Count the bytes of JSON at a place, 0 where there is none."""
    found: Any = document.data if document else None
    for step in route:
        found = found.get(step) if isinstance(found, dict) else None
    return 0 if found is None else len(msgspec.json.encode(found))


def _largest_file(authored: Authored, release: Release, cause: Cause) -> str:
    """Name the author's file that adds most to a record: the template that renders most, or the largest file."""
    _, _, template = cause.template.partition("/")
    if template in authored.sources.files and 2 * cause.share.of("manifests", "hooks") >= cause.share.of("files"):
        return template
    stored = [one for one in release.chart.files if one.name not in {"Chart.yaml", VALUES}]
    return max(stored, key=lambda one: len(one.content or b"")).name if stored else ""


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


def reported(
    authored: Authored, measured: Iterable[tuple[Release, ReleaseFacts]], policy: limits.Policy
) -> Iterator[Size]:
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
                shares={share.source: share.size for share in facts.record.shares},
                split={share.source: Split(**share.split) for share in facts.record.shares},
                schema=facts.record.schema if authored.bundle.embeds_schema else 0,
            )
