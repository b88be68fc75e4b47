from __future__ import annotations

import base64
import json
import pwd
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oras.provider import Registry as Provider

import registries
from brolly.archive import Entry, stored_gzip, write_tar
from brolly.errors import UsageError, WorldError
from brolly.oci import (
    HELM_CHART,
    HELM_CONFIG,
    IMAGE_INDEX,
    IMAGE_MANIFEST,
    Blob,
    Descriptor,
    Digest,
    StoredBlob,
    compact_json,
)
from brolly.registry import (
    LayoutRegistry,
    NotFound,
    Patience,
    Registry,
    RegistryMisbehaved,
    RegistryRefused,
    RegistryUnavailable,
    TagTaken,
    Unauthorized,
    open_registry,
)
from brolly.registry.addresses import api_host, origin_of, shown, target_of
from brolly.registry.authorization import challenge_of
from brolly.registry.client import Client
from brolly.registry.credentials import Credential, Lookup, find_credential
from brolly.registry.exchange import Exchange
from brolly.registry.port import quoted
from brolly.registry.remote import OciRegistry
from brolly.registry.transport import Transport
from dripping import dripping
from registries import PASSWORD, USER, Answer, Asked, MemoryRegistry, basic, forward, peer, serve, times

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

QUICK = Patience(connect=2, read=5, tries=3, backoff=0.001, longest_wait=0.01)
HASTY = Patience(connect=0.2, read=0.2, tries=3, backoff=0.001)
LOGIN = Credential(USER, PASSWORD)
CONFIG, LAYER = Blob.of("application/vnd.test.config", b'{"a":1}'), Blob.of("application/vnd.test", b"layer " * 20_000)
MAX = 10 << 20


def manifest_of(*layers: Blob, config: Blob = CONFIG, **fields: Any) -> Blob:
    described = [json.loads(_json(blob.descriptor)) for blob in (config, *layers)]
    body = {"schemaVersion": 2, **fields, "config": described[0], "layers": described[1:]}
    return Blob.of(IMAGE_MANIFEST, compact_json(body))


def _json(descriptor: Descriptor) -> bytes:
    fields = {"mediaType": descriptor.media_type, "digest": descriptor.digest, "size": descriptor.size}
    return compact_json(fields)


MANIFEST = manifest_of(LAYER)
OTHER = manifest_of(LAYER, annotations={"other": "one"})


def push(registry: Registry, repository: str, *tags: str, manifest: Blob = MANIFEST) -> None:
    for blob in (CONFIG, LAYER):
        registry.put_blob(repository, blob)
    for tag in tags:
        registry.put_manifest(repository, tag, manifest)


@pytest.fixture(autouse=True)
def _nobody_is_logged_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.setenv("HELM_REGISTRY_CONFIG", str(tmp_path / "helm.json"))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def answering(answer: Answer) -> registries.App:
    return lambda _: answer


def only(method: str, fault: Callable[[Asked], Answer | None]) -> Callable[[Asked], Answer | None]:
    return lambda asked: fault(asked) if asked.method == method else None


def message(app: registries.App, ask: Callable[[Registry], Any], **options: Any) -> tuple[str, Exception]:
    """Give what a registry that answers so makes of a question: the fault and its text, with HOST in it."""
    with serve(app) as server:
        try:
            ask(OciRegistry(server.address, **{"patience": QUICK, **options}))
        except Exception as error:  # noqa: BLE001 (the test looks at it)
            return str(error).replace(server.address, "HOST"), error
    raise AssertionError("no fault")


# one contract, for every kind of registry

KINDS = ("memory", "layout", "anonymous", "htpasswd", "token", "identity-token", "tls")


@pytest.fixture(scope="module")
def running() -> Iterator[Callable[[str], Any]]:
    """Real registries, each started when it is first asked for."""
    started: dict[str, Any] = {}
    ways = {
        "anonymous": registries.docker_registry,
        "htpasswd": registries.htpasswd_registry,
        "token": registries.token_registry,
        "tls": registries.tls_registry,
    }
    with ExitStack() as stack:
        yield (
            lambda kind: (
                started[kind] if kind in started else started.setdefault(kind, stack.enter_context(ways[kind]()))
            )
        )


@pytest.fixture(params=KINDS)
def registry(request: pytest.FixtureRequest, running: Callable[[str], Any], tmp_path: Path) -> Registry:
    match request.param:
        case "memory":
            return MemoryRegistry()
        case "layout":
            return LayoutRegistry(tmp_path / "registry")
        case "anonymous":
            return OciRegistry(running("anonymous"), patience=QUICK)
        case "htpasswd":
            return OciRegistry(running("htpasswd"), credential=LOGIN, patience=QUICK)
        case "token":
            return OciRegistry(running("token")[0], credential=LOGIN, patience=QUICK)
        case "identity-token":
            return OciRegistry(running("token")[0], credential=Credential("", "", "refresh"), patience=QUICK)
        case _:
            address, ca = running("tls")
            return OciRegistry(address, ca_file=ca, patience=QUICK)


@pytest.fixture
def repository(request: pytest.FixtureRequest) -> str:
    """Name a path of its own for each test: real registries live longer than one."""
    name = request.node.name.partition("[")[0]
    return f"team/{name.replace('_', '-').lower()[:80]}/x-{abs(hash(request.node.name)) % 10**8}"


def test_a_repository_that_is_not_there_has_nothing(registry: Registry, repository: str) -> None:
    assert registry.tags(repository) == ()
    assert registry.resolve(repository, "1.0.0") is None
    assert registry.resolve(repository, MANIFEST.descriptor.digest) is None
    assert not registry.has_blob(repository, LAYER.descriptor.digest)
    with pytest.raises(NotFound, match=r"1\.0\.0"):
        registry.manifest(repository, "1.0.0")
    with pytest.raises(NotFound, match=LAYER.descriptor.digest[7:]):
        registry.blob(repository, LAYER.descriptor, max_size=MAX)


def test_what_is_put_comes_back_byte_for_byte(registry: Registry, repository: str) -> None:
    push(registry, repository, MANIFEST.descriptor.digest, "1.0.0_meta.5")
    assert registry.has_blob(repository, LAYER.descriptor.digest)
    assert registry.blob(repository, LAYER.descriptor, max_size=MAX) == LAYER.content
    for reference in ("1.0.0_meta.5", MANIFEST.descriptor.digest):
        assert registry.manifest(repository, reference) == MANIFEST
        assert registry.resolve(repository, reference) == MANIFEST.descriptor


def test_an_empty_blob_is_a_blob(registry: Registry, repository: str) -> None:
    empty = Blob.of("application/vnd.test", b"")
    registry.put_blob(repository, empty)
    assert registry.has_blob(repository, empty.descriptor.digest)
    assert registry.blob(repository, empty.descriptor, max_size=0) == b""


def stored(folder: Path, blob: Blob, prove: Callable[[], None] = lambda: None) -> StoredBlob:
    """Write a blob to a file."""
    path = folder / blob.descriptor.digest[7:]
    path.write_bytes(blob.content)
    return StoredBlob(blob.descriptor, path, prove)


def test_a_blob_in_a_file_is_put_as_any_other(registry: Registry, repository: str, tmp_path: Path) -> None:
    empty = Blob.of("application/vnd.test", b"")
    for blob in (CONFIG, LAYER, empty):
        registry.put_blob(repository, stored(tmp_path, blob))
        assert registry.blob(repository, blob.descriptor, max_size=MAX) == blob.content


class NotProvenError(Exception):
    """Somebody asked for the proof, and there is none."""


def test_a_blob_in_a_file_is_not_stored_before_it_is_proven(
    registry: Registry, repository: str, tmp_path: Path
) -> None:
    def prove() -> None:
        raise NotProvenError

    for blob in (CONFIG, LAYER, Blob.of("application/vnd.test", b"")):
        with pytest.raises(NotProvenError):
            registry.put_blob(repository, stored(tmp_path, blob, prove))
        assert not registry.has_blob(repository, blob.descriptor.digest)


def test_a_file_that_is_not_what_it_was_is_not_stored(registry: Registry, repository: str, tmp_path: Path) -> None:
    """The registry is told what it should be, and judges: whatever was proven before."""
    for blob in (CONFIG, LAYER):
        for changed in (blob.content[:-1], blob.content + b"!", blob.content[:-1] + b"!", None):
            file = stored(tmp_path, blob)
            if changed is None:
                file.path.unlink()
            else:
                file.path.write_bytes(changed)
            with pytest.raises(WorldError):
                registry.put_blob(repository, file)
            assert not registry.has_blob(repository, blob.descriptor.digest)


