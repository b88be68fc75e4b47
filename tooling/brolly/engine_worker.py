"""The program that holds Helm's engine: it reads requests from stdin and answers on stdout until stdin ends.

The engine is a Go library. A template can make it recurse until it kills its process, run for ever or eat all memory,
and it must not be loaded in a process that forks: so it gets a process of its own, started by `brolly.engine`.
A frame is a length of 8 bytes, big-endian, and a MessagePack body.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import platform
import re
import resource
import select
import shutil
import struct
import sys
import threading
from collections import ChainMap
from typing import IO, TYPE_CHECKING, Any, Final, Literal, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from brolly.rendering import CrdFile, KnownDocuments, Rendering

Want = Literal["render", "templates", "install", "lint", "values"]
FaultKind = Literal["values", "template", "load", "timeout", "memory", "crash", "disk", "other"]

# twenty times what the largest umbrellas give; all of it is read
MAX_ANSWER: Final = 64 << 20
_LENGTH: Final = struct.Struct(">Q")
_REPLACED: Final = "\ufffd"
_LINT_FOLDER: Final = re.compile(r"\S*/helm-lint\d+/?")
Frame = TypeVar("Frame", bound=msgspec.Struct)


class Request(msgspec.Struct, frozen=True):
    """What is wanted of one chart package with values (a JSON text).

    `render` gives what Helm renders in Helm's order, read; `templates` the texts as they come out of the templates.
    """

    package: bytes
    values: str
    want: Want
    name: str = "release-name"
    namespace: str = "default"
    strict: bool = True


class Fault(msgspec.Struct, frozen=True):
    """Why something could not be done."""

    kind: FaultKind
    message: str


class Answer(msgspec.Struct, frozen=True):
    """Either a result or a fault."""

    result: Any = None
    fault: Fault | None = None


class Hello(msgspec.Struct, frozen=True):
    """The first frame: the version of Helm, why there is no engine, or what the disk refused."""

    version: str = ""
    fault: str = ""
    disk: str = ""


# msgspec works out a struct's types at the first use, and not safely in several threads: so it is done here
_DECODERS: Final[dict[type[msgspec.Struct], Any]] = {
    shape: msgspec.msgpack.Decoder(shape) for shape in (Request, Answer, Hello)
}


def write_frame(stream: IO[bytes], frame: msgspec.Struct) -> None:
    """Write one frame."""
    body = msgspec.msgpack.encode(frame)
    stream.write(_LENGTH.pack(len(body)))
    stream.write(body)
    stream.flush()


def read_frame(stream: IO[bytes], shape: type[Frame]) -> Frame:
    """Read one frame; EOFError where the stream ends."""
    head = stream.read(_LENGTH.size)
    size = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else 0
    body = stream.read(size)
    if not size or len(body) != size:
        raise EOFError
    frame: Frame = _DECODERS[shape].decode(body)
    return frame


def main() -> None:
    """Serve until stdin ends. The arguments are the limit of the address space in bytes, and a folder to make."""
    memory, folder = int(sys.argv[1]), sys.argv[2]
    requests, answers = _take_streams()
    try:
        # who makes it removes it: a parent that is killed just before this process starts leaves nothing
        os.mkdir(folder, 0o700)  # noqa: PTH102 - pathlib costs start-up time
        os.chdir(folder)
    except OSError as error:
        write_frame(answers, Hello(disk=f"making {folder}: {error.strerror}"))
        return
    leaving = threading.Thread(target=_leave_with_parent, args=(requests.fileno(), folder), daemon=True)
    leaving.start()
    _limit(resource.RLIMIT_AS, memory)
    _limit(resource.RLIMIT_CORE, 0)
    _close_network()
    # whoever asked is gone at one end or the other: this process must not end before its folder is removed
    with contextlib.suppress(EOFError, BrokenPipeError):
        write_frame(answers, _hello())
        worker = _Worker(folder)
        while True:
            write_frame(answers, worker.answer(read_frame(requests, Request)))
    leaving.join()


def _limit(what: int, wanted: int) -> None:
    _, hard = resource.getrlimit(what)
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    # macOS refuses a limit of the address space
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(what, (limit, limit))


def _take_streams() -> tuple[IO[bytes], IO[bytes]]:
    """Keep stdin and stdout for frames: what a library prints goes to stderr, what it reads is empty."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return requests, answers


