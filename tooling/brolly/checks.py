"""Policy: what may be published. A check is a function in a table, from one release and Helm's answers to findings."""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import msgspec

from brolly import schemas, values
from brolly.archive import Entry, read_tar_gz, stored_gzip, write_tar
from brolly.definition import LocalChart, Target
from brolly.findings import Finding, Location, Rule, Severity, printable
from brolly.objects import EMPTY
from brolly.sources import SCHEMA
from brolly.suggestions import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from brolly.authored import Authored, Overlay
    from brolly.chart import Chart
    from brolly.definition import Dependency
    from brolly.document import Document, Route
    from brolly.facts import RefusedCrd, ReleaseFacts
    from brolly.rendering import EngineFailure, TemplatePlace
    from brolly.sources import Component

VALUES_SCHEMA: Final = Rule("values/schema", Severity.ERROR, "a value that a chart's schema refuses")
VALUES_TYPE: Final = Rule("values/type", Severity.ERROR, "values under a chart's key that are no mapping")
BROKEN_SCHEMA: Final = Rule("values/broken-schema", Severity.ERROR, "a values schema that Helm refuses")
COSTLY_SCHEMA: Final = Rule(
    "values/costly-schema", Severity.WARNING, "a values schema that multiplies as it is applied"
)
REMOTE_SCHEMA: Final = Rule("values/remote-schema", Severity.WARNING, "a values schema that leads out of its chart")
NOT_AS_WRITTEN: Final = Rule("values/not-as-written", Severity.WARNING, "a setting that Helm passes over in silence")
UNKNOWN_KEY: Final = Rule("values/unknown-key", Severity.WARNING, "a top-level value that nothing in the bundle reads")
OVERLAY_KEY: Final = Rule("values/overlay-key", Severity.ERROR, "an overlay's value that reaches no release")
LINT: Final = Rule("helm/lint", Severity.ERROR, "`helm lint --strict` fails")
LINT_UPSTREAM: Final = Rule("helm/lint-upstream", Severity.WARNING, "`helm lint --strict` fails for a chart of others")
RENDER: Final = Rule("helm/render", Severity.ERROR, "Helm cannot render a release")
ENGINE: Final = Rule("helm/engine", Severity.ERROR, "Helm's engine gave no answer")
CRD: Final = Rule("helm/crd", Severity.ERROR, "a file in `crds/` that Helm cannot install")
NO_ENGINE: Final = Rule("helm/no-engine", Severity.WARNING, "lint and render were left out: Helm's engine is not here")

RULES: Final = (
    VALUES_SCHEMA,
    VALUES_TYPE,
    BROKEN_SCHEMA,
    COSTLY_SCHEMA,
    REMOTE_SCHEMA,
    NOT_AS_WRITTEN,
    UNKNOWN_KEY,
    OVERLAY_KEY,
    LINT,
    LINT_UPSTREAM,
    RENDER,
    ENGINE,
    CRD,
    NO_ENGINE,
)

MAX_RELEASE_NAME: Final = 53
_NO_ANSWER: Final = {"timeout", "memory", "crash"}
_NO_MAPPING: Final = "write its values indented below it, or remove the key"
# what Helm does otherwise than it looks; that a chart is switched off is no surprise
_SURPRISES: Final = {"condition-no-boolean", "tag-no-boolean", "import-missing", "table-kept", "table-expected"}
_NAMED: Final = re.compile(r'"([A-Za-z][A-Za-z0-9_-]*)"\s*:')
_CHARTS_SCHEMA: Final = re.compile(r"[^/]+(?:/charts/[^/]+)*/" + re.escape(SCHEMA))
_CHARTS_PACKAGE: Final = re.compile(r"(?:[^/]+/charts/)+[^/]+\.tgz")
_WORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


# gives what a schema refuses, as `schemas.judge` does
Judge = Callable[[bytes, Mapping[str, Any]], tuple[schemas.Violation, ...]]


@dataclass(frozen=True)
class Release:
    """What Helm installs, once: the umbrella or one component, with one set of values.

    `key` is the component's key, "" for the umbrella; `values` is what is given on top of the chart's defaults;
    `overlay` is None for the bundle's own defaults.
    """

    key: str
    name: str
    namespace: str
    package: bytes = field(repr=False)
    chart: Chart = field(repr=False)
    values: Mapping[str, Any] = field(repr=False)
    overlay: Overlay | None = None

    @property
    def values_name(self) -> str:
        """With which values: `defaults`, or the overlay's name."""
        return self.overlay.name if self.overlay else "defaults"


