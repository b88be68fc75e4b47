"""Target umbrella: compile a bundle to one Helm chart with locked, embedded subcharts.

Chart.yaml carries exact versions: Helm matches subcharts by name and range in random order, so a range over two
embedded versions of one chart picks the wrong one now and then (pkg/chart/v2/util/dependencies.go).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final

from brolly import chart as charts
from brolly import helm
from brolly.archive import MAX_TOTAL, ArchiveError, Entry
from brolly.chart import Chart, Requirement
from brolly.definition import LocalChart
from brolly.document import emit
from brolly.findings import Finding, Location, Rule, Severity, printable
from brolly.sources import README, SCHEMA, VALUES
from brolly.values_table import values_table
from brolly.versions import Version

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from brolly.definition import Bundle
    from brolly.document import Document
    from brolly.oci import Artifact
    from brolly.sources import Component, Settings, Sources

AMBIGUOUS: Final = Rule("umbrella/ambiguous-chart", Severity.ERROR, "two packages of one name and version differ")
NULL: Final = Rule("umbrella/null-value", Severity.ERROR, "a null that Helm does not honour in an umbrella")
UNREADABLE: Final = Rule("umbrella/unreadable", Severity.ERROR, "the compiled chart cannot be read")
SHARED: Final = Rule("umbrella/shared-template", Severity.WARNING, "two charts define one named template differently")
LONG_README: Final = Rule("umbrella/long-readme", Severity.WARNING, "a README that weighs on every release record")

RULES: Final = (AMBIGUOUS, NULL, UNREADABLE, SHARED, LONG_README)

README_LIMIT: Final = 2048
_README_TAIL: Final = 120  # bytes kept for the line that says how many components are not listed
_DESCRIPTION_SHOWN: Final = 300  # characters

_NUMBERS: Final = re.compile(r"v?[0-9]+\.[0-9]+\.[0-9]+(?![0-9.])")
_DEFINE: Final = re.compile(r"\{\{-?\s*define\s+[\"`]([^\"`]+)[\"`]\s*-?\}\}")


@dataclass(frozen=True)
class Umbrella:
    """A compiled umbrella chart: the .tgz, the chart as Helm will load it, the artifact, the table of its values."""

    package: bytes = field(repr=False)
    chart: Chart = field(repr=False)
    artifact: Artifact = field(repr=False)
    values_table: str = field(repr=False)


def compile_bundle(
    bundle: Bundle,
    components: Sequence[Component],
    sources: Sources,
    definition: Document,
    values: Document | None,
    settings: Settings,
    *,
    inputs: str,
    lock: str,
    schema: bytes | None = None,
) -> tuple[Umbrella | None, tuple[Finding, ...]]:
    """Compile a bundle: the chart, or every reason why it cannot be.

    `inputs` and `lock` are the digests of all inputs and of bundle.lock; `schema` takes the place of the author's.
    """
    found = (
        *_ambiguous(components, definition),
        *_nulls(components, values),
        *_shared_templates(components, definition),
        *_long_readme(sources),
    )
    if any(finding.severity is Severity.ERROR for finding in found):
        return None, found
    required = tuple(_requirement(component) for component in components)
    files = {
        "Chart.yaml": _chart_yaml(bundle, required, settings, inputs=inputs, lock=lock),
        "Chart.lock": _chart_lock(components, required, settings),
        VALUES: sources.files.get(VALUES, b""),
        README: _readme(bundle, components, sources),
        **_templates(bundle, components, sources),
        **{f"charts/{_file_name(component)}": component.package for component in components},
    }
    if schema or SCHEMA in sources.files:
        files[SCHEMA] = schema or sources.files[SCHEMA]
    try:
        package, tar = helm.package_folder(files, bundle.name, settings.epoch)
        chart = _chart(files, components, len(tar))
    except ValueError as error:
        at = definition.location(("name",))
        return None, (*found, UNREADABLE.finding(f"{bundle.name} cannot be compiled: {printable(str(error))}", at))
    artifact = helm.chart_artifact(package, chart, bundle.name, settings.epoch)
    return Umbrella(package, chart, artifact, values_table(bundle, components, values)), found


def _chart(files: Mapping[str, bytes], components: Sequence[Component], unpacked: int) -> Chart:
    """Read the chart's own files, as Helm will; the subcharts have been read before."""
    if unpacked > MAX_TOTAL:
        raise ArchiveError(f"it unpacks to more than {MAX_TOTAL} bytes")
    own = charts.read_files(Entry(name, content) for name, content in files.items() if not name.startswith("charts/"))
    embedded = {_file_name(component): component.chart for component in components}
    return replace(own, subcharts=tuple(embedded.values()))


