"""What goes into a build: a bundle's files, its components, and what is the same for all bundles."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brolly.chart import Chart
    from brolly.definition import Dependency
    from brolly.lock import LockedDependency

DEFINITION: Final = "bundle.yaml"
LOCK: Final = "bundle.lock"
VALUES: Final = "values.yaml"
SCHEMA: Final = "values.schema.json"
README: Final = "README.md"


@dataclass(frozen=True)
class Sources:
    """A bundle's files.

    `folder` is relative to the workspace (`bundles/storefront`); `files` holds bytes by name relative to that folder,
    with slashes, sorted. Files of local charts are among them; those of a chart outside the folder begin with `../`.
    """

    folder: str
    files: Mapping[str, bytes] = field(repr=False)

    def path(self, name: str) -> str:
        """Write a file's name relative to the workspace, for a finding."""
        return posixpath.normpath(f"{self.folder}/{name}")

    def shipped(self) -> dict[str, bytes]:
        """Give the files that decide what is published: no overlays, no local charts (the lock holds their digests)."""
        folders = ("templates/", "resources/", "patches/")
        return {
            name: content
            for name, content in self.files.items()
            if name in {DEFINITION, LOCK, VALUES, SCHEMA, README}
            or (name.startswith(folders) and not posixpath.basename(name).startswith("."))
        }

    def below(self, prefix: str) -> dict[str, bytes]:
        """Give the files below a folder such as `overlays/`, by their names relative to the bundle."""
        return {name: content for name, content in self.files.items() if name.startswith(prefix)}


@dataclass(frozen=True)
class Component:
    """A dependency with the chart package that it is locked to. `package` is the .tgz, byte for byte."""

    dependency: Dependency
    locked: LockedDependency
    package: bytes = field(repr=False)
    chart: Chart = field(repr=False)

    @property
    def key(self) -> str:
        """The component's name in its bundle."""
        return self.dependency.key


@dataclass(frozen=True)
class Settings:
    """What is the same for all bundles of a build.

    `address` is where clusters pull from (`oci://host/path`): it `is_configured`, unless it was given to this run.
    `epoch` is the time of all archives (SOURCE_DATE_EPOCH, in seconds), the label keys are those of generated objects.
    """

    address: str
    epoch: int = 0
    part_of_label: str = "app.kubernetes.io/part-of"
    version_label: str = "app.kubernetes.io/version"
    extra_labels: Mapping[str, str] = field(default_factory=dict)
    is_configured: bool = True
    version: str = ""
