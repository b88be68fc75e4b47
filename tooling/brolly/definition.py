"""The definition: what the author of a bundle asked for.

The structs are the shape of `bundle.yaml` and generate `schemas/bundle.schema.json`; `parse` turns a located document
into a `Bundle`, or into findings, all of them at once. Field names and meanings are Chart.yaml's where it has them.
"""

from __future__ import annotations

import enum
import posixpath
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from urllib.parse import urlsplit

import msgspec

from brolly.findings import Finding, Rule, Severity, printable
from brolly.suggestions import did_you_mean
from brolly.versions import Constraint, Version

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from brolly.document import Document, Route

API_VERSION: Final = "brolly/v1alpha1"


def _meta(title: str, description: str, **extra: Any) -> msgspec.Meta:
    return msgspec.Meta(title=title, description=description, **extra)


Text = Annotated[str, _meta("Text", "A text.")]


class Target(enum.StrEnum):
    """What a bundle is compiled into."""

    UMBRELLA = "umbrella"
    KUSTOMIZE = "kustomize"


class Maintainer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A person or a team, as in Chart.yaml."""

    name: Annotated[str, _meta("Name", "The maintainer's name.", min_length=1)]
    email: Annotated[str, _meta("E-mail", "The maintainer's e-mail address.")] = ""
    url: Annotated[str, _meta("URL", "A page about the maintainer.")] = ""


class ImportValue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One `import-values` entry of the long form, as in Chart.yaml."""

    child: Annotated[str, _meta("Child", "The path of the values in the subchart.", min_length=1)]
    parent: Annotated[str, _meta("Parent", "The path that they get in the umbrella's values.", min_length=1)]


class DependencyShape(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel", tag=False
):
    """One chart of the bundle."""

    name: Annotated[str, _meta("Chart", "The chart's name in its repository.", min_length=1)]
    version: Annotated[
        str,
        _meta(
            "Constraint",
            "A range of versions in Helm's grammar (`6.x`, `^1.2`, `>=1.0.0 <2.0.0`); bundle.lock holds the version.",
            min_length=1,
        ),
    ]
    repository: Annotated[
        str,
        _meta(
            "Repository",
            "Where the chart comes from: `oci://host/path`, `https://host/path`, `file://charts/name` (relative to the "
            "bundle), or `@name` of a repository that the workspace declares.",
            min_length=1,
        ),
    ]
    alias: Annotated[
        str,
        _meta(
            "Alias",
            "The instance's name: its key in values.yaml, the subchart's alias, the HelmRelease's name. "
            "Default: the chart's name.",
        ),
    ] = ""
    condition: Annotated[
        str,
        _meta("Condition", "Paths into values, separated by commas; the first that is a boolean switches the chart."),
    ] = ""
    tags: Annotated[
        tuple[Text, ...], _meta("Tags", "Groups of charts that `tags:` in values.yaml switches on or off.")
    ] = ()
    import_values: Annotated[
        tuple[Text | ImportValue, ...],
        _meta("Import values", "Values of the chart that the umbrella takes over. Target umbrella only."),
    ] = msgspec.field(default=(), name="import-values")
    target_namespace: Annotated[
        str,
        _meta(
            "Target namespace",
            "The namespace into which Flux installs the release; it also prefixes its name. Target kustomize only.",
        ),
    ] = ""
    depends_on: Annotated[
        tuple[Text, ...],
        _meta(
            "Depends on",
            "Dependencies of this bundle (alias or name) that must be ready first. Target kustomize only.",
        ),
    ] = ()
    source: Annotated[
        Literal["bundle", "upstream"],
        _meta(
            "Source",
            "`upstream` lets Flux take the chart from its own http(s) repository, without a digest; by default it is "
            "published beside the bundle and pinned. Target kustomize only.",
        ),
    ] = "bundle"
    release: Annotated[
        dict[str, Any],
        _meta(
            "Release",
            "Fields merged into the HelmRelease's spec, such as `timeout` or `driftDetection`. Target kustomize only.",
        ),
    ] = {}
    verify: Annotated[
        dict[str, Any],
        _meta(
            "Verify",
            "Who must have signed the chart: the `verify` of Flux's OCIRepository. Target kustomize and `oci://` only.",
        ),
    ] = {}