@dataclass(frozen=True)
class Subject:
    """What a check looks at. `forbidding` are the keys of charts that are known to refuse `global`."""

    authored: Authored
    components: Sequence[Component]
    release: Release
    facts: ReleaseFacts
    forbidding: frozenset[str] = frozenset()
    judge: Judge = schemas.judge


def beyond(facts: ReleaseFacts, defaults: ReleaseFacts) -> ReleaseFacts:
    """Give what the facts of an overlay say beyond those of the defaults: a fault is said once."""
    lint = facts.lint
    if lint and defaults.lint:
        news = tuple(message for message in lint.messages if message not in defaults.lint.messages)
        lint = replace(lint, messages=news)
    return msgspec.structs.replace(
        facts,
        lint=lint,
        lint_failure=None if facts.lint_failure == defaults.lint_failure else facts.lint_failure,
        failure=None if facts.failure == defaults.failure else facts.failure,
        refused_crds=tuple(one for one in facts.refused_crds if one not in defaults.refused_crds),
    )


def releases(
    authored: Authored, components: Sequence[Component], umbrella: tuple[bytes, Chart] | None
) -> Iterator[Release]:
    """List what Helm will install, with the defaults and with each overlay."""
    for overlay in (None, *authored.overlays):
        over = overlay.document.data if overlay else {}
        if umbrella:
            yield Release("", authored.bundle.name, "default", *umbrella, over, overlay)
            continue
        written = authored.values.data if authored.values else {}
        for component in components:
            user = values.merge(values.for_release(written, component.key), values.for_release(over, component.key))
            name, namespace = release_name(component.dependency), component.dependency.target_namespace or "default"
            yield Release(component.key, name, namespace, component.package, component.chart, user, overlay)


def without_remote_schemas(package: bytes) -> bytes:
    """Give a chart package without the values schemas, anywhere in it, that Helm would fetch something for.

    The very same bytes if there is none.
    """
    entries = read_tar_gz(package)
    kept = [_local_entry(entry) for entry in entries if not _fetches(entry)]
    return package if tuple(kept) == entries else stored_gzip(write_tar(kept))


def _local_entry(entry: Entry) -> Entry:
    if entry.content and _CHARTS_PACKAGE.fullmatch(entry.name):
        return replace(entry, content=without_remote_schemas(entry.content))
    return entry


def _fetches(entry: Entry) -> bool:
    if not _CHARTS_SCHEMA.fullmatch(entry.name):
        return False
    try:
        schemas.judge(entry.content or b"", {})
    except schemas.RemoteReference as error:
        return error.is_fetched
    except schemas.SchemaFault:
        return False
    return False


def release_name(dependency: Dependency) -> str:
    """Name a release as Flux does: its namespace before it, and what is longer than Helm allows cut and hashed.

    Source: fluxcd/helm-controller internal/release, ShortenName.
    """
    name = f"{dependency.target_namespace}-{dependency.key}" if dependency.target_namespace else dependency.key
    if len(name) <= MAX_RELEASE_NAME:
        return name
    return f"{name[: MAX_RELEASE_NAME - 13]}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"


def check_shapes(authored: Authored) -> Iterator[Finding]:
    """Values of a dependency are a mapping, in values.yaml and in each overlay."""
    for document, key in _misshapen(authored):
        yield VALUES_TYPE.finding(
            f"{printable(key)} is no mapping of values", document.location((key,), key=True), hint=_NO_MAPPING
        )


def _misshapen(authored: Authored) -> Iterator[tuple[Document, str]]:
    documents = [authored.values] if authored.values else []
    for document in (*documents, *(overlay.document for overlay in authored.overlays)):
        for key in ("global", *(dependency.key for dependency in authored.bundle.dependencies)):
            if key in document.data and not isinstance(document.data[key], dict):
                yield document, key


def check_overlay_keys(authored: Authored) -> Iterator[Finding]:
    """Under kustomize an overlay's keys are dependencies or `global`: others would reach nobody."""
    if authored.bundle.target is not Target.KUSTOMIZE:
        return
    known = ("global", *(dependency.key for dependency in authored.bundle.dependencies))
    for overlay in authored.overlays:
        for key in overlay.document.data:
            if key not in known:
                yield OVERLAY_KEY.finding(
                    f"{printable(key)!r} is no dependency of {authored.name}: no release would see it",
                    overlay.document.location((key,), key=True),
                    hint=_known_key(key, authored, known),
                )