def test_putting_again_changes_nothing(registry: Registry, repository: str) -> None:
    push(registry, repository, "1.0.0")
    push(registry, repository, "1.0.0", MANIFEST.descriptor.digest)
    assert registry.tags(repository) == ("1.0.0",)
    assert registry.resolve(repository, "1.0.0") == MANIFEST.descriptor


def test_a_manifest_put_by_digest_has_no_tag(registry: Registry, repository: str) -> None:
    push(registry, repository, MANIFEST.descriptor.digest)
    assert registry.tags(repository) == ()
    assert registry.resolve(repository, MANIFEST.descriptor.digest) == MANIFEST.descriptor


def test_a_tag_that_moves_leaves_the_manifest_it_named(registry: Registry, repository: str) -> None:
    push(registry, repository, "latest", "1.0.0")
    push(registry, repository, "latest", manifest=OTHER)
    assert registry.tags(repository) == ("1.0.0", "latest")
    assert registry.manifest(repository, "latest") == OTHER
    push(registry, repository, "1.0.0", manifest=OTHER)
    assert registry.manifest(repository, MANIFEST.descriptor.digest) == MANIFEST


def test_a_tag_that_has_to_be_new_does_not_move(registry: Registry, repository: str) -> None:
    push(registry, repository)
    for _ in range(2):  # what it names already, it may name
        registry.put_manifest(repository, "1.0.0", MANIFEST, only_new=True)
    with pytest.raises(TagTaken, match=r"1\.0\.0") as caught:
        registry.put_manifest(repository, "1.0.0", OTHER, only_new=True)
    assert caught.value.there == MANIFEST.descriptor.digest
    assert registry.manifest(repository, "1.0.0") == MANIFEST


def test_an_index_keeps_its_media_type(registry: Registry, repository: str) -> None:
    push(registry, repository, MANIFEST.descriptor.digest)
    entry = json.loads(_json(MANIFEST.descriptor))
    index = Blob.of(IMAGE_INDEX, compact_json({"schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": [entry]}))
    registry.put_manifest(repository, "sha256-fallback", index)
    assert registry.manifest(repository, "sha256-fallback") == index


def test_a_manifest_needs_what_it_names_but_not_its_subject(registry: Registry, repository: str) -> None:
    registry.put_blob(repository, CONFIG)
    with pytest.raises((RegistryRefused, NotFound)):
        registry.put_manifest(repository, "1.0.0", MANIFEST)
    absent = json.loads(_json(OTHER.descriptor))
    referrer = manifest_of(config=CONFIG, mediaType=IMAGE_MANIFEST, subject=absent)
    registry.put_manifest(repository, referrer.descriptor.digest, referrer)
    assert registry.manifest(repository, referrer.descriptor.digest) == referrer


def test_a_blob_above_the_limit_is_not_read(registry: Registry, repository: str) -> None:
    push(registry, repository)
    with pytest.raises(RegistryMisbehaved, match="the limit is 10"):
        registry.blob(repository, LAYER.descriptor, max_size=10)


def test_a_descriptor_with_a_wrong_size_is_refused(registry: Registry, repository: str) -> None:
    push(registry, repository)
    for wrong in (-1, 1):
        size = LAYER.descriptor.size + wrong
        lying = Descriptor(media_type=LAYER.descriptor.media_type, digest=LAYER.descriptor.digest, size=size)
        with pytest.raises(RegistryMisbehaved, match="bytes"):
            registry.blob(repository, lying, max_size=MAX)


@pytest.mark.parametrize(
    "name", ["../up", "/etc", "a//b", "a/../b", "A", "a b", ".git", "a/.brolly", "", "a:1", "x" * 300]
)
def test_what_is_no_repository_never_reaches_a_registry(registry: Registry, name: str) -> None:
    for ask in (registry.tags, lambda bad: registry.resolve(bad, "1"), lambda bad: registry.put_blob(bad, CONFIG)):
        with pytest.raises(ValueError, match=r"repository|digest"):
            ask(name)


@pytest.mark.parametrize("reference", ["", "a/b", "../x", "sha256:00", "sha512:" + "0" * 128, "-x", "x" * 129])
def test_what_is_no_reference_never_reaches_a_registry(registry: Registry, reference: str) -> None:
    with pytest.raises(ValueError, match=r"tag|digest"):
        registry.resolve("a", reference)


def test_a_manifest_is_not_stored_under_the_digest_of_another(registry: Registry, repository: str) -> None:
    push(registry, repository)
    with pytest.raises(ValueError, match=MANIFEST.descriptor.digest):
        registry.put_manifest(repository, OTHER.descriptor.digest, MANIFEST)


def test_threads_share_a_registry(registry: Registry, repository: str) -> None:
    def publish(number: int) -> None:
        layer = Blob.of("application/vnd.test", b"layer %d" % number)
        registry.put_blob(repository, CONFIG)
        registry.put_blob(repository, layer)
        registry.put_manifest(repository, f"1.0.{number}", manifest_of(layer))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(publish, range(24)))
    assert registry.tags(repository) == tuple(sorted(f"1.0.{number}" for number in range(24)))


# destinations


def test_a_destination_opens_its_registry(tmp_path: Path) -> None:
    layout, prefix = open_registry("oci-layout:out/registry", root=tmp_path)
    assert (prefix, layout.location("charts/a", "1.0.0")) == ("", f"oci-layout:{tmp_path}/out/registry/charts/a:1.0.0")
    remote, prefix = open_registry("oci://registry.example:5000/team/bundles/")
    assert prefix == "team/bundles"
    assert remote.location("team/bundles/a", "1.0.0") == "oci://registry.example:5000/team/bundles/a:1.0.0"
    assert (
        remote.location("a", MANIFEST.descriptor.digest)
        == f"oci://registry.example:5000/a@{MANIFEST.descriptor.digest}"
    )
    assert [open_registry(text)[1] for text in ("oci://registry.example", "oci://[::1]:5000/")] == ["", ""]