def _leave_with_parent(requests: int, folder: str) -> None:
    """End as soon as nobody can write a request any more, even in the middle of an endless template.

    Linux' PR_SET_PDEATHSIG is no help: it fires when the thread that started this process ends.
    """
    poll = select.poll()
    poll.register(requests, 0)
    poll.poll()
    for _ in range(100):
        shutil.rmtree(folder, ignore_errors=True)
        # what Helm was writing meanwhile
        if not os.path.lexists(folder):
            break
    os._exit(0)


def _close_network() -> None:
    """Refuse sockets other than local ones: Helm fetches a values schema's remote references while it validates.

    A proxy that nobody serves (see `engine`) stops that too, except for loopback addresses, which Go never proxies.
    Where this system call filter cannot be set, the proxy is all there is.
    """
    known = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}.get(platform.machine())
    if sys.platform != "linux" or known is None:
        return
    architecture, socket = known
    load, equal, leave = 0x20, 0x15, 0x06
    filters = (
        (load, 0, 0, 4),  # the architecture,
        (equal, 0, 5, architecture),
        (load, 0, 0, 0),  # the call's number,
        (equal, 0, 3, socket),
        (load, 0, 0, 16),  # and its first argument: the address family
        (equal, 1, 0, 1),  # AF_UNIX
        (leave, 0, 0, 0x50000 | 13),  # SECCOMP_RET_ERRNO, EACCES
        (leave, 0, 0, 0x7FFF0000),  # SECCOMP_RET_ALLOW
    )
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *each) for each in filters))
    program = ctypes.create_string_buffer(struct.pack("@HP", len(filters), ctypes.addressof(code)))
    libc = ctypes.CDLL(None)
    # PR_SET_NO_NEW_PRIVS, then PR_SET_SECCOMP with SECCOMP_MODE_FILTER
    libc.prctl(38, 1, 0, 0, 0)
    libc.prctl(22, 2, program)


def _hello() -> Hello:
    try:
        import helm_python
    except Exception as error:  # noqa: BLE001 - whatever keeps the library from loading is said to the parent
        return Hello(fault=f"{type(error).__name__}: {error}")
    return Hello(version=helm_python.helm_sdk_version())


