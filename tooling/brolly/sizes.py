"""Policy for sizes: what is measured of a bundle, and where its author can make it smaller."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from brolly import limits
from brolly.conflicts import source_key
from brolly.findings import printable
from brolly.limits import Measure
from brolly.outcome import Size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from brolly.authored import Authored
    from brolly.chart import Chart
    from brolly.checks import Release
    from brolly.facts import ReleaseFacts
    from brolly.findings import Location
    from brolly.oci import Artifact
    from brolly.sources import Component

_OF_KIND: Final = {"ConfigMap": limits.CONFIG_MAP, "Secret": limits.SECRET}


def of_components(authored: Authored, components: Iterable[Component]) -> Iterator[Measure]:
    """Measure the chart packages, and what they unpack to."""
    for component in components:
        at = authored.definition.location(component.dependency.route)
        name = f"{component.key} ({component.chart.name} {component.chart.version})"
        hint = "ask for a smaller chart, or write a reason into `limits:` if yours may be larger"
        sizes = list(_file_sizes(component.chart))
        yield Measure(limits.CHART_PACKAGE, len(component.package), f"the package of {name}", at, hint=hint)
        yield Measure(limits.CHART_UNPACKED, sum(sizes), f"the unpacked chart of {name}", at, hint=hint)
        yield Measure(limits.CHART_FILE, max(sizes, default=0), f"the largest file of {name}", at, hint=hint)
        yield from _of_index(authored, component)


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


def _file_sizes(chart: Chart) -> Iterator[int]:
    for entry in chart.files:
        yield len(entry.content or b"")
    for subchart in chart.subcharts:
        yield from _file_sizes(subchart)


def of_umbrella(authored: Authored, package: bytes) -> Iterator[Measure]:
    """Measure the umbrella's own package: it is stored, not compressed, so this is what Helm unpacks too."""
    at = authored.definition.location(("name",))
    hint = "split the bundle, or set `target: kustomize`"
    yield Measure(limits.CHART_PACKAGE, len(package), f"the package of {authored.name}", at, hint=hint)
    yield Measure(limits.CHART_UNPACKED, len(package), f"the unpacked chart of {authored.name}", at, hint=hint)


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
        at, what = _place(authored, key), f"{one.kind} {one.name} of {title}"
        hint = "look for what fills it in the values of its chart"
        yield Measure(limits.OBJECT, one.size, what, at, hint=hint)
        yield Measure(limits.ANNOTATIONS, one.annotations, f"the annotations of {what}", at, hint=hint)
        if one.kind in _OF_KIND:
            yield Measure(_OF_KIND[one.kind], one.data, f"the data of {what}", at, hint=hint)


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