@pytest.mark.parametrize(
    ("destination", "hint"),
    [
        ("ghcr.io/org", "write oci://ghcr.io/org, or oci-layout:ghcr.io/org for a folder"),
        ("localhost:5000/org", "write oci://localhost:5000/org, or"),
        ("https://ghcr.io/org/", "=write oci://ghcr.io/org"),
        ("http://10.0.0.1:5000", "=write oci://10.0.0.1:5000, with --plain-http"),
        ("docker://ghcr.io/org", "=write oci://ghcr.io/org"),
        ("OCI://ghcr.io", "=write oci://ghcr.io"),
        ("https://", "=write oci://HOST/PREFIX, such as oci://registry.example"),
        ("https://user:pass@ghcr.io/org", "=run `helm registry login ghcr.io`"),
        ("https://ghcr.io/Org", "=write oci://HOST/PREFIX, such as oci://registry.example"),
        ("file:///srv/registry", "=write oci-layout:/srv/registry"),
        ("dist", "oci-layout:dist"),
        ("./dist.new", "oci-layout:./dist.new"),
        ("/srv/a.b", "oci-layout:/srv/a.b"),
        ("oci-layout:", "oci-layout:PATH"),
        ("oci-layout", "oci-layout:PATH|oci-layout:oci-layout"),
        ("oci://", "oci://HOST/PREFIX"),
        ("oci:///a", "oci://HOST/PREFIX"),
        ("oci://ghcr.io/Org", "oci://HOST/PREFIX"),
        ("oci://ghcr.io/org:1.0", "write oci://ghcr.io/org"),
        ("oci://user:pass@ghcr.io/org", "=run `helm registry login ghcr.io`"),
    ],
)
def test_a_wrong_destination_says_what_to_type(destination: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_registry(destination)
    if hint.startswith("="):
        assert caught.value.hint == hint[1:]
    else:
        assert any(part in caught.value.hint for part in hint.split("|"))


@pytest.mark.parametrize("scheme", ["oci", "https", "http"])
def test_a_password_in_a_destination_is_not_repeated(scheme: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_registry(f"{scheme}://me:s3cret@registry.example:5000/x")
    assert "s3cret" not in f"{caught.value}{caught.value.hint}"
    assert caught.value.hint == "run `helm registry login registry.example:5000`"


@pytest.mark.parametrize(("destination", "loaded"), [("oci-layout:x", []), ("oci://localhost:1/x", ["urllib3"])])
def test_opening_a_registry_loads_only_what_the_first_question_needs(destination: str, loaded: list[str]) -> None:
    code = (
        "import sys; from brolly.registry import open_registry; open_registry(sys.argv[1]);"
        "print(*(name for name in ('jsonschema', 'oras.provider', 'requests', 'urllib3') if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code, destination], capture_output=True, text=True, check=True)
    assert done.stdout.split() == loaded


# a registry in a folder


def layout_files(path: Path) -> list[str]:
    return sorted(str(found.relative_to(path)) for found in path.rglob("*") if found.is_file())


def test_a_folder_holds_one_layout_per_repository(tmp_path: Path) -> None:
    push(LayoutRegistry(tmp_path), "charts/podinfo", "1.0.0")
    blobs = sorted(blob.descriptor.digest[7:] for blob in (CONFIG, LAYER, MANIFEST))
    assert layout_files(tmp_path) == [
        ".brolly/lock",
        *(f"charts/podinfo/blobs/sha256/{name}" for name in blobs),
        "charts/podinfo/index.json",
        "charts/podinfo/oci-layout",
    ]


def test_the_index_is_the_same_whatever_the_order(tmp_path: Path) -> None:
    for name, tags in (("a", ["1.0.0", "2.0.0"]), ("b", ["2.0.0", "1.0.0"])):
        push(LayoutRegistry(tmp_path / name), "x", OTHER.descriptor.digest, manifest=OTHER)
        push(LayoutRegistry(tmp_path / name), "x", *tags)
    index = (tmp_path / "a/x/index.json").read_bytes()
    assert index == (tmp_path / "b/x/index.json").read_bytes()
    names = [
        (entry.get("annotations") or {}).get("org.opencontainers.image.ref.name")
        for entry in json.loads(index)["manifests"]
    ]
    assert names == [None, "1.0.0", "2.0.0"]


def test_what_other_tools_wrote_into_an_index_stays(tmp_path: Path) -> None:
    push(LayoutRegistry(tmp_path), "x", "1.0.0")
    path = tmp_path / "x/index.json"
    index = json.loads(path.read_bytes())
    index["manifests"][0]["annotations"]["com.example"] = "kept"
    path.write_bytes(compact_json(index))
    push(LayoutRegistry(tmp_path), "x", "1.0.0", manifest=OTHER)
    assert json.loads(path.read_bytes())["manifests"][0] == json.loads(_json(MANIFEST.descriptor)) | {
        "annotations": {"com.example": "kept"}
    }


def test_a_damaged_blob_is_refused_and_repaired_by_putting_it_again(tmp_path: Path) -> None:
    registry = LayoutRegistry(tmp_path)
    push(registry, "x", "1.0.0")
    path = tmp_path / "x/blobs/sha256" / LAYER.descriptor.digest[7:]
    path.write_bytes(b"X" + LAYER.content[1:])
    with pytest.raises(RegistryMisbehaved, match=f"not {LAYER.descriptor.digest}"):
        registry.blob("x", LAYER.descriptor, max_size=MAX)
    assert not registry.has_blob("x", LAYER.descriptor.digest)
    registry.put_blob("x", LAYER)
    assert registry.blob("x", LAYER.descriptor, max_size=MAX) == LAYER.content


@pytest.mark.parametrize("content", [None, b"", b"X" + MANIFEST.content[1:]])
def test_a_damaged_manifest_is_not_there_and_repaired_by_putting_it_again(
    tmp_path: Path, content: bytes | None
) -> None:
    """What its tag says stays readable: that the tag is taken."""
    registry, digest = LayoutRegistry(tmp_path), MANIFEST.descriptor.digest
    push(registry, "x", "1.0.0")
    path = tmp_path / "x/blobs/sha256" / digest[7:]
    path.unlink() if content is None else path.write_bytes(content)
    assert registry.resolve("x", "1.0.0") == MANIFEST.descriptor
    assert registry.resolve("x", digest) is None
    with pytest.raises(NotFound if content is None else RegistryMisbehaved, match=digest[7:]):
        registry.manifest("x", digest)
    registry.put_manifest("x", digest, MANIFEST)
    assert registry.tags("x") == ("1.0.0",)
    assert registry.manifest("x", "1.0.0") == MANIFEST


@pytest.mark.parametrize(
    "content", [b"", b"null", b"[]", b'{"manifests":7}', b'{"manifests":[{"digest":"sha256:x"}]}', b"[" * 9999]
)
def test_a_damaged_index_is_named(tmp_path: Path, content: bytes) -> None:
    push(LayoutRegistry(tmp_path), "x", "1.0.0")
    (tmp_path / "x/index.json").write_bytes(content)
    with pytest.raises(RegistryMisbehaved, match=r"x/index\.json") as caught:
        LayoutRegistry(tmp_path).tags("x")
    assert f"move {tmp_path}/x away and publish again" in caught.value.hint


@pytest.mark.parametrize("name", ["blobs", "a/index.json", "oci-layout/b"])
def test_a_repository_cannot_be_a_file_of_another_layout(tmp_path: Path, name: str) -> None:
    for ask in (LayoutRegistry.tags, lambda registry, bad: registry.put_blob(bad, CONFIG)):
        with pytest.raises(RegistryRefused, match="of its own") as caught:
            ask(LayoutRegistry(tmp_path), name)
        assert "oci://" in caught.value.hint


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "x/index.json").mkdir(parents=True)
    (tmp_path / "x/blobs/sha256" / LAYER.descriptor.digest[7:]).mkdir(parents=True)
    for ask in (LayoutRegistry.tags, lambda registry, name: registry.has_blob(name, LAYER.descriptor.digest)):
        with pytest.raises(RegistryUnavailable, match=r"cannot read .*: Is a directory"):
            ask(LayoutRegistry(tmp_path), "x")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("a file")
    with pytest.raises(RegistryUnavailable, match="cannot write to the registry"):
        LayoutRegistry(tmp_path).put_blob("x", CONFIG)


# publishes MANIFEST under the tags that follow the path, and is killed at the step that is last
WRITER = """
import os, sys
from pathlib import Path
from brolly.oci import Blob
from brolly.registry import LayoutRegistry
path, *tags, left = sys.argv[1], *sys.argv[2:-1], int(sys.argv[-1])
def count(event, arguments):
    global left
    if event in {"open", "os.rename", "os.mkdir", "fcntl.flock", "os.remove"} and path in str(arguments[0]):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), 9)
registry = LayoutRegistry(Path(path))
blobs = [Blob.of("application/vnd.test", content) for content in (b'{"a":1}', b"layer " * 20_000)]
manifest = Blob.of("application/vnd.oci.image.manifest.v1+json", sys.stdin.buffer.read())
sys.addaudithook(count)
for tag in tags:
    for blob in blobs:
        registry.put_blob("x", blob)
    registry.put_manifest("x", tag, manifest)
"""


def write_elsewhere(path: Path, *tags: str, manifest: Blob, steps: int = -1) -> subprocess.Popen[bytes]:
    arguments = [sys.executable, "-c", WRITER, str(path), *tags, str(steps)]
    process = subprocess.Popen(arguments, stdin=subprocess.PIPE)
    assert process.stdin
    process.stdin.write(manifest.content)
    process.stdin.close()
    return process


def test_a_writer_that_is_killed_leaves_whole_files_only(tmp_path: Path) -> None:
    push(LayoutRegistry(tmp_path / "seed"), "x", "1.0.0")
    for steps in range(1, 31):
        path = tmp_path / f"after-{steps}"
        shutil.copytree(tmp_path / "seed", path)
        (path / "x/blobs/sha256" / LAYER.descriptor.digest[7:]).unlink()
        with write_elsewhere(path, "2.0.0", manifest=OTHER, steps=steps) as process:
            ended = process.wait(30)
        registry = LayoutRegistry(path)
        assert registry.manifest("x", "1.0.0") == MANIFEST
        if registry.resolve("x", "2.0.0"):
            assert registry.manifest("x", "2.0.0") == OTHER
            assert registry.blob("x", LAYER.descriptor, max_size=MAX) == LAYER.content
        push(registry, "x", "2.0.0", manifest=OTHER)
        assert not [name for name in layout_files(path) if name.endswith(".part")]
        if ended == 0:
            break
        assert ended == -signal.SIGKILL
    assert 15 < steps < 30


def test_processes_that_publish_at_once_lose_no_tag(tmp_path: Path) -> None:
    tags = [[f"{process}.0.{number}" for number in range(10)] for process in range(3)]
    with ExitStack() as stack:
        writers = [stack.enter_context(write_elsewhere(tmp_path, *mine, manifest=MANIFEST)) for mine in tags]
        assert [writer.wait(30) for writer in writers] == [0, 0, 0]
    assert len(LayoutRegistry(tmp_path).tags("x")) == 30


# other programs read what we wrote


def oras(*arguments: str | Path, cwd: Path) -> str:
    done = subprocess.run([peer("oras"), *arguments], capture_output=True, text=True, check=False, cwd=cwd, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_oras_reads_a_registry_in_a_folder(tmp_path: Path) -> None:
    push(LayoutRegistry(tmp_path), "charts/x", "1.0.0")
    target = f"{tmp_path}/charts/x:1.0.0"
    assert oras("manifest", "fetch", "--oci-layout", target, cwd=tmp_path).encode() == MANIFEST.content
    oras("copy", "--from-oci-layout", target, "--to-oci-layout", f"{tmp_path}/copy:1.0.0", cwd=tmp_path)
    assert LayoutRegistry(tmp_path).manifest("copy", "1.0.0") == MANIFEST


def test_oras_reads_what_was_pushed(running: Callable[[str], Any], tmp_path: Path, repository: str) -> None:
    address = running("anonymous")
    push(OciRegistry(address, patience=QUICK), repository, "1.0.0")
    target = f"{address}/{repository}"
    assert oras("manifest", "fetch", "--plain-http", f"{target}:1.0.0", cwd=tmp_path).encode() == MANIFEST.content
    oras("blob", "fetch", "--plain-http", "-o", "layer", f"{target}@{LAYER.descriptor.digest}", cwd=tmp_path)
    assert (tmp_path / "layer").read_bytes() == LAYER.content


def test_helm_pulls_a_chart_byte_for_byte(running: Callable[[str], Any], tmp_path: Path) -> None:
    engine = pytest.importorskip("helm_python", reason="needs Helm's engine: pip install 'brolly[helm]'")
    metadata = {"name": "hello", "version": "1.0.0+b.1", "apiVersion": "v2"}
    package = stored_gzip(write_tar([Entry("hello/Chart.yaml", json.dumps(metadata).encode())]))
    chart, config = Blob.of(HELM_CHART, package), Blob.of(HELM_CONFIG, compact_json(metadata))
    registry = OciRegistry(running("anonymous"), patience=QUICK)
    for blob in (chart, config):
        registry.put_blob("charts/hello", blob)
    registry.put_manifest("charts/hello", "1.0.0_b.1", manifest_of(chart, config=config))
    source = f"oci://{running('anonymous')}/charts/hello"
    engine.pull(source, version="1.0.0+b.1", destination=tmp_path, plain_http=True)
    assert [path.read_bytes() for path in tmp_path.glob("*.tgz")] == [package]


# who may do what


def test_wrong_credentials_say_how_to_log_in(running: Callable[[str], Any]) -> None:
    for kind in ("htpasswd", "token"):
        address = running(kind) if kind == "htpasswd" else running(kind)[0]
        registry = OciRegistry(address, credential=Credential(USER, "wrong-password"), patience=QUICK)
        with pytest.raises(Unauthorized) as caught:
            registry.tags("x")
        assert f"helm registry login {address}" in caught.value.hint
        assert "wrong-password" not in f"{caught.value}{caught.value.hint}{caught.value!r}"


def test_nobody_may_push_to_a_token_registry_but_anybody_may_pull(
    running: Callable[[str], Any], repository: str
) -> None:
    address = running("token")[0]
    push(OciRegistry(address, credential=LOGIN, patience=QUICK), repository, "1.0.0")
    nobody = OciRegistry(address, patience=QUICK)
    assert nobody.manifest(repository, "1.0.0") == MANIFEST
    with pytest.raises(Unauthorized, match=address):
        nobody.put_manifest(repository, "2.0.0", MANIFEST)


def provider_of(address: str) -> Client:
    return Client(Exchange(address, Transport(QUICK), lambda: Lookup(LOGIN), plain_http=True))


@pytest.mark.parametrize("kind", ["htpasswd", "token"])
def test_what_oras_does_itself_is_authorized_by_us(running: Callable[[str], Any], repository: str, kind: str) -> None:
    address = running(kind) if kind == "htpasswd" else running(kind)[0]
    push(OciRegistry(address, credential=LOGIN, patience=QUICK), repository, "1.0.0", "1.0.1")
    client, container = provider_of(address), f"{address}/{repository}:1.0.0"
    assert isinstance(client, Provider)
    assert sorted(client.get_tags(container)) == ["1.0.0", "1.0.1"]
    assert len(client.get_tags(container, N=1)) == 1
    assert client.get_manifest(container) == json.loads(MANIFEST.content)
    assert client.get_blob(container, LAYER.descriptor.digest).content == LAYER.content


def test_oras_pushes_and_pulls_files_through_our_client(
    running: Callable[[str], Any], repository: str, tmp_path: Path
) -> None:
    client = provider_of(running("token")[0])
    (tmp_path / "note.txt").write_bytes(LAYER.content)
    target = f"{running('token')[0]}/{repository}:1.0.0"
    for way in ({}, {"do_chunked": True, "chunk_size": 50_000}):
        (tmp_path / "note.txt").write_bytes(LAYER.content + json.dumps(way).encode())
        client.push(target, files=[str(tmp_path / "note.txt")], disable_path_validation=True, quiet=True, **way)
        (pulled,) = map(Path, client.pull(target, outdir=str(tmp_path / "pulled")))
        assert pulled.read_bytes() == (tmp_path / "note.txt").read_bytes()
        assert OciRegistry(client.hostname, credential=LOGIN).tags(repository) == ("1.0.0",)


def test_what_oras_asks_fails_with_our_errors(running: Callable[[str], Any]) -> None:
    nobody = Client(Exchange(running("htpasswd"), Transport(QUICK), lambda: Lookup(None), plain_http=True))
    with pytest.raises(Unauthorized, match="refuses"):
        nobody.get_tags(f"{nobody.hostname}/x")
    with serve(lambda _: Answer(503)) as server, pytest.raises(RegistryUnavailable, match="after 3 tries"):
        provider_of(server.address).get_manifest(f"{server.address}/x:1")


def test_a_token_is_fetched_once_per_repository_and_action(running: Callable[[str], Any], repository: str) -> None:
    address, tokens = running("token")
    registry = OciRegistry(address, credential=LOGIN, patience=QUICK)
    before = len(tokens.asked)
    for name in (repository, f"{repository}/other"):
        assert registry.resolve(name, "1.0.0") is None
        push(registry, name, "1.0.0", "1.0.1")
    assert len(tokens.asked) - before == 4


def test_basic_credentials_are_sent_at_once_and_a_body_once(running: Callable[[str], Any], repository: str) -> None:
    with serve(forward(running("htpasswd"))) as proxy:
        registry = OciRegistry(proxy.address, credential=LOGIN, patience=QUICK)
        registry.put_blob(repository, LAYER)
        assert [one.method for one in proxy.asked] == ["GET", "HEAD", "POST", "PUT"]
        assert [len(one.body) for one in proxy.asked] == [0, 0, 0, len(LAYER.content)]
        assert [one.authorization for one in proxy.asked] == ["", *[basic(USER, PASSWORD)] * 3]


def bearer_app(realm: Callable[[], str], valid: list[str]) -> registries.App:
    def app(asked: Asked) -> Answer:
        if asked.authorization in {f"Bearer {token}" for token in valid}:
            return Answer(200, {"Content-Type": "application/json"}, b'{"tags":["1.0.0"]}')
        return Answer(401, {"WWW-Authenticate": f'Bearer realm="{realm()}",service="s",scope="repository:x:pull"'})

    return app


def token_answer(token: str) -> Answer:
    return Answer(200, {}, json.dumps({"token": token, "expires_in": 300}).encode())


def test_a_rejected_token_is_fetched_anew_once() -> None:
    issued, valid, realm = iter(f"t{number}" for number in range(100)), ["t0"], ""
    with serve(lambda _: token_answer(next(issued))) as tokens, serve(bearer_app(lambda: realm, valid)) as server:
        realm = f"http://{tokens.address}/token"
        registry = OciRegistry(server.address, patience=QUICK)
        assert registry.tags("x") == ("1.0.0",)
        valid[:] = ["t1"]
        assert registry.tags("x") == ("1.0.0",)
        valid.clear()
        with pytest.raises(Unauthorized):
            registry.tags("x")
        assert len(tokens.asked) == 3


def test_threads_wait_for_one_token() -> None:
    realm = ""
    with serve(lambda _: token_answer("t")) as tokens, serve(bearer_app(lambda: realm, ["t"])) as server:
        realm = f"http://{tokens.address}/token"
        registry = OciRegistry(server.address, patience=QUICK)
        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(registry.tags, ["x"] * 16)) == {("1.0.0",)}
        assert len(tokens.asked) == 1


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, {}, b"garbage"),
        Answer(200, {}, b"{}"),
        Answer(200, {}, b'{"token":"a b"}'),
        Answer(302, {"Location": "/"}),
    ],
)
def test_a_token_server_that_gives_no_token_is_named(answer: Answer) -> None:
    realm = ""
    with serve(lambda _: answer) as tokens, serve(bearer_app(lambda: realm, [])) as server:
        realm = f"http://{tokens.address}/token"
        with pytest.raises(RegistryMisbehaved, match=tokens.address):
            OciRegistry(server.address, patience=QUICK).tags("x")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(503), RegistryUnavailable),
        (Answer(200, {}, b'{"token":"t"}', fault="truncate"), RegistryUnavailable),
        (Answer(403), Unauthorized),
    ],
)
def test_a_token_server_that_fails_is_told_from_one_that_refuses(answer: Answer, kind: type[Exception]) -> None:
    realm = ""
    with serve(lambda _: answer) as tokens:
        realm = f"http://{tokens.address}/token?from=here"
        text, error = message(bearer_app(lambda: realm, []), lambda registry: registry.tags("x"))
        assert isinstance(error, kind)
        assert "token server" in text
        assert tokens.asked[0].path == "/token?from=here&service=s&scope=repository%3Ax%3Apull"


