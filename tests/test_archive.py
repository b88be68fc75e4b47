"""Archives: the same bytes out everywhere; nothing unsafe in."""

from __future__ import annotations

import gzip
import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brolly.archive import MAX_FILE, ArchiveError, Entry, read_tar_gz, stored_gzip, write_tar

NAMES = st.lists(
    st.text("abcXYZ09._-", min_size=1, max_size=12).filter(lambda name: name.strip(".")), min_size=1, max_size=4
)
FILES = st.dictionaries(NAMES.map("/".join), st.binary(max_size=2000), min_size=1, max_size=8)


def tar_gz(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def member(
    name: str, content: bytes = b"x", kind: bytes = tarfile.REGTYPE, link: str = ""
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    info.size = len(content) if kind == tarfile.REGTYPE else 0
    return info, content


@given(FILES)
def test_what_is_written_is_read_back(files: dict[str, bytes]) -> None:
    entries = tuple(Entry(name, content) for name, content in files.items())
    packed = stored_gzip(write_tar(entries))
    assert read_tar_gz(packed) == entries


@given(st.binary(max_size=200_000))
def test_a_stored_gzip_is_a_gzip(content: bytes) -> None:
    assert gzip.decompress(stored_gzip(content)) == content


def test_an_archive_has_fixed_bytes() -> None:
    tar = write_tar([Entry("chart", None), Entry("chart/Chart.yaml", b"name: x\n" + bytes(600))], mtime=7)
    assert len(tar) == 512 + 512 + 1024 + 1024
    packed = stored_gzip(tar)
    assert packed[:10].hex() == "1f8b08000000000000ff"
    with tarfile.open(fileobj=io.BytesIO(packed)) as again:
        facts = [(one.name, one.mode, one.uid, one.gid, one.uname, one.mtime) for one in again]
    assert facts == [("chart", 0o755, 0, 0, "", 7), ("chart/Chart.yaml", 0o644, 0, 0, "", 7)]


@pytest.mark.parametrize(
    ("unsafe", "reason"),
    [
        (member("../up"), "unsafe name"),
        (member("./chart/x"), "unsafe name"),
        (member("/etc/passwd"), "unsafe name"),
        (member("chart/../../up"), "unsafe name"),
        (member("chart\\..\\up"), "unsafe name"),
        (member("c:/windows"), "unsafe name"),
        (member("chart/a\x1b[31m"), "unsafe name"),
        (member("chart/link", kind=tarfile.SYMTYPE, link="/etc/passwd"), "is a link"),
        (member("chart/hard", kind=tarfile.LNKTYPE, link="chart/Chart.yaml"), "is a link"),
        (member("chart/null", kind=tarfile.CHRTYPE), "no regular file"),
        (member("chart/pipe", kind=tarfile.FIFOTYPE), "no regular file"),
        (member("chart/big", bytes(MAX_FILE + 1)), "the limit is"),
    ],
    ids=lambda value: value if isinstance(value, str) else repr(value[0].name),
)
def test_an_unsafe_entry_is_refused(unsafe: tuple[tarfile.TarInfo, bytes], reason: str) -> None:
    with pytest.raises(ArchiveError, match=reason):
        read_tar_gz(tar_gz(member("chart/Chart.yaml"), unsafe))


def test_two_entries_of_one_name_are_refused() -> None:
    with pytest.raises(ArchiveError, match="two entries"):
        read_tar_gz(tar_gz(member("chart/Chart.yaml"), member("chart/Chart.yaml", b"y")))


def test_the_root_of_an_archive_may_be_named() -> None:
    assert read_tar_gz(tar_gz(member(".", kind=tarfile.DIRTYPE), member("a/b"))) == (Entry("a/b", b"x"),)


def test_a_bomb_is_refused_before_it_unpacks() -> None:
    bomb = gzip.compress(bytes(200 << 20), 9)
    with pytest.raises(ArchiveError, match="unpacks to more than"):
        read_tar_gz(bomb)


def test_a_file_of_exactly_the_limit_is_read() -> None:
    assert len(read_tar_gz(tar_gz(member("chart/big", bytes(MAX_FILE))))) == 1


@given(st.integers(0, 400), st.integers(0, 255))
def test_a_damaged_archive_is_read_or_refused_and_never_breaks(place: int, value: int) -> None:
    good = bytearray(tar_gz(member("chart/Chart.yaml", b"name: x\n"), member("chart/values.yaml", b"a: 1\n")))
    good[place % len(good)] = value
    reason = ""
    try:
        read_tar_gz(bytes(good))
    except ArchiveError as error:
        reason = str(error)
    assert all(char.isprintable() for char in reason)


@given(st.integers(1, 60))
def test_a_truncated_archive_is_refused(cut: int) -> None:
    good = tar_gz(member("chart/Chart.yaml", b"name: x\n"))
    with pytest.raises(ArchiveError):
        read_tar_gz(good[:-cut])
