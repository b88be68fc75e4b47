"""The cache gives back what was put in, or nothing."""

from __future__ import annotations

import errno
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brolly.cache import Cache, NotRemoved, Usage, default_path
from brolly.errors import UsageError, WorldError
from brolly.oci import Digest

if TYPE_CHECKING:
    from workspaces import Workspace


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def _files(cache: Cache) -> list[Path]:
    return [path for path in cache.root.rglob("*") if not path.is_dir()]


def _only_file(cache: Cache) -> Path:
    (path,) = _files(cache)
    return path


def test_content_is_found_by_its_digest(cache: Cache) -> None:
    assert cache.read(cache.write(b"chart")) == b"chart"


def test_what_was_never_written_is_absent(cache: Cache) -> None:
    assert cache.read(Digest.of(b"chart")) is None
    assert cache.note("index", "https://charts.example") is None


def test_what_is_no_digest_is_a_bug_of_the_caller(cache: Cache) -> None:
    with pytest.raises(ValueError, match="not a sha256 digest"):
        cache.read("sha256:../../etc/passwd")


@pytest.mark.parametrize("damage", [b"", b"char", b"charT", b"chart and more"])
def test_damaged_content_is_absent_and_removed(cache: Cache, damage: bytes) -> None:
    digest = cache.write(b"chart")
    _only_file(cache).write_bytes(damage)
    assert cache.read(digest) is None
    assert _files(cache) == []


def test_writing_heals_a_damaged_copy(cache: Cache) -> None:
    digest = cache.write(b"chart")
    _only_file(cache).write_bytes(b"other")
    cache.write(b"chart")
    assert cache.read(digest) == b"chart"


def test_only_the_owner_may_look_into_the_cache(cache: Cache) -> None:
    cache.write(b"chart")
    modes = {path.stat().st_mode & 0o777 for path in (cache.root, *cache.root.rglob("*")) if path.is_dir()}
    assert modes == {0o700}
    assert _only_file(cache).stat().st_mode & 0o777 == 0o600


def test_a_link_in_the_place_of_content_is_not_followed(cache: Cache, tmp_path: Path) -> None:
    digest = cache.write(b"chart")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"chart")
    path = _only_file(cache)
    path.unlink()
    path.symlink_to(elsewhere)
    assert cache.read(digest) is None
    cache.write(b"chart")
    assert not path.is_symlink()
    assert elsewhere.read_bytes() == b"chart"


def test_a_link_in_the_place_of_a_folder_is_refused(cache: Cache, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    cache.root.mkdir()
    (cache.root / "sha256").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(WorldError, match="a link stands where the cache has a folder"):
        cache.write(b"chart")
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_no_file_counts_as_absent(cache: Cache, kind: str) -> None:
    digest = cache.write(b"chart")
    path = _only_file(cache)
    path.unlink()
    path.mkdir() if kind == "folder" else os.mkfifo(path)
    assert cache.read(digest) is None


def _folder_in_place_of(path: Path, outside: Path) -> None:
    """Put a folder with all kinds of things where a file was; a link in it leads outside."""
    path.unlink()
    (path / "deep" / "er").mkdir(parents=True)
    (path / "deep" / "file").write_bytes(b"file")
    outside.mkdir()
    (outside / "file").write_bytes(b"outside")
    (path / "folder").symlink_to(outside)
    (path / "deep" / "link").symlink_to(outside / "file")


def test_writing_heals_a_folder_in_the_place_of_a_file(cache: Cache, tmp_path: Path) -> None:
    digest = cache.write(b"chart")
    _folder_in_place_of(_only_file(cache), tmp_path / "outside")
    assert cache.read(digest) is None
    cache.write(b"chart")
    assert cache.read(digest) == b"chart"
    assert [path.name for path in _files(cache)] == [Digest.parse(digest).hex]
    assert (tmp_path / "outside" / "file").read_bytes() == b"outside"


def test_many_may_heal_a_note_at_once(cache: Cache, tmp_path: Path) -> None:
    cache.put_note("index", "key", b"note")
    _folder_in_place_of(_only_file(cache), tmp_path / "outside")
    assert cache.note("index", "key") is None
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: cache.put_note("index", "key", b"note"), range(40)))
    assert cache.note("index", "key") == b"note"
    assert len(_files(cache)) == 1