def test_credentials_do_not_go_to_a_token_server_without_tls() -> None:
    app = bearer_app(lambda: "http://tokens.example/token", [])
    text, error = message(app, lambda registry: registry.tags("x"), credential=LOGIN)
    assert isinstance(error, RegistryMisbehaved)
    assert "wants the credentials sent to http://tokens.example/token" in text


def test_challenges_are_read_as_servers_write_them() -> None:
    both = challenge_of(
        'Basic realm="x, y", Bearer realm="https://a/b",service="s \\"q\\"",scope="repository:a:pull,push"'
    )
    assert both
    assert (both.scheme, both.realm, both.service, both.scope) == (
        "bearer",
        "https://a/b",
        's "q"',
        "repository:a:pull,push",
    )
    assert challenge_of("Negotiate YII=, basic realm=x") == challenge_of('BASIC realm="x"')
    assert challenge_of("") is None
    assert challenge_of("Bearer") is None


@given(st.text())
def test_no_challenge_breaks_the_reader(text: str) -> None:
    challenge_of(text)


# redirects and other addresses


def test_a_redirect_to_another_host_gets_no_credentials() -> None:
    with serve(lambda _: Answer(200, {}, LAYER.content)) as storage:
        away = Answer(307, {"Location": f"http://{storage.address}/blob?signature=s3"})
        with serve(lambda asked: away if asked.authorization else Answer(401, {"WWW-Authenticate": "Basic"})) as server:
            registry = OciRegistry(server.address, credential=LOGIN, patience=QUICK)
            assert registry.blob("x", LAYER.descriptor, max_size=MAX) == LAYER.content
            assert server.asked[-1].authorization
        assert [one.authorization for one in storage.asked] == [""]


