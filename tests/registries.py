"""What tests need of registries: a twin in memory, real docker-registry, a token server, and servers that misbehave.

Everything listens on loopback at a port that the system chooses, and is gone when its `with` block ends.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import http.client
import json
import os
import shutil
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import parse_qs, urlsplit

import pytest

from brolly.oci import Blob, Descriptor, Digest, StoredBlob
from brolly.registry import NotFound
from brolly.registry.port import (
    is_digest,
    named_in,
    opened,
    require_blob,
    require_complete,
    require_digest,
    require_free,
    require_own_digest,
    require_reference,
    require_repository,
    require_size,
)

_PACKAGES = {"docker-registry": "docker-registry", "oras": "oras", "cosign2": "cosign"}

_MEMORY = Path("/dev/shm")  # noqa: S108 (a folder in memory, where there is one)

USER, PASSWORD = "pusher", "s3cret:pass"
# bcrypt of PASSWORD at the lowest cost
HTPASSWD = f"{USER}:$2b$04$CrR2S0xeXoh3qGULWio/IeXYVHxJzNCChMhQvpr7jKwLnFq5CSAEe\n"


def peer(name: str) -> Path:
    """Find a program to test against, in BROLLY_PEERS, on PATH, in ~/.cache/brolly-peers/bin; skip without it."""
    folders = (os.environ.get("BROLLY_PEERS"), os.environ.get("PATH"), Path.home() / ".cache/brolly-peers/bin")
    for folder in folders:
        if folder and (found := shutil.which(name, path=str(folder))):
            return Path(found)
    pytest.skip(f"needs {name}: apt-get install {_PACKAGES.get(name, name)}, or name its folder in BROLLY_PEERS")


class MemoryRegistry:
    """The `Registry` port in memory. `writes` lists what was stored, in order: `blob REPO DIGEST`, `tag REPO TAG`..."""

    def __init__(self) -> None:
        self.blobs: dict[tuple[str, str], bytes] = {}
        self.manifests: dict[tuple[str, str], Blob] = {}
        self.tagged: dict[tuple[str, str], str] = {}
        self.writes: list[str] = []

    def tags(self, repository: str) -> tuple[str, ...]:
        require_repository(repository)
        return tuple(sorted(tag for name, tag in self.tagged if name == repository))

    def resolve(self, repository: str, reference: str) -> Descriptor | None:
        found = self._find(repository, reference)
        return found.descriptor if found else None

    def manifest(self, repository: str, reference: str) -> Blob:
        found = self._find(repository, reference)
        if found is None:
            raise NotFound(f"{self.location(repository, reference)}: there is no such manifest")
        return found

    def has_blob(self, repository: str, digest: str) -> bool:
        return (require_repository(repository), Digest.parse(digest)) in self.blobs

    def blob(self, repository: str, descriptor: Descriptor, *, max_size: int) -> bytes:
        require_size(repository, descriptor, max_size)
        content = self.blobs.get((require_repository(repository), Digest.parse(descriptor.digest)))
        if content is None:
            raise NotFound(f"memory:{repository}@{descriptor.digest}: there is no such blob")
        require_blob(repository, descriptor, content)
        return content

    def put_blob(self, repository: str, blob: Blob | StoredBlob) -> None:
        content = blob.content if isinstance(blob, Blob) else _content(blob)
        require_digest(repository, content, blob.descriptor.digest)
        if not self.has_blob(repository, blob.descriptor.digest):
            self.blobs[repository, blob.descriptor.digest] = content
            self.writes.append(f"blob {repository} {blob.descriptor.digest}")

    def put_manifest(self, repository: str, reference: str, manifest: Blob, *, only_new: bool = False) -> None:
        require_own_digest(require_reference(reference), manifest)
        if only_new:
            require_free(self.location(repository, reference), self.resolve(repository, reference), manifest)
        stored = {digest for name, digest in (*self.blobs, *self.manifests) if name == require_repository(repository)}
        missing = [digest for digest in named_in(manifest) if digest not in stored]
        require_complete(self.location(repository, reference), manifest, missing)
        digest = manifest.descriptor.digest
        self.manifests[repository, digest] = Blob.of(manifest.descriptor.media_type, manifest.content)
        if not is_digest(reference):
            self.tagged[repository, reference] = digest
        self.writes.append(f"{'manifest' if is_digest(reference) else 'tag'} {repository} {reference}")

    def location(self, repository: str, tag: str) -> str:
        return f"memory:{repository}{'@' if is_digest(tag) else ':'}{tag}"

    def _find(self, repository: str, reference: str) -> Blob | None:
        key = require_repository(repository), require_reference(reference)
        return self.manifests.get((repository, self.tagged.get(key, reference)))


def _content(blob: StoredBlob) -> bytes:
    with opened(blob) as file:
        return file.read()


class Asked(NamedTuple):
    """A request that a server got; header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def authorization(self) -> str:
        return self.headers.get("authorization", "")


