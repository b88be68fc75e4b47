"""The port to a registry: what may be asked of one, how it fails, and what is verified of its answers."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final, Protocol

from brolly.errors import WorldError
from brolly.findings import printable
from brolly.oci import IMAGE_INDEX, IMAGE_MANIFEST, Blob, Descriptor, Digest, Reference, StoredBlob

if TYPE_CHECKING:
    from collections.abc import Iterator

# the distribution-spec lets a registry refuse a larger manifest, and so do we
MAX_MANIFEST: Final = 4 << 20
MANIFEST_TYPES: Final = (
    IMAGE_MANIFEST,
    IMAGE_INDEX,
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_MAX_QUOTED: Final = 200


class NotFound(WorldError):  # noqa: N818 (the field's word: it is an answer as well as a fault)
    """The registry has no such manifest, blob or repository."""


class Unauthorized(WorldError):  # noqa: N818
    """The registry wants credentials, or other ones; the hint says how to log in."""


class RegistryUnavailable(WorldError):  # noqa: N818
    """Nothing can be had of the registry now: no connection, no answer in time, 429 or 5xx after every retry."""


class RegistryRefused(WorldError):  # noqa: N818
    """The registry understood and says no: an invalid manifest, an immutable tag, a quota."""


class TagTaken(RegistryRefused):
    """The tag names another manifest already, `there`, and was not moved."""

    def __init__(self, place: str, there: str) -> None:
        super().__init__(f"{place}: names {there} already")
        self.there = there


class RegistryMisbehaved(WorldError):  # noqa: N818
    """The answer must not be used: other bytes than the digest names, a wrong size, garbage, an unsafe redirect."""


class Registry(Protocol):
    """A place that holds manifests and blobs, by repository.

    A `repository` is the whole path below the host (`charts/podinfo`), a `reference` a tag or a digest; ValueError for
    anything else. Each method may raise `Unauthorized`, `RegistryUnavailable` and `RegistryMisbehaved`.
    """

    def tags(self, repository: str) -> tuple[str, ...]:
        """All tags, sorted; none if there is no such repository."""

    def resolve(self, repository: str, reference: str) -> Descriptor | None:
        """Describe a manifest; None if it is not there."""

    def manifest(self, repository: str, reference: str) -> Blob:
        """Fetch a manifest of at most `MAX_MANIFEST` bytes, verified; NotFound."""

    def has_blob(self, repository: str, digest: str) -> bool:
        """Say whether the blob is there."""

    def blob(self, repository: str, descriptor: Descriptor, *, max_size: int) -> bytes:
        """Fetch a blob, its digest and size verified; NotFound. Nothing above `max_size` bytes is read."""

    def put_blob(self, repository: str, blob: Blob | StoredBlob) -> None:
        """Store a blob, unless it is there; nothing is stored that is not what its digest names."""

    def put_manifest(self, repository: str, reference: str, manifest: Blob, *, only_new: bool = False) -> None:
        """Store the manifest's bytes under its digest, or under a tag that then names it; RegistryRefused.

        What the manifest names (config, layers, manifests) is stored before it; its subject need not be. With
        `only_new` a tag that names another manifest is not moved: TagTaken.
        """

    def location(self, repository: str, tag: str) -> str:
        """Write the place of a manifest as a person types it."""


@dataclass(frozen=True)
class Patience:
    """How long a registry is waited for, in seconds, and how often it is asked.

    `read` bounds each wait for bytes, not a whole transfer; but 1 KiB of an answer has to come in that time. `backoff`
    doubles from the second retry on; a `Retry-After` counts up to `longest_wait`.
    """

    connect: float = 10
    read: float = 60
    tries: int = 5
    backoff: float = 0.5
    longest_wait: float = 30


def quoted(text: str) -> str:
    """Make text from outside fit for a message: one line, printable, at most 200 characters."""
    line = " ".join(printable(text[: 4 * _MAX_QUOTED]).split())
    return line if len(line) <= _MAX_QUOTED else line[: _MAX_QUOTED - 3] + "..."


def is_digest(reference: str) -> bool:
    """Tell a digest from a tag: only a digest has a colon."""
    return ":" in reference


def require_repository(repository: str) -> str:
    """Give the repository back if it is one; ValueError otherwise (so no path can leave its folder)."""
    if len(repository) > 255 or Reference.parse(f"registry.invalid/{repository}").repository != repository:
        raise ValueError(f"not a repository: {repository[:80]!r}")
    return repository


def require_reference(reference: str) -> str:
    """Give the reference back if it is a tag or a sha256 digest; ValueError otherwise."""
    if is_digest(reference):
        return Digest.parse(reference)
    if Reference.parse(f"registry.invalid/r:{reference}").tag != reference:
        raise ValueError(f"not a tag: {reference[:80]!r}")
    return reference


def require_digest(place: str, content: bytes, digest: str) -> None:
    """Refuse content that is not what the digest names."""
    actual = Digest.of(content)
    if actual != digest:
        raise RegistryMisbehaved(f"{place}: the content is {actual}, not {quoted(digest)}")


def require_size(place: str, descriptor: Descriptor, max_size: int) -> None:
    """Refuse a blob above the limit before any of it is read."""
    if not 0 <= descriptor.size <= max_size:
        raise RegistryMisbehaved(f"{place}: has {descriptor.size} bytes, the limit is {max_size}")


def require_blob(place: str, descriptor: Descriptor, content: bytes) -> None:
    """Refuse content that is not what the descriptor describes; content is read up to one byte above its size."""
    if len(content) < descriptor.size:
        raise RegistryMisbehaved(f"{place}: cut off after {len(content)} of {descriptor.size} bytes")
    if len(content) > descriptor.size:
        raise RegistryMisbehaved(f"{place}: has more than the {descriptor.size} bytes it should have")
    require_digest(place, content, descriptor.digest)


def require_own_digest(reference: str, manifest: Blob) -> None:
    """Refuse to store a manifest under another one's digest: that is a bug of the caller."""
    if is_digest(reference) and reference != manifest.descriptor.digest:
        raise ValueError(f"the manifest is {manifest.descriptor.digest}, not {reference}")