def test_credentials_do_not_come_back_after_another_host() -> None:
    home = ""
    with serve(lambda _: Answer(307, {"Location": f"http://{home}/again"})) as storage:
        away = Answer(307, {"Location": f"http://{storage.address}/"})

        def app(asked: Asked) -> Answer:
            if asked.path == "/again":
                return Answer(404)
            return away if asked.authorization else Answer(401, {"WWW-Authenticate": "Basic"})

        with serve(app) as server:
            home = server.address
            assert not OciRegistry(home, credential=LOGIN, patience=QUICK).has_blob("x", LAYER.descriptor.digest)
            assert server.asked[-1].path == "/again"
            assert not server.asked[-1].authorization


def test_an_upload_may_go_to_another_host_without_credentials() -> None:
    with serve(lambda _: Answer(201)) as storage:

        def app(asked: Asked) -> Answer:
            if not asked.authorization:
                return Answer(401, {"WWW-Authenticate": "Basic"})
            return (
                Answer(202, {"Location": f"http://{storage.address}/up?x=1"}) if asked.method == "POST" else Answer(404)
            )

        with serve(app) as server:
            OciRegistry(server.address, credential=LOGIN, patience=QUICK).put_blob("x", CONFIG)
        assert [(one.method, one.authorization, one.body) for one in storage.asked] == [("PUT", "", CONFIG.content)]
        assert storage.asked[0].path == f"/up?x=1&digest=sha256%3A{CONFIG.descriptor.digest[7:]}"


def test_pages_stay_with_the_registry_and_end() -> None:
    page = b'{"tags":["1.0.0"]}'
    elsewhere = answering(Answer(200, {"Link": '<http://127.0.0.1:1/next>; rel="next"'}, page))
    text, error = message(elsewhere, lambda registry: registry.tags("x"))
    assert isinstance(error, RegistryMisbehaved)
    assert "next page is elsewhere" in text
    text, error = message(
        lambda asked: Answer(200, {"Link": f'<{asked.path}>; rel="next"'}, page), lambda registry: registry.tags("x")
    )
    assert isinstance(error, RegistryMisbehaved)
    assert "no end" in text


def test_all_pages_of_tags_are_read() -> None:
    def app(asked: Asked) -> Answer:
        number = int(asked.path.rpartition("last=")[2]) if "last=" in asked.path else 0
        link = {"Link": f'</v2/x/tags/list?n=2&last={number + 2}>; rel="next"'} if number < 6 else {}
        return Answer(200, link, json.dumps({"tags": [f"1.0.{number}", f"1.0.{number + 1}", "\x1b[31m"]}).encode())

    with serve(app) as server:
        assert OciRegistry(server.address, patience=QUICK).tags("x") == tuple(f"1.0.{number}" for number in range(8))


@pytest.mark.parametrize(
    ("base", "location"),
    [
        ("https://registry.example/v2/", "http://registry.example/v2/x"),
        ("https://registry.example/v2/", "ftp://registry.example/"),
        ("https://registry.example/v2/", "https://169.254.169.254/latest"),
        ("https://registry.example/v2/", "https://localhost/"),
        ("https://registry.example/v2/", "https://127.1/"),
        ("https://registry.example/v2/", "https://2130706433/"),
        ("https://registry.example/v2/", "https://0x7f.0.0.1/"),
        ("https://registry.example/v2/", "https://[::1]/"),
        ("https://registry.example/v2/", "https://[::ffff:10.0.0.1]/"),
        ("https://registry.example/v2/", "//10.0.0.1/x"),
        ("https://registry.example/v2/", "https://[bad/"),
        ("https://registry.example/v2/", "https://a:99999/"),
    ],
)
def test_an_unsafe_address_is_not_followed(base: str, location: str) -> None:
    with pytest.raises(RegistryMisbehaved, match="leads to"):
        target_of(base, location)


def test_a_safe_address_is_followed() -> None:
    base = "https://registry.example/v2/x/blobs/uploads/"
    assert target_of(base, "/v2/x?a=b") == "https://registry.example/v2/x?a=b"
    assert target_of(base, "https://cdn.example/y") == "https://cdn.example/y"
    assert target_of(base, "https://10.0.0.7:9000/y", allowed=["10.0.0.7"]) == "https://10.0.0.7:9000/y"
    assert target_of("https://10.0.0.1/v2/", "https://10.0.0.7/y") == "https://10.0.0.7/y"
    with pytest.raises(ValueError, match="no host"):
        origin_of("/v2/x")
    assert origin_of("HTTPS://Registry.Example:443/a") == origin_of("https://registry.example/b")


def test_docker_hub_is_asked_where_it_serves() -> None:
    names = ("docker.io", "index.docker.io", "registry-1.docker.io", "Docker.io")
    assert {api_host(name) for name in names} == {"registry-1.docker.io"}
    assert api_host("ghcr.io") == "ghcr.io"


def test_a_url_is_shown_without_its_secrets() -> None:
    assert shown("https://user:pass@host:5000/v2/x?token=secret#f") == "https://host:5000/v2/x"
    assert shown("https://[") == "(not a URL)"


# faults


def test_a_passing_fault_is_waited_for(running: Callable[[str], Any], repository: str) -> None:
    for fault in (Answer(429, {"Retry-After": "3600"}), Answer(429, {"Retry-After": "soon"}), Answer(500), Answer(503)):
        for method in ("HEAD", "POST", "PUT"):
            failing = times(2, fault)
            content = f"{repository} {method} {fault.status} {fault.headers}".encode() * 2000
            layer = Blob.of("application/vnd.test", content)
            with serve(forward(running("anonymous"), only(method, failing))) as proxy:
                OciRegistry(proxy.address, patience=QUICK).put_blob(repository, layer)
                assert len(proxy.asked) == 5


def test_a_registry_that_trips_over_a_blob_being_written_is_asked_again(
    running: Callable[[str], Any], repository: str
) -> None:
    """As docker-registry does where two upload one blob at once; what it denies for good is an error."""
    denied = Answer(400, {}, b'{"errors":[{"code":"DIGEST_INVALID"}]}')
    push(OciRegistry(running("anonymous"), patience=QUICK), repository, "1.0.0")
    for answers, is_stored in ((times(2, denied), True), (lambda _: denied, False)):
        with serve(forward(running("anonymous"), only("PUT", answers))) as proxy:
            registry = OciRegistry(proxy.address, patience=QUICK)
            if is_stored:
                registry.put_manifest(repository, "again", MANIFEST)
                continue
            with pytest.raises(RegistryRefused, match="DIGEST_INVALID"):
                registry.put_manifest(repository, "never", MANIFEST)
    assert OciRegistry(running("anonymous")).tags(repository) == ("1.0.0", "again")