@dataclass(frozen=True)
class Answer:
    """What a server says. `fault`: "truncate" sends half of the body, "drop" nothing, "hang" waits for the end."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    fault: str = ""


App: TypeAlias = Callable[[Asked], Answer]


class Server:
    """A running server: its address (host:port), and what it was asked."""

    def __init__(self, address: str, asked: list[Asked]) -> None:
        self.address = address
        self.asked = asked

    @property
    def lines(self) -> list[str]:
        """The requests as `METHOD /path`, without queries."""
        return [f"{one.method} {one.path.partition('?')[0]}" for one in self.asked]


@contextlib.contextmanager
def serve(app: App) -> Iterator[Server]:
    """Serve an app on loopback."""
    over = threading.Event()
    asked: list[Asked] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            headers = {key.lower(): value for key, value in self.headers.items()}
            one = Asked(self.command, self.path, headers, self.rfile.read(length))
            asked.append(one)
            self.say(app(one))

        def say(self, answer: Answer) -> None:
            if answer.fault:
                self.close_connection = True
            if answer.fault == "hang":
                over.wait(30)
            if answer.fault in {"hang", "drop"}:
                return
            self.send_response(answer.status)
            for key, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command != "HEAD":
                half = len(answer.body) // 2 if answer.fault == "truncate" else None
                self.wfile.write(answer.body[:half])

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base class's name)
            pass

    class Quiet(ThreadingHTTPServer):
        request_queue_size = 64

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Say nothing: a client that goes away is what some tests are about."""

    server = Quiet(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield Server(f"127.0.0.1:{server.server_address[1]}", asked)
    finally:
        over.set()
        server.shutdown()
        server.server_close()
        thread.join()


def forward(upstream: str, fault: Callable[[Asked], Answer | None] = lambda _: None) -> App:
    """Make an app that asks the upstream, unless `fault` has an answer."""

    def app(asked: Asked) -> Answer:
        if (answer := fault(asked)) is not None:
            return answer
        connection = http.client.HTTPConnection(upstream, timeout=30)
        try:
            connection.request(asked.method, asked.path, asked.body or None, dict(asked.headers))
            got = connection.getresponse()
            kept = {key: value for key, value in got.getheaders() if key.lower() != "transfer-encoding"}
            return Answer(got.status, kept, got.read())
        finally:
            connection.close()

    return app


def times(count: int, answer: Answer) -> Callable[[Asked], Answer | None]:
    """Give a fault that happens the first `count` times."""
    left = iter(range(count))
    return lambda _: answer if next(left, None) is not None else None


@contextlib.contextmanager
def docker_registry(config: Mapping[str, Any] | None = None) -> Iterator[str]:
    """Run an empty docker-registry and yield its host:port. `config` is merged into its configuration."""
    program = peer("docker-registry")
    # not its own storage in memory: that takes half a minute for 100 MB
    with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None, ignore_cleanup_errors=True) as folder:
        storage = {"filesystem": {"rootdirectory": f"{folder}/data"}}
        merged = {"version": 0.1, "log": {"level": "info"}, "storage": storage, **(config or {})}
        merged["http"] = {"addr": "127.0.0.1:0", **merged.get("http", {})}
        path, log = Path(folder, "config.yml"), Path(folder, "log")
        path.write_text(json.dumps(merged))
        with log.open("wb") as out, subprocess.Popen([program, "serve", path], stdout=out, stderr=out) as process:
            try:
                yield _listening(process, log)
            finally:
                process.kill()


def _listening(process: subprocess.Popen[bytes], log: Path) -> str:
    until = time.monotonic() + 20
    while time.monotonic() < until and process.poll() is None:
        said = log.read_text()
        if "listening on " in said:
            return said.partition("listening on ")[2].split('"')[0].split(",")[0]
        time.sleep(0.01)  # a program of others says it in its log only
    raise AssertionError(f"docker-registry did not start: {log.read_text()[-2000:]}")


