"""What a well-shaped definition means, and what of it cannot be meant."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, Final

import msgspec

from brolly import limits
from brolly.definition.bundle import Bundle, Dependency, HttpRepository, LocalChart, Repository, parse_repository
from brolly.definition.order import circles
from brolly.definition.rules import (
    CLASH,
    CONDITION,
    DEPENDS_ON,
    NAME,
    RELEASE,
    REPOSITORY,
    SHAPE,
    TARGET,
    VERSION,
)
from brolly.definition.shape import BundleShape, DependencyShape, Target
from brolly.findings import Finding, Rule, Severity, printable
from brolly.suggestions import did_you_mean
from brolly.versions import Constraint, Version

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from brolly.document import Document, Route

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


class Meaning:
    """Turns a well-shaped definition into a Bundle and collects what is wrong with its meaning."""

    def __init__(
        self,
        document: Document,
        shape: BundleShape,
        folder: str,
        repositories: Mapping[str, str],
        usual: limits.Policy,
    ) -> None:
        self.document = document
        self.shape = shape
        self.folder = folder
        self.repositories = repositories
        self.usual = usual
        self.found: list[Finding] = []
        self.warned: list[Finding] = []

    def error(self, rule: Rule, message: str, route: Route, hint: str = "", *, key: bool = False) -> None:
        """Note a fault at a place of the definition."""
        finding = rule.finding(message, self.document.location(route, key=key), hint=hint)
        (self.found if rule.severity is Severity.ERROR else self.warned).append(finding)

    def bundle(self) -> Bundle:
        """Give the bundle, and note every fault of it."""
        shape = self.shape
        self._check_name()
        self._check_version()
        dependencies = tuple(self._dependency(index, item) for index, item in enumerate(shape.dependencies))
        self._check_clashes()
        self._check_target()
        self._check_limits()
        if shape.target is Target.KUSTOMIZE:
            self._check_order()
        data = self.document.data
        return Bundle(
            target=shape.target,
            name=shape.name,
            version=shape.version,
            metadata={name: data[name] for name in _DESCRIPTIVE if data.get(name) not in (None, "", [], {})},
            dependencies=dependencies,
            limits=shape.limits,
            embeds_schema=shape.embed_schema,
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
        if target is Target.KUSTOMIZE and "embedSchema" in self.document.data:
            self.error(
                TARGET, f"target {target} cannot honour `embedSchema`", ("embedSchema",),
                "remove it: the schema lies beside the bundle", key=True,
            )  # fmt: skip

    def _check_limits(self) -> None:
        settings = self.shape.limits
        for name, setting in settings.items():
            if name not in limits.NAMES:
                self.error(
                    limits.UNKNOWN, f"there is no limit {printable(name)!r}", ("limits", name),
                    did_you_mean(name, limits.NAMES) or f"limits: {', '.join(limits.NAMES)}", key=True,
                )  # fmt: skip
            elif isinstance(setting, str) and not limits.is_quantity(setting):
                self.error(
                    SHAPE,
                    f"{printable(setting)!r} is no number of bytes",
                    ("limits", name),
                    limits.QUANTITIES,
                )
        for name in limits.loosened(settings, self.usual):
            self.error(
                limits.LOOSE, f"the limit of {name} is loosened without a reason", ("limits", name),
                f"write {name}: {{limit: ..., reason: why it may be more here}}",
            )  # fmt: skip

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
