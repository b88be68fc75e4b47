"""A chart repository on loopback that answers as late as one on the Internet does."""

from __future__ import annotations

import hashlib
import threading
import time
from contextlib import contextmanager
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Final

from chart_repository import index_yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.generate import Chart

# older versions that the index lists besides each chart's own: public indexes have hundreds, which costs Helm more
_OLDER_VERSIONS: Final = 4


class Repository:
    """Serves files by path. `latency` is in seconds and may be changed between two runs."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.latency = 0.0
        self._server = _Server(self)

    @property
    def url(self) -> str:
        """The address of the repository."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def add(self, charts: Sequence[Chart]) -> None:
        """Publish charts: their packages, and the index."""
        entries = {}
        for chart in charts:
            path = f"charts/{chart.name}-{chart.version}.tgz"
            self.files[path] = chart.package
            digest = hashlib.sha256(chart.package).hexdigest()
            versions = [(chart.version, digest), *((f"0.{old}.0", "0" * 64) for old in range(_OLDER_VERSIONS))]
            entries[chart.name] = [_entry(chart.name, version, digest) for version, digest in versions]
        self.files["index.yaml"] = index_yaml(entries)

    @contextmanager
    def serving(self) -> Iterator[Repository]:
        """Serve until the block ends."""
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()


def _entry(name: str, version: str, digest: str) -> dict[str, object]:
    return {
        "apiVersion": "v2",
        "appVersion": version,
        "created": "2026-01-02T03:04:05.678901234Z",
        "description": f"{name} for Kubernetes",
        "digest": digest,
        "home": f"https://{name}.example",
        "keywords": [name],
        "maintainers": [{"name": name, "email": f"team@{name}.example"}],
        "name": name,
        "sources": [f"https://git.example/{name}"],
        "type": "application",
        "urls": [f"charts/{name}-{version}.tgz"],
        "version": version,
    }


@lru_cache(maxsize=256)
def _etag(content: bytes) -> str:
    """Hash a file once, as servers do: its bytes are kept with it, and Python keeps their own hash."""
    return f'"{hashlib.sha256(content).hexdigest()[:16]}"'


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # a connection that the backlog has no room for is tried again after a second: that would be measured
    request_queue_size = 128

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients may leave."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # else each answer waits 40 ms for the client's delayed acknowledgement
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Say nothing."""

    def do_GET(self) -> None:
        if self.server.repository.latency:
            time.sleep(self.server.repository.latency)
        content = self.server.repository.files.get(self.path.lstrip("/"))
        if content is None:
            self._answer(404, b"", "")
            return
        etag = _etag(content)
        known = self.headers.get("If-None-Match") == etag
        self._answer(304 if known else 200, b"" if known else content, etag)

    def _answer(self, status: int, content: bytes, etag: str) -> None:
        self.send_response(status)
        if etag:
            self.send_header("ETag", etag)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def index_of(size: int, charts: int = 200) -> tuple[str, bytes]:
    """Make an index of about so many bytes, and name a chart in the middle of it."""
    one = index_yaml({"NAME": [_entry("NAME", "VERSION", "0" * 64)]}).decode()
    head, _, rest = one.partition("  NAME:\n")
    entry, _, tail = rest.partition("generated:")
    names = [f"chart-{number:03}" for number in range(charts)]
    versions = range(max(1, size // charts // len(entry.replace("NAME", names[0]))))
    parts = [head]
    for name in names:
        written = entry.replace("NAME", name)
        parts.append(f"  {name}:\n")
        parts += (written.replace("VERSION", f"1.{version}.0") for version in reversed(versions))
    return names[charts // 2], "".join([*parts, "generated:", tail]).encode()