@contextlib.contextmanager
def htpasswd_registry() -> Iterator[str]:
    """Run docker-registry that wants USER and PASSWORD."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "htpasswd")
        path.write_text(HTPASSWD)
        with docker_registry({"auth": {"htpasswd": {"realm": "Registry Realm", "path": str(path)}}}) as address:
            yield address


@contextlib.contextmanager
def token_registry() -> Iterator[tuple[str, Server]]:
    """Run docker-registry behind a token server that gives exactly the asked scope; nobody may push but USER."""
    key, certificate = signing_key()
    with serve(token_app(key, certificate)) as server, tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder, "tokens.pem")
        bundle.write_bytes(certificate)
        token = {"realm": f"http://{server.address}/token", "service": "test", "issuer": "issuer"}
        with docker_registry({"auth": {"token": {**token, "rootcertbundle": str(bundle)}}}) as address:
            yield address, server


@contextlib.contextmanager
def tls_registry() -> Iterator[tuple[str, Path]]:
    """Run docker-registry with TLS, and yield it with the file of the CA that is to be trusted."""
    with tempfile.TemporaryDirectory() as folder:
        ca, certificate, key = own_ca(Path(folder))
        tls = {"certificate": str(certificate), "key": str(key)}
        with docker_registry({"http": {"tls": tls}}) as address:
            yield address, ca


def openssl(*arguments: str | Path, cwd: Path | None = None, stdin: bytes = b"") -> bytes:
    """Run openssl, or skip without it."""
    done = subprocess.run(
        [peer("openssl"), *arguments], input=stdin, capture_output=True, check=False, cwd=cwd, timeout=60
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def own_ca(folder: Path) -> tuple[Path, Path, Path]:
    """Make a CA and a certificate for 127.0.0.1 and localhost: the CA's, the server's and the server's key file."""
    new = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    usage = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")
    openssl(*new, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=Test CA", *usage, cwd=folder)
    names = ("-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE")
    signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-subj", "/CN=localhost")
    openssl(*new, *signed, "-keyout", "server.key", "-out", "server.pem", *names, cwd=folder)
    return folder / "ca.pem", folder / "server.pem", folder / "server.key"


@functools.cache
def signing_key() -> tuple[bytes, bytes]:
    """Make a key for tokens and its certificate, PEM both."""
    with tempfile.TemporaryDirectory() as folder:
        new = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=tokens")
        openssl(*new, "-keyout", "key.pem", "-out", "certificate.pem", cwd=Path(folder))
        return Path(folder, "key.pem").read_bytes(), Path(folder, "certificate.pem").read_bytes()


def token_app(key: bytes, certificate: bytes) -> App:
    """Make a token server for docker-registry: anybody may pull, USER may push; an identity token `refresh` too."""

    def app(asked: Asked) -> Answer:
        query = parse_qs(asked.body.decode() if asked.method == "POST" else urlsplit(asked.path).query)
        known = asked.authorization == basic(USER, PASSWORD) or query.get("refresh_token") == ["refresh"]
        if asked.authorization and not known:
            return Answer(401)
        kind, _, rest = query["scope"][0].partition(":")
        name, _, actions = rest.rpartition(":")
        granted = [action for action in actions.split(",") if known or action == "pull"]
        access = [{"type": kind, "name": name, "actions": granted}]
        token = _signed(key, certificate, {"access": access, "aud": query["service"][0], "iss": "issuer"})
        return Answer(200, {"Content-Type": "application/json"}, json.dumps({"token": token}).encode())

    return app


def _signed(key: bytes, certificate: bytes, claims: Mapping[str, Any]) -> str:
    now = int(time.time())
    der = base64.b64encode(ssl.PEM_cert_to_DER_cert(certificate.decode())).decode()
    times = {"sub": "anyone", "iat": now, "nbf": now - 10, "exp": now + 300, "jti": str(now)}
    head = _url64(json.dumps({"typ": "JWT", "alg": "RS256", "x5c": [der]}).encode())
    signed = f"{head}.{_url64(json.dumps({**claims, **times}).encode())}"
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "key.pem").write_bytes(key)
        signature = openssl("dgst", "-sha256", "-sign", Path(folder, "key.pem"), stdin=signed.encode())
    return f"{signed}.{_url64(signature)}"


def _url64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def basic(user: str, password: str) -> str:
    """Write the header of Basic authorization."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