def _file_name(component: Component) -> str:
    return f"{component.chart.name}-{component.chart.version}.tgz"


def _requirement(component: Component) -> Requirement:
    dependency = component.dependency
    return Requirement(
        name=component.chart.name,
        version=exact(component.chart.version),
        repository="" if isinstance(dependency.repository, LocalChart) else dependency.repository.url,
        alias=dependency.alias,
        condition=dependency.condition,
        tags=dependency.tags,
        import_values=dependency.import_values,
    )


def exact(version: str) -> str:
    """Write a version so that Helm takes it for this one alone: `1.4` and `1.4-rc.1` would be ranges."""
    return version if _NUMBERS.match(version) else str(Version.parse(version))


def _chart_yaml(
    bundle: Bundle, required: Sequence[Requirement], settings: Settings, *, inputs: str, lock: str
) -> bytes:
    metadata = dict(bundle.metadata)
    annotations = {
        **metadata.pop("annotations", {}),
        "io.brolly.bundle.inputs": inputs,
        "io.brolly.bundle.lock": lock,
        "io.brolly.bundle.target": str(bundle.target),
        "org.opencontainers.image.created": helm.timestamp(settings.epoch),
    }
    data = {
        "apiVersion": "v2",
        "name": bundle.name,
        "version": bundle.version,
        "type": "application",
        **metadata,
        "annotations": dict(sorted(annotations.items())),
        "dependencies": [_chart_yaml_dependency(requirement) for requirement in required],
    }
    return emit(data).encode()


def _chart_yaml_dependency(requirement: Requirement) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "name": requirement.name,
        "version": requirement.version,
        "repository": requirement.repository,
        "alias": requirement.alias,
        "condition": requirement.condition,
        "tags": list(requirement.tags),
        "import-values": list(requirement.import_values),
    }
    return {name: value for name, value in fields.items() if value or name == "repository"}


def _chart_lock(components: Sequence[Component], required: Sequence[Requirement], settings: Settings) -> bytes:
    locked = [
        Requirement(
            name=requirement.name,
            version=component.locked.version if requirement.repository else requirement.version,
            repository=requirement.repository,
        )
        for component, requirement in zip(components, required, strict=True)
    ]
    data = {
        # Helm leaves unknown fields alone: the content pin that it lacks (helm#9662) is `digest`
        "dependencies": [
            {
                "name": entry.name,
                "repository": entry.repository,
                "version": entry.version,
                "digest": component.locked.digest,
            }
            for component, entry in zip(components, locked, strict=True)
        ],
        "digest": helm.lock_digest(required, locked),
        "generated": helm.timestamp(settings.epoch),
    }
    return emit(data).encode()


def _readme(bundle: Bundle, components: Sequence[Component], sources: Sources) -> bytes:
    written = sources.files.get(README, b"")
    if written and len(written) < README_LIMIT:
        return written
    lines = [f"# {bundle.name}", ""]
    if bundle.description:
        lines += [bundle.description[:_DESCRIPTION_SHOWN], ""]
    lines += ["| component | chart | version |", "|---|---|---|"]
    size = len("\n".join(lines).encode())
    for place, component in enumerate(components):
        row = f"| {component.key} | {component.chart.name} | {component.chart.version} |"
        size += len(row.encode()) + 1
        if size > README_LIMIT - _README_TAIL:
            lines.append(f"| and {len(components) - place} more | | |")
            break
        lines.append(row)
    return ("\n".join(lines) + "\n").encode()