def test_a_dropped_connection_is_tried_again(running: Callable[[str], Any], repository: str) -> None:
    push(OciRegistry(running("anonymous"), patience=QUICK), repository, "1.0.0")
    for fault in (Answer(fault="drop"), Answer(200, {}, LAYER.content, fault="truncate")):
        with serve(forward(running("anonymous"), times(2, fault))) as proxy:
            registry = OciRegistry(proxy.address, patience=QUICK)
            assert registry.blob(repository, LAYER.descriptor, max_size=MAX) == LAYER.content


def test_a_file_is_sent_again_from_its_start(running: Callable[[str], Any], repository: str, tmp_path: Path) -> None:
    """After a fault that passes, a connection that breaks, an upload that was lost."""
    for fault in (Answer(503), Answer(fault="drop"), Answer(404)):
        layer = Blob.of("application/vnd.test", f"{fault} {repository}".encode() * 10_000)
        with serve(forward(running("anonymous"), only("PUT", times(1, fault)))) as proxy:
            registry = OciRegistry(proxy.address, patience=QUICK)
            registry.put_blob(repository, stored(tmp_path, layer))
            assert registry.blob(repository, layer.descriptor, max_size=MAX) == layer.content


def test_a_file_is_sent_again_whole_with_a_login_that_is_asked_for_late(tmp_path: Path) -> None:
    def app(asked: Asked) -> Answer:
        match asked.method:
            case "POST":
                return Answer(202, {"Location": "/v2/x/up"})
            case "PUT":
                return Answer(201) if asked.authorization else Answer(401, {"WWW-Authenticate": "Basic"})
            case _:
                return Answer(404)

    with serve(app) as server:
        OciRegistry(server.address, credential=LOGIN, patience=QUICK).put_blob("x", stored(tmp_path, LAYER))
        sent = [(one.authorization, one.body) for one in server.asked if one.method == "PUT"]
    assert sent == [("", LAYER.content), (basic(USER, PASSWORD), LAYER.content)]


def test_a_file_follows_a_redirect_whole(tmp_path: Path) -> None:
    with serve(lambda _: Answer(201)) as storage:

        def app(asked: Asked) -> Answer:
            if asked.method == "PUT":
                return Answer(307, {"Location": f"http://{storage.address}/up"})
            return Answer(202, {"Location": "/v2/x/up"}) if asked.method == "POST" else Answer(404)

        with serve(app) as server:
            OciRegistry(server.address, patience=QUICK).put_blob("x", stored(tmp_path, LAYER))
        assert [one.body for one in storage.asked] == [LAYER.content]


def test_a_small_blob_is_sent_without_asking_for_it(running: Callable[[str], Any], repository: str) -> None:
    with serve(forward(running("anonymous"))) as proxy:
        registry = OciRegistry(proxy.address, patience=QUICK)
        for _ in range(2):
            registry.put_blob(repository, CONFIG)
            registry.put_blob(repository, LAYER)
        assert [one.method for one in proxy.asked] == ["POST", "PUT", "HEAD", "POST", "PUT", "POST", "PUT", "HEAD"]


def test_an_upload_that_was_lost_begins_anew(running: Callable[[str], Any], repository: str) -> None:
    lost = times(1, Answer(404, {}, b'{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}'))
    with serve(forward(running("anonymous"), only("PUT", lost))) as proxy:
        registry = OciRegistry(proxy.address, patience=QUICK)
        push(registry, repository, "1.0.0")
        assert registry.blob(repository, CONFIG.descriptor, max_size=MAX) == CONFIG.content


def test_an_upload_that_is_done_though_its_answer_was_lost_is_done() -> None:
    stored: set[str] = set()

    def app(asked: Asked) -> Answer:
        match asked.method:
            case "POST":
                return Answer(202, {"Location": "/v2/x/blobs/uploads/1?state=a"})
            case "PUT":
                again = "blob" in stored
                stored.add("blob")
                return Answer(404) if again else Answer(fault="drop")
            case _:
                return Answer(200 if stored else 404)

    with serve(app) as server:
        OciRegistry(server.address, patience=QUICK).put_blob("x", LAYER)
        assert [one.method for one in server.asked] == ["HEAD", "POST", "PUT", "PUT", "HEAD"]


def test_a_write_is_not_redirected_as_a_read() -> None:
    moved = answering(Answer(302, {"Location": "/elsewhere"}))
    text, error = message(moved, lambda registry: registry.put_manifest("x", "1", MANIFEST))
    assert isinstance(error, RegistryMisbehaved)
    assert "answers a PUT with a redirect 302" in text


def test_a_store_that_refuses_is_not_a_question_of_our_login() -> None:
    with serve(answering(Answer(403))) as storage:
        away = Answer(307, {"Location": f"http://{storage.address}/blob"})
        text, error = message(
            answering(away), lambda registry: registry.blob("x", LAYER.descriptor, max_size=MAX), credential=LOGIN
        )
        assert isinstance(error, RegistryMisbehaved)
        assert "sends us to where we are refused (403)" in text


def test_a_proxy_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(answering(Answer())) as server:
        address = server.address
    monkeypatch.setenv("HTTP_PROXY", f"http://user:s3cret@{address}")
    with pytest.raises(RegistryUnavailable, match="the proxy does not connect") as caught:
        OciRegistry("registry.example", plain_http=True, patience=QUICK).tags("x")
    assert "s3cret" not in str(caught.value)


def test_a_connection_that_always_breaks_is_named() -> None:
    text, error = message(answering(Answer(fault="drop")), lambda registry: registry.tags("x"))
    assert isinstance(error, RegistryUnavailable)
    assert "the connection broke" in text


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (Answer(fault="drop"), "--retries"),
        (Answer(fault="hang"), "--timeout"),
        (Answer(429), "--retries"),
        (Answer(503), "try again later"),
        (Answer(413), "client_max_body_size"),
        (Answer(202), "Location"),
    ],
)
def test_what_a_registry_does_comes_with_what_to_do(answer: Answer, hint: str) -> None:
    error = message(answering(answer), lambda registry: registry.put_blob("x", CONFIG), patience=HASTY)[1]
    assert isinstance(error, WorldError)
    assert hint in error.hint


def test_a_body_that_stops_is_waited_for_only_so_long() -> None:
    # a whole answer that is longer than what was sent, on a connection that stays open
    answer = Answer(200, {"Content-Length": "1000000"}, b"{")
    text, error = message(answering(answer), lambda registry: registry.manifest("x", "1"), patience=HASTY)
    assert isinstance(error, RegistryUnavailable)
    assert "no answer in time" in text


def test_a_fault_that_stays_ends_the_tries() -> None:
    with serve(answering(Answer(503, {"Content-Type": "text/plain"}, b"over\x1b[31m capacity"))) as server:
        with pytest.raises(RegistryUnavailable, match=r"503 after 3 tries: over�.31m capacity"):
            OciRegistry(server.address, patience=QUICK).manifest("x", "1")
        assert len(server.asked) == 3


def test_an_endless_answer_is_not_read() -> None:
    huge = {"Content-Length": str(1 << 40)}
    for status in (200, 500):
        text, error = message(
            answering(Answer(status, huge, b"[" * (5 << 20), "")),
            lambda registry: registry.manifest("x", "1"),
            patience=HASTY,
        )
        assert isinstance(error, RegistryMisbehaved | RegistryUnavailable), text


def test_a_registry_that_hangs_is_asked_twice() -> None:
    with serve(answering(Answer(fault="hang"))) as server:
        with pytest.raises(RegistryUnavailable, match=f"GET http://{server.address}/v2/x/tags/list: no answer in time"):
            OciRegistry(server.address, patience=HASTY).tags("x")
        assert len(server.asked) == 2


BIG = b"Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n"