def check_unknown_keys(authored: Authored) -> Iterator[Finding]:
    """Under umbrella a top-level key is a dependency's, or somebody reads it; Helm keeps any other without a word."""
    schema = authored.sources.files.get(SCHEMA, b"")
    if authored.bundle.target is not Target.UMBRELLA or _is_closed(schema):
        return
    templates = authored.sources.below("templates/")
    conditions = (path for one in authored.bundle.dependencies for path in one.condition.split(","))
    # `exports` is what a chart offers to its parent's import-values
    known = {"exports", *_NAMED.findall(_text(schema)), *(path.partition(".")[0] for path in conditions)}
    if authored.values and not templates:
        yield from _unknown_keys(authored, authored.values, known)
    known |= set(authored.values.data if authored.values else ())
    known |= {word for content in templates.values() for word in _WORD.findall(_text(content))}
    for overlay in authored.overlays:
        yield from _unknown_keys(authored, overlay.document, known)


def _unknown_keys(authored: Authored, document: Document, known: set[str]) -> Iterator[Finding]:
    keys = ("global", "tags", *(dependency.key for dependency in authored.bundle.dependencies))
    for key in document.data:
        node = document.node((key,))
        # a value with an anchor is there for others to refer to
        if key in keys or key in known or (node and node.event.anchor):
            continue
        yield UNKNOWN_KEY.finding(
            f"{printable(key)!r} is no dependency of {authored.name}, and nothing in the bundle reads it",
            document.location((key,), key=True),
            hint=_known_key(key, authored, keys),
        )


def _known_key(key: str, authored: Authored, known: Sequence[str]) -> str:
    """Suggest a top-level key: the alias of the chart that was named, else the nearest."""
    aliases = [one.alias for one in authored.bundle.dependencies if one.name == key and one.alias]
    if aliases:
        return f"write its alias: {' or '.join(aliases)}"
    return did_you_mean(key, known) or f"keys here: {', '.join(known)}"


def _is_closed(schema: bytes) -> bool:
    """Say whether the author's schema allows no other keys: then it is the schema that is broken."""
    try:
        root = json.loads(schema)
    except (ValueError, RecursionError):
        return False
    return isinstance(root, dict) and False in (root.get("additionalProperties"), root.get("unevaluatedProperties"))


def _text(content: bytes) -> str:
    return content.decode("utf-8", "replace")


def check_author_schema(authored: Authored) -> Iterator[Finding]:
    """Under kustomize the author's own schema holds for values.yaml, and for it with each overlay."""
    schema = authored.sources.files.get(SCHEMA)
    if not schema or authored.bundle.target is not Target.KUSTOMIZE:
        return
    written = authored.values.data if authored.values else {}
    said = {document.location((key,)) for document, key in _misshapen(authored)}
    for overlay in (None, *authored.overlays):
        over = overlay.document.data if overlay else {}
        documents = _documents(authored, overlay)
        fallback = Location(authored.sources.path(SCHEMA))
        judged = _judged(schema, values.merge(written, over), (), authored.name, documents, fallback)
        yield from (finding for finding in judged if finding.location not in said)


def check_values(subject: Subject) -> Iterator[Finding]:
    """Judge the values of every chart of the release by the chart's own schema, as Helm will."""
    release = subject.release
    if release.overlay and subject.facts.is_accepted:
        return  # Helm's engine took these values: there is nothing to locate
    documents = _documents(subject.authored, release.overlay)
    prefix = (release.key,) if release.key else ()
    try:
        instance, notes = values.effective(release.chart, release.values)
    except values.ValuesError as error:
        yield _mistyped(subject, (*prefix, *error.path), documents)
        return
    if release.overlay is None:
        yield from _noted(subject, notes, prefix)
    if subject.facts.is_accepted:
        return
    for one in instance.walk():
        schema = one.chart.schema
        if not release.key and not one.path:
            schema = subject.authored.sources.files.get(SCHEMA)  # an embedded composite would say everything twice
        if schema is not None:
            path = (*prefix, *one.path)
            fallback = _schema_place(subject, path)
            table = one.values
            if path and path[0] in subject.forbidding and len(path) == 1:
                table = {key: value for key, value in table.items() if key != "global"}  # that was said already
            yield from _judged(schema, table, path, ".".join(path) or release.name, documents, fallback, subject.judge)


