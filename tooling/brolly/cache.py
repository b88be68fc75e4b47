"""The cache: content by its digest, and small notes beside it. What is damaged counts as absent.

Everything in it can be fetched again, so nothing is synced to disk and no lock is taken: a file is written under a name
of its own and then moved into place, and whatever is read is checked against its digest. Several processes may use one
cache at once, and a process may be killed at any moment.
"""

from __future__ import annotations

import os
import re
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from brolly.errors import UsageError, WorldError
from brolly.oci import Digest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_TEMPORARY: Final = ".tmp-"
# the folders of a cache, with the folders in them, and how the files there are called
_OWN_FOLDERS: Final = {"sha256": re.compile(r"[0-9a-f]{2}"), "notes": re.compile(r".+", re.DOTALL)}
_OWN_NAME: Final = re.compile(rf"[0-9a-f]{{64}}|{re.escape(_TEMPORARY)}.*", re.DOTALL)
_ABANDONED_SECONDS: Final = 3600
# a link in the place of a file or folder is never followed: the cache may stand on a shared disk
_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


@dataclass(frozen=True)
class Usage:
    """What the cache holds: files, and their size in bytes."""

    files: int
    size: int


class NotRemoved(WorldError):  # noqa: N818 - it says what is left
    """Some files are there still; `removed` is what went."""

    def __init__(self, removed: Usage, left: Sequence[tuple[Path, OSError]]) -> None:
        path, error = left[0]
        count = "1 file" if len(left) == 1 else f"{len(left)} files"
        super().__init__(
            f"removing from the cache: {count} cannot be removed, such as {path}: {error.strerror or error}",
            hint="run it as the owner of the cache's folder, or choose another folder with BROLLY_CACHE",
        )
        self.removed = removed


def default_path(environ: Mapping[str, str]) -> Path:
    """Say where the cache is: `BROLLY_CACHE`, else `brolly` in the XDG cache folder (relative paths there are void).

    UsageError where neither is known.
    """
    if chosen := environ.get("BROLLY_CACHE"):
        return _absolute(chosen)
    base = environ.get("XDG_CACHE_HOME", "")
    if Path(base).is_absolute():
        return Path(base, "brolly")
    try:
        return Path(environ.get("HOME") or Path.home(), ".cache", "brolly")
    except RuntimeError:  # as in a container, under a user id that has no name
        raise UsageError(
            "there is no place for the cache: this user has no home folder", hint="set HOME, or BROLLY_CACHE=FOLDER"
        ) from None


def _absolute(chosen: str) -> Path:
    try:
        return Path(chosen).absolute()
    except FileNotFoundError:
        raise UsageError(
            f"BROLLY_CACHE={chosen}: the current folder is gone", hint="change to another, or give an absolute path"
        ) from None