class BundleShape(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel", kw_only=True
):
    """A bundle: charts that are locked, checked and published as one unit."""

    api_version: Annotated[Literal["brolly/v1alpha1"], _meta("API version", "The version of this format.")]
    target: Annotated[
        Target,
        _meta(
            "Target",
            "`umbrella`: one Helm chart with embedded subcharts, installed as one release. "
            "`kustomize`: a Flux OCI artifact with one HelmRelease per dependency.",
        ),
    ]
    name: Annotated[str, _meta("Name", "The bundle's name: the folder's name below `bundles/`.", min_length=1)]
    version: Annotated[str, _meta("Version", "The bundle's version: a full semantic version.", min_length=1)]
    description: Annotated[str, _meta("Description", "One sentence about the bundle.")] = ""
    type: Annotated[
        Literal["application"], _meta("Type", "Accepted so that an umbrella's Chart.yaml can be pasted.")
    ] = "application"
    kube_version: Annotated[str, _meta("Kubernetes version", "A range of Kubernetes versions that fit.")] = ""
    app_version: Annotated[str, _meta("App version", "The version of what the bundle installs, in quotes.")] = ""
    keywords: Annotated[tuple[Text, ...], _meta("Keywords", "Words to find the bundle by.")] = ()
    home: Annotated[str, _meta("Home", "The bundle's page.")] = ""
    sources: Annotated[tuple[Text, ...], _meta("Sources", "Addresses of the source code.")] = ()
    icon: Annotated[str, _meta("Icon", "The address of an SVG or PNG image.")] = ""
    maintainers: Annotated[tuple[Maintainer, ...], _meta("Maintainers", "Who to ask.")] = ()
    annotations: Annotated[dict[str, str], _meta("Annotations", "Texts by name, kept in the published artifact.")] = {}
    deprecated: Annotated[bool, _meta("Deprecated", "Says that the bundle should not be used any more.")] = False
    dependencies: Annotated[tuple[DependencyShape, ...], _meta("Dependencies", "The charts.", min_length=1)]


@dataclass(frozen=True)
class OciRepository:
    """A registry's namespace of charts: `oci://host/path`, no slash at its end."""

    url: str


@dataclass(frozen=True)
class HttpRepository:
    """A classic chart repository with an index.yaml: `http(s)://host/path`, no slash at its end."""

    url: str


@dataclass(frozen=True)
class LocalChart:
    """A chart of this workspace, a folder or a .tgz: `path` is relative to the bundle, `url` as the author wrote it."""

    url: str
    path: str


Repository = OciRepository | HttpRepository | LocalChart


@dataclass(frozen=True)
class Dependency:
    """A chart that the bundle asks for. `route` is its place in bundle.yaml."""

    name: str
    constraint: Constraint
    repository: Repository
    alias: str = ""
    condition: str = ""
    tags: tuple[str, ...] = ()
    import_values: tuple[Any, ...] = ()
    target_namespace: str = ""
    depends_on: tuple[str, ...] = ()
    is_upstream: bool = False
    release: Mapping[str, Any] = field(default_factory=dict)
    verify: Mapping[str, Any] = field(default_factory=dict)
    route: Route = ()

    @property
    def key(self) -> str:
        """The dependency's name in this bundle: its key in values.yaml."""
        return self.alias or self.name


@dataclass(frozen=True)
class Bundle:
    """What the author asked for. `metadata` holds Chart.yaml's descriptive fields that were given, in its order."""

    target: Target
    name: str
    version: str
    metadata: Mapping[str, Any]
    dependencies: tuple[Dependency, ...]

    @property
    def description(self) -> str:
        """One sentence, or an empty text."""
        return str(self.metadata.get("description", ""))

    def dependency(self, key: str) -> Dependency | None:
        """Find a dependency by its key."""
        return next((dependency for dependency in self.dependencies if dependency.key == key), None)


