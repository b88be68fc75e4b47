"""A registry in a folder: one OCI image layout per repository, `PATH/<repository>/`, no server.

The tag stands in the annotation `org.opencontainers.image.ref.name`, so that `oras --oci-layout` reads
`PATH/<repository>:<tag>`. What belongs to no layout is in `PATH/.brolly/`: the lock file `lock` and files that are
being written; no repository can have that name. Readers take no lock. Writers of blobs share it, whoever changes an
index has it alone: then every file under way is left over from a writer that was killed, and is removed.

An interruption at any point leaves whole files only: each is written aside, synced and renamed, blobs before the index
that leads to them. Source: the OCI image-spec, image-layout.md.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from typing import IO, TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from brolly.oci import IMAGE_INDEX, Blob, Descriptor, Digest, StoredBlob, compact_json
from brolly.registry.port import (
    MAX_MANIFEST,
    NotFound,
    RegistryMisbehaved,
    RegistryRefused,
    RegistryUnavailable,
    is_digest,
    named_in,
    opened,
    quoted,
    read_manifest,
    require_blob,
    require_complete,
    require_digest,
    require_free,
    require_own_digest,
    require_reference,
    require_repository,
    require_size,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_REF_NAME: Final = "org.opencontainers.image.ref.name"
_LAYOUT: Final = b'{"imageLayoutVersion":"1.0.0"}'
_OWN: Final = frozenset({"blobs", "index.json", "oci-layout"})
_MAX_INDEX: Final = 64 << 20
_BLOCK: Final = 1 << 20

_Entry: TypeAlias = dict[str, Any]


class LayoutRegistry:
    """A `Registry` in a folder, which is made when something is written."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def tags(self, repository: str) -> tuple[str, ...]:
        """See `Registry`."""
        return tuple(sorted({_tag(entry) for entry in self._entries(repository)} - {""}))

    def resolve(self, repository: str, reference: str) -> Descriptor | None:
        """See `Registry`. A manifest that is lost or damaged is not there by its digest; a tag still names it."""
        found = self._listed(repository, reference)
        return found if found and (not is_digest(reference) or self.has_blob(repository, reference)) else None

    def manifest(self, repository: str, reference: str) -> Blob:
        """See `Registry`."""
        place = self.location(repository, reference)
        descriptor = self._listed(repository, reference)
        if descriptor is None:
            raise NotFound(f"{place}: there is no such manifest")
        content = self.blob(repository, descriptor, max_size=MAX_MANIFEST)
        return read_manifest(place, content, descriptor.media_type)

    def has_blob(self, repository: str, digest: str) -> bool:
        """See `Registry`. A damaged blob is not there, so that whoever publishes it again repairs it."""
        return _intact(self._blob_path(repository, digest), digest)

    def blob(self, repository: str, descriptor: Descriptor, *, max_size: int) -> bytes:
        """See `Registry`."""
        path = self._blob_path(repository, descriptor.digest)
        require_size(str(path), descriptor, max_size)
        content = _read(path, descriptor.size)
        if content is None:
            raise NotFound(f"{path}: there is no such blob")
        require_blob(str(path), descriptor, content)
        return content

    def put_blob(self, repository: str, blob: Blob | StoredBlob) -> None:
        """See `Registry`."""
        path = self._blob_path(repository, blob.descriptor.digest)
        if isinstance(blob, Blob):
            require_digest(str(path), blob.content, blob.descriptor.digest)
        else:
            blob.prove()
        if _intact(path, blob.descriptor.digest):
            return
        with _writing(self.path), self._locked(fcntl.LOCK_SH):
            self._write(path, blob.content if isinstance(blob, Blob) else blob)
            if not (marker := self._folder(repository) / "oci-layout").exists():
                self._write(marker, _LAYOUT)

    def put_manifest(self, repository: str, reference: str, manifest: Blob, *, only_new: bool = False) -> None:
        """See `Registry`. A manifest without a tag is listed too, so that what collects garbage keeps it.

        With `only_new` nobody gets between: whoever changes an index has it alone.
        """
        require_own_digest(require_reference(reference), manifest)
        place = self.location(repository, reference)
        read_manifest(place, manifest.content, manifest.descriptor.media_type)
        missing = [digest for digest in named_in(manifest) if not self._blob_path(repository, digest).is_file()]
        require_complete(place, manifest, missing)
        self.put_blob(repository, manifest)
        with _writing(self.path), self._locked(fcntl.LOCK_EX):
            self._sweep()
            if only_new:
                require_free(place, self._listed(repository, reference), manifest)
            tag = "" if is_digest(reference) else reference
            self._write_index(repository, _merged(self._entries(repository), manifest.descriptor, tag))

    def location(self, repository: str, tag: str) -> str:
        """See `Registry`."""
        return f"oci-layout:{self._folder(repository)}{'@' if is_digest(tag) else ':'}{tag}"

    def _folder(self, repository: str) -> Path:
        if not _OWN.isdisjoint(require_repository(repository).split("/")):
            raise RegistryRefused(
                f"a registry in a folder has files of this name of its own: {repository[:80]!r}",
                hint="choose another name, or publish to an oci:// registry",
            )
        return self.path / repository

    def _blob_path(self, repository: str, digest: str) -> Path:
        return self._folder(repository) / "blobs" / "sha256" / Digest.parse(digest).hex

    def _listed(self, repository: str, reference: str) -> Descriptor | None:
        """Look a tag or a digest up in the index."""
        reference = require_reference(reference)
        for entry in self._entries(repository):
            if reference == (entry["digest"] if is_digest(reference) else _tag(entry)):
                return msgspec.convert(entry | {"annotations": None}, Descriptor)
        return None

    def _entries(self, repository: str) -> tuple[_Entry, ...]:
        path = self._folder(repository) / "index.json"
        content = _read(path, _MAX_INDEX)
        return () if content is None else _read_index(path, content)

    def _write_index(self, repository: str, entries: tuple[_Entry, ...]) -> None:
        path = self._folder(repository) / "index.json"
        content = compact_json({"schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": entries})
        if _read(path, _MAX_INDEX) != content:
            self._write(path, content)

    def _write(self, path: Path, content: bytes | StoredBlob) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = self.path / ".brolly" / f"{os.urandom(16).hex()}.part"
        try:
            with aside.open("xb") as file:
                if isinstance(content, StoredBlob):
                    _copy(content, file)
                else:
                    file.write(content)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)

    def _sweep(self) -> None:
        for left in (self.path / ".brolly").glob("*.part"):
            left.unlink()

    @contextlib.contextmanager
    def _locked(self, kind: int) -> Iterator[None]:
        (self.path / ".brolly").mkdir(parents=True, exist_ok=True)
        with (self.path / ".brolly" / "lock").open("ab") as lock:
            fcntl.flock(lock, kind)
            yield


