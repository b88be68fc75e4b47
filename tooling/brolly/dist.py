"""`dist/`: what `build` writes and `publish` reads. One OCI image layout, and the files that a person wants."""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from brolly import outcome
from brolly.errors import WorldError
from brolly.oci import IMAGE_INDEX, IMAGE_MANIFEST, Blob, Descriptor, Digest, StoredBlob, tag_of
from brolly.outcome import Status
from brolly.workspace import write_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from brolly.outcome import BuiltArtifact, BundleReport, Outcome, Report
    from brolly.results import KeptOutcome

_REF_NAME: Final = "org.opencontainers.image.ref.name"
_LAYOUT: Final = b'{"imageLayoutVersion":"1.0.0"}'
REPORT: Final = "report.json"
_LOCK: Final = ".lock"


class DamagedDist(WorldError):  # noqa: N818 - it names a state
    """`dist/` does not hold what its report lists."""


@dataclass(frozen=True)
class StoredArtifact:
    """An artifact of `dist/`, of which only the manifest is held; names as in `Artifact`."""

    repository: str
    version: str
    manifest: Blob
    blobs: tuple[StoredBlob, ...]

    @property
    def digest(self) -> str:
        """The manifest's digest."""
        return self.manifest.descriptor.digest

    @property
    def tag(self) -> str:
        """The version as a tag."""
        return tag_of(self.version)

    @property
    def size(self) -> int:
        """Bytes of all blobs and the manifest."""
        return self.manifest.descriptor.size + sum(blob.descriptor.size for blob in self.blobs)


def read_report(dist: Path) -> Report | None:
    """Read the last build's report; None if there is none that can be read."""
    try:
        return outcome.parse((dist / REPORT).read_bytes())
    except (OSError, ValueError):
        return None


def write(dist: Path, outcomes: Sequence[Outcome], report: Report, *, declared: Iterable[str] | None) -> Report:
    """Write what was built: blobs, then the index, then the files, the report last; give the report as written.

    `declared` names all bundles of the workspace when all were built: what belongs to no bundle any more is removed.
    Of two builds at once, one waits for the other.
    """
    layout = dist / "oci"
    with _alone(dist):
        old = read_report(dist)
        _remove_leftovers(dist)
        write_file(layout / "oci-layout", _LAYOUT)
        for built in outcomes:
            for artifact in built.artifacts:
                for blob in (*artifact.blobs, artifact.manifest):
                    _write_blob(layout, blob)
        report = _without_lost(layout, report)
        write_file(layout / "index.json", _index(layout, report))
        for built in outcomes:
            _write_files(dist, built)
        _remove_old(dist, old, report)  # before the report: who is interrupted here finds it listed the next time
        write_file(dist / REPORT, outcome.serialize(report))
        if declared is not None:
            _remove_unlisted_blobs(layout, report)
    return report


@contextmanager
def _alone(dist: Path) -> Iterator[None]:
    """Keep other builds out of `dist/`; whatever the disk refuses is a WorldError."""
    try:
        dist.mkdir(parents=True, exist_ok=True)
        with (dist / _LOCK).open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except OSError as error:
        place = error.filename or dist
        raise WorldError(f"writing {place}: {error.strerror or error}", hint="is there room, may you write?") from error


def _remove_leftovers(dist: Path) -> None:
    """Remove what a killed build was writing: nobody else writes now."""
    for folder in (dist, dist / "oci", dist / "oci" / "blobs" / "sha256"):
        for path in folder.glob(".*.tmp"):
            _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _blob_path(layout: Path, digest: str) -> Path:
    return layout / "blobs" / "sha256" / Digest.parse(digest).hex


def _write_blob(layout: Path, blob: Blob) -> None:
    write_file(_blob_path(layout, blob.descriptor.digest), blob.content)


def _without_lost(layout: Path, report: Report) -> Report:
    """Leave out what bundles keep of an earlier build where `dist/oci` does not hold it any more."""
    bundles = (
        bundle if all(_is_whole(layout, one.digest) for one in bundle.artifacts) else _emptied(bundle)
        for bundle in report.bundles
    )
    return msgspec.structs.replace(report, bundles=tuple(bundles))


def _emptied(bundle: BundleReport) -> BundleReport:
    return msgspec.structs.replace(bundle, status=Status.FAILED, artifacts=())


def _is_whole(layout: Path, digest: str) -> bool:
    try:
        return all(_blob_path(layout, entry["digest"]).is_file() for entry in _manifest_entries(layout, digest))
    except DamagedDist:
        return False


def _index(layout: Path, report: Report) -> bytes:
    listed = {artifact.ref_name: artifact.digest for bundle in report.bundles for artifact in bundle.artifacts}
    manifests = []
    for name, digest in sorted(listed.items()):
        content = read_blob(layout, digest)
        entry = {"mediaType": _media_type(content), "digest": digest, "size": len(content)}
        manifests.append({**entry, "annotations": {_REF_NAME: name}})
    return json.dumps({"schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": manifests}, indent=2).encode() + b"\n"