def require_free(place: str, there: Descriptor | None, manifest: Blob) -> None:
    """Refuse to move a tag that names another manifest."""
    if there and there.digest != manifest.descriptor.digest:
        raise TagTaken(place, there.digest)


def read_manifest(place: str, content: bytes, content_type: str) -> Blob:
    """Take content for a manifest of the media type that it came with.

    Refused is what two readers could read in two ways: a manifest and an index in one, and a body that names
    another media type than its header (CVE-2021-41190).
    """
    body = _json_object(place, content)
    named = body.get("mediaType")
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type not in MANIFEST_TYPES:
        # registries that serve files know no manifests: then the body decides
        media_type = named if isinstance(named, str) else (IMAGE_INDEX if "manifests" in body else IMAGE_MANIFEST)
    if named is not None and named != media_type:
        raise RegistryMisbehaved(f"{place}: calls itself {quoted(str(named))} but comes as {quoted(media_type)}")
    if "manifests" in body and ("layers" in body or "config" in body):
        raise RegistryMisbehaved(f"{place}: is a manifest and an index at once")
    return Blob.of(media_type, content)


def _json_object(place: str, content: bytes) -> dict[str, Any]:
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise RegistryMisbehaved(f"{place}: is no manifest but {quoted(content[:80].decode(errors='replace'))!r}")
    return body


class _HeldBack(io.BufferedReader):
    """Reads a blob's file, and gives its last bytes away only if all of them are proven."""

    def __init__(self, blob: StoredBlob) -> None:
        super().__init__(io.FileIO(blob.path))
        self._blob = blob

    def read(self, size: int | None = -1, /) -> bytes:
        block = super().read(size)
        if self.tell() >= self._blob.descriptor.size:
            self._blob.prove()
        return block


def opened(blob: StoredBlob) -> IO[bytes]:
    """Open a blob's file; WorldError if it is not as described. What is read is not all unless it is proven."""
    try:
        file = _HeldBack(blob)
    except OSError as error:
        raise WorldError(f"cannot read {blob.path}: {error.strerror}") from error
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    if size != blob.descriptor.size:
        file.close()
        raise WorldError(f"{blob.path}: has {size} bytes, not {blob.descriptor.size}")
    return file


def named_in(manifest: Blob) -> Iterator[str]:
    """Give the digests of the config, layers and manifests that a manifest names, not of its subject."""
    body = json.loads(manifest.content)
    for item in (body.get("config"), *(body.get("layers") or ()), *(body.get("manifests") or ())):
        if isinstance(item, dict) and "digest" in item:
            yield str(item["digest"])


def require_complete(place: str, manifest: Blob, missing: list[str]) -> None:
    """Refuse a manifest that names what is not stored, as distribution does."""
    if missing:
        raise RegistryRefused(f"{place}: {manifest.descriptor.digest} names what is not there: {', '.join(missing)}")
