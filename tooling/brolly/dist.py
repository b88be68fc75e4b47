"""`dist/`: what `build` writes and `publish` reads. One OCI image layout, and the files that a person wants."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from brolly import outcome
from brolly.errors import WorldError
from brolly.oci import IMAGE_INDEX, Artifact, Blob, Descriptor, Digest
from brolly.workspace import write_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from brolly.outcome import BuiltArtifact, Outcome, Report

_REF_NAME: Final = "org.opencontainers.image.ref.name"
_LAYOUT: Final = b'{"imageLayoutVersion":"1.0.0"}'
REPORT: Final = "report.json"


class DamagedDist(WorldError):  # noqa: N818 - it names a state
    """`dist/` does not hold what its report lists."""


def read_report(dist: Path) -> Report | None:
    """Read the last build's report; None if there is none that can be read."""
    try:
        return outcome.parse((dist / REPORT).read_bytes())
    except (OSError, ValueError):
        return None


def write(dist: Path, outcomes: Sequence[Outcome], report: Report, *, declared: Iterable[str] | None) -> None:
    """Write what was built: blobs, then the index, then the files, the report last.

    `declared` names all bundles of the workspace when all were built: what belongs to no bundle any more is removed.
    """
    old = read_report(dist)
    layout = dist / "oci"
    write_file(layout / "oci-layout", _LAYOUT)
    for built in outcomes:
        for artifact in built.artifacts:
            for blob in (*artifact.blobs, artifact.manifest):
                _write_blob(layout, blob)
    kept = {artifact.ref_name: artifact for bundle in report.bundles for artifact in bundle.artifacts}
    write_file(layout / "index.json", _index(layout, kept, outcomes))
    for built in outcomes:
        _write_files(dist, built)
    write_file(dist / REPORT, outcome.serialize(report))
    _remove_old(dist, old, report)
    if declared is not None:
        _remove_unlisted_blobs(layout, report)


def _blob_path(layout: Path, digest: str) -> Path:
    return layout / "blobs" / "sha256" / Digest.parse(digest).hex


def _write_blob(layout: Path, blob: Blob) -> None:
    write_file(_blob_path(layout, blob.descriptor.digest), blob.content)


def _index(layout: Path, kept: Mapping[str, BuiltArtifact], outcomes: Sequence[Outcome]) -> bytes:
    sizes = {artifact.digest: artifact.manifest.descriptor for built in outcomes for artifact in built.artifacts}
    known = {entry["digest"]: entry for entry in _index_entries(layout)}
    manifests = []
    for name, artifact in sorted(kept.items()):
        if artifact.digest in sizes:
            descriptor = sizes[artifact.digest]
            entry = {"mediaType": descriptor.media_type, "digest": descriptor.digest, "size": descriptor.size}
        else:
            entry = {key: known[artifact.digest][key] for key in ("mediaType", "digest", "size")}
        manifests.append({**entry, "annotations": {_REF_NAME: name}})
    return json.dumps({"schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": manifests}, indent=2).encode() + b"\n"


def _index_entries(layout: Path) -> list[dict[str, Any]]:
    try:
        entries = json.loads((layout / "index.json").read_bytes())["manifests"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [entry for entry in entries if isinstance(entry, dict) and "digest" in entry]


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
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
            fresh = Path(temporary) / "new"
            for name, content in files.items():
                write_file(fresh / name, content)
            if folder.exists():
                folder.rename(Path(temporary) / "old")
            fresh.rename(folder)
    except OSError as error:
        raise WorldError(f"writing {folder}: {error.strerror or error}") from error


def _folder_holds(folder: Path, files: Mapping[str, bytes]) -> bool:
    try:
        found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
        return found.keys() == files.keys() and all(path.read_bytes() == files[name] for name, path in found.items())
    except OSError:
        return False


def _remove_old(dist: Path, old: Report | None, new: Report) -> None:
    """Remove files that the last report listed and this one does not."""
    kept = {name for bundle in new.bundles for name in bundle.files}
    for bundle in old.bundles if old else ():
        for name in bundle.files:
            path = dist / name.rstrip("/")
            if name in kept or path.parent != dist:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


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
        raise DamagedDist(f"dist/oci lacks the blob {digest[:19]}", hint="run `brolly build`") from error
    if Digest.of(content) != digest:
        raise DamagedDist(f"the blob {digest[:19]} in dist/oci is damaged", hint="remove dist/ and run `brolly build`")
    return content


def read_artifact(dist: Path, built: BuiltArtifact) -> Artifact:
    """Read an artifact that the report lists, every blob verified."""
    layout = dist / "oci"
    content = read_blob(layout, built.digest)
    entries = _manifest_entries(layout, built.digest)
    blobs = tuple(Blob(msgspec.convert(entry, Descriptor), read_blob(layout, entry["digest"])) for entry in entries)
    media_type = json.loads(content).get("mediaType", "application/vnd.oci.image.manifest.v1+json")
    return Artifact(built.repository, built.version, Blob.of(media_type, content), blobs)