def _media_type(manifest: bytes) -> str:
    return str(json.loads(manifest).get("mediaType", IMAGE_MANIFEST))


def _write_files(dist: Path, built: Outcome) -> None:
    folders = {path.split("/", 1)[0] for path, _ in built.files if "/" in path}
    for folder in sorted(folders):
        inside = {path.split("/", 1)[1]: content for path, content in built.files if path.startswith(folder + "/")}
        _write_folder(dist / folder, inside)
    for path, content in built.files:
        if "/" not in path:
            write_file(dist / path, content)


def _write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write a folder that holds these files and no others; it is replaced as a whole if anything differs."""
    if _folder_holds(folder, files):
        return
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.", suffix=".tmp") as temporary:
        fresh = Path(temporary) / "new"
        for name, content in files.items():
            write_file(fresh / name, content)
        if folder.exists() or folder.is_symlink():
            folder.rename(Path(temporary) / "old")
        fresh.rename(folder)


def _folder_holds(folder: Path, files: Mapping[str, bytes]) -> bool:
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if not path.is_dir()}
    return found.keys() == files.keys() and all(_holds(path, files[name]) for name, path in found.items())


def _holds(path: Path, content: bytes) -> bool:
    return path.is_file() and not path.is_symlink() and path.read_bytes() == content


def _remove_old(dist: Path, old: Report | None, new: Report) -> None:
    """Remove files that the last report listed and this one does not."""
    kept = {name for bundle in new.bundles for name in bundle.files}
    for bundle in old.bundles if old else ():
        for name in bundle.files:
            path = dist / name.rstrip("/")
            if name in kept or path.parent != dist:
                continue
            _remove(path)


def _remove_unlisted_blobs(layout: Path, report: Report) -> None:
    wanted: set[str] = set()
    for bundle in report.bundles:
        for artifact in bundle.artifacts:
            wanted |= {artifact.digest} | {entry["digest"] for entry in _manifest_entries(layout, artifact.digest)}
    for path in (layout / "blobs" / "sha256").glob("*"):
        if f"sha256:{path.name}" not in wanted:
            path.unlink(missing_ok=True)


def _manifest_entries(layout: Path, digest: str) -> list[dict[str, Any]]:
    manifest = json.loads(read_blob(layout, digest))
    return [manifest["config"], *manifest["layers"]]


def read_blob(layout: Path, digest: str) -> bytes:
    """Read a blob of `dist/oci`; DamagedDist if it is not there or not what its name says."""
    try:
        content = _blob_path(layout, digest).read_bytes()
    except OSError as error:
        raise _lacking(digest) from error
    if Digest.of(content) != digest:
        raise _damaged(digest)
    return content


def _lacking(digest: str) -> DamagedDist:
    return DamagedDist(f"dist/oci lacks the blob {digest[:19]}", hint="run `brolly build`")


def _damaged(digest: str) -> DamagedDist:
    return DamagedDist(f"the blob {digest[:19]} in dist/oci is damaged", hint="remove dist/ and run `brolly build`")


def holds(dist: Path, kept: KeptOutcome) -> bool:
    """Say whether `dist/` holds what a build made, byte for byte."""
    descriptors = (one for artifact in kept.artifacts for one in (*artifact.blobs, artifact.manifest))
    wanted = {_blob_path(dist / "oci", one.digest): one.digest for one in descriptors}
    wanted |= {dist / name: digest for name, digest in kept.files}
    folders = {name.split("/", 1)[0] for name, _ in kept.files if "/" in name}
    listed = {dist / name for name, _ in kept.files}
    strays = (path for folder in folders for path in (dist / folder).rglob("*") if path not in listed)
    return all(_has_digest(path, digest) for path, digest in wanted.items()) and all(one.is_dir() for one in strays)


def _has_digest(path: Path, digest: str) -> bool:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == digest[7:]
    except OSError:
        return False


def read_artifact(dist: Path, built: BuiltArtifact, prove: Callable[[], None]) -> StoredArtifact:
    """Read an artifact that the report lists; DamagedDist. Of its blobs only the size is looked at."""
    layout = dist / "oci"
    content = read_blob(layout, built.digest)
    described = (msgspec.convert(entry, Descriptor) for entry in _manifest_entries(layout, built.digest))
    blobs = tuple(_stored(layout, descriptor, prove) for descriptor in described)
    return StoredArtifact(built.repository, built.version, Blob.of(_media_type(content), content), blobs)


def _stored(layout: Path, descriptor: Descriptor, prove: Callable[[], None]) -> StoredBlob:
    path = _blob_path(layout, descriptor.digest)
    try:
        size = path.stat().st_size
    except OSError as error:
        raise _lacking(descriptor.digest) from error
    if size != descriptor.size:
        raise _damaged(descriptor.digest)
    return StoredBlob(descriptor, path, prove)


def require_whole(blob: StoredBlob) -> None:
    """Read a blob of `dist/oci` against its digest; DamagedDist."""
    if not _has_digest(blob.path, blob.descriptor.digest):
        raise _damaged(blob.descriptor.digest)