def _templates(bundle: Bundle, components: Sequence[Component], sources: Sources) -> dict[str, bytes]:
    written = sources.below("templates/")
    if helm.not_ignored(written):
        return written
    # without templates/ `helm lint --strict` fails and skips rendering
    listing = "\n".join(
        f"  {component.key} ({component.chart.name} {component.chart.version})" for component in components
    )
    return {"templates/NOTES.txt": f"{bundle.name} {bundle.version} installs:\n{listing}\n".encode()}


def _ambiguous(components: Sequence[Component], definition: Document) -> Iterator[Finding]:
    versions: dict[tuple[str, Version], Component] = {}
    names: dict[str, Component] = {}
    for component in components:
        chart = component.chart
        first = versions.setdefault((chart.name, Version.parse(chart.version)), component)
        if first.package == component.package:
            # `a-1` in version 2 and `a` in version 1-2 would both be a-1-2.tgz
            first = names.setdefault(_file_name(component), component)
        if first.package != component.package:
            yield AMBIGUOUS.finding(
                f"{component.key} and {first.key} embed {chart.name} {chart.version} and {first.chart.name} "
                f"{first.chart.version}, but their packages differ ({first.locked.digest[:19]} and "
                f"{component.locked.digest[:19]}): Helm would take either of them for both",
                definition.location(component.dependency.route),
                hint="take both from one repository, or give one of the charts another version",
            )


def _nulls(components: Sequence[Component], values: Document | None) -> Iterator[Finding]:
    if values is None:
        return
    for component in components:
        for route in null_routes(values.data.get(component.key), (component.key,)):
            yield NULL.finding(
                f"{'.'.join(map(str, route))} is null: Helm keeps the default of {component.chart.name} here",
                values.location(route),
                hint="set the value that you want; only what an operator sets can be null, or use `target: kustomize`",
            )


def null_routes(data: Any, route: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    """Find the nulls below a place. A list's elements are the author's own: no default stands behind them."""
    if isinstance(data, dict):
        for key, value in data.items():
            if value is None:
                yield (*route, key)
            else:
                yield from null_routes(value, (*route, key))


def _shared_templates(components: Sequence[Component], definition: Document) -> Iterator[Finding]:
    """Find named templates of two meanings: they are global in Helm, so one chart would use the other's."""
    seen: dict[str, tuple[Component, str]] = {}
    for component in {component.package: component for component in reversed(components)}.values():
        clashes: dict[str, list[str]] = {}
        for name, body in _named_templates(component.chart).items():
            first, before = seen.setdefault(name, (component, body))
            if before != body:
                clashes.setdefault(first.key, []).append(name)
        for key, names in clashes.items():
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            yield SHARED.finding(
                f"{component.key} and {key} define {printable(', '.join(sorted(names)[:3]))}{more} differently: "
                "Helm keeps one of the definitions for both",
                definition.location(component.dependency.route),
                hint="use one version of the chart, or set `target: kustomize`: each release then has its own",
            )


def _named_templates(chart: Chart) -> dict[str, str]:
    """Give what a chart and its subcharts `define`, each with the text up to the next one."""
    found: dict[str, str] = {}
    for entry in chart.templates:
        text = (entry.content or b"").decode("utf-8", "replace")
        places = tuple(_DEFINE.finditer(text))
        for place, following in zip_longest(places, places[1:]):
            found[place[1]] = text[place.end() : following.start() if following else None].strip()
    for subchart in chart.subcharts:
        found |= _named_templates(subchart)
    return found


def _long_readme(sources: Sources) -> Iterator[Finding]:
    size = len(sources.files.get(README, b""))
    if size >= README_LIMIT:
        yield LONG_README.finding(
            f"README.md has {size} bytes; the chart gets a short one in its place",
            Location(sources.path(README)),
            hint=f"keep it under {README_LIMIT} bytes: every release record of the bundle holds it",
        )
