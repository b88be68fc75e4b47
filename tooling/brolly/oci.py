"""OCI's nouns as immutable values: digests, descriptors, manifests, artifacts and references.

Bytes have digests, dicts do not: a manifest is serialized once and its bytes are kept.
Source: the OCI image-spec and distribution-spec 1.1.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

IMAGE_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
IMAGE_INDEX: Final = "application/vnd.oci.image.index.v1+json"
HELM_CONFIG: Final = "application/vnd.cncf.helm.config.v1+json"
HELM_CHART: Final = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
FLUX_CONFIG: Final = "application/vnd.cncf.flux.config.v1+json"
FLUX_CONTENT: Final = "application/vnd.cncf.flux.content.v1.tar+gzip"

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?")


class Digest(str):
    """`sha256:` and 64 hex digits. Only `parse` and `of` make one."""

    __slots__ = ()

    @classmethod
    def of(cls, content: bytes) -> Self:
        """Hash the content."""
        return cls("sha256:" + hashlib.sha256(content).hexdigest())

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a digest; ValueError for anything but sha256."""
        if not _DIGEST.fullmatch(text):
            msg = f"not a sha256 digest: {text[:80]!r}"
            raise ValueError(msg)
        return cls(text)

    @property
    def hex(self) -> str:
        """The 64 hex digits."""
        return self[7:]

    @property
    def short(self) -> str:
        """Enough of it to tell two apart: `sha256:` and 12 digits."""
        return self[:19]


class Descriptor(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What a manifest says about a blob. `size` is in bytes."""

    media_type: str
    digest: str
    size: int
    annotations: dict[str, str] | None = None
    artifact_type: str | None = None

    @classmethod
    def of(cls, media_type: str, content: bytes, annotations: dict[str, str] | None = None) -> Self:
        """Describe the content."""
        return cls(media_type=media_type, digest=str(Digest.of(content)), size=len(content), annotations=annotations)


# worked out here, once: see shapes.settled
msgspec.json.Decoder(Descriptor)


@dataclass(frozen=True)
class Blob:
    """Content with its descriptor."""

    descriptor: Descriptor
    content: bytes = field(repr=False)

    @classmethod
    def of(cls, media_type: str, content: bytes) -> Self:
        """Describe and hold the content."""
        return cls(Descriptor.of(media_type, content), content)


@dataclass(frozen=True)
class StoredBlob:
    """A blob in a file. It may be large: nobody holds its content whole.

    `prove` returns once the content is known to be what the digest says, and raises if it is not. Whoever stores the
    blob elsewhere calls it before the last bytes are handed over.
    """

    descriptor: Descriptor
    path: Path
    prove: Callable[[], None] = field(repr=False, compare=False)


@dataclass(frozen=True)
class _Artifact:
    """One manifest and its blobs.

    `repository` is the path below the address (`hello-world`, `charts/podinfo`), `version` the version with its `+`;
    the tag has `_` in its place, as Helm writes it.
    """

    repository: str
    version: str
    manifest: Blob
    blobs: tuple[Blob | StoredBlob, ...]

    @property
    def digest(self) -> str:
        """The manifest's digest: what a publication pins."""
        return self.manifest.descriptor.digest

    @property
    def tag(self) -> str:
        """The version as a tag."""
        return tag_of(self.version)

    @property
    def size(self) -> int:
        """Bytes of all blobs and the manifest."""
        return self.manifest.descriptor.size + sum(blob.descriptor.size for blob in self.blobs)


@dataclass(frozen=True)
class Artifact(_Artifact):
    """An artifact as it was built, held whole."""

    blobs: tuple[Blob, ...]


@dataclass(frozen=True)
class StoredArtifact(_Artifact):
    """An artifact of which only the manifest is held."""

    blobs: tuple[StoredBlob, ...]


@dataclass(frozen=True)
class Reference:
    """`host/repository`, with a tag or a digest or neither. There is no default registry and no default tag."""

    host: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `[oci://]host[:port]/path[:tag][@digest]`; ValueError says what is wrong with it."""
        rest = text.removeprefix("oci://")
        rest, _, digest = rest.partition("@")
        host, slash, path = rest.partition("/")
        path, colon, tag = path.partition(":")
        if not slash or not _HOST.fullmatch(host):
            raise ValueError(f"no registry host in {text!r}: write oci://HOST/PATH")
        if not _REPOSITORY.fullmatch(path):
            raise ValueError(
                f"not a repository path in {text!r}: lower-case letters, digits, '.', '_', '-' between '/'"
            )
        if colon and not _TAG.fullmatch(tag):
            raise ValueError(f"not a tag in {text!r}")
        return cls(host, path, tag or None, Digest.parse(digest) if digest else None)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.host}/{self.repository}{tag}{digest}"


def tag_of(version: str) -> str:
    """Write a version as a tag: `+` is no tag character, Helm puts `_` in its place."""
    return version.replace("+", "_")


def compact_json(value: Any) -> bytes:
    """Serialize as the OCI tools do: no white space, keys in the order given, UTF-8."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