def _mistyped(subject: Subject, path: tuple[str, ...], documents: Sequence[Document]) -> Finding:
    """Say that the values of a chart's chart are no mapping: at the key, or at the dependency that has it so."""
    dotted = printable(".".join(path))
    for document in documents:
        node = document.node(path)
        if node and not isinstance(node.children, dict):
            at = document.location(path, key=True)
            return VALUES_TYPE.finding(f"{dotted} is no mapping of values", at, hint=_NO_MAPPING)
    return VALUES_TYPE.finding(
        f"{dotted} is no mapping of values in the chart's own defaults",
        _component_place(subject, path[0]),
        hint="take another version, or tell the chart's authors",
    )


def _schema_place(subject: Subject, path: tuple[str, ...]) -> Location:
    return _component_place(subject, path[0]) if path else Location(subject.authored.sources.path(SCHEMA))


def _noted(subject: Subject, notes: Sequence[values.Note], prefix: tuple[str, ...]) -> Iterator[Finding]:
    for note in notes:
        path = (*prefix, *note.path)
        # what upstream charts do inside themselves is not the author's to mend
        if len(path) <= 1 and note.kind in _SURPRISES:
            yield NOT_AS_WRITTEN.finding(printable(note.message), _component_place(subject, path[0] if path else ""))


def _judged(
    schema: bytes,
    data: Mapping[str, Any],
    path: tuple[str, ...],
    owner: str,
    documents: Sequence[Document],
    fallback: Location,
    judge: Judge = schemas.judge,
) -> Iterator[Finding]:
    try:
        violations = judge(schema, data)
    except schemas.SchemaFault as error:
        yield _faulty(error, owner, fallback)
        return
    for violation in violations:
        route = (*path, *violation.route)
        dotted = ".".join(map(str, route)) or "values"
        is_unknown = violation.keyword == "additionalProperties"
        at, depth = _written_at(route, documents, fallback, key=is_unknown)
        hint = _known_sibling(schema, data, violation.route) if is_unknown else ""
        if depth < len(route) and not is_unknown:
            hint = f"the value comes from the chart; set {dotted} in values.yaml"
        yield VALUES_SCHEMA.finding(f"{dotted}: {printable(violation.message)}", at, hint=hint)


def _faulty(fault: schemas.SchemaFault, owner: str, at: Location) -> Finding:
    match fault:
        case schemas.RemoteReference(is_fetched=True):
            return REMOTE_SCHEMA.finding(
                f"the values schema of {owner} refers to {printable(fault.reference)}: "
                "it is not fetched, so no values were checked by this schema",
                at,
                hint="Helm fetches it at every render; ask the chart's author to embed it",
            )
        case schemas.TooMuchWork():
            return COSTLY_SCHEMA.finding(
                f"the values schema of {owner} {fault}: no values were checked by it",
                at,
                hint="Helm takes long over it, too; in each schema, refer to another one only once",
            )
        case _:
            return BROKEN_SCHEMA.finding(f"Helm refuses the values schema of {owner}: {printable(str(fault))}", at)


def _known_sibling(schema: bytes, data: Mapping[str, Any], route: Route) -> str:
    """Suggest a name for an unknown one: what stands beside it, or what the schema speaks of."""
    beside: Any = data
    for step in route[:-1]:
        beside = beside[step]
    unknown = str(route[-1])
    named = _NAMED.findall(_text(schema))
    return did_you_mean(unknown, [key for key in dict.fromkeys((*beside, *named)) if key != unknown])


def _written_at(
    route: Route, documents: Sequence[Document], fallback: Location, *, key: bool = False
) -> tuple[Location, int]:
    """Find where the author wrote a value, or the nearest thing around it: the place and how deep it lies."""
    if route and route[0] != "global" and "global" in route[:2]:
        route = route[1:]  # a release's `global` is written at the top
    for depth in range(len(route), 0, -1):
        for document in documents:
            if document.has(route[:depth]):
                return document.location(route[:depth], key=key), depth
    return fallback, 0


def _documents(authored: Authored, overlay: Overlay | None) -> tuple[Document, ...]:
    over = (overlay.document,) if overlay else ()
    return (*over, authored.values) if authored.values else over


def _component_place(subject: Subject, key: str) -> Location:
    dependency = subject.authored.bundle.dependency(key)
    return subject.authored.definition.location(dependency.route if dependency else ("name",))