SHAPE: Final = Rule("definition/shape", Severity.ERROR, "the definition does not have the shape of a bundle")
UNKNOWN_FIELD: Final = Rule("definition/unknown-field", Severity.ERROR, "a field that bundle.yaml does not know")
NAME: Final = Rule("definition/name", Severity.ERROR, "a name that cannot be used")
VERSION: Final = Rule("definition/version", Severity.ERROR, "a version or a constraint that Helm cannot read")
REPOSITORY: Final = Rule("definition/repository", Severity.ERROR, "a repository that cannot be used")
CLASH: Final = Rule("definition/clash", Severity.ERROR, "two dependencies have the same key")
TARGET: Final = Rule("definition/target", Severity.ERROR, "a field that the target cannot honour")
DEPENDS_ON: Final = Rule("definition/depends-on", Severity.ERROR, "dependsOn names nothing, or goes in a circle")
RELEASE: Final = Rule("definition/release", Severity.ERROR, "a field of `release` that Brolly writes itself")
CONDITION: Final = Rule("definition/condition", Severity.WARNING, "a condition that Helm does not read as it looks")

RULES: Final = (
    SHAPE,
    UNKNOWN_FIELD,
    NAME,
    VERSION,
    REPOSITORY,
    CLASH,
    TARGET,
    DEPENDS_ON,
    RELEASE,
    CONDITION,
)

_BUNDLE_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,51}[a-z0-9])?")
_CHART_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,250}")
_ALIAS: Final = re.compile(r"[A-Za-z0-9_-]{1,63}")  # Helm's aliasNameFormat
_RELEASE_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,51}[a-z0-9])?")
_NAMESPACE: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_RESERVED: Final = {"catalog": "the registry's catalogue", "charts": "the charts beside a bundle"}
_OWN_RELEASE_FIELDS: Final = ("chart", "chartRef", "values", "valuesFrom", "dependsOn", "targetNamespace")
_UMBRELLA_ONLY: Final = ("import-values",)
_KUSTOMIZE_ONLY: Final = ("targetNamespace", "dependsOn", "source", "release", "verify")
_DESCRIPTIVE: Final = (
    "description", "kubeVersion", "appVersion", "keywords", "home", "sources", "icon", "maintainers", "annotations",
    "deprecated",
)  # fmt: skip


def parse(
    document: Document, *, folder: str, repositories: Mapping[str, str]
) -> tuple[Bundle | None, tuple[Finding, ...]]:
    """Read a definition: the bundle, or every fault that it has.

    `folder` is the bundle's folder relative to the workspace, `repositories` what `@name` stands for.
    """
    faults = tuple(_shape_faults(document))
    if faults:
        return None, faults
    shape = msgspec.convert(document.data, BundleShape)
    reader = _Reader(document, shape, folder, repositories)
    bundle = reader.bundle()
    return (None if reader.found else bundle), (*reader.found, *reader.warned)


def _shape_faults(document: Document) -> Iterator[Finding]:
    from brolly.schemas import judge_parsed

    for violation in judge_parsed(json_schema(), document.data):
        if violation.keyword == "additionalProperties":
            yield from _unknown_fields(document, violation.route)
        else:
            yield shape_finding(document, violation.route, violation.keyword, violation.message)


def _unknown_fields(document: Document, route: Route) -> Iterator[Finding]:
    inside = at_route(document.data, route)
    names = [*inside] if isinstance(inside, dict) else [route[-1]]
    outer = route if isinstance(inside, dict) else route[:-1]
    for name in names:
        if name not in _known_fields((*outer, name)):
            yield unknown_field(document, (*outer, name))


def shape_finding(document: Document, route: Route, keyword: str, message: str) -> Finding:
    """Say what a violation of one of our own schemas means, at its place."""
    at = document.location(route)
    value = at_route(document.data, route)
    name = _written(route)
    if keyword == "type" and isinstance(value, int | float) and message.endswith("text"):
        return SHAPE.finding(
            f"{name} is read as {_yaml_word(value)}, a text is expected", at, hint='put it in quotes: "..."'
        )
    hint = did_you_mean(value, tuple(Target)) if keyword == "enum" and isinstance(value, str) else ""
    return SHAPE.finding(f"{name}: {printable(message)}", at, hint=hint)


def _written(route: Route) -> str:
    """Name a place as a person would: its last key, an element of a list with the list's name."""
    if not route:
        return "the file"
    last = route[-1]
    return f"{route[-2]}[{last}]" if isinstance(last, int) and len(route) > 1 else str(last)


def unknown_field(document: Document, route: Route) -> Finding:
    """Say that a field is unknown; `route` ends with its name."""
    known = _known_fields(route)
    name = printable(str(route[-1]))
    return UNKNOWN_FIELD.finding(
        f"bundle.yaml knows no field {name!r} here",
        document.location(route, key=True),
        hint=did_you_mean(name, known) or f"known here: {', '.join(known)}",
    )


