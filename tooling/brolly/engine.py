"""Helm's own engine, in a process of its own: bounded in time and memory, without a network, restarted when it dies."""

from __future__ import annotations

import fcntl
import importlib.metadata
import importlib.util
import json
import os
import re
import secrets
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Self, TypeVar, cast

import msgspec

from brolly.engine_worker import Answer, Fault, Hello, Request, read_frame, write_frame
from brolly.errors import BrollyError, UsageError, WorldError
from brolly.rendering import EngineFailure, LintReport, Rendering, failure, lint_report
from brolly.shapes import settled

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_DISTRIBUTION: Final = "helm-python-sdk"
_HINT: Final = "pip install 'brolly[helm]'"
_DISK_HINT: Final = "make room, or choose another folder with TMPDIR"
_START_HINT: Final = f"give it more memory with --engine-memory, or install it anew: {_HINT}"
_KILLED_HINT: Final = (
    "free memory, or use fewer engines with --jobs 1; --engine-timeout is how long to wait, for a start 10 to 60 s"
)
# nobody serves the discard port: what respects a proxy fails at once
_NO_PROXY: Final = "http://127.0.0.1:9"
_KEPT_ENVIRONMENT: Final = (
    "PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LANG", "LC_ALL", "PYTHONHOME", "HELM_C_LIB", "GOGC", "GOMEMLIMIT",
    "GOMAXPROCS",
)  # fmt: skip
# Go collects garbage less often than it would, which saves time, until it has this much memory
_GO: Final = {"GOTRACEBACK": "none", "GOGC": "400", "GOMEMLIMIT": "160MiB"}
_GO_DEATH: Final = re.compile(r"^(?:fatal error|panic|SIG[A-Z]+): .*", re.MULTILINE)
_OUT_OF_MEMORY: Final = re.compile(r"out of memory|cannot allocate memory|MemoryError|failed to map segment")
_STDERR_BYTES: Final = 4096
_SHOWN: Final = 2000
_PIPE_BYTES: Final = 1 << 20
# a start takes a second; on a machine that is very busy many
_START_SECONDS: Final = (10.0, 60.0)
Frame = TypeVar("Frame", bound=msgspec.Struct)


settled(Rendering)


class EngineUnavailable(UsageError):  # noqa: N818 - a state, like importlib's PackageNotFound
    """Helm's engine is not installed, or cannot be loaded here."""


class Helm:
    """What can be asked of Helm. `ask` says who answers."""

    def ask(self, request: Request) -> Answer:
        """Give the answer to one request."""
        raise NotImplementedError

    def render(
        self, package: bytes, values: Mapping[str, Any], *, name: str, namespace: str = "default"
    ) -> Rendering | EngineFailure:
        """Render a chart package as `helm install NAME` would."""
        request = render_request(package, values, name=name, namespace=namespace)
        return rendered(self.ask(request))

    def lint(
        self, package: bytes, values: Mapping[str, Any], *, namespace: str = "default", strict: bool = True
    ) -> LintReport | EngineFailure:
        """Lint a chart package as `helm lint [--strict]` would."""
        return linted(self.ask(lint_request(package, values, namespace=namespace, strict=strict)))

    def values(self, package: bytes, values: Mapping[str, Any]) -> dict[str, Any] | EngineFailure:
        """Give the values that templates would see: the charts' defaults under the given ones."""
        answer = self.ask(Request(package, json.dumps(values), "values"))
        merged: dict[str, Any] | EngineFailure = _failure(answer.fault) if answer.fault else json.loads(answer.result)
        return merged

    def stored_manifest(
        self, package: bytes, values: Mapping[str, Any], *, name: str, namespace: str = "default"
    ) -> str | EngineFailure:
        """Give the manifest that `helm install` would store, from Helm's own install action (a dry run)."""
        answer = self.ask(Request(package, json.dumps(values), "install", name, namespace))
        return _failure(answer.fault) if answer.fault else str(answer.result)


def render_request(package: bytes, values: Mapping[str, Any], *, name: str, namespace: str = "default") -> Request:
    """Ask for what `helm install NAME` renders."""
    return Request(package, json.dumps(values), "render", name, namespace)


def rendered(answer: Answer) -> Rendering | EngineFailure:
    """Read the answer to a `render_request`."""
    return _failure(answer.fault) if answer.fault else msgspec.convert(answer.result, Rendering)


def lint_request(
    package: bytes, values: Mapping[str, Any], *, namespace: str = "default", strict: bool = True
) -> Request:
    """Ask for what `helm lint [--strict]` says."""
    return Request(package, json.dumps(values), "lint", namespace=namespace, strict=strict)


def linted(answer: Answer) -> LintReport | EngineFailure:
    """Read the answer to a `lint_request`."""
    if answer.fault:
        return _failure(answer.fault)
    return lint_report(answer.result["messages"], answer.result["errors"])