def _merged(entries: tuple[_Entry, ...], descriptor: Descriptor, tag: str) -> tuple[_Entry, ...]:
    """List the manifest, under the tag if there is one; what the tag named before stays, without it."""
    fresh: _Entry = {"mediaType": descriptor.media_type, "digest": descriptor.digest, "size": descriptor.size}
    if tag:
        fresh["annotations"] = {_REF_NAME: tag}
    moved = [_untagged(entry) if tag and _tag(entry) == tag else entry for entry in entries]
    merged = {(_tag(entry), entry["digest"]): entry for entry in (fresh, *moved)}
    tagged = {digest for name, digest in merged if name}
    kept = (entry for (name, digest), entry in merged.items() if name or digest not in tagged)
    return tuple(sorted(kept, key=lambda entry: (_tag(entry), entry["digest"])))


def _tag(entry: _Entry) -> str:
    name = (entry.get("annotations") or {}).get(_REF_NAME)
    return name if isinstance(name, str) else ""


def _untagged(entry: _Entry) -> _Entry:
    rest = {key: value for key, value in entry["annotations"].items() if key != _REF_NAME}
    bare = {key: value for key, value in entry.items() if key != "annotations"}
    return bare | {"annotations": rest} if rest else bare


def _read_index(path: Path, content: bytes) -> tuple[_Entry, ...]:
    try:
        entries = tuple(json.loads(content)["manifests"])
        for entry in entries:
            Digest.parse(msgspec.convert(entry, Descriptor).digest)
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise RegistryMisbehaved(
            f"{path}: is no index of an OCI image layout",
            hint=f"restore it from a copy, or move {path.parent} away and publish again",
        ) from error
    return entries


def _read(path: Path, size: int) -> bytes | None:
    """Read at most one byte more than `size`: enough to see that there is too much."""
    try:
        with path.open("rb") as file:
            return file.read(size + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise RegistryUnavailable(f"cannot read {path}: {error.strerror}") from error


def _copy(blob: StoredBlob, file: IO[bytes]) -> None:
    """Copy a blob, and refuse it if it is not what it was any more."""
    hashed = hashlib.sha256()
    with opened(blob) as source:
        while block := source.read(_BLOCK):
            hashed.update(block)
            file.write(block)
    if f"sha256:{hashed.hexdigest()}" != blob.descriptor.digest:
        raise RegistryMisbehaved(f"{blob.path}: is not {quoted(blob.descriptor.digest)} any more")


def _intact(path: Path, digest: str) -> bool:
    try:
        with path.open("rb") as file:
            return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest() == digest
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise RegistryUnavailable(f"cannot read {path}: {error.strerror}") from error


def _sync_folder(path: Path) -> None:
    """Make the renaming last through a power cut."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RegistryUnavailable(
            f"cannot write to the registry {path}: {error.strerror}", hint="is there room, and may you write there?"
        ) from error