def _known_fields(route: Route) -> tuple[str, ...]:
    shape: type[msgspec.Struct] = BundleShape
    if "dependencies" in route[:-1]:
        shape = ImportValue if "import-values" in route[:-1] else DependencyShape
    elif "maintainers" in route[:-1]:
        shape = Maintainer
    return tuple(shape.__struct_encode_fields__)


def at_route(data: Any, route: Route) -> Any:
    """Follow a route into data; None where it ends early."""
    for step in route:
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def _yaml_word(value: Any) -> str:
    match value:
        case bool():
            return f"the boolean {str(value).lower()}"
        case _:
            return f"the number {value}"


def json_schema() -> dict[str, Any]:
    """Generate the JSON Schema of bundle.yaml (draft 2020-12)."""
    from brolly.shapes import published_schema

    return published_schema(BundleShape, "bundle", "A Brolly bundle")


class _Reader:
    """Turns a well-shaped definition into a Bundle and collects what is wrong with its meaning."""

    def __init__(self, document: Document, shape: BundleShape, folder: str, repositories: Mapping[str, str]) -> None:
        self.document = document
        self.shape = shape
        self.folder = folder
        self.repositories = repositories
        self.found: list[Finding] = []
        self.warned: list[Finding] = []

    def error(self, rule: Rule, message: str, route: Route, hint: str = "", *, key: bool = False) -> None:
        finding = rule.finding(message, self.document.location(route, key=key), hint=hint)
        (self.found if rule.severity is Severity.ERROR else self.warned).append(finding)

    def bundle(self) -> Bundle:
        shape = self.shape
        self._check_name()
        self._check_version()
        dependencies = tuple(self._dependency(index, item) for index, item in enumerate(shape.dependencies))
        self._check_clashes()
        self._check_target()
        if shape.target is Target.KUSTOMIZE:
            self._check_order()
        data = self.document.data
        return Bundle(
            target=shape.target,
            name=shape.name,
            version=shape.version,
            metadata={name: data[name] for name in _DESCRIPTIVE if data.get(name) not in (None, "", [], {})},
            dependencies=dependencies,
        )

    def _check_name(self) -> None:
        name = self.shape.name
        folder = posixpath.basename(self.folder)
        if not _BUNDLE_NAME.fullmatch(name):
            self.error(
                NAME,
                f"{printable(name)!r} cannot be a bundle's name: it becomes a chart's name and a registry path",
                ("name",),
                "use at most 53 lower-case letters, digits and '-', with a letter or digit at both ends",
            )
        elif name in _RESERVED:
            self.error(NAME, f"{name!r} is reserved for {_RESERVED[name]}", ("name",), "choose another name")
        elif name != folder:
            self.error(
                NAME, f"the bundle is named {name!r}, its folder {printable(folder)!r}", ("name",),
                f"write `name: {folder}`, or rename the folder",
            )  # fmt: skip

    def _check_version(self) -> None:
        try:
            Version.parse_strict(self.shape.version)
        except ValueError:
            self.error(
                VERSION,
                f"{printable(self.shape.version)!r} is no full semantic version",
                ("version",),
                "write MAJOR.MINOR.PATCH, such as 0.1.0 or 1.4.0-rc.1",
            )

    def _dependency(self, index: int, item: DependencyShape) -> Dependency:
        route: Route = ("dependencies", index)
        return Dependency(
            name=self._chart_name(item, route),
            constraint=self._constraint(item, route),
            repository=self._repository(item, route),
            alias=self._alias(item, route),
            condition=self._condition(item, route),
            tags=item.tags,
            import_values=tuple(msgspec.to_builtins(value) for value in item.import_values),
            target_namespace=self._namespace(item, route),
            depends_on=item.depends_on,
            is_upstream=self._is_upstream(item, route),
            release=self._release(item, route),
            verify=item.verify,
            route=route,
        )

    def _chart_name(self, item: DependencyShape, route: Route) -> str:
        if not _CHART_NAME.fullmatch(item.name) or item.name in {".", ".."}:
            self.error(
                NAME, f"{printable(item.name)!r} cannot be a chart's name", (*route, "name"),
                "use letters, digits, '.', '_' and '-'",
            )  # fmt: skip
        return item.name

    def _constraint(self, item: DependencyShape, route: Route) -> Constraint:
        try:
            return Constraint.parse(item.version)
        except ValueError as error:
            self.error(
                VERSION, f"{printable(item.version)!r} is no constraint: {error}", (*route, "version"),
                "write a version (1.2.3) or a range (6.x, ^1.2, >=1.0.0 <2.0.0)",
            )  # fmt: skip
            return Constraint.parse("*")

    def _alias(self, item: DependencyShape, route: Route) -> str:
        key = item.alias or item.name
        at = (*route, "alias" if item.alias else "name")
        if item.alias and not _ALIAS.fullmatch(item.alias):
            self.error(
                NAME, f"{printable(item.alias)!r} cannot be an alias: Helm refuses it", at,
                "use letters, digits, '_' and '-'",
            )  # fmt: skip
        elif self.shape.target is Target.KUSTOMIZE and not _RELEASE_NAME.fullmatch(key):
            self.error(
                NAME, f"{printable(key)!r} cannot be a release's name", at,
                "give an `alias:` of at most 53 lower-case letters, digits and '-'",
            )  # fmt: skip
        elif key in {"global", "tags"}:
            self.error(NAME, f"{key!r} has a meaning of its own in values.yaml", at, "give another `alias:`")
        return item.alias if item.alias != item.name else ""

    def _condition(self, item: DependencyShape, route: Route) -> str:
        if any(path != path.strip() for path in item.condition.split(",")):
            self.error(
                CONDITION,
                "Helm does not trim the paths of a condition, so what follows a space is never found",
                (*route, "condition"),
                "write them without spaces: " + ",".join(part.strip() for part in item.condition.split(",")),
            )
        return item.condition

    def _namespace(self, item: DependencyShape, route: Route) -> str:
        if item.target_namespace and not _NAMESPACE.fullmatch(item.target_namespace):
            self.error(
                NAME, f"{printable(item.target_namespace)!r} cannot be a namespace", (*route, "targetNamespace"),
                "use at most 63 lower-case letters, digits and '-'",
            )  # fmt: skip
        return item.target_namespace

    def _is_upstream(self, item: DependencyShape, route: Route) -> bool:
        if item.source == "upstream" and not item.repository.startswith(("http://", "https://", "@")):
            self.error(
                TARGET, "`source: upstream` is for http(s) repositories: others are pinned where they are",
                (*route, "source"), "remove it",
            )  # fmt: skip
        return item.source == "upstream"

    def _release(self, item: DependencyShape, route: Route) -> Mapping[str, Any]:
        for name in _OWN_RELEASE_FIELDS:
            if name in item.release:
                self.error(
                    RELEASE, f"`release.{name}` would replace what Brolly writes itself", (*route, "release", name),
                    _release_hint(name), key=True,
                )  # fmt: skip
        return item.release

    def _repository(self, item: DependencyShape, route: Route) -> Repository:
        at = (*route, "repository")
        text = item.repository
        if text.startswith("@"):
            known = self.repositories
            if text[1:] not in known:
                self.error(
                    REPOSITORY, f"the workspace declares no repository {printable(text)!r}", at,
                    did_you_mean(text[1:], tuple(known), prefix="@")
                    or "add it to [tool.brolly.repositories] in pyproject.toml, or to brolly.toml",
                )  # fmt: skip
                return HttpRepository("https://invalid.example")
            text = known[text[1:]]
        try:
            repository = parse_repository(text)
        except ValueError as error:
            self.error(REPOSITORY, str(error), at, "write oci://HOST/PATH, https://HOST/PATH, file://PATH or @NAME")
            return HttpRepository("https://invalid.example")
        if isinstance(repository, LocalChart) and self._leaves(repository.path):
            self.error(
                REPOSITORY, f"{printable(text)!r} leaves the repository", at,
                "a local chart lies inside it, as in file://charts/NAME",
            )  # fmt: skip
        return repository

    def _leaves(self, path: str) -> bool:
        whole = posixpath.normpath(posixpath.join(self.folder, path))
        return path.startswith("/") or whole == ".." or whole.startswith(("../", "/"))

    def _check_clashes(self) -> None:
        seen: dict[str, int] = {}
        for index, item in enumerate(self.shape.dependencies):
            key = item.alias or item.name
            first = seen.setdefault(key, index)
            if first == index:
                continue
            line = self.document.location(("dependencies", first)).line
            self.error(
                CLASH, f"{printable(key)!r} is also the key of the dependency in line {line}",
                ("dependencies", index, "alias" if item.alias else "name"), "give one of them an `alias:` of its own",
            )  # fmt: skip

    def _check_target(self) -> None:
        target = self.shape.target
        foreign = _UMBRELLA_ONLY if target is Target.KUSTOMIZE else _KUSTOMIZE_ONLY
        for index, item in enumerate(self.document.data["dependencies"]):
            for name in foreign:
                if name in item:
                    other = Target.UMBRELLA if target is Target.KUSTOMIZE else Target.KUSTOMIZE
                    self.error(
                        TARGET, f"target {target} cannot honour `{name}`", ("dependencies", index, name),
                        f"remove it, or set `target: {other}`", key=True,
                    )  # fmt: skip
            self._check_verify(index, item)

    def _check_verify(self, index: int, item: Mapping[str, Any]) -> None:
        if "verify" in item and not str(item["repository"]).startswith(("oci://", "@")):
            self.error(
                TARGET, "`verify` is for charts from oci:// repositories: others carry no signature",
                ("dependencies", index, "verify"), "remove it", key=True,
            )  # fmt: skip

    def _check_order(self) -> None:
        items = self.shape.dependencies
        keys = tuple(item.alias or item.name for item in items)
        for index, item in enumerate(items):
            for place, name in enumerate(item.depends_on):
                if name not in keys:
                    self.error(
                        DEPENDS_ON, f"no dependency of this bundle is named {printable(name)!r}",
                        ("dependencies", index, "dependsOn", place),
                        did_you_mean(name, keys) or f"one of: {', '.join(keys)}",
                    )  # fmt: skip
        graph = {key: item.depends_on for key, item in zip(keys, items, strict=True)}
        for circle in circles(graph):
            self.error(
                DEPENDS_ON, f"these wait for each other for ever: {' -> '.join((*circle, circle[0]))}",
                ("dependencies", keys.index(circle[0]), "dependsOn"), "remove one of these dependsOn",
            )  # fmt: skip


