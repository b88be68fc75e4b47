"""Prove: dist/ → the artifacts of bundles, which are hashed on threads while whoever wants them gets ready."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event
from typing import TYPE_CHECKING

from brolly import dist
from brolly.errors import BrollyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from brolly.oci import StoredArtifact
    from brolly.outcome import Report


class NotCurrent(BrollyError):  # noqa: N818 - it names a state
    """`dist/` does not hold what the workspace declares now."""

    exit_code = 1


@dataclass(frozen=True)
class Listed:
    """The artifacts of bundles in `dist/`. `prove` waits until all their blobs are read; DamagedDist."""

    report: Report = field(repr=False)
    bundles: Mapping[str, tuple[StoredArtifact, ...]]
    prove: Callable[[], None] = field(repr=False)


@contextmanager
def listed_in(folder: Path, names: Sequence[str], jobs: int) -> Iterator[Listed]:
    """Read what the last build made of bundles, and begin to hash it; NotCurrent if there was none, DamagedDist.

    Hashing needs no interpreter: it goes on while modules are loaded, bundles looked at and registries asked. What has
    not begun when the context ends is left.
    """
    report = dist.read_report(folder)
    if report is None:
        raise NotCurrent("nothing was built yet", hint="run `brolly build`")
    built = {name: bundle.artifacts if (bundle := report.bundle(name)) else () for name in names}
    proofs: list[Future[None]] = []
    is_proven = Event()

    def prove() -> None:
        if not is_proven.is_set():
            for proof in proofs:
                proof.result()
            is_proven.set()

    each = dict.fromkeys(one for artifacts in built.values() for one in artifacts)
    read = {one: dist.read_artifact(folder, one, prove) for one in each}
    blobs = {blob.path: blob for artifact in read.values() for blob in artifact.blobs}
    threads = ThreadPoolExecutor(jobs, "proof")
    try:
        proofs += [threads.submit(dist.require_whole, blob) for blob in blobs.values()]
        yield Listed(report, {name: tuple(read[one] for one in artifacts) for name, artifacts in built.items()}, prove)
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
