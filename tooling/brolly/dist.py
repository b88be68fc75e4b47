"""`dist/`: what `build` writes and `publish` reads. One OCI image layout, and the files that a person wants."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Self

import msgspec

from brolly import outcome
from brolly.errors import WorldError
from brolly.oci import IMAGE_INDEX, IMAGE_MANIFEST, Blob, Descriptor, Digest, StoredArtifact, StoredBlob
from brolly.outcome import Status
from brolly.workspace import write_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from io import FileIO

    from brolly.outcome import BuiltArtifact, BundleReport, Outcome, Report
    from brolly.results import KeptOutcome

_REF_NAME: Final = "org.opencontainers.image.ref.name"
_LAYOUT: Final = b'{"imageLayoutVersion":"1.0.0"}'
REPORT: Final = "report.json"
_LOCK: Final = ".lock"
_BLOBS: Final = "oci/blobs/sha256/"
# bytes that are hashed at a time
_PIECE: Final = 8 << 20


class DamagedDist(WorldError):  # noqa: N818 - it names a state
    """`dist/` does not hold what its report lists."""


def read_report(dist: Path) -> Report | None:
    """Read the last build's report; None if there is none that can be read."""
    try:
        return outcome.parse((dist / REPORT).read_bytes())
    except (OSError, ValueError):
        return None


class Staging:
    """Where each bundle's bytes wait, out of memory, until all are built: a hidden folder of `dist/`, shaped like it.

    Several threads may `put`. The folder belongs to one build and goes with it. A killed build leaves one that nobody
    holds locked any more: the next build removes it.
    """

    def __init__(self, dist: Path) -> None:
        self.dist = dist
        self.blobs: set[str] = set()
        self.files: list[str] = []
        self.links: dict[str, str] = {}
        self.folders: set[str] = set()
        self._lock = threading.Lock()
        self._root = dist / f".build.{os.urandom(6).hex()}.tmp"
        self._held: IO[bytes] | None = None
        self._is_over = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._end()
        except KeyboardInterrupt:
            self._end()  # it came while the folder was being removed
            raise

    def _end(self) -> None:
        with self._lock:
            self._is_over = True
            if self._held:
                shutil.rmtree(self._root, ignore_errors=True)
                self._held.close()

    def put(self, built: Outcome) -> None:
        """Write a bundle's artifacts and files; nothing after the end, which a thread may not have heard of yet."""
        with self._lock:
            if self._is_over or not built.artifacts:
                return
            self._open()
            blobs = [blob for artifact in built.artifacts for blob in (*artifact.blobs, artifact.manifest)]
            for blob in blobs:
                self._put_blob(blob)
            for name, content in built.files:
                self._put_file(name, content, blobs)

    def restore(self, kept: KeptOutcome, lend: Callable[[str, Path], bool]) -> bool:
        """Bring back what a bundle was built to; False if some of it is gone or damaged.

        `lend` puts the content of a digest at a path, see `Cache.lend`.
        """
        with self._lock:
            if self._is_over:
                return False
            self._open()
        blobs = {digest: _BLOBS + Digest.parse(digest).hex for digest in kept.blobs}
        links = {name: digest for name, digest in kept.files if digest in blobs and "/" not in name}
        wanted = {name: digest for digest, name in blobs.items()}
        wanted |= {name: digest for name, digest in kept.files if name not in links}
        taken: dict[str, Path] = {}
        for name, digest in wanted.items():
            aside = self._taken(digest, lend)
            if aside is None:
                return False
            taken[name] = aside
        return self._accept(taken, {name: Digest.parse(digest).hex for name, digest in links.items()})

    def _accept(self, taken: Mapping[str, Path], links: Mapping[str, str]) -> bool:
        with self._lock:
            if self._is_over:
                return False
            for name, aside in taken.items():
                self._put_aside(aside, name)
            self.links |= links
        return True

    def _taken(self, digest: str, lend: Callable[[str, Path], bool]) -> Path | None:
        aside = self._root / os.urandom(8).hex()
        try:
            if not lend(digest, aside) or _digest(aside) != Digest.parse(digest).hex:
                return None
            aside.chmod(0o644)
        except OSError as error:
            raise _unwritable(aside, error) from error
        return aside

    def _put_aside(self, aside: Path, name: str) -> None:
        path = self._root / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            aside.replace(path)
        except OSError as error:
            raise _unwritable(self.dist / name, error) from error
        self._list(name)

    def place(self, name: str) -> Path:
        """Say where what belongs to `dist/NAME` lies until then."""
        return self._root / name

    def _put_blob(self, blob: Blob) -> None:
        name = Digest.parse(blob.descriptor.digest).hex
        if name not in self.blobs:
            self._write(_BLOBS + name, blob.content)

    def _put_file(self, name: str, content: bytes, blobs: Iterable[Blob]) -> None:
        blob = None if "/" in name else next((blob for blob in blobs if blob.content == content), None)
        if blob:
            self.links[name] = Digest.parse(blob.descriptor.digest).hex
        else:
            self._write(name, content)

    def _list(self, name: str) -> None:
        folder, slash, _ = name.partition("/")
        if name.startswith(_BLOBS):
            self.blobs.add(name.removeprefix(_BLOBS))
        elif slash:
            self.folders.add(folder)
        else:
            self.files.append(name)

    def _write(self, name: str, content: bytes) -> None:
        path = self._root / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            path.chmod(0o644)
        except OSError as error:
            raise _unwritable(self.dist / name, error) from error
        self._list(name)

    def _open(self) -> None:
        if self._held:
            return
        with _alone(self.dist):
            _remove_leftovers(self.dist)
            self._root.mkdir()
            self._held = (self._root / _LOCK).open("ab")
            fcntl.flock(self._held, fcntl.LOCK_EX)