def test_a_folder_that_cannot_be_removed_does_not_stay_in_the_way(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    digest = cache.write(b"chart")
    _folder_in_place_of(_only_file(cache), tmp_path / "outside")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", refuse)
        cache.write(b"chart")
    assert cache.read(digest) == b"chart"
    cache.prune(now=time.time() + 7200, unused_for=1e9)
    assert [path.name for path in _files(cache)] == [Digest.parse(digest).hex]


def test_a_folder_in_the_place_of_a_file_is_pruned(cache: Cache, tmp_path: Path) -> None:
    digest = cache.write(b"chart")
    _folder_in_place_of(_only_file(cache), tmp_path / "outside")
    assert cache.prune(now=4e9, unused_for=0).files == 1
    assert _files(cache) == []
    assert (tmp_path / "outside" / "file").read_bytes() == b"outside"
    assert cache.read(digest) is None


def _deny(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """Let nobody open a file, not even root."""
    opened = os.open

    def refuse(name: Path, *arguments: int) -> int:
        if name == path:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(name))
        return opened(name, *arguments)

    monkeypatch.setattr(os, "open", refuse)


def test_a_file_that_may_not_be_read_is_absent_and_replaced(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = cache.write(b"chart")
    path = _only_file(cache)
    before = path.stat().st_ino
    with monkeypatch.context() as patch:
        _deny(patch, path)
        assert cache.read(digest) is None
        cache.write(b"chart")
    assert cache.read(digest) == b"chart"
    assert path.stat().st_ino != before
    cache.put_note("index", "key", b"note")
    (note,) = set(_files(cache)) - {path}
    _deny(monkeypatch, note)
    assert cache.note("index", "key") is None


def test_a_file_that_may_not_be_read_is_not_lent(cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = cache.write(b"chart")
    monkeypatch.setattr(os, "access", lambda *_: False)
    _deny(monkeypatch, _only_file(cache))
    assert not cache.lend(digest, tmp_path / "lent")
    assert not (tmp_path / "lent").exists()


def test_a_folder_that_may_not_be_entered_is_told(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = cache.write(b"chart")
    path = _only_file(cache)
    lstat = os.lstat

    def refuse(name: Path) -> os.stat_result:
        if name == path:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(name))
        return lstat(name)

    _deny(monkeypatch, path)
    monkeypatch.setattr(os, "lstat", refuse)
    with pytest.raises(WorldError, match=f"reading the cache, {path}: Permission denied"):
        cache.read(digest)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")
def test_a_cache_of_another_user_is_healed_or_told() -> None:
    program = (
        "import os, sys\nfrom pathlib import Path\n"
        "from brolly.cache import Cache\nfrom brolly.errors import UsageError, WorldError\n"
        "os.setuid(65534)\ncache = Cache(Path(sys.argv[1]))\n"
        "digest = cache.write(b'chart')\n"
        "path = cache.root / 'sha256' / digest.hex[:2] / digest.hex\n"
        "path.chmod(0)\n"
        "print(cache.read(digest), cache.lend(digest, cache.root / 'lent'), os.path.lexists(cache.root / 'lent'))\n"
        "cache.write(b'chart')\nprint(cache.read(digest))\n"
        "path.parent.chmod(0)\n"
        "try:\n    cache.read(digest)\nexcept WorldError as fault:\n    print(fault)\n"
    )
    # pytest's folders are closed to others
    with tempfile.TemporaryDirectory() as cache:
        os.chown(cache, 65534, 65534)
        done = subprocess.run([sys.executable, "-c", program, cache], capture_output=True, text=True, check=True)
    first, second, third = done.stdout.splitlines()
    assert (first, second) == ("None False False", "b'chart'")
    assert third.endswith("Permission denied")


@pytest.mark.parametrize("disk", ["the same disk", "another disk"])
def test_content_is_lent_as_a_second_name_where_the_disk_can_do_that(
    disk: str, cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: Path, path: Path, **_: object) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), str(source), None, str(path))

    if disk == "another disk":
        monkeypatch.setattr(os, "link", refuse)
    digest = cache.write(b"chart")
    os.utime(_only_file(cache), (0, 0))
    assert cache.lend(digest, tmp_path / "lent")
    assert (tmp_path / "lent").read_bytes() == b"chart"
    assert (tmp_path / "lent").samefile(_only_file(cache)) == (disk == "the same disk")
    assert cache.prune(now=1e6, unused_for=1e6) == Usage(0, 0)  # it was of use just now
    _only_file(cache).unlink()
    assert not cache.lend(digest, tmp_path / "again")


@pytest.mark.parametrize("kind", ["folder", "pipe", "link"])
def test_what_is_no_file_is_not_lent(kind: str, cache: Cache, tmp_path: Path) -> None:
    digest = cache.write(b"chart")
    path = _only_file(cache)
    path.rename(tmp_path / "elsewhere")
    if kind == "link":
        path.symlink_to(tmp_path / "elsewhere")
    else:
        path.mkdir() if kind == "folder" else os.mkfifo(path)
    assert not cache.lend(digest, tmp_path / "lent")
    assert not os.path.lexists(tmp_path / "lent")


def test_a_full_disk_is_told_with_the_file_and_leaves_nothing(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, target: Path) -> Path:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path), None, str(target))

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(WorldError) as caught:
        cache.write(b"chart")
    assert str(cache.root / "sha256") in str(caught.value)
    assert "No space left on device" in str(caught.value)
    assert "BROLLY_CACHE" in caught.value.hint
    assert _files(cache) == []