def _release_hint(name: str) -> str:
    return {
        "values": "write values into values.yaml under the dependency's key",
        "dependsOn": "write `dependsOn:` beside `release:`",
        "targetNamespace": "write `targetNamespace:` beside `release:`",
    }.get(name, "remove it")


def circles(graph: Mapping[str, tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    """Find the circles of a graph, each once, from the node that comes first in it."""
    found: dict[frozenset[str], tuple[str, ...]] = {}
    done: set[str] = set()
    for start in graph:
        path: list[str] = []
        stack: list[Iterator[str]] = []
        if start in done:
            continue
        path.append(start)
        stack.append(iter(graph[start]))
        while stack:
            step = next(stack[-1], None)
            if step is None:
                stack.pop()
                done.add(path.pop())
            elif step in path:
                circle = tuple(path[path.index(step) :])
                found.setdefault(frozenset(circle), circle)
            elif step in graph and step not in done:
                path.append(step)
                stack.append(iter(graph[step]))
    return tuple(found.values())


def parse_repository(text: str) -> Repository:
    """Read a repository's URL; ValueError says what is wrong with it. `@name` is resolved before."""
    if any(not char.isprintable() or char.isspace() for char in text):
        raise ValueError("a repository's address has no white space")
    scheme, mark, rest = text.partition("://")
    match scheme:
        case "file" if mark and rest.strip("/."):
            return LocalChart(text, posixpath.normpath(rest))
        case "oci" | "http" | "https" if mark:
            url = _canonical_url(text)
            return OciRepository(url) if scheme == "oci" else HttpRepository(url)
        case _:
            raise ValueError(f"{printable(text)!r} is no repository")


def _canonical_url(text: str) -> str:
    parts = urlsplit(text)
    if not parts.hostname:
        raise ValueError(f"{printable(text)!r} names no host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("credentials do not belong into a repository's address")
    if parts.query or parts.fragment:
        raise ValueError("a repository's address has no query and no fragment")
    _ = parts.port  # raises ValueError for a port that is no number
    return f"{parts.scheme}://{parts.netloc.lower()}{parts.path.rstrip('/')}"