class Cache:
    """A folder of blobs named by their sha256, and of notes named by the sha256 of their key.

    Every method raises WorldError when the disk does not do as it should; a missing or damaged file is no such fault.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, digest: str) -> bytes | None:
        """Give the content of this digest, or None. Damaged content is removed."""
        path = self._blob(Digest.parse(digest))
        content = _read(path)
        if content is None or Digest.of(content) == digest:
            return content
        _remove(path)
        return None

    def lend(self, digest: str, path: Path) -> bool:
        """Give a blob a second name, which must be new; False if there is none. Who takes it looks whether it is whole.

        Where the disk has no hard links, or is another one, it is copied. Nobody may write into the file: that would
        damage the cache, too.
        """
        source = self._blob(Digest.parse(digest))
        try:
            os.link(source, path, follow_symlinks=False)
            is_file = stat.S_ISREG(path.lstat().st_mode) and os.access(path, os.R_OK)
            if is_file:
                os.utime(path)  # its time says when it was last of use
            else:
                path.unlink()
        except FileNotFoundError:
            return False
        except OSError:
            return self._copy(digest, path)
        return is_file

    def _copy(self, digest: str, path: Path) -> bool:
        content = self.read(digest)
        if content is not None:
            path.write_bytes(content)
        return content is not None

    def write(self, content: bytes) -> Digest:
        """Keep the content; gives its digest. It is written even where it is already: that heals a damaged copy."""
        digest = Digest.of(content)
        self._write(self._blob(digest), content)
        return digest

    def note(self, kind: str, key: str) -> bytes | None:
        """Give the note of this kind and key, or None. A damaged one is removed."""
        path = self._note(kind, key)
        checksum, _, content = (_read(path) or b"").partition(b"\n")
        if checksum == _checksum(kind, key, content):
            return content
        if checksum:
            _remove(path)
        return None

    def put_note(self, kind: str, key: str, content: bytes) -> None:
        """Keep a note: something small that may change, such as what a server said about a file."""
        self._write(self._note(kind, key), _checksum(kind, key, content) + b"\n" + content)

    def usage(self) -> Usage:
        """Count what is there."""
        sizes = [status.st_size for _, status in self._files()]
        return Usage(len(sizes), sum(sizes))

    def prune(self, *, now: float, unused_for: float) -> Usage:
        """Remove what was neither written nor read for so many seconds; gives what was removed, or NotRemoved.

        What a killed process left half written goes after an hour.
        """
        removed, left = [], []
        for path, status in self._files():
            limit = _ABANDONED_SECONDS if path.name.startswith(_TEMPORARY) else unused_for
            if now - status.st_mtime <= limit:
                continue
            try:
                _discard(path)
                removed.append(status.st_size)
            except FileNotFoundError:
                pass  # another process removed it
            except OSError as error:
                left.append((path, error))
        usage = Usage(len(removed), sum(removed))
        if left:
            raise NotRemoved(usage, left)
        return usage

    def _blob(self, digest: Digest) -> Path:
        return self.root / "sha256" / digest.hex[:2] / digest.hex

    def _note(self, kind: str, key: str) -> Path:
        return self.root / "notes" / kind / Digest.of(key.encode("utf-8", "surrogatepass")).hex

    def _write(self, path: Path, content: bytes) -> None:
        try:
            _make_folder(self.root, path.parent)
            _replace(path, content)
        except OSError as error:
            raise WorldError(
                f"writing to the cache, {path}: {error.strerror or error}",
                hint="make room, or choose another folder with BROLLY_CACHE",
            ) from error

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        """List what the cache wrote, and nothing else that stands in its folder: a home may be that."""
        for kind, folder in _folders(self.root):
            for name, path in _folders(folder) if kind in _OWN_FOLDERS else ():
                if _OWN_FOLDERS[kind].fullmatch(name):
                    yield from _entries(path)


def _folders(parent: Path) -> Iterator[tuple[str, Path]]:
    """List the folders in a folder, by name; a link to one is none."""
    return ((found.name, Path(found)) for found in _listed(parent) if found.is_dir(follow_symlinks=False))


def _entries(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for found in _listed(folder):
        if _OWN_NAME.fullmatch(found.name):
            with suppress(FileNotFoundError):  # another process may remove it meanwhile
                yield Path(found), found.stat(follow_symlinks=False)


def _listed(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return list(found)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _unreadable(folder, error) from error


def _checksum(kind: str, key: str, content: bytes) -> bytes:
    """Bind a note to its place, so that one that was moved or cut counts as damaged."""
    place = f"{kind}\0{key}\0".encode("utf-8", "surrogatepass")
    return Digest.of(place + content).encode()


def _read(path: Path) -> bytes | None:
    try:
        handle = os.open(path, _READ)
    except FileNotFoundError:
        return None
    except OSError as error:
        # a link, or a file of somebody else's: writing puts another in its place
        if os.path.islink(path) or (isinstance(error, PermissionError) and os.path.lexists(path)):  # noqa: PTH114
            return None
        raise _unreadable(path, error) from error
    try:
        return _regular_content(handle)
    except OSError as error:
        raise _unreadable(path, error) from error
    finally:
        os.close(handle)


def _regular_content(handle: int) -> bytes | None:
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        return None
    with suppress(OSError):  # its time says when it was last of use; a read-only cache works too
        os.utime(handle)
    with os.fdopen(handle, "rb", closefd=False) as file:
        return file.read()


def _unreadable(path: Path, error: OSError) -> WorldError:
    return WorldError(
        f"reading the cache, {path}: {error.strerror or error}", hint="choose another folder with BROLLY_CACHE"
    )


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


def _make_folder(root: Path, folder: Path) -> None:
    """Make the folders below the root; only their owner may enter. A link in their place is refused."""
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    for part in (*reversed([parent for parent in folder.parents if root in parent.parents]), folder):
        part.mkdir(mode=0o700, exist_ok=True)
        if not stat.S_ISDIR(part.lstat().st_mode):
            raise NotADirectoryError(20, "a link stands where the cache has a folder", str(part))


def _replace(path: Path, content: bytes) -> None:
    temporary = _beside(path)
    try:
        with os.fdopen(os.open(temporary, _CREATE, 0o600), "wb") as file:
            file.write(content)
        try:
            temporary.replace(path)
        except IsADirectoryError:
            _clear(path)
            temporary.replace(path)
    except BaseException:
        _remove(temporary)
        raise


def _beside(path: Path) -> Path:
    return path.with_name(f"{_TEMPORARY}{os.getpid()}-{os.urandom(8).hex()}")


def _clear(path: Path) -> None:
    """Move away what stands in a file's place, and remove it; what cannot be removed waits for `prune`."""
    aside = _beside(path)
    with suppress(FileNotFoundError):  # another process was first
        path.rename(aside)
    with suppress(OSError):
        _discard(aside)


def _discard(path: Path) -> None:
    """Remove what stands in a file's place: a folder with what is in it, but nothing that a link there leads to."""
    if stat.S_ISDIR(path.lstat().st_mode):
        import shutil  # takes 3 ms, and is hardly ever needed

        shutil.rmtree(path)
    else:
        path.unlink()
