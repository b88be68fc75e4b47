"""The result cache: what was found out once is not found out again.

Outcomes are kept by the fingerprint of everything that went in, Helm's answers and schema verdicts by the digests of
theirs. An entry that is damaged, or that refers to content that is gone, counts as absent and is made again. So does
everything where the cache cannot be read or written: a run takes longer without it, and ends the same.
"""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from brolly import __version__
from brolly.errors import WorldError
from brolly.oci import Descriptor, Digest, compact_json
from brolly.outcome import BundleReport
from brolly.shapes import settled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from brolly.cache import Cache
    from brolly.outcome import Outcome

_Given = TypeVar("_Given")
_OUTCOME: Final = "outcome"
_FACTS: Final = "facts"
_DECIDERS: Final = ("helm-python-sdk", "google-re2", "jsonschema", "pyyaml", "semver", "zlib-ng")
_INFO: Final = ".dist-info"


class KeptArtifact(msgspec.Struct, frozen=True, array_like=True):
    """An artifact without its bytes: they are in the cache, by their digests."""

    repository: str
    version: str
    manifest: Descriptor
    blobs: tuple[Descriptor, ...]


class KeptOutcome(msgspec.Struct, frozen=True, array_like=True):
    """An outcome without its bytes. `files` are names below dist/ with digests."""

    report: BundleReport
    artifacts: tuple[KeptArtifact, ...] = ()
    files: tuple[tuple[str, str], ...] = ()

    @property
    def blobs(self) -> Iterator[str]:
        """The digests of all that `dist/oci` gets."""
        return (one.digest for artifact in self.artifacts for one in (*artifact.blobs, artifact.manifest))


def _silent(_fault: WorldError) -> None:
    """Say nothing."""


settled(KeptOutcome)


class Results:
    """What is kept of earlier runs, in a cache. Safe for several threads and processes.

    `warn` is told, once, that the cache cannot be read or written.
    """

    def __init__(self, cache: Cache, *, is_used: bool = True, warn: Callable[[WorldError], None] = _silent) -> None:
        self._cache = cache
        self._is_used = is_used
        self._warn = warn
        self._lock = threading.Lock()
        self._is_said = False

    def outcome(self, fingerprint: str) -> KeptOutcome | None:
        """Give what is kept for a fingerprint."""
        found: KeptOutcome | None = self._note(_OUTCOME, fingerprint, KeptOutcome)
        return found

    def keep_outcome(self, fingerprint: str, outcome: Outcome) -> None:
        """Keep an outcome, bytes and all."""
        if self._is_used:
            self._attempt(lambda: self._write(fingerprint, outcome))

    def _write(self, fingerprint: str, outcome: Outcome) -> None:
        blobs = [blob for artifact in outcome.artifacts for blob in (*artifact.blobs, artifact.manifest)]
        # the package is a blob and a file
        written = {blob.content: self._cache.write(blob.content) for blob in blobs}
        kept = KeptOutcome(
            outcome.report,
            tuple(
                KeptArtifact(
                    artifact.repository,
                    artifact.version,
                    artifact.manifest.descriptor,
                    tuple(blob.descriptor for blob in artifact.blobs),
                )
                for artifact in outcome.artifacts
            ),
            tuple((name, str(written.get(content) or self._cache.write(content))) for name, content in outcome.files),
        )
        self._cache.put_note(_OUTCOME, fingerprint, msgspec.msgpack.encode(kept))

    def lend(self, digest: str, path: Path) -> bool:
        """Put bytes of a kept outcome at a path, as `Cache.lend` does; False if they are gone."""
        return bool(self._attempt(lambda: self._cache.lend(digest, path)))

    def facts(self, key: str) -> Any:
        """Give what is kept of Helm's answers about a release."""
        from brolly.facts import ReleaseFacts

        return self._note(_FACTS, key, ReleaseFacts)

    def keep_facts(self, key: str, known: Any) -> None:
        """Keep what Helm's engine said of a release."""
        self._put_note(_FACTS, key, known)

    def remembered(self, kind: str, key: str, shape: type[Any], make: Callable[[], Any]) -> Any:
        """Give what is kept under a key, or make it and keep it; `shape` is its type, for msgspec."""
        found = self._note(kind, key, shape)
        if found is None:
            found = make()
            self._put_note(kind, key, found)
        return found

    def _note(self, kind: str, key: str, shape: type[Any]) -> Any:
        content = self._attempt(lambda: self._cache.note(kind, key)) if self._is_used else None
        if content is None:
            return None
        try:
            return msgspec.msgpack.decode(content, type=shape)
        except msgspec.DecodeError:
            return None  # another version of Brolly wrote it

    def _put_note(self, kind: str, key: str, made: Any) -> None:
        if self._is_used:
            self._attempt(lambda: self._cache.put_note(kind, key, msgspec.msgpack.encode(made)))

    def _attempt(self, step: Callable[[], _Given]) -> _Given | None:
        """Give None where the cache's disk does not do as it should, and say so the first time."""
        try:
            return step()
        except WorldError as fault:
            with self._lock:
                is_news, self._is_said = not self._is_said, True
            if is_news:
                self._warn(fault)
            return None


def key_of(*parts: bytes | str | Mapping[str, Any]) -> str:
    """Make a key of contents: the digest of their digests."""
    hashes = [hashlib.sha256(_bytes(part)).hexdigest() for part in parts]
    return str(Digest.of(compact_json(hashes)))


def _bytes(part: bytes | str | Mapping[str, Any]) -> bytes:
    match part:
        case bytes():
            return part
        case str():
            return part.encode("utf-8", "surrogatepass")
        case _:
            return msgspec.json.encode(part, order="sorted")


@cache
def tool_identity() -> str:
    """Name what computes: Brolly by its code, and the versions of what decides with it.

    A checkout that somebody works on has one version and many contents, so the code itself is hashed. os.walk, as every
    command waits for this: pathlib would take twice as long.
    """
    root = Path(__file__).parent
    files = [f"{folder}/{name}" for folder, _, names in os.walk(root) for name in names if name.endswith(".py")]
    code = hashlib.sha256()
    for path in sorted(files):
        with open(path, "rb") as file:  # noqa: PTH123
            code.update(path[len(str(root)) :].replace("\\", "/").encode() + b"\0" + file.read() + b"\0")
    others = (f"{name} {_version(name)}" for name in _DECIDERS)
    chosen = os.environ.get("HELM_C_LIB", "")  # another engine than the installed one
    return "; ".join((f"brolly {__version__} {code.hexdigest()[:16]}", *others, *filter(None, [chosen])))


def _version(distribution: str) -> str:
    """Read a version off the name of the installed distribution's folder.

    `importlib.metadata`, which takes as long to load as ten bundles to verify, is asked where there is no such folder.
    """
    start = distribution.replace("-", "_") + "-"
    names = (name for place in sys.path if place for name in _folder(place))
    found = next((name for name in names if name.lower().startswith(start)), None)
    if found:
        return found[len(start) : -len(_INFO)]
    from importlib import metadata

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "-"


@cache
def _folder(place: str) -> tuple[str, ...]:
    with suppress(OSError):
        return tuple(sorted(name for name in os.listdir(place) if name.endswith(_INFO)))  # noqa: PTH208
    return ()