def write(staging: Staging, report: Report, *, declared: Iterable[str] | None) -> Report:
    """Put what was built in its place: blobs, then the index, then files, the report last; give it as written.

    `declared` names all bundles of the workspace when all were built: what belongs to no bundle any more is removed.
    Of two builds at once, one waits for the other.
    """
    dist, layout = staging.dist, staging.dist / "oci"
    with _alone(dist):
        old = read_report(dist)
        _remove_leftovers(dist)
        write_file(layout / "oci-layout", _LAYOUT)
        for name in sorted(staging.blobs):
            _place(staging.place(_BLOBS + name), dist / _BLOBS / name)
        report, listed = _without_lost(layout, report)
        write_file(layout / "index.json", _index(listed))
        for folder in sorted(staging.folders):
            _place_folder(staging.place(folder), dist / folder)
        for name in staging.files:
            _place(staging.place(name), dist / name)
        for name, blob in staging.links.items():
            _place_link(dist / _BLOBS / blob, staging.place(name), dist / name)
        _remove_old(dist, old, report)  # before the report: who is interrupted here finds it listed the next time
        write_file(dist / REPORT, outcome.serialize(report))
        if declared is not None:
            _remove_unlisted_blobs(layout, listed)
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
        raise _unwritable(Path(error.filename or dist), error) from error


def _unwritable(path: Path, error: OSError) -> WorldError:
    return WorldError(f"writing {path}: {error.strerror or error}", hint="is there room, may you write?")


def _remove_leftovers(dist: Path) -> None:
    """Remove what killed builds were writing: nobody else writes now, but into a staging of their own."""
    for folder in (dist, dist / "oci", dist / _BLOBS):
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.name.startswith(".") and path.name.endswith(".tmp") and not _is_held(path):
                _remove_leftover(path)


def _remove_leftover(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)  # whom it belongs to may be at it, too
    else:
        path.unlink(missing_ok=True)


def _is_held(path: Path) -> bool:
    """Say whether a build that is alive holds this staging."""
    try:
        with (path / _LOCK).open("r+b") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False  # no staging, or one whose build was killed before it had begun
    return False


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _blob_path(layout: Path, digest: str) -> Path:
    return layout / "blobs" / "sha256" / Digest.parse(digest).hex


def _place(staged: Path, path: Path) -> None:
    """Move a file to its place, unless its bytes are there."""
    if not _is_same(staged, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        staged.replace(path)


def _place_link(blob: Path, staged: Path, path: Path) -> None:
    """Give a blob a second name: half the room, and half to be hashed. Where there are no hard links it is copied.

    Nothing here writes into a file that has its place. Whoever else does damages both, and `publish` and the next
    build see it: they go by the digest.
    """
    try:
        staged.hardlink_to(blob)
    except OSError:
        shutil.copyfile(blob, staged)
        staged.chmod(0o644)
    _place(staged, path)


def _is_same(one: Path, other: Path) -> bool:
    if other.is_symlink() or not other.is_file() or one.stat().st_size != other.stat().st_size:
        return False
    return _digest(one) == _digest(other)


def _place_folder(staged: Path, folder: Path) -> None:
    """Move a folder to its place; the one that is there goes as a whole if anything differs."""
    if _is_same_folder(staged, folder):
        return
    if folder.exists() or folder.is_symlink():
        folder.rename(staged.with_name(f".{staged.name}.old"))
    staged.rename(folder)


def _is_same_folder(one: Path, other: Path) -> bool:
    mine, theirs = _files_below(one), _files_below(other)
    return mine.keys() == theirs.keys() and all(_is_same(path, theirs[name]) for name, path in mine.items())


def _files_below(folder: Path) -> dict[str, Path]:
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if not path.is_dir()}


@dataclass(frozen=True)
class _Listed:
    """An artifact in `dist/oci`: what the index says of its manifest, and the digests of its blobs."""

    name: str
    manifest: dict[str, Any]
    blobs: tuple[str, ...]