def check_lint(subject: Subject) -> Iterator[Finding]:
    """Pass on what `helm lint --strict` says; for charts of others, as a warning."""
    lint, release, failure = subject.facts.lint, subject.release, subject.facts.failure
    if lint is None or lint.passes:
        return
    rule = LINT if not release.key or _is_local(subject, release.key) else LINT_UPSTREAM
    said = {one.source for one in _refused_crds(subject)}
    for message in lint.messages:
        if message.level in {"info", "unknown"} or (failure and _same_fault(message.message, failure)):
            continue
        path = f"{release.chart.name}/{message.path}" if message.path else ""
        if path in said or (failure and failure.place and failure.place.path == path):
            continue
        at = _template_place(subject, path, 1, 1)
        yield rule.finding(f"{_titled(release)}: {printable(message.message)}", at)


def _same_fault(message: str, failure: EngineFailure) -> bool:
    return failure.kind == "values-schema" or "schema" in message or "template" in message or "execut" in message


def _titled(release: Release) -> str:
    return release.name + (f" with overlay {release.overlay.name}" if release.overlay else "")


def check_rendering(subject: Subject) -> Iterator[Finding]:
    """Say why Helm cannot render the release."""
    for failure in (subject.facts.failure, subject.facts.lint_failure):
        if failure is None:
            continue
        if failure.kind == "values-schema" and subject.forbidding:
            return  # said already, at the dependency
        if _is_said(failure, subject):
            return  # at the value that was written
        rule = ENGINE if failure.kind in _NO_ANSWER else RENDER
        place: TemplatePlace | None = failure.place
        at = _template_place(subject, place.path, place.line, place.column) if place else _blamed(subject)
        hint = "give it more with --engine-timeout or --engine-memory, if the chart needs it" if rule is ENGINE else ""
        yield rule.finding(f"{_titled(subject.release)}: {printable(failure.message)}", at, hint=hint)
        return


def check_crds(subject: Subject) -> Iterator[Finding]:
    """Say which files of `crds/` stop the installation."""
    for one in _refused_crds(subject):
        _, _, inside = one.source.rpartition("/crds/")
        yield CRD.finding(
            f"{_titled(subject.release)}: failed to install CRD crds/{printable(inside)}: {printable(one.reason)}",
            _template_place(subject, one.source, one.line, one.column),
            hint="files in crds/ are no templates: Helm applies them as they stand",
        )


def _refused_crds(subject: Subject) -> Iterator[RefusedCrd]:
    """Leave out what Flux, which applies them itself, passes over: helm-controller's internal/action, applyCRDs."""
    dependency = subject.authored.bundle.dependency(subject.release.key)
    for one in subject.facts.refused_crds:
        if dependency is None or not (dependency.skips_crds or one.reason == EMPTY):
            yield one


def _is_said(failure: EngineFailure, subject: Subject) -> bool:
    """Say whether the values are what Helm refuses, and that has been found."""
    if failure.kind in _NO_ANSWER:
        return False
    refused = {VALUES_SCHEMA.code, BROKEN_SCHEMA.code, REMOTE_SCHEMA.code} if failure.kind == "values-schema" else set()
    return any(finding.code in {*refused, VALUES_TYPE.code} for finding in check_values(subject))


def _blamed(subject: Subject) -> Location:
    overlay = subject.release.overlay
    return Location(overlay.document.path) if overlay else _component_place(subject, subject.release.key)


def _is_local(subject: Subject, key: str) -> bool:
    return any(
        component.key == key and isinstance(component.dependency.repository, LocalChart)
        for component in subject.components
    )


def _template_place(subject: Subject, path: str, line: int, column: int) -> Location:
    """Turn Helm's path of a template into a file that the author can edit, else into the dependency."""
    _, _, inside = path.partition("/")
    key = subject.release.key
    if not key and inside.startswith("charts/"):
        key, _, inside = inside.removeprefix("charts/").partition("/")
    files = subject.authored.sources
    if not key:
        own = inside if inside in files.files else ""
        return Location(files.path(own), line, column, line, column + 1) if own else _component_place(subject, "")
    for component in subject.components:
        repository = component.dependency.repository
        if component.key == key and isinstance(repository, LocalChart):
            local = posixpath.normpath(posixpath.join(repository.path, inside))
            if local in files.files:
                return Location(files.path(local), line, column, line, column + 1)
    return _component_place(subject, key)


AUTHORED_CHECKS: Final[tuple[Callable[[Authored], Iterator[Finding]], ...]] = (
    check_shapes,
    check_overlay_keys,
    check_unknown_keys,
    check_author_schema,
)
RELEASE_CHECKS: Final[tuple[Callable[[Subject], Iterator[Finding]], ...]] = (
    check_values,
    check_lint,
    check_rendering,
    check_crds,
)
