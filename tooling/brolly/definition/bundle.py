"""A bundle as its author asked for it: names, constraints and repositories, read once."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from brolly.findings import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brolly.definition.shape import Target
    from brolly.document import Route
    from brolly.limits import Given
    from brolly.versions import Constraint


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

    @property
    def skips_crds(self) -> bool:
        """Whether Flux is told not to install what lies in the chart's `crds/`."""
        install = self.release.get("install")
        return isinstance(install, dict) and install.get("crds") == "Skip"


@dataclass(frozen=True)
class Bundle:
    """What the author asked for. `metadata` holds Chart.yaml's descriptive fields that were given, in its order."""

    target: Target
    name: str
    version: str
    metadata: Mapping[str, Any]
    dependencies: tuple[Dependency, ...]
    limits: Mapping[str, Given] = field(default_factory=dict)
    embeds_schema: bool = False

    @property
    def description(self) -> str:
        """One sentence, or an empty text."""
        return str(self.metadata.get("description", ""))

    def dependency(self, key: str) -> Dependency | None:
        """Find a dependency by its key."""
        return next((dependency for dependency in self.dependencies if dependency.key == key), None)


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