def test_a_file_size_limit_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    program = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from brolly.cache import Cache\n"
        "from brolly.errors import UsageError, WorldError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n    Cache(Path(sys.argv[1])).write(bytes(2000))\n"
        "except WorldError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=True)
    assert "File too large" in done.stdout
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_cache_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(WorldError, match="writing to the cache"):
        Cache(tmp_path / "file").write(b"chart")
    with pytest.raises(WorldError, match="reading the cache"):
        Cache(tmp_path / "file").read(Digest.of(b"chart"))


def test_notes_are_found_by_kind_and_key(cache: Cache) -> None:
    cache.put_note("index", "https://charts.example", b'{"etag": "1"}')
    cache.put_note("index", "https://other.example", b"")
    assert cache.note("index", "https://charts.example") == b'{"etag": "1"}'
    assert cache.note("index", "https://other.example") == b""
    assert cache.note("tags", "https://charts.example") is None


def test_a_note_is_replaced_by_a_newer_one(cache: Cache) -> None:
    cache.put_note("index", "key", b"old")
    cache.put_note("index", "key", b"new")
    assert cache.note("index", "key") == b"new"


@given(content=st.binary(max_size=20), at=st.integers(0, 80), bit=st.integers(0, 7))
def test_no_damage_to_a_note_goes_unnoticed(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, at: int, bit: int
) -> None:
    cache = Cache(tmp_path_factory.mktemp("cache"))
    cache.put_note("index", "key", content)
    path = _only_file(cache)
    whole = bytearray(path.read_bytes())
    whole[at % len(whole)] ^= 1 << bit
    path.write_bytes(whole)
    assert cache.note("index", "key") is None
    assert _files(cache) == []


def test_a_note_in_the_place_of_another_counts_as_damaged(cache: Cache) -> None:
    cache.put_note("index", "one", b"content")
    one = _only_file(cache)
    cache.put_note("index", "two", b"content")
    (two,) = set(_files(cache)) - {one}
    one.replace(two)
    assert cache.note("index", "two") is None


def test_many_threads_may_write_and_read_the_same(cache: Cache) -> None:
    contents = [bytes([number % 4]) * 50_000 for number in range(200)]
    with ThreadPoolExecutor(16) as pool:
        digests = list(pool.map(cache.write, contents))
        assert list(pool.map(cache.read, digests)) == contents
    assert len(_files(cache)) == 4


