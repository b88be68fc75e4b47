"""A chart repository on this machine, with the faults that real ones have; and small real chart packages."""

from __future__ import annotations

import gzip
import hashlib
import socket
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from brolly.archive import Entry, stored_gzip, write_tar

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_CONFIG_MAP = b"""apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}-{{ .Chart.Name }}
data:
  greeting: {{ .Values.greeting | quote }}
"""


def chart_package(name: str, version: str, files: Mapping[str, bytes | str] | None = None, **metadata: Any) -> bytes:
    """Make a chart package that Helm loads and renders; `files` are added or put in place, by name in the chart."""
    import json

    header = {"apiVersion": "v2", "name": name, "version": version, **metadata}
    parts: dict[str, bytes | str] = {
        "Chart.yaml": json.dumps(header, indent=1),
        "values.yaml": "greeting: hello\n",
        "templates/configmap.yaml": _CONFIG_MAP,
        **(files or {}),
    }
    entries = (Entry(f"{name}/{path}", _bytes(content)) for path, content in parts.items())
    return stored_gzip(write_tar(entries))


def _bytes(content: bytes | str) -> bytes:
    return content.encode() if isinstance(content, str) else content


@dataclass(frozen=True)
class Fault:
    """What a server does instead of answering well, so many times (0: always)."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0
    change: str = ""
    times: int = 1

    def always(self) -> Fault:
        """Do the same at every request."""
        return replace(self, times=0)


def status(code: int, *, times: int = 1, **headers: str) -> Fault:
    """Answer with a status; `Retry_After="1"` is a header."""
    return Fault(code, {name.replace("_", "-"): value for name, value in headers.items()}, times=times)


def redirect(location: str) -> Fault:
    """Send the client elsewhere, always."""
    return Fault(302, {"Location": location}, times=0)


def late(seconds: float) -> Fault:
    """Answer well, but only after so many seconds."""
    return Fault(delay=seconds, times=0)


GARBAGE = Fault(change="garbage", times=0)
TRUNCATED = Fault(change="truncated", times=0)
ALTERED = Fault(change="altered", times=0)
# no answer until the server is closed
HANG = Fault(change="hang", times=0)


@dataclass(frozen=True)
class Request:
    """What a client asked. Header names are in lower case."""

    path: str
    headers: Mapping[str, str]


class ChartRepository:
    """Serves `/index.yaml` and packages; `faults` are by path, `files` by path without the leading slash."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, Fault] = {}
        self.requests: list[Request] = []
        self.charts: dict[str, list[dict[str, Any]]] = {}
        self.gzip = False
        self.etags = True
        self.login: tuple[str, str] | None = None
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._server = _Server(self)

    @property
    def url(self) -> str:
        """The address of the repository."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def add(self, name: str, version: str, content: bytes | None = None, **entry: Any) -> bytes:
        """Publish a version: its package, and its entry in the index. Gives the package."""
        content = chart_package(name, version) if content is None else content
        path = f"charts/{name}-{version}.tgz"
        self.files[path] = content
        digest = hashlib.sha256(content).hexdigest()
        known = {"apiVersion": "v2", "name": name, "version": version, "urls": [path], "digest": digest}
        self.charts.setdefault(name, []).append({**known, **entry})
        self.write_index()
        return content

    def write_index(self) -> None:
        """Write index.yaml from `charts`, in the layout that Helm writes."""
        self.files["index.yaml"] = index_yaml(self.charts)

    def paths(self) -> list[str]:
        """Give the paths that were asked for, in order."""
        return [request.path for request in self.requests]

    def take(self, path: str) -> Fault:
        """Say what happens at the next request of a path."""
        with self._lock:
            fault = self.faults.get(path) or Fault()
            if fault.times == 1:
                self.faults.pop(path, None)
            elif fault.times > 1:
                self.faults[path] = replace(fault, times=fault.times - 1)
        return fault

    def wait(self, seconds: float | None) -> None:
        """Wait, but not beyond the closing."""
        self._closed.wait(seconds)

    def close(self) -> None:
        """Stop serving."""
        self._closed.set()
        self._server.shutdown()
        self._server.hang_up()
        self._server.server_close()


@contextmanager
def chart_repository() -> Iterator[ChartRepository]:
    """Serve a repository on a port of the system's choice."""
    repository = ChartRepository()
    thread = threading.Thread(target=repository._server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield repository
    finally:
        repository.close()
        thread.join()


def index_yaml(charts: Mapping[str, list[dict[str, Any]]]) -> bytes:
    """Write an index as Helm does: charts two spaces in, their lists not further."""
    import yaml

    header = {"apiVersion": "v1", "entries": charts, "generated": "2026-01-02T03:04:05.678Z"}
    return yaml.dump(header, Dumper=_Dumper, sort_keys=True, allow_unicode=True).encode()


def _dumper() -> Any:
    import yaml

    # entries that are equal are written twice, as Go does, not as an alias
    return type("IndexDumper", (yaml.CSafeDumper,), {"ignore_aliases": lambda *_: True})


_Dumper = _dumper()


class _Server(ThreadingHTTPServer):
    daemon_threads = False

    def __init__(self, repository: ChartRepository) -> None:
        self.repository = repository
        self._connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """End the connections that clients keep open: the closing waits for their threads."""
        for connection in tuple(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that goes away is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 5
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """Say nothing: the repository keeps its own log."""

    def do_GET(self) -> None:
        repository = self.server.repository
        headers = {name.lower(): value for name, value in self.headers.items()}
        repository.requests.append(Request(self.path, headers))
        fault = repository.take(self.path)
        if fault.delay:
            repository.wait(fault.delay)
        if fault.change == "hang":
            repository.wait(None)
            self.close_connection = True
            return
        self._answer(repository, fault, headers)

    def _answer(self, repository: ChartRepository, fault: Fault, headers: Mapping[str, str]) -> None:
        content = repository.files.get(self.path.partition("?")[0].lstrip("/"))
        if fault.status != 200:
            self._send(fault.status, fault.headers, b"")
        elif repository.login and headers.get("authorization") != _basic(*repository.login):
            self._send(401, {"WWW-Authenticate": "Basic"}, b"")
        elif content is None:
            self._send(404, {}, b"")
        else:
            self._send_file(repository, content, fault, headers)

    def _send_file(self, repository: ChartRepository, content: bytes, fault: Fault, headers: Mapping[str, str]) -> None:
        etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        said = {"ETag": etag} if repository.etags else {}
        if repository.etags and not fault.change and headers.get("if-none-match") == etag:
            self._send(304, said, b"")
            return
        if fault.change == "garbage":
            content = b"<html><body>Sign in</body></html>"
        elif fault.change == "altered":
            content = content[:-1] + bytes([content[-1] ^ 1])
        if repository.gzip and "gzip" in headers.get("accept-encoding", ""):
            content, said = gzip.compress(content), {**said, "Content-Encoding": "gzip"}
        self._send(200, {**said, **fault.headers}, content, truncated=fault.change == "truncated")

    def _send(self, code: int, headers: Mapping[str, str], content: bytes, *, truncated: bool = False) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        if code != 304:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if truncated else content)
        self.close_connection = self.close_connection or truncated


def _basic(username: str, password: str) -> str:
    import base64

    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