def _without_lost(layout: Path, report: Report) -> tuple[Report, list[_Listed]]:
    """Leave out what bundles keep of an earlier build where `dist/oci` does not hold it any more; list the rest."""
    bundles, listed = [], []
    for bundle in report.bundles:
        try:
            artifacts = [_listed(layout, one) for one in bundle.artifacts]
        except DamagedDist:
            bundles.append(_emptied(bundle))
            continue
        bundles.append(bundle)
        listed += artifacts
    return msgspec.structs.replace(report, bundles=tuple(bundles)), listed


def _emptied(bundle: BundleReport) -> BundleReport:
    return msgspec.structs.replace(bundle, status=Status.FAILED, artifacts=())


def _listed(layout: Path, artifact: BuiltArtifact) -> _Listed:
    """Read a manifest; DamagedDist if it, or one of its blobs, is not there."""
    content = read_blob(layout, artifact.digest)
    blobs = tuple(str(entry["digest"]) for entry in _entries(content))
    for digest in blobs:
        if not _blob_path(layout, digest).is_file():
            raise DamagedDist(f"dist/oci lacks the blob {digest[:19]}", hint="run `brolly build`")
    manifest = {"mediaType": _media_type(content), "digest": artifact.digest, "size": len(content)}
    return _Listed(artifact.ref_name, manifest, blobs)


def _index(listed: Iterable[_Listed]) -> bytes:
    by_name = {one.name: one.manifest for one in listed}
    manifests = [{**manifest, "annotations": {_REF_NAME: name}} for name, manifest in sorted(by_name.items())]
    return json.dumps({"schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": manifests}, indent=2).encode() + b"\n"


def _media_type(manifest: bytes) -> str:
    return str(json.loads(manifest).get("mediaType", IMAGE_MANIFEST))


def _remove_old(dist: Path, old: Report | None, new: Report) -> None:
    """Remove files that the last report listed and this one does not."""
    kept = {name for bundle in new.bundles for name in bundle.files}
    for bundle in old.bundles if old else ():
        for name in bundle.files:
            path = dist / name.rstrip("/")
            if name in kept or path.parent != dist:
                continue
            _remove(path)


def _remove_unlisted_blobs(layout: Path, listed: Iterable[_Listed]) -> None:
    wanted = {digest for one in listed for digest in (one.manifest["digest"], *one.blobs)}
    folder = layout / "blobs" / "sha256"
    for path in folder.iterdir() if folder.is_dir() else ():
        if f"sha256:{path.name}" not in wanted:
            path.unlink(missing_ok=True)


def _manifest_entries(layout: Path, digest: str) -> list[dict[str, Any]]:
    return _entries(read_blob(layout, digest))


def _entries(manifest: bytes) -> list[dict[str, Any]]:
    parsed = json.loads(manifest)
    return [parsed["config"], *parsed["layers"]]


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
    return DamagedDist(f"the blob {digest[:19]} in dist/oci is damaged", hint="run `brolly build`")


def holds(dist: Path, kept: KeptOutcome) -> bool:
    """Say whether `dist/` holds what a build made, byte for byte. Two names of one file are read once."""
    descriptors = (one for artifact in kept.artifacts for one in (*artifact.blobs, artifact.manifest))
    wanted = {_blob_path(dist / "oci", one.digest): one.digest for one in descriptors}
    wanted |= {dist / name: digest for name, digest in kept.files}
    folders = {name.split("/", 1)[0] for name, _ in kept.files if "/" in name}
    listed = {dist / name for name, _ in kept.files}
    strays = (path for folder in folders for path in (dist / folder).rglob("*") if path not in listed)
    known: dict[tuple[int, int], str] = {}
    try:
        are_whole = all(_digest(path, known) == digest[7:] for path, digest in wanted.items())
    except OSError:
        return False
    return are_whole and all(one.is_dir() for one in strays)


def _digest(path: Path, known: dict[tuple[int, int], str] | None = None) -> str:
    """Hash a file, unless it is one that is `known` by its device and inode."""
    known = {} if known is None else known
    with path.open("rb", buffering=0) as file:
        status = os.fstat(file.fileno())
        place = status.st_dev, status.st_ino
        if place not in known:
            known[place] = _hashed(file, status.st_size)
        return known[place]


def _hashed(file: FileIO, size: int) -> str:
    """Hash a file in few large pieces: for each, a thread must get hold of the interpreter twice."""
    hashed, piece = hashlib.sha256(), memoryview(bytearray(min(size, _PIECE) or 1))
    while count := file.readinto(piece):
        hashed.update(piece[:count])
    return hashed.hexdigest()


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
    try:
        is_whole = _digest(blob.path) == Digest.parse(blob.descriptor.digest).hex
    except OSError as error:
        raise _lacking(blob.descriptor.digest) from error
    if not is_whole:
        raise _damaged(blob.descriptor.digest)
