"""Run programs, and say how long they took, how much processor time and how much memory."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_SAMPLE_SECONDS: Final = 0.05


@dataclass(frozen=True)
class Measured:
    """What a run of programs took: seconds, seconds of processor, bytes; and what they wrote to stdout.

    `own` counts the bytes of the programs without those that they started.
    """

    seconds: float
    cpu: float
    peak: int
    outputs: tuple[str, ...]
    own: int = 0


class ProgramFailedError(Exception):
    """A measured program gave an exit code that is not among the good ones."""


def run(
    commands: Iterable[Sequence[str]], *, environ: Mapping[str, str], cwd: Path, good: Sequence[int] = (0,)
) -> Measured:
    """Run programs side by side until the last one ends. `environ` is all that they see of the environment."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        processes = [_start(command, environ, cwd, Path(folder, str(place))) for place, command in enumerate(commands)]
        with _watching([process.pid for process in processes]) as watch:
            cpu = sum(_ended(process) for process in processes)
            seconds = time.perf_counter() - started
        for place, process in enumerate(processes):
            if process.returncode not in good:
                said = Path(folder, f"{place}.err").read_text(errors="replace")[-4000:]
                raise ProgramFailedError(f"{process.args!r} gave {process.returncode}:\n{said}")
        outputs = tuple(Path(folder, f"{place}.out").read_text() for place in range(len(processes)))
    return Measured(seconds, cpu, watch.peak, outputs, watch.own)


def _start(command: Sequence[str], environ: Mapping[str, str], cwd: Path, path: Path) -> subprocess.Popen[bytes]:
    with path.with_suffix(".out").open("wb") as out, path.with_suffix(".err").open("wb") as errors:
        return subprocess.Popen(
            command, env=dict(environ), cwd=cwd, stdin=subprocess.DEVNULL, stdout=out, stderr=errors
        )


def _ended(process: subprocess.Popen[bytes]) -> float:
    """Wait for a process; give the processor time of itself and of all that it waited for."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime


class _watching:  # noqa: N801 - a context manager
    """Samples the memory of processes and their descendants.

    `peak` is the largest sum, over the processes that live at one time, of the memory that each has had at most
    (VmHWM): an upper bound, since they need not peak together and share pages. ru_maxrss would not do: it gives the
    largest process only, and starts with the memory of the one that forked. 0 where there is no /proc.
    """

    def __init__(self, roots: Sequence[int]) -> None:
        self.peak = self.own = 0
        self._roots = roots
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._over.wait(_SAMPLE_SECONDS):
            memory = {process: _high_water(process) for process in _descendants(self._roots)}
            self.peak = max(self.peak, sum(memory.values()))
            self.own = max(self.own, sum(memory.get(root, 0) for root in self._roots))


def _descendants(roots: Sequence[int]) -> Iterator[int]:
    for root in roots:
        yield root
        with suppress(OSError):
            for task in Path("/proc", str(root), "task").iterdir():
                with suppress(OSError):
                    yield from _descendants([int(child) for child in (task / "children").read_text().split()])


def _high_water(process: int) -> int:
    with suppress(OSError):
        for line in Path("/proc", str(process), "status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0