class Engine(Helm):
    """Helm's engine. The worker starts with the first request and ends with the context; threads take turns.

    WorldError where the worker's folder cannot be written, or it is killed or hangs as it starts; that is not tried
    twice.

    `timeout` is in seconds and for one request, `memory` in bytes of address space: Go reserves generously, and
    below 4 GiB ordinary umbrellas fail. An engine belongs to its process; it is neither pickled nor used after a fork.
    """

    def __init__(self, *, timeout: float = 60.0, memory: int = 6 << 30) -> None:
        self._timeout = timeout
        self._memory = memory
        self._lock = threading.Lock()
        self._worker: _Worker | None = None
        self._starting: _Worker | None = None
        self._fault: BrollyError | None = None

    @staticmethod
    def available() -> bool:
        """Say whether the engine is installed; nothing is loaded."""
        return importlib.util.find_spec("helm_python") is not None

    @staticmethod
    def identity() -> str:
        """Name the installed engine without starting it (`helm-python-sdk 0.2.2`), for a cache key; "" without one."""
        try:
            return f"{_DISTRIBUTION} {importlib.metadata.version(_DISTRIBUTION)}"
        except importlib.metadata.PackageNotFoundError:
            return ""

    @property
    def version(self) -> str:
        """Helm's version, such as `v4.2.3`; EngineUnavailable if there is none."""
        with self._lock:
            return self._started().version

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the worker; a later request starts another."""
        if starting := self._starting:
            starting.stop()  # its start, which may take long, is over then
        with self._lock:
            self._fault = None
            self._drop()

    def start(self) -> None:
        """Start the worker now, so that the first request need not wait for it."""
        with self._lock:
            self._started()

    def ask(self, request: Request) -> Answer:
        """Give the answer to one request; where the worker dies of it, that is the answer."""
        with self._lock:
            try:
                worker = self._started()
                worker.is_idle = False
                worker.send(request, self._timeout)
                answer = worker.receive(Answer, self._timeout)
                worker.is_idle = True
            except _WorkerDiedError as death:
                self._worker = None
                return Answer(fault=death.fault)
            except BaseException:
                # an interrupted request leaves half a frame in the pipe
                self._drop()
                raise
            return answer

    def _started(self) -> _Worker:
        if self._worker is not None and not self._worker.usable:
            self._drop()
        if self._worker is None:
            if self._fault:
                raise self._fault
            try:
                self._worker = self._greeted()
            except BrollyError as fault:
                self._fault = fault
                raise
        return self._worker

    def _greeted(self) -> _Worker:
        if not self.available():
            raise EngineUnavailable("Helm's engine is not installed", hint=_HINT)
        worker = self._starting = self._new()
        try:
            worker.greet(min(max(self._timeout, _START_SECONDS[0]), _START_SECONDS[1]))
        except BaseException:
            worker.kill()
            raise
        finally:
            self._starting = None
        return worker

    def _new(self) -> _Worker:
        try:
            return _Worker(self._memory)
        except OSError as error:
            place = f", {error.filename}" if error.filename else ""
            raise WorldError(f"starting Helm's engine{place}: {error.strerror}", hint=_DISK_HINT) from error

    def _drop(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.end()


class _WorkerDiedError(Exception):
    """`is_killed` says that somebody ended it, we for its slowness included, and not itself."""

    def __init__(self, fault: Fault, *, is_killed: bool) -> None:
        super().__init__(fault.message)
        self.fault = fault
        self.is_killed = is_killed


class _Worker:
    """One worker process, its folder and its pipes."""

    def __init__(self, memory: int) -> None:
        self.version = ""
        self.is_idle = True
        self._expired = False
        self._memory = memory
        self._folder = str(Path(tempfile.gettempdir(), f"brolly-engine-{secrets.token_hex(8)}"))
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "brolly.engine_worker", str(memory), self._folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(self._folder),
            # Ctrl-C is for the parent, which then ends the worker
            start_new_session=True,
        )
        streams = (self._process.stdin, self._process.stdout, self._process.stderr)
        self._requests, self._answers, self._errors = (cast("IO[bytes]", stream) for stream in streams)
        _widen(self._requests, self._answers)
        self._stderr = _Stderr(self._errors.fileno())

    @property
    def usable(self) -> bool:
        """Whether it can take a request: something may have ended it while nobody looked."""
        return not self._expired and self._process.poll() is None

    def greet(self, seconds: float) -> None:
        """Wait until the engine is loaded; EngineUnavailable if it cannot be, WorldError where the disk is full."""
        try:
            hello = self.receive(Hello, seconds)
        except _WorkerDiedError as death:
            if death.is_killed:
                raise WorldError(f"starting Helm's engine: {death}", hint=_KILLED_HINT) from death
            raise EngineUnavailable(f"Helm's engine does not start: {death}", hint=_START_HINT) from death
        if hello.disk:
            raise WorldError(f"starting Helm's engine: {hello.disk}", hint=_DISK_HINT)
        if hello.fault:
            raise EngineUnavailable(f"Helm's engine does not load: {hello.fault}", hint=_START_HINT)
        self.version = hello.version

    def send(self, frame: msgspec.Struct, seconds: float) -> None:
        """Send one frame; _WorkerDiedError if that cannot be done in time."""
        self._stderr.forget()
        with self._limited(seconds):
            write_frame(self._requests, frame)

    def receive(self, shape: type[Frame], seconds: float) -> Frame:
        """Wait for one frame; _WorkerDiedError if none comes in time."""
        with self._limited(seconds):
            return read_frame(self._answers, shape)

    @contextmanager
    def _limited(self, seconds: float) -> Iterator[None]:
        timer = threading.Timer(seconds, self._expire)
        timer.start()
        try:
            yield
        except (EOFError, BrokenPipeError, msgspec.DecodeError) as error:
            raise self._death(seconds) from error
        finally:
            timer.cancel()
            timer.join()

    def _expire(self) -> None:
        self._expired = True
        self._process.kill()

    def _death(self, seconds: float) -> _WorkerDiedError:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(2)
        status = self._process.poll()
        self.kill()
        if self._expired:
            fault = Fault("timeout", f"Helm's engine gave no answer within {seconds:g} s")
        else:
            fault = self._fault(status, self._stderr.text())
        return _WorkerDiedError(fault, is_killed=self._expired or status == -signal.SIGKILL)

    def _fault(self, status: int | None, said: str) -> Fault:
        if _OUT_OF_MEMORY.search(said):
            return Fault("memory", f"Helm's engine ran out of memory, which is limited to {self._memory >> 20} MiB")
        if status == -signal.SIGKILL:
            why = "by the system, for want of memory, or by somebody"
            return Fault("crash", f"Helm's engine was killed (signal {signal.SIGKILL:d}): {why}")
        # Go's own account goes on with the stacks of all its threads
        cause = _GO_DEATH.search(said)
        why = cause[0] if cause else f"{_ending(status)}\n{said[-_SHOWN:]}"
        return Fault("crash", f"Helm's engine crashed: {why}")

    def end(self) -> None:
        """End the process. Who has nothing to do goes by itself and takes its folder along: we may be killed now."""
        if self.is_idle:
            with suppress(OSError):
                self._requests.close()
                # the answers end with the process; to wait for that with a timeout looks only now and then
                ended = select.poll()
                ended.register(self._answers, select.POLLIN)
                ended.poll(1000)
        self.kill()

    def stop(self) -> None:
        """End the process; who waits for its answer is told."""
        self._process.kill()

    def kill(self) -> None:
        """End the process and remove what it left."""
        self._process.kill()
        self._process.wait()
        self._stderr.join()
        for pipe in (self._requests, self._answers, self._errors):
            # what could not be sent any more raises once again
            with suppress(OSError):
                pipe.close()
        shutil.rmtree(self._folder, ignore_errors=True)


class _Stderr(threading.Thread):
    """Reads what the worker writes to stderr, and keeps the beginning and the end: Go's cause comes first."""

    def __init__(self, pipe: int) -> None:
        super().__init__(name="brolly-engine-stderr", daemon=True)
        self._pipe = pipe
        self._head = self._tail = b""
        self.start()

    def run(self) -> None:
        while chunk := os.read(self._pipe, _STDERR_BYTES):
            room = _STDERR_BYTES - len(self._head)
            self._head += chunk[:room]
            self._tail = (self._tail + chunk[room:])[-_STDERR_BYTES:]

    def forget(self) -> None:
        """Begin anew, for the next request."""
        self._head = self._tail = b""

    def text(self) -> str:
        """Give what was kept."""
        return "\n...\n".join(part.decode(errors="replace") for part in (self._head, self._tail) if part)