class _FaultyError(Exception):
    """What Helm gave is not to be used; `fault` says why."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


class _Worker:
    """What answers requests. It keeps what a package said first: with other values it says mostly the same."""

    def __init__(self, folder: str) -> None:
        from brolly import rendering

        self._read = rendering.from_templates
        self._refused = rendering.RenderingError
        self._folder = folder
        self._package = b""
        self._documents: KnownDocuments = {}
        self._work: dict[Want, Callable[[Request, dict[str, Any]], Any]] = {
            "render": self._render,
            "templates": _templates,
            "install": _install,
            "lint": self._lint,
            "values": _values,
        }

    def answer(self, request: Request) -> Answer:
        """Do what is wanted, or say why that could not be done."""
        try:
            return Answer(self._work[request.want](request, json.loads(request.values)))
        except MemoryError:
            return Answer(fault=Fault("memory", "the engine's process is out of memory"))
        except OSError as error:
            return Answer(fault=Fault("disk", f"writing {error.filename or self._folder}: {error.strerror}"))
        except _FaultyError as error:
            return Answer(fault=error.fault)
        except Exception as error:
            fault = _fault(error)
            if fault is None:
                raise
            return Answer(fault=fault)

    def _render(self, request: Request, values: dict[str, Any]) -> Rendering:
        found = _templates(request, values)
        if self._package != request.package:
            self._package, self._documents = request.package, {}
        # what is new goes into the first map: one rendering is kept, not all
        known = ChainMap({}, self._documents) if self._documents else self._documents
        try:
            rendering = self._read(found["templates"], crds=_crd_files(found["crds"]), known=known)
        except self._refused as error:
            # Helm's install action parses YAML, and has its own words; rendering alone does not
            _install(request, values)
            raise _FaultyError(Fault("template", str(error))) from error
        # U+FFFD may stand for bytes that are no UTF-8, which Helm refuses
        if any(_REPLACED in text for text in found["templates"].values()):
            _install(request, values)
        return rendering

    def _lint(self, request: Request, values: dict[str, Any]) -> dict[str, Any]:
        import helm_python

        # Helm lints files only; it unpacks a name that ends in .tgz below TMPDIR and removes that again
        path = os.path.join(self._folder, "chart.tgz")  # noqa: PTH118 - pathlib costs start-up time
        with open(path, "wb") as package:  # noqa: PTH123
            package.write(request.package)
        report = helm_python.lint(path, values, strict=request.strict, namespace=request.namespace)
        messages = [(said["severity"], _below(said["path"]), _below(said["error"])) for said in report["messages"]]
        return {"messages": messages, "errors": [_below(error) for error in report["errors"]]}


def _fault(error: Exception) -> Fault | None:
    import helm_python as helm

    kinds: tuple[tuple[type[Exception], FaultKind], ...] = (
        (helm.HelmRenderError, "template"),
        (helm.HelmReleaseError, "template"),
        (helm.HelmValuesError, "values"),
        (helm.HelmChartLoadError, "load"),
        (helm.HelmChartInvalidError, "load"),
        (helm.HelmInvalidArgError, "load"),
        (helm.HelmError, "other"),
    )
    return next((Fault(kind, str(error)) for shape, kind in kinds if isinstance(error, shape)), None)


def _templates(request: Request, values: dict[str, Any]) -> dict[str, Any]:
    import helm_python

    # a handle is good for one render: Helm changes the chart while it processes dependencies
    with helm_python.Chart.load_archive(request.package) as chart:
        templates = chart.render(values, name=request.name, namespace=request.namespace)
        size = sum(len(path) + len(text) for path, text in templates.items())
        if size > MAX_ANSWER:
            raise _FaultyError(
                Fault("memory", f"the templates give {size >> 20} MiB, more than {MAX_ANSWER >> 20} MiB")
            )
        # after the render, so that those of disabled subcharts are gone and aliases are in the names
        crds = [(crd["filename"], crd["name"], crd["data"]) for crd in chart.crds]
    return {"templates": templates, "crds": crds}


def _crd_files(crds: Sequence[Sequence[str]]) -> tuple[CrdFile, ...]:
    """Order the CRD files by chart: Helm loads subcharts in random order."""
    from brolly.rendering import CrdFile

    ordered = sorted(crds, key=lambda crd: crd[0].removesuffix(crd[1]).split("/"))
    return tuple(CrdFile(source, content) for source, _, content in ordered)


def _install(request: Request, values: dict[str, Any]) -> str:
    import helm_python

    with (
        helm_python.Chart.load_archive(request.package) as chart,
        helm_python.Config(storage_driver="memory") as memory,
    ):
        release = memory.install(chart, request.name, values, namespace=request.namespace, dry_run="client")
    return str(release.get("manifest", ""))


def _below(text: str) -> str:
    """Take the temporary folder out of Helm's texts."""
    return _LINT_FOLDER.sub("", text)


def _values(request: Request, values: dict[str, Any]) -> str:
    import helm_python

    with helm_python.Chart.load_archive(request.package) as chart:
        return json.dumps(chart.merge_values(values))


if __name__ == "__main__":
    main()