def test_a_killed_process_leaves_nothing_that_is_read(cache: Cache) -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom brolly.cache import Cache\n"
        "cache = Cache(Path(sys.argv[1]))\nprint('ready', flush=True)\n"
        "while True:\n    cache.write(b'x' * 4_000_000)\n"
    )
    for turn in range(5):
        with subprocess.Popen([sys.executable, "-c", program, cache.root], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            while not _files(cache) and not turn:
                pass
            process.send_signal(signal.SIGKILL)
    assert cache.read(Digest.of(b"x" * 4_000_000)) in {None, b"x" * 4_000_000}
    kept = [path for path in _files(cache) if not path.name.startswith(".tmp-")]
    assert len(kept) <= 1


def test_what_is_half_written_goes_after_an_hour(cache: Cache) -> None:
    cache.write(b"chart")
    abandoned = _only_file(cache).with_name(".tmp-1-abandoned")
    abandoned.write_bytes(b"cha")
    written = abandoned.stat().st_mtime
    assert cache.prune(now=written + 3000, unused_for=1e9) == Usage(0, 0)
    assert cache.prune(now=written + 4000, unused_for=1e9) == Usage(1, 3)
    assert cache.usage() == Usage(1, 5)


def test_what_was_read_lately_is_not_pruned(cache: Cache) -> None:
    old, read = cache.write(b"old"), cache.write(b"read")
    for path in _files(cache):
        os.utime(path, (1000, 1000))
    cache.read(read)
    cache.prune(now=100_000, unused_for=10_000)
    assert cache.read(old) is None
    assert cache.read(read) == b"read"


def test_nothing_foreign_is_pruned_or_counted(cache: Cache, tmp_path: Path) -> None:
    digest = cache.write(b"chart")
    cache.put_note("index", "key", b"note")
    name, elsewhere = "0" * 64, tmp_path / "elsewhere"
    elsewhere.mkdir()
    own = cache.usage()
    (cache.root / "sha256" / "cd").symlink_to(elsewhere)
    (cache.root / "notes" / "linked").symlink_to(elsewhere)
    foreign = [
        "letter", name, ".tmp-1", "docs/a", f"docs/aa/{name}", "sha256/a", f"sha256/{name}", "sha256/ab/a",
        f"sha256/xyz/{name}", f"sha256/ab/deep/{name}", f"notes/{name}", f"notes/index/deep/{name}", "notes/index/a",
        f"sha256/cd/{name}", f"notes/linked/{name}",
    ]  # fmt: skip
    for file in foreign:
        (cache.root / file).parent.mkdir(parents=True, exist_ok=True)
        (cache.root / file).write_bytes(b"foreign")
    assert cache.usage() == own
    assert cache.prune(now=4e9, unused_for=0) == own
    assert [file for file in foreign if not (cache.root / file).exists()] == []
    assert cache.read(digest) is None
    assert cache.note("index", "key") is None


def test_what_cannot_be_removed_is_told_and_not_counted(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    stays = cache.write(b"stays")
    cache.write(b"goes")
    unlink = Path.unlink

    def refuse(path: Path) -> None:
        if path.name == Digest.parse(stays).hex:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        unlink(path)

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(NotRemoved) as caught:
        cache.prune(now=4e9, unused_for=0)
    assert caught.value.removed == Usage(1, 4)
    assert str(caught.value) == (
        f"removing from the cache: 1 file cannot be removed, such as {_only_file(cache)}: Read-only file system"
    )
    assert "BROLLY_CACHE" in caught.value.hint
    assert cache.read(stays) == b"stays"


@pytest.mark.parametrize("output", ["text", "json"])
def test_prune_says_what_it_removed_and_what_not(
    output: str, space: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    cache = Cache(space.cache)
    cache.write(b"chart")
    os.utime(_only_file(cache), (0, 0))
    monkeypatch.setattr(Path, "unlink", refuse)
    done = space.run("cache", "prune", "--days", "0", "--output", output)
    told = f"{_only_file(cache)}: Read-only file system"
    if output == "text":
        assert done.out == f"{cache.root} removed 0 files, 0 B\n"
    else:
        found = done.json
        assert told in found.pop("failures")[0]["message"]
        assert found == {"path": str(cache.root), "files": 0, "bytes": 0}
    assert done.code == 3
    assert told in done.err


def test_what_another_process_removes_meanwhile_is_no_fault(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.write(b"chart")
    unlink = Path.unlink

    def late(path: Path) -> None:
        unlink(path)
        unlink(path)

    monkeypatch.setattr(Path, "unlink", late)
    assert cache.prune(now=4e9, unused_for=0) == Usage(0, 0)


def test_a_cache_that_is_not_there_holds_nothing(cache: Cache) -> None:
    assert cache.usage() == cache.prune(now=4e9, unused_for=0) == Usage(0, 0)


def test_a_cache_that_cannot_be_listed_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(WorldError, match=r"reading the cache, .*/file: Not a directory"):
        Cache(tmp_path / "file").usage()


def test_the_environment_says_where_the_cache_is() -> None:
    chosen = {"HOME": "/home/me", "XDG_CACHE_HOME": "/var/cache/me", "BROLLY_CACHE": "/mnt/shared"}
    assert default_path(chosen) == Path("/mnt/shared")
    assert default_path({"HOME": "/home/me", "XDG_CACHE_HOME": "/var/cache/me"}) == Path("/var/cache/me/brolly")
    assert default_path({"HOME": "/home/me", "XDG_CACHE_HOME": "relative"}) == Path("/home/me/.cache/brolly")
    assert default_path({"HOME": "/home/me"}) == Path("/home/me/.cache/brolly")


def _nobody(_: int) -> NoReturn:
    raise KeyError("getpwuid(): uid not found")


def test_without_a_home_it_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    assert default_path({}) == Path(pwd.getpwuid(os.getuid()).pw_dir, ".cache", "brolly")
    monkeypatch.setattr(pwd, "getpwuid", _nobody)
    with pytest.raises(UsageError, match="no home") as caught:
        default_path({})
    assert "HOME" in caught.value.hint
    assert "BROLLY_CACHE" in caught.value.hint
    assert default_path({"BROLLY_CACHE": "/mnt/shared"}) == Path("/mnt/shared")
    assert default_path({"XDG_CACHE_HOME": "/var/cache/me"}) == Path("/var/cache/me/brolly")


def test_a_relative_cache_below_a_folder_that_is_gone_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    assert default_path({"BROLLY_CACHE": "own"}) == tmp_path / "gone" / "own"
    (tmp_path / "gone").rmdir()
    with pytest.raises(UsageError, match="BROLLY_CACHE=own: the current folder is gone") as caught:
        default_path({"BROLLY_CACHE": "own"})
    assert "absolute" in caught.value.hint