@pytest.mark.parametrize(
    ("at_once", "byte_by_byte"),
    [
        (b"", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 3000),
        (b"HTTP/1.1 200 OK\r\n" + BIG, b"[" * 3000),
        (b"HTTP/1.1 200 OK\r\n" + BIG + b"[" * 50_000, b"[" * 3000),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n[\r\n" * 500),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"[" * 3000),
        (b"HTTP/1.1 404 Not Found\r\n" + BIG, b"[" * 3000),
        (b"HTTP/1.1 401 Unauthorized\r\n" + BIG, b"[" * 3000),
    ],
    ids=["header", "body", "rest", "chunked", "endless", "refusal", "challenge"],
)
def test_an_answer_that_drips_is_not_waited_for(at_once: bytes, byte_by_byte: bytes) -> None:
    start = time.monotonic()
    with dripping(at_once, byte_by_byte) as address:
        with pytest.raises(RegistryUnavailable) as caught:
            OciRegistry(address, patience=HASTY).tags("x")
        assert time.monotonic() - start < 5
    assert f"GET http://{address}/v2/x/tags/list" in str(caught.value)
    assert "the answer comes slower than 1024 bytes in 0.2 seconds" in str(caught.value)
    assert "--timeout" in caught.value.hint


def test_a_small_answer_may_take_the_time_of_a_wait_after_the_server_has_thought() -> None:
    body = b'{"name": "x", "tags": ["1"]}'
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    patience = Patience(connect=1, read=1, tries=1)
    with dripping(b"", head + body, every=0.6 / len(head + body)) as address:
        assert OciRegistry(address, patience=patience).tags("x") == ("1",)

    def think(_: Asked) -> Answer:
        time.sleep(0.8)
        return Answer(200, {}, body)

    with serve(think) as server:
        assert OciRegistry(server.address, patience=patience).tags("x") == ("1",)


def test_a_refused_connection_is_named() -> None:
    with serve(answering(Answer())) as server:
        address = server.address
    with pytest.raises(
        RegistryUnavailable, match=f"{address}/v2/x/tags/list: no connection: Connection refused"
    ) as caught:
        OciRegistry(address, patience=QUICK).tags("x")
    assert "is its port right" in caught.value.hint


def test_an_unknown_host_is_named() -> None:
    with pytest.raises(RegistryUnavailable, match=r"registry\.invalid.*not known"):
        OciRegistry("registry.invalid", patience=HASTY).tags("x")


def test_a_registry_without_tls_or_with_an_unknown_ca_is_named_at_once(running: Callable[[str], Any]) -> None:
    with pytest.raises(RegistryUnavailable, match="no TLS connection") as caught:
        OciRegistry(running("anonymous"), plain_http=False, patience=QUICK).tags("x")
    assert "--plain-http" in caught.value.hint
    with pytest.raises(RegistryUnavailable, match=r"no TLS connection.*certificate verify failed"):
        OciRegistry(running("tls")[0], plain_http=False, patience=QUICK).tags("x")


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_certificates_come_from_the_environment(
    running: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    address, ca = running("tls")
    monkeypatch.setenv(variable, str(ca))
    assert OciRegistry(address, plain_http=False, patience=QUICK).tags("nothing/here") == ()
    monkeypatch.setenv(variable, "/nowhere.pem")
    with pytest.raises(UsageError, match=rf"/nowhere.pem \({variable}\)"):
        OciRegistry(address, patience=QUICK)


def test_a_proxy_is_used_but_not_for_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text("machine registry.example login a password netrc-secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with serve(answering(Answer(200, {}, b'{"tags":["1.0.0"]}'))) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://{proxy.address}")
        registry, _ = open_registry("oci://registry.example", plain_http=True, patience=QUICK)
        assert registry.tags("x") == ("1.0.0",)
        assert [(one.path, one.authorization) for one in proxy.asked] == [
            ("http://registry.example/v2/x/tags/list?n=1000", "")
        ]
        with serve(answering(Answer(404))) as server:
            assert OciRegistry(server.address, patience=QUICK).tags("x") == ()


def test_a_proxy_gets_its_own_password_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(answering(Answer(200, {}, b'{"tags":["1.0.0"]}'))) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://user:p%40ss@{proxy.address}")
        registry = OciRegistry("registry.example", plain_http=True, patience=QUICK)
        assert registry.tags("x") == ("1.0.0",)
        assert [one.headers.get("proxy-authorization") for one in proxy.asked] == [basic("user", "p@ss")]
        assert not proxy.asked[0].authorization
        monkeypatch.setenv("NO_PROXY", "registry.invalid")
        with pytest.raises(RegistryUnavailable, match="not known"):
            OciRegistry("registry.invalid", plain_http=True, patience=HASTY).tags("x")
        assert len(proxy.asked) == 1


def test_certificates_are_read_once(running: Callable[[str], Any], tmp_path: Path) -> None:
    address, ca = running("tls")
    shutil.copy(ca, tmp_path / "ca.pem")
    registry = OciRegistry(address, ca_file=tmp_path / "ca.pem", patience=QUICK)
    assert registry.tags("nothing/here") == ()
    (tmp_path / "ca.pem").write_bytes(b"")
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(registry.tags, ["nothing/here"] * 8)) == {()}
    (tmp_path / "ca.pem").write_bytes(b"no certificate")
    with pytest.raises(RegistryUnavailable, match="no TLS connection"):
        OciRegistry(address, ca_file=tmp_path / "ca.pem", patience=QUICK).tags("x")


def test_a_registry_that_refuses_is_quoted_in_one_short_line() -> None:
    body = json.dumps({"errors": [{"code": "DENIED", "message": "immutable\x1b[2J\n" + "x" * 500}]}).encode()
    for status, kind in ((401, Unauthorized), (403, Unauthorized), (409, RegistryRefused), (404, NotFound)):
        text, error = message(
            answering(Answer(status, {}, body)), lambda registry: registry.put_manifest("x", "1", MANIFEST)
        )
        assert isinstance(error, kind)
        assert "DENIED: immutable�[2J xxx" in text
        assert text.endswith("...")
        assert len(text) < 300


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (Answer(200, {}, b"<html>"), "is no manifest but '<html>'"),
        (Answer(200, {}, b"[]"), "is no manifest"),
        (Answer(200, {}, b"{" + b" " * (4 << 20)), "more than 4194304 bytes"),
        (Answer(200, {}, b'{"manifests":[],"layers":[]}'), "a manifest and an index at once"),
        (Answer(200, {"Content-Type": IMAGE_INDEX}, compact_json({"mediaType": IMAGE_MANIFEST})), "comes as"),
        (Answer(200, {"Docker-Content-Digest": OTHER.descriptor.digest}, MANIFEST.content), OTHER.descriptor.digest),
        (Answer(200, {}, MANIFEST.content, fault="truncate"), "cut off after"),
        (Answer(302, {"Location": "/v2/x/manifests/1"}), "redirects more than 5 times"),
        (Answer(304), "answers 304"),
    ],
)
def test_a_manifest_that_must_not_be_used_is_refused(answer: Answer, says: str) -> None:
    text, error = message(answering(answer), lambda registry: registry.manifest("x", "1"))
    assert isinstance(error, RegistryMisbehaved)
    assert says in text


def test_a_flipped_byte_is_seen_and_both_digests_are_named(running: Callable[[str], Any], repository: str) -> None:
    push(OciRegistry(running("anonymous"), patience=QUICK), repository, "1.0.0")

    def flipped(asked: Asked) -> Answer:
        answer = forward(running("anonymous"))(asked)
        return Answer(answer.status, answer.headers, bytes([answer.body[0] ^ 1]) + answer.body[1:])

    with serve(flipped) as proxy:
        registry = OciRegistry(proxy.address, patience=QUICK)
        wrong = Digest.of(bytes([LAYER.content[0] ^ 1]) + LAYER.content[1:])
        with pytest.raises(RegistryMisbehaved, match=f"{wrong}, not {LAYER.descriptor.digest}"):
            registry.blob(repository, LAYER.descriptor, max_size=MAX)
        with pytest.raises(RegistryMisbehaved, match=f"not {MANIFEST.descriptor.digest}"):
            registry.manifest(repository, MANIFEST.descriptor.digest)


def test_another_manifest_than_the_one_asked_for_is_refused() -> None:
    head = {"Docker-Content-Digest": OTHER.descriptor.digest, "Content-Type": IMAGE_MANIFEST}
    text, error = message(
        answering(Answer(200, head, OTHER.content)), lambda registry: registry.resolve("x", MANIFEST.descriptor.digest)
    )
    assert isinstance(error, RegistryMisbehaved)
    assert OTHER.descriptor.digest in text


def test_a_registry_that_tells_no_digest_is_read_instead() -> None:
    with serve(lambda asked: Answer(405) if asked.method == "HEAD" else Answer(200, {}, MANIFEST.content)) as server:
        assert OciRegistry(server.address, patience=QUICK).resolve("x", "1") == MANIFEST.descriptor
    with serve(lambda asked: Answer(201) if asked.method == "PUT" else Answer(200, {}, OTHER.content)) as server:
        OciRegistry(server.address, patience=QUICK).put_manifest("x", "1", OTHER)
        with pytest.raises(RegistryMisbehaved, match=f"holds {OTHER.descriptor.digest}, not"):
            OciRegistry(server.address, patience=QUICK).put_manifest("x", "1", MANIFEST)