def _environment(folder: str) -> dict[str, str]:
    """Give the worker's whole environment, which Go reads at its start: no secrets, no user's Helm, no cluster."""
    kept = {name: os.environ[name] for name in _KEPT_ENVIRONMENT if name in os.environ}
    here = str(Path(__file__).resolve().parent.parent)
    paths = os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))
    proxies = {
        name: _NO_PROXY for proxy in ("http_proxy", "https_proxy", "all_proxy") for name in (proxy, proxy.upper())
    }
    private = dict.fromkeys(("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"), folder)
    return _GO | kept | proxies | private | {"KUBECONFIG": os.devnull, "PYTHONPATH": paths}


def _widen(*pipes: IO[bytes]) -> None:
    """Let a frame pass in few pieces: for each the reading thread must get hold of the interpreter again."""
    for pipe in pipes:
        # Linux alone can do that, and may refuse a user who has many pipes
        with suppress(AttributeError, OSError):
            fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


def _ending(status: int | None) -> str:
    return f"exit status {status}" if status is None or status >= 0 else signal.Signals(-status).name


def _failure(fault: Fault) -> EngineFailure:
    if fault.kind == "disk":
        raise WorldError(fault.message, hint=_DISK_HINT)
    return failure("other" if fault.kind == "values" else fault.kind, fault.message)
