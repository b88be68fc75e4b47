"""Archives: reproducible tar.gz out, safe tar.gz in.

Out: zlib builds differ between hosts, so the gzip holds stored blocks that we frame ourselves; order, modes, owners and
times are fixed. In: the archive is somebody else's, so its size, its names and its kinds of entry are bounded.
"""

from __future__ import annotations

import io
import struct
import tarfile
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

# Helm's own limits (pkg/chart/loader/archive): a chart that is larger is refused by Helm too.
MAX_TOTAL: Final = 100 << 20
MAX_FILE: Final = 5 << 20
MAX_ENTRIES: Final = 20_000
_STORED_BLOCK: Final = 0xFFFF
_GZIP_HEADER: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"


class ArchiveError(ValueError):
    """An archive that must not be read; the message says why and never holds control characters."""


@dataclass(frozen=True)
class Entry:
    """One file of an archive: its slash-separated name and its bytes. A directory has `content` None."""

    name: str
    content: bytes | None = field(repr=False)


def write_tar(entries: Iterable[Entry], *, mtime: int = 0) -> bytes:
    """Write a USTAR archive: entries in the order given, owner 0, files 0644, directories 0755, one time for all."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT, encoding="utf-8") as tar:
        for entry in entries:
            try:
                tar.addfile(*_member(entry, mtime))
            except ValueError as error:
                raise ArchiveError(f"{_shown(entry.name)}: {error}") from error
        end = tar.offset
    # two zero blocks end an archive; tarfile pads to 10 KiB, Go does not
    return out.getvalue()[:end] + bytes(1024)


def _member(entry: Entry, mtime: int) -> tuple[tarfile.TarInfo, io.BytesIO | None]:
    info = tarfile.TarInfo(entry.name)
    info.mtime = mtime
    if entry.content is None:
        info.type, info.mode = tarfile.DIRTYPE, 0o755
        return info, None
    info.mode, info.size = 0o644, len(entry.content)
    return info, io.BytesIO(entry.content)


def stored_gzip(content: bytes) -> bytes:
    """Frame the content as gzip of stored blocks: the same bytes with every zlib (RFC 1951 3.2.4, RFC 1952)."""
    parts = [_GZIP_HEADER]
    for start in range(0, len(content), _STORED_BLOCK) or (0,):
        block = content[start : start + _STORED_BLOCK]
        last = start + _STORED_BLOCK >= len(content)
        parts += [struct.pack("<BHH", last, len(block), len(block) ^ 0xFFFF), block]
    parts.append(struct.pack("<II", zlib.crc32(content), len(content) & 0xFFFFFFFF))
    return b"".join(parts)


def read_tar_gz(content: bytes, *, max_total: int = MAX_TOTAL, max_file: int = MAX_FILE) -> tuple[Entry, ...]:
    """Read the regular files of a tar.gz that nobody vouches for; ArchiveError for anything unsafe.

    Refused: links, devices, absolute names, `..` and a leading `.` (as Helm does), backslashes, control characters,
    two entries of one name, more than `MAX_ENTRIES` entries, and anything over the sizes (bytes, unpacked).
    """
    body = _gunzip(content, max_total)
    entries: dict[str, Entry] = {}
    damaged = ArchiveError("damaged header, or something behind the archive's end")
    try:
        # a stream cannot seek backwards, so no header can send the reader in circles (CVE-2025-8194)
        with tarfile.open(fileobj=io.BytesIO(body), mode="r|", encoding="utf-8") as tar:
            for info in tar:
                entry = _entry(tar, info, max_file)
                if entry:
                    _add(entries, entry)
        # tarfile takes a damaged header for the end; Go, and so Helm, reads on
        if body.count(0, tar.offset) < len(body) - tar.offset:
            raise damaged
    except ArchiveError:
        raise
    except (tarfile.TarError, EOFError, OverflowError, ValueError) as error:
        raise ArchiveError(f"not a tar archive: {error}") from error
    return tuple(entries.values())


def _add(entries: dict[str, Entry], entry: Entry) -> None:
    if len(entries) >= MAX_ENTRIES:
        raise ArchiveError(f"more than {MAX_ENTRIES} entries")
    if entries.setdefault(entry.name, entry) is not entry:
        raise ArchiveError(f"two entries named {_shown(entry.name)}")


def _entry(tar: tarfile.TarFile, info: tarfile.TarInfo, max_file: int) -> Entry | None:
    if info.isdir() and info.name in {".", "./"}:
        return None  # the root itself, as Flux and `tar c .` write it
    name = _safe_name(info.name)
    if info.isdir():
        return None
    if info.issym() or info.islnk():
        raise ArchiveError(f"{_shown(name)} is a link")
    if not info.isreg():
        raise ArchiveError(f"{_shown(name)} is no regular file")
    if info.size > max_file:
        raise ArchiveError(f"{_shown(name)} has {info.size} bytes, the limit is {max_file}")
    source = tar.extractfile(info)
    data = source.read() if source else b""
    if len(data) != info.size:
        raise ArchiveError(f"{_shown(name)} is cut off")
    return Entry(name, data)


def _safe_name(name: str) -> str:
    parts = name.split("/")
    drive = len(parts[0]) == 2 and parts[0][1] == ":"
    if parts[0] in {"", "."} or drive or ".." in parts or "\\" in name or any(ord(char) < 32 for char in name):
        raise ArchiveError(f"unsafe name {_shown(name)}")
    return "/".join(part for part in parts if part != ".")


def _shown(name: str) -> str:
    return repr(name if len(name) <= 120 else name[:117] + "...")


def _gunzip(content: bytes, max_total: int) -> bytes:
    if not content.startswith(b"\x1f\x8b"):
        raise ArchiveError("not a gzip archive")
    unzip = zlib.decompressobj(wbits=31)
    try:
        body = unzip.decompress(content, max_total)
    except zlib.error as error:
        raise ArchiveError(f"damaged gzip: {error}") from error
    if len(body) >= max_total:
        raise ArchiveError(f"unpacks to more than {max_total} bytes")
    if not unzip.eof:
        raise ArchiveError("the gzip archive is cut off")
    if unzip.unused_data.startswith(b"\x1f\x8b"):
        raise ArchiveError("several gzip archives, one after the other")
    return body