def test_a_registry_that_stores_something_else_is_found_out() -> None:
    told = {"Docker-Content-Digest": OTHER.descriptor.digest}
    text, error = message(answering(Answer(201, told)), lambda registry: registry.put_manifest("x", "1", MANIFEST))
    assert isinstance(error, RegistryMisbehaved)
    assert OTHER.descriptor.digest in text
    assert MANIFEST.descriptor.digest in text


@pytest.mark.parametrize("body", [b"garbage", b"[]", b"{}", b'{"tags":[1]}', b'{"tags":"x"}'])
def test_garbage_is_no_list_of_tags(body: bytes) -> None:
    text, error = message(answering(Answer(200, {}, body)), lambda registry: registry.tags("x"))
    assert isinstance(error, RegistryMisbehaved)
    assert "is no list of tags" in text


def test_an_upload_without_a_place_is_refused() -> None:
    app = lambda asked: Answer(404 if asked.method == "HEAD" else 202)  # noqa: E731
    text, error = message(app, lambda registry: registry.put_blob("x", CONFIG))
    assert isinstance(error, RegistryMisbehaved)
    assert "says not where" in text


def test_a_compressed_answer_is_taken_as_the_bytes_it_is() -> None:
    package = stored_gzip(b"chart")
    with serve(answering(Answer(200, {"Content-Encoding": "gzip"}, package))) as server:
        blob = Blob.of(HELM_CHART, package)
        assert OciRegistry(server.address, patience=QUICK).blob("x", blob.descriptor, max_size=MAX) == package
        assert server.asked[0].headers["accept-encoding"] == "identity"


@given(st.text(max_size=2000))
def test_text_from_a_registry_is_one_short_printable_line(text: str) -> None:
    shown_text = quoted(text)
    assert len(shown_text) <= 200
    assert shown_text.isprintable()


# stored credentials


def auth(user: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def look_up(tmp_path: Path, host: str, config: Any, helm: Any = None) -> tuple[Credential | None, tuple[str, ...]]:
    for name, content in (("config.json", config), ("helm.json", helm)):
        if content is not None:
            (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content))
    environ = {
        "DOCKER_CONFIG": str(tmp_path),
        "HELM_REGISTRY_CONFIG": str(tmp_path / "helm.json"),
        "PATH": str(tmp_path),
    }
    found = find_credential(host, environ)
    return found.credential, found.troubles


@pytest.mark.parametrize(
    "key", ["reg.example", "https://reg.example", "https://reg.example/v2/", "http://reg.example/", "REG.example"]
)
def test_a_credential_is_found_under_every_spelling_of_its_host(tmp_path: Path, key: str) -> None:
    assert look_up(tmp_path, "reg.example", {"auths": {key: auth("u", "p:w")}})[0] == Credential("u", "p:w")


@pytest.mark.parametrize(
    "key", ["reg.example:5000", "sub.reg.example", "reg.example.evil", "reg.example/team", "example"]
)
def test_a_credential_never_goes_to_another_host(tmp_path: Path, key: str) -> None:
    assert look_up(tmp_path, "reg.example", {"auths": {key: auth("u", "p")}}) == (None, ())


def test_a_credential_is_read_in_every_form(tmp_path: Path) -> None:
    assert look_up(tmp_path, "h", {"auths": {"h": {"username": "u", "password": "p"}}})[0] == Credential("u", "p")
    token = {**auth("u", ""), "identitytoken": "t"}
    assert look_up(tmp_path, "h", {"auths": {"h": token}})[0] == Credential("u", "", "t")
    assert look_up(tmp_path, "h", {"auths": {"h": {}}})[0] is None
    assert look_up(tmp_path, "docker.io", {"auths": {"https://index.docker.io/v1/": auth("u", "p")}})[0] == Credential(
        "u", "p"
    )


def test_helms_credentials_come_before_dockers(tmp_path: Path) -> None:
    docker, helm = {"auths": {"h": auth("docker", "p")}}, {"auths": {"h": auth("helm", "p")}}
    assert look_up(tmp_path, "h", docker, helm)[0] == Credential("helm", "p")
    (tmp_path / "helm.json").unlink()
    assert look_up(tmp_path, "h", docker)[0] == Credential("docker", "p")


def test_config_files_are_where_helm_and_docker_have_them(tmp_path: Path) -> None:
    for place in (".docker", ".config/helm/registry", "xdg/helm/registry", "own/registry"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "config.json").write_text(json.dumps({"auths": {"h": auth(place, "p")}}))
    home = {"HOME": str(tmp_path)}

    def user(environ: dict[str, str]) -> str:
        found = find_credential("h", environ).credential
        return found.username if found else ""

    assert user(home) == ".config/helm/registry"
    assert user(home | {"XDG_CONFIG_HOME": str(tmp_path / "xdg")}) == "xdg/helm/registry"
    assert user(home | {"HELM_CONFIG_HOME": str(tmp_path / "own")}) == "own/registry"
    assert user(home | {"HELM_REGISTRY_CONFIG": "/nowhere"}) == ".docker"


def test_a_user_without_a_home_has_no_stored_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(_: int) -> NoReturn:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    assert find_credential("h", {}) == Lookup(None)
    (tmp_path / "config.json").write_text(json.dumps({"auths": {"h": {"username": "me", "password": "secret"}}}))
    assert find_credential("h", {"DOCKER_CONFIG": str(tmp_path)}) == Lookup(Credential("me", "secret"))


HELPER = """#!/bin/sh
read server
case "$1 $server" in
  "get h") echo '{"Username": "from-helper", "Secret": "p"}' ;;
  "get token.example") echo '{"Username": "<token>", "Secret": "t"}' ;;
  "get garbage.example") echo garbage ;;
  "get empty.example") echo '{"Username": "", "Secret": ""}' ;;
  "get broken.example") echo 'secret words' >&2; exit 3 ;;
  *) echo "credentials not found in native keychain"; exit 1 ;;
esac
"""


def test_credential_helpers_are_asked_as_docker_asks_them(tmp_path: Path) -> None:
    helper = tmp_path / "docker-credential-test"
    helper.write_text(HELPER)
    helper.chmod(0o755)
    inline = {"auths": {"h": auth("inline", "p"), "unknown": auth("inline", "p")}}
    for config in ({"credHelpers": {"h": "test"}}, {"credsStore": "test"}):
        assert look_up(tmp_path, "h", config | inline)[0] == Credential("from-helper", "p")
    assert look_up(tmp_path, "token.example", {"credsStore": "test"})[0] == Credential("", "", "t")
    assert look_up(tmp_path, "unknown", {"credsStore": "test"} | inline) == (Credential("inline", "p"), ())
    assert look_up(tmp_path, "other", {"credHelpers": {"h": "test"}}) == (None, ())
    assert look_up(tmp_path, "empty.example", {"credsStore": "test"}) == (None, ())
    assert look_up(tmp_path, "broken.example", {"credsStore": "test"}) == (None, ("docker-credential-test failed",))
    assert "JSONDecodeError" in look_up(tmp_path, "garbage.example", {"credsStore": "test"})[1][0]


@pytest.mark.parametrize(
    "config", ["{", "[]", '{"auths":[1]}', '{"auths":{"h":{"auth":"%%"}}}', '{"auths":{"h":1}}', "[" * 9999]
)
def test_an_unusable_config_is_told_when_the_registry_asks(tmp_path: Path, config: str) -> None:
    credential, troubles = look_up(tmp_path, "h", config)
    assert credential is None
    assert troubles[0].startswith(f"{tmp_path}/config.json is not usable")


def test_a_missing_helper_is_told_when_the_registry_asks(
    running: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text('{"credsStore":"absent","credHelpers":{"x":"../../bin/sh"}}')
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with pytest.raises(Unauthorized) as caught:
        OciRegistry(running("htpasswd"), patience=QUICK).tags("x")
    assert "docker-credential-absent is not on PATH" in caught.value.hint
    assert look_up(tmp_path, "x", None)[1][0].endswith("is not on PATH")


def test_a_login_of_helm_is_used(
    running: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "mine.json").write_text(json.dumps({"auths": {running("htpasswd"): auth(USER, PASSWORD)}}))
    monkeypatch.setenv("HELM_REGISTRY_CONFIG", str(tmp_path / "mine.json"))
    assert OciRegistry(running("htpasswd"), patience=QUICK).tags("nothing") == ()


def test_no_secret_is_in_a_representation() -> None:
    assert "s3cret" not in repr(Credential("u", "s3cret", "s3cret-token"))


# the peers that other tests look for


def test_a_peer_that_is_missing_skips_and_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BROLLY_PEERS", str(tmp_path))
    with pytest.raises(pytest.skip.Exception, match="apt-get install no-such-program"):
        peer("no-such-program")
    (tmp_path / "no-such-program").touch(mode=0o755)
    assert peer("no-such-program") == tmp_path / "no-such-program"
