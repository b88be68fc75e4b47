"""Charts come from repositories as Helm would take them, and are what the lock names."""

from __future__ import annotations

import gzip
import json
import pwd
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

import chart_repository as faulty
import registries
from brolly import helm
from brolly.cache import Cache
from brolly.chart import read_package
from brolly.errors import UsageError, WorldError
from brolly.oci import HELM_CHART, HELM_CONFIG, Blob, Digest, compact_json, tag_of
from brolly.registry import Patience
from brolly.repositories import Candidate, Credential, OfflineMiss, Repositories, Republished, Unresolvable
from brolly.repositories.credentials import from_environ, from_helm
from brolly.repositories.http import resolve_reference
from chart_repository import ChartRepository, chart_package, chart_repository
from dripping import dripping

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from brolly.oci import Descriptor

PATIENCE = Patience(connect=2, read=0.3, tries=3, backoff=0, longest_wait=0.2)
ZERO = "sha256:" + 64 * "0"
_HELM = "needs Helm's engine: pip install 'brolly[helm]'"


def _no_registry(host: str) -> Any:
    raise AssertionError(f"no registry was expected, least of all {host}")


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture
def server() -> Iterator[ChartRepository]:
    with chart_repository() as repository:
        yield repository


@pytest.fixture
def memory() -> registries.MemoryRegistry:
    return registries.MemoryRegistry()


@pytest.fixture
def charts(cache: Cache, memory: registries.MemoryRegistry) -> Repositories:
    return _repositories(cache, memory)


def _repositories(cache: Cache, registry: Any = None, **settings: Any) -> Repositories:
    return Repositories(
        cache, registry=(lambda _: registry) if registry else _no_registry, **{"patience": PATIENCE, **settings}
    )


OCI = "oci://registry.test/charts"


def _push(registry: Any, name: str, version: str, *, tag: str = "", package: bytes | None = None) -> bytes:
    """Publish a chart package as `helm push` does; gives the package."""
    content = package or chart_package(name, version)
    artifact = helm.chart_artifact(content, read_package(content), f"charts/{name}", 0)
    for blob in artifact.blobs:
        registry.put_blob(artifact.repository, blob)
    registry.put_manifest(artifact.repository, tag or tag_of(version), artifact.manifest)
    return content


# --- versions from an http repository ---------------------------------------------------------------------------------


def test_the_newest_version_that_a_constraint_allows_is_found(server: ChartRepository, charts: Repositories) -> None:
    for version in ("1.2.0", "1.10.0", "2.0.0"):
        server.add("podinfo", version)
    found = charts.find(server.url, "podinfo", "1.x")
    assert (found.version, found.source) == ("1.10.0", f"{server.url}/charts/podinfo-1.10.0.tgz")
    assert [candidate.version for candidate in charts.versions(server.url, "podinfo")] == ["2.0.0", "1.10.0", "1.2.0"]


def test_an_entry_without_a_url_is_no_candidate(server: ChartRepository, charts: Repositories) -> None:
    server.add("podinfo", "1.0.0")
    server.add("podinfo", "1.1.0", urls=[])
    assert charts.find(server.url, "podinfo", "*").version == "1.0.0"


def test_a_constraint_that_nothing_matches_tells_what_there_is(server: ChartRepository, charts: Repositories) -> None:
    for minor in range(9):
        server.add("podinfo", f"1.{minor}.0")
    with pytest.raises(Unresolvable) as caught:
        charts.find(server.url, "podinfo", "1.4.7")
    assert caught.value.nearest == ("1.6.0", "1.5.0", "1.4.0", "1.3.0", "1.2.0")
    assert str(caught.value) == (
        f"podinfo 1.4.7 from {server.url}: no version matches (there are 1.6.0, 1.5.0, 1.4.0, 1.3.0, 1.2.0)"
    )


def test_a_range_over_prereleases_only_tells_how_to_write_it(server: ChartRepository, charts: Repositories) -> None:
    server.add("podinfo", "1.0.0-rc.1")
    with pytest.raises(Unresolvable) as caught:
        charts.find(server.url, "podinfo", "*")
    assert caught.value.hint == "there are only prereleases: write >=0-0, or 1.0.0-rc.1 itself"


def test_a_chart_that_is_not_there_is_told_with_the_nearest_name(server: ChartRepository, charts: Repositories) -> None:
    server.add("podinfo", "1.0.0")
    with pytest.raises(Unresolvable) as caught:
        charts.find(server.url, "podinfos", "*")
    assert caught.value.hint == "did you mean `podinfo`?"


@pytest.mark.parametrize("constraint", ["", "one", ">=1,"])
def test_what_is_no_constraint_is_the_authors_fault(
    server: ChartRepository, charts: Repositories, constraint: str
) -> None:
    server.add("podinfo", "1.0.0")
    with pytest.raises(Unresolvable):
        charts.find(server.url, "podinfo", constraint)


def test_warnings_name_the_entries_that_helm_drops(server: ChartRepository, charts: Repositories) -> None:
    server.add("podinfo", "1.0.0")
    server.charts["podinfo"].append({"name": "podinfo", "version": "\x1b[31mred"})
    server.write_index()
    assert charts.warnings(server.url, "podinfo") == (
        "entries.podinfo[1] has the version '�[31mred', which is none; it is left out, as Helm does",
    )


@pytest.mark.parametrize(
    ("base", "reference", "resolved"),
    [
        ("https://h/charts", "a.tgz", "https://h/charts/a.tgz"),
        ("https://h/charts/", "../a.tgz", "https://h/a.tgz"),
        ("https://h/charts", "/a.tgz", "https://h/a.tgz"),
        ("https://h/charts?token=1", "a.tgz?x=2", "https://h/charts/a.tgz?token=1"),
        ("https://h/charts", "https://o/a.tgz?x=2", "https://o/a.tgz?x=2"),
        ("https://h/charts", "//o/a.tgz", "https://o/a.tgz"),
        ("https://h", "index.yaml", "https://h/index.yaml"),
    ],
)
def test_a_url_is_resolved_as_helm_does(base: str, reference: str, resolved: str) -> None:
    assert resolve_reference(base, reference) == resolved


# --- the index on its way ---------------------------------------------------------------------------------------------


def test_an_index_is_downloaded_once_however_many_ask(server: ChartRepository, charts: Repositories) -> None:
    server.add("podinfo", "1.0.0")
    server.add("grafana", "1.0.0")
    server.faults["/index.yaml"] = faulty.late(0.1)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: charts.find(server.url, name, "*"), ["podinfo", "grafana"] * 8))
        list(pool.map(lambda name: charts.find(server.url + "/", name, "*"), ["podinfo", "grafana"]))
    assert server.paths() == ["/index.yaml"]


def test_an_index_that_failed_is_not_asked_for_again(server: ChartRepository, charts: Repositories) -> None:
    for _ in range(3):
        with pytest.raises(WorldError, match="404"):
            charts.versions(server.url, "podinfo")
    assert server.paths() == ["/index.yaml"]


def test_an_unchanged_index_is_not_sent_again(server: ChartRepository, cache: Cache) -> None:
    server.add("podinfo", "1.0.0")
    first = _repositories(cache).versions(server.url, "podinfo")
    again = _repositories(cache).versions(server.url, "podinfo")
    assert again == first
    etags = [request.headers.get("if-none-match") for request in server.requests]
    assert etags[0] is None
    assert etags[1] is not None
    server.add("podinfo", "2.0.0")
    assert _repositories(cache).find(server.url, "podinfo", "*").version == "2.0.0"


def test_a_damaged_index_in_the_cache_is_downloaded_anew(server: ChartRepository, cache: Cache) -> None:
    server.add("podinfo", "1.0.0")
    _repositories(cache).versions(server.url, "podinfo")
    for path in cache.root.rglob("*"):
        if path.is_file():
            path.write_bytes(b"damaged")
    assert _repositories(cache).find(server.url, "podinfo", "*").version == "1.0.0"
    assert "if-none-match" not in server.requests[-1].headers


@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"etag":"x"}',
        b'{"digest":1,"etag":"x"}',
        b'{"digest":"../../etc/passwd","etag":"x"}',
        b'{"digest":"%s","etag":1}',
        b'{"digest":"%s","modified":{}}',
        b'{"digest":"%s","etag":"x\\ny: z"}',
        b'{"digest":"%s","etag":"\xe2\x82\xac"}',
    ],
)
def test_a_note_of_another_shape_about_an_index_is_absent(note: bytes, server: ChartRepository, cache: Cache) -> None:
    server.add("podinfo", "1.0.0")
    digest = cache.write(b"apiVersion: v1\nentries: {}\n")
    cache.put_note("index", f"{server.url}/index.yaml", note.replace(b"%s", digest.encode()))
    assert _repositories(cache).find(server.url, "podinfo", "*").version == "1.0.0"
    assert "if-none-match" not in server.requests[-1].headers
    _repositories(cache).versions(server.url, "podinfo")
    assert "if-none-match" in server.requests[-1].headers


def test_an_index_is_known_by_its_time_too(server: ChartRepository, cache: Cache) -> None:
    server.add("podinfo", "1.0.0")
    server.etags = False
    server.faults["/index.yaml"] = faulty.Fault(headers={"Last-Modified": "Fri, 02 Jan 2026 03:04:05 GMT"})
    _repositories(cache).versions(server.url, "podinfo")
    _repositories(cache).versions(server.url, "podinfo")
    assert server.requests[-1].headers["if-modified-since"] == "Fri, 02 Jan 2026 03:04:05 GMT"


def test_an_index_that_helm_cannot_use_is_not_kept(server: ChartRepository, cache: Cache) -> None:
    """A sign-in page comes with the tag of the index it stands for: kept, it would be called unchanged for ever."""
    server.add("podinfo", "1.0.0")
    server.faults["/index.yaml"] = faulty.GARBAGE
    with pytest.raises(WorldError, match="Helm cannot use it"):
        _repositories(cache).versions(server.url, "podinfo")
    assert not [path for path in cache.root.rglob("*") if path.is_file()]
    server.faults.clear()
    assert _repositories(cache).find(server.url, "podinfo", "*").version == "1.0.0"


def test_an_index_that_helm_cannot_use_leaves_the_one_that_was_kept(server: ChartRepository, cache: Cache) -> None:
    server.add("podinfo", "1.0.0")
    _repositories(cache).versions(server.url, "podinfo")
    server.faults["/index.yaml"] = faulty.GARBAGE
    with pytest.raises(WorldError, match="Helm cannot use it"):
        _repositories(cache).versions(server.url, "podinfo")
    server.faults.clear()
    assert _repositories(cache).find(server.url, "podinfo", "*").version == "1.0.0"
    assert "if-none-match" in server.requests[-1].headers


def test_a_server_that_calls_an_unknown_index_unchanged_is_told(server: ChartRepository, charts: Repositories) -> None:
    server.faults["/index.yaml"] = faulty.status(304)
    with pytest.raises(WorldError, match="nothing changed, though it was not asked"):
        charts.versions(server.url, "podinfo")


def test_an_index_may_be_packed_for_the_way(server: ChartRepository, charts: Repositories) -> None:
    server.add("podinfo", "1.0.0")
    server.gzip = True
    assert charts.find(server.url, "podinfo", "*").version == "1.0.0"


@pytest.mark.parametrize(
    ("encoding", "content", "said"),
    [
        ("gzip", b"no gzip", "damaged gzip"),
        ("gzip", gzip.compress(b"apiVersion: v1\n")[:-4], "the gzip is cut off"),
        ("br", b"brotli", "encoded as 'br', which was not asked for"),
    ],
)
def test_an_index_that_cannot_be_unpacked_is_told(
    server: ChartRepository, charts: Repositories, encoding: str, content: bytes, said: str
) -> None:
    server.files["index.yaml"] = content
    server.faults["/index.yaml"] = faulty.Fault(headers={"Content-Encoding": encoding})
    with pytest.raises(WorldError, match=said):
        charts.versions(server.url, "podinfo")


def test_a_chart_that_helm_cannot_decode_is_told_with_its_field(server: ChartRepository, charts: Repositories) -> None:
    server.add("podinfo", "1.0.0", colour="red")
    server.add("grafana", "1.0.0")
    assert charts.find(server.url, "grafana", "*").version == "1.0.0"
    with pytest.raises(WorldError, match=r"Helm cannot use it: entries\.podinfo\[0\]\.colour is a field"):
        charts.find(server.url, "podinfo", "*")


def test_a_packed_index_may_not_unpack_to_more_than_the_limit(
    server: ChartRepository, charts: Repositories, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("brolly.repositories.MAX_INDEX", 1 << 20)
    server.gzip = True
    server.files["index.yaml"] = b"#" * (8 << 20)
    with pytest.raises(WorldError, match="more than 1048576 bytes, the limit of 1 MiB"):
        charts.versions(server.url, "podinfo")


def test_an_index_above_the_limit_is_refused(
    server: ChartRepository, charts: Repositories, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("brolly.repositories.MAX_INDEX", 1000)
    server.files["index.yaml"] = b"#" * 1001
    with pytest.raises(WorldError, match="more than 1000 bytes"):
        charts.versions(server.url, "podinfo")


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
def test_a_server_in_trouble_is_asked_again(server: ChartRepository, charts: Repositories, code: int) -> None:
    server.add("podinfo", "1.0.0")
    server.faults["/index.yaml"] = faulty.status(code, times=2)
    assert charts.find(server.url, "podinfo", "*").version == "1.0.0"
    assert len(server.requests) == 3


def test_retry_after_counts_but_not_for_long(server: ChartRepository, charts: Repositories) -> None:
    server.add("podinfo", "1.0.0")
    server.faults["/index.yaml"] = faulty.status(429, Retry_After="3600")
    assert charts.find(server.url, "podinfo", "*").version == "1.0.0"


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (faulty.status(401, times=0), "answers 401 Unauthorized"),
        (faulty.status(403, times=0), "answers 403 Forbidden"),
        (faulty.status(404, times=0), "answers 404 Not Found"),
        (faulty.status(429, times=0), "answers 429 Too Many Requests"),
        (faulty.status(500, times=0), "answers 500 Internal Server Error"),
        (faulty.GARBAGE, "Helm cannot use it"),
        (faulty.TRUNCATED, "broke off"),
        (faulty.HANG, "no answer in time"),
        (faulty.redirect("ftp://127.0.0.1/index.yaml"), "only http and https are"),
        (faulty.redirect("/index.yaml"), "redirects more than"),
    ],
)
def test_what_is_wrong_with_a_server_is_told_with_what_was_being_done(
    server: ChartRepository, charts: Repositories, fault: faulty.Fault, said: str
) -> None:
    server.add("podinfo", "1.0.0")
    server.faults["/index.yaml"] = fault
    with pytest.raises(WorldError) as caught:
        charts.versions(server.url, "podinfo")
    assert str(caught.value).startswith(f"reading the index of {server.url}: ")
    assert said in str(caught.value)


def test_an_index_or_a_package_that_drips_is_not_waited_for(charts: Repositories) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
    with dripping(head, b"#" * 3000) as address:
        url = f"http://{address}"
        slow = "the answer comes slower than 1024 bytes in 0.3 seconds"
        with pytest.raises(WorldError, match=f"reading the index of {url}: .*{slow}") as caught:
            charts.versions(url, "podinfo")
        assert "--timeout" in caught.value.hint
        with pytest.raises(WorldError, match=f"downloading podinfo 1.0.0 from {url}/podinfo.tgz: .*{slow}"):
            charts.fetch(url, "podinfo", Candidate("1.0.0", f"{url}/podinfo.tgz"))


def test_a_download_that_breaks_off_once_is_repeated(server: ChartRepository, charts: Repositories) -> None:
    server.add("podinfo", "1.0.0")
    server.faults["/index.yaml"] = faulty.Fault(change="truncated", times=1)
    assert charts.find(server.url, "podinfo", "*").version == "1.0.0"


def test_a_server_that_is_not_there_is_told(charts: Repositories) -> None:
    with chart_repository() as gone:
        url = gone.url
    with pytest.raises(WorldError, match=r"reading the index of http://127.*no connection: Connection refused"):
        charts.versions(url, "podinfo")


@pytest.mark.parametrize("repository", ["ftp://charts.example", "https://", "http://[", "charts", "http://a b\n"])
def test_what_is_no_repository_is_told(charts: Repositories, repository: str) -> None:
    with pytest.raises(WorldError, match="reading the index of"):
        charts.versions(repository, "podinfo")


# --- credentials ------------------------------------------------------------------------------------------------------

_LOGIN = Credential("me", "s3cret")


def _authorized(server: ChartRepository) -> list[bool]:
    return ["authorization" in request.headers for request in server.requests]


def test_credentials_are_sent_to_their_repository(server: ChartRepository, cache: Cache) -> None:
    server.add("podinfo", "1.0.0")
    server.login = ("me", "s3cret")
    charts = _repositories(cache, credentials={server.url + "/": _LOGIN})
    charts.fetch(server.url, "podinfo", charts.find(server.url, "podinfo", "*"))
    assert _authorized(server) == [True, True]


def test_credentials_in_the_address_are_sent_and_never_shown(server: ChartRepository, charts: Repositories) -> None:
    server.add("podinfo", "1.0.0")
    server.login = ("me", "s3cret")
    address = server.url.replace("http://", "http://me:s3cret@")
    found = charts.find(address, "podinfo", "*")
    assert "s3cret" not in found.source
    charts.fetch(address, "podinfo", found)
    server.login = ("me", "changed")
    with pytest.raises(WorldError) as caught:
        charts.fetch(address, "podinfo", found, digest=ZERO)
    assert "401" in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_credentials_do_not_go_to_another_host_that_the_index_names(server: ChartRepository, cache: Cache) -> None:
    with chart_repository() as other:
        package = other.add("podinfo", "1.0.0")
        server.add("podinfo", "1.0.0", urls=[f"{other.url}/charts/podinfo-1.0.0.tgz"])
        charts = _repositories(cache, credentials={server.url: _LOGIN})
        got = charts.fetch(server.url, "podinfo", charts.find(server.url, "podinfo", "*"))
        assert got.content == package
        assert (_authorized(server), _authorized(other)) == ([True], [False])


def test_credentials_do_not_follow_a_redirect_to_another_host(server: ChartRepository, cache: Cache) -> None:
    with chart_repository() as other:
        other.add("podinfo", "1.0.0")
        server.faults["/index.yaml"] = faulty.redirect(f"{other.url}/index.yaml")
        _repositories(cache, credentials={server.url: _LOGIN}).versions(server.url, "podinfo")
        assert (_authorized(server), _authorized(other)) == ([True], [False])


def test_a_netrc_file_is_not_used(
    server: ChartRepository, charts: Repositories, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password s3cret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    server.add("podinfo", "1.0.0")
    charts.versions(server.url, "podinfo")
    assert _authorized(server) == [False]


def test_wrong_credentials_are_told_with_what_to_do(server: ChartRepository, charts: Repositories) -> None:
    server.login = ("me", "s3cret")
    server.add("podinfo", "1.0.0")
    with pytest.raises(WorldError, match="401") as caught:
        charts.versions(server.url, "podinfo")
    assert "helm repo add" in caught.value.hint


def test_helms_own_repositories_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "helm" / "repositories.yaml"
    path.parent.mkdir()
    path.write_text(
        "apiVersion: ''\nrepositories:\n"
        "- {name: mine, url: 'https://charts.example', username: me, password: s3cret}\n"
        "- {name: open, url: 'https://open.example'}\n- null\n"
    )
    expected = {"https://charts.example": _LOGIN}
    assert from_helm({"XDG_CONFIG_HOME": str(tmp_path)}) == expected
    assert from_helm({"HELM_CONFIG_HOME": str(path.parent)}) == expected
    assert from_helm({"HELM_REPOSITORY_CONFIG": str(path)}) == expected
    assert from_helm({"HOME": str(tmp_path)}) == {}
    assert "s3cret" not in repr(expected)


def test_a_repositories_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "repositories.yaml").write_text("a: [")
    with pytest.raises(UsageError, match=r"repositories\.yaml"):
        from_helm({"HELM_CONFIG_HOME": str(tmp_path)})


def test_a_user_without_a_home_has_no_stored_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(_: int) -> NoReturn:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    assert from_helm({}) == {}


def test_credentials_of_a_named_repository_come_from_the_environment() -> None:
    environ = {"BROLLY_REPOSITORY_MY_CHARTS_USERNAME": "me", "BROLLY_REPOSITORY_MY_CHARTS_PASSWORD": "s3cret"}
    names = {"my-charts": "https://charts.example", "other": "https://other.example"}
    assert from_environ(names, environ) == {"https://charts.example": _LOGIN}


# --- packages from an http repository ---------------------------------------------------------------------------------


def test_a_package_is_fetched_byte_for_byte(server: ChartRepository, charts: Repositories) -> None:
    content = server.add("podinfo", "1.0.0")
    package = charts.fetch(server.url, "podinfo", "1.0.0")
    assert (package.content, package.digest, package.version) == (content, Digest.of(content), "1.0.0")
    assert package.manifest_digest is None
    assert package.chart.values == {"greeting": "hello"}


def test_a_package_that_a_server_calls_encoded_is_taken_as_it_is(server: ChartRepository, charts: Repositories) -> None:
    content = server.add("podinfo", "1.0.0")
    server.faults["/charts/podinfo-1.0.0.tgz"] = faulty.Fault(headers={"Content-Encoding": "gzip"})
    assert charts.fetch(server.url, "podinfo", "1.0.0").content == content


def test_a_locked_package_in_the_cache_needs_no_network(server: ChartRepository, cache: Cache) -> None:
    content = server.add("podinfo", "1.0.0")
    digest = _repositories(cache).fetch(server.url, "podinfo", "1.0.0").digest
    asked = len(server.requests)
    assert _repositories(cache).fetch(server.url, "podinfo", "1.0.0", digest=digest).content == content
    assert _repositories(cache, offline=True).fetch(server.url, "podinfo", "1.0.0", digest=digest).content == content
    assert len(server.requests) == asked


def test_a_package_is_downloaded_once_however_many_ask(server: ChartRepository, charts: Repositories) -> None:
    content = server.add("podinfo", "1.0.0")
    server.faults["/charts/podinfo-1.0.0.tgz"] = faulty.late(0.1)
    with ThreadPoolExecutor(8) as pool:
        pinned = [
            pool.submit(charts.fetch, server.url, "podinfo", "1.0.0", digest=Digest.of(content)) for _ in range(8)
        ]
        assert {future.result().content for future in pinned} == {content}
        free = [pool.submit(charts.fetch, server.url, "podinfo", "1.0.0") for _ in range(8)]
        assert {future.result().content for future in free} == {content}
    assert server.paths().count("/charts/podinfo-1.0.0.tgz") == 2


def test_packages_are_downloaded_side_by_side(server: ChartRepository, charts: Repositories) -> None:
    together = threading.Barrier(3, timeout=5)
    names = ("one", "two", "three")
    for name in names:
        server.add(name, "1.0.0")
    charts.versions(server.url, "one")
    wait = server.take

    def meet(path: str) -> faulty.Fault:
        together.wait()
        return wait(path)

    server.take = meet  # type: ignore[method-assign]
    with ThreadPoolExecutor(3) as pool:
        assert len(list(pool.map(lambda name: charts.fetch(server.url, name, "1.0.0"), names))) == 3


def test_a_package_published_again_is_refused_with_both_digests(server: ChartRepository, charts: Repositories) -> None:
    locked = Digest.of(server.add("podinfo", "1.0.0"))
    again = chart_package("podinfo", "1.0.0", {"README.md": "changed"})
    server.files["charts/podinfo-1.0.0.tgz"] = again
    with pytest.raises(Republished) as caught:
        charts.fetch(server.url, "podinfo", "1.0.0", digest=locked)
    assert (caught.value.expected, caught.value.found) == (locked, Digest.of(again))
    assert locked in str(caught.value)
    assert Digest.of(again) in str(caught.value)


def test_what_was_refused_is_not_kept(server: ChartRepository, cache: Cache) -> None:
    server.add("podinfo", "1.0.0")
    with pytest.raises(Republished):
        _repositories(cache).fetch(server.url, "podinfo", "1.0.0", digest=ZERO)
    assert cache.read(Digest.of(server.files["charts/podinfo-1.0.0.tgz"])) is None


def test_a_package_altered_on_the_way_is_refused(server: ChartRepository, charts: Repositories) -> None:
    locked = Digest.of(server.add("podinfo", "1.0.0"))
    server.faults["/charts/podinfo-1.0.0.tgz"] = faulty.ALTERED
    with pytest.raises(Republished):
        charts.fetch(server.url, "podinfo", "1.0.0", digest=locked)


def test_a_damaged_package_in_the_cache_is_downloaded_again(server: ChartRepository, cache: Cache) -> None:
    content = server.add("podinfo", "1.0.0")
    digest = _repositories(cache).fetch(server.url, "podinfo", "1.0.0").digest
    for path in (cache.root / "sha256").rglob("*"):
        if path.is_file():
            path.write_bytes(b"damaged")
    assert _repositories(cache).fetch(server.url, "podinfo", "1.0.0", digest=digest).content == content


def test_a_missing_package_offline_is_told_exactly(cache: Cache) -> None:
    offline = _repositories(cache, offline=True)
    with pytest.raises(OfflineMiss) as caught:
        offline.fetch("https://charts.example", "podinfo", "1.0.0", digest=ZERO)
    assert str(caught.value) == (
        f"podinfo 1.0.0 from https://charts.example ({ZERO}) is not in the cache, "
        "and there is no network with --offline"
    )


@pytest.mark.parametrize("repository", ["https://charts.example", OCI])
@pytest.mark.parametrize("constraint", ["*", "1.0.0"])
def test_offline_nothing_is_resolved(cache: Cache, repository: str, constraint: str) -> None:
    with pytest.raises(WorldError, match="there is no network with --offline") as caught:
        _repositories(cache, offline=True).find(repository, "podinfo", constraint)
    assert repository in str(caught.value)


@pytest.mark.parametrize(("name", "version"), [("grafana", "1.0.0"), ("podinfo", "1.0.1")])
def test_a_package_of_another_name_or_version_is_refused(
    server: ChartRepository, charts: Repositories, name: str, version: str
) -> None:
    server.add("podinfo", "1.0.0", chart_package(name, version))
    with pytest.raises(WorldError) as caught:
        charts.fetch(server.url, "podinfo", "1.0.0")
    assert f"podinfo 1.0.0 from {server.url}: the package holds {name} {version}" in str(caught.value)


@pytest.mark.parametrize(("published", "inside"), [("1.4", "1.4.0"), ("v1.3.0", "1.3.0"), ("1.5.0+a", "1.5.0+b")])
def test_versions_that_are_equal_to_helm_are_equal(
    server: ChartRepository, charts: Repositories, published: str, inside: str
) -> None:
    server.add("podinfo", published, chart_package("podinfo", inside), urls=["p.tgz"])
    server.files["p.tgz"] = server.files.pop(f"charts/podinfo-{published}.tgz")
    assert charts.fetch(server.url, "podinfo", published).version == inside


@pytest.mark.parametrize("content", [b"", b"<html>Sign in</html>", chart_package("podinfo", "1.0.0")[:-20]])
def test_what_is_no_chart_package_is_told(server: ChartRepository, charts: Repositories, content: bytes) -> None:
    server.add("podinfo", "1.0.0", content)
    with pytest.raises(WorldError, match=r"podinfo 1\.0\.0 from .* is no chart package"):
        charts.fetch(server.url, "podinfo", "1.0.0")


def test_a_package_above_the_limit_is_refused(
    server: ChartRepository, charts: Repositories, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("brolly.repositories.MAX_PACKAGE", 100)
    server.add("podinfo", "1.0.0")
    with pytest.raises(WorldError, match="more than 100 bytes"):
        charts.fetch(server.url, "podinfo", "1.0.0")


def test_a_version_that_left_the_index_is_told(server: ChartRepository, charts: Repositories) -> None:
    server.add("podinfo", "1.0.1")
    with pytest.raises(WorldError, match=r"podinfo 1\.0\.0 from .* is no longer in the index"):
        charts.fetch(server.url, "podinfo", "1.0.0", digest=ZERO)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://h/a.tgz", "http:///a.tgz", "http://h\n/a.tgz", "oci://h"])
def test_an_index_may_only_name_what_can_be_asked_for(server: ChartRepository, charts: Repositories, url: str) -> None:
    server.add("podinfo", "1.0.0", urls=[url])
    with pytest.raises(WorldError):
        charts.fetch(server.url, "podinfo", "1.0.0")


def test_progress_says_what_is_downloaded(server: ChartRepository, cache: Cache) -> None:
    said: list[str] = []
    server.add("podinfo", "1.0.0")
    _repositories(cache, progress=said.append).fetch(server.url, "podinfo", "1.0.0")
    assert said == [
        f"reading the index of {server.url}",
        f"downloading podinfo 1.0.0 from {server.url}/charts/podinfo-1.0.0.tgz",
    ]


# --- registries -------------------------------------------------------------------------------------------------------


def test_a_range_finds_the_newest_strict_version_among_tags(
    memory: registries.MemoryRegistry, charts: Repositories
) -> None:
    for tag in ("1.2.0", "1.10.0", "1.9.0_build", "v1.11.0", "1.12", "latest"):
        _push(memory, "podinfo", "1.0.0", tag=tag)
    assert charts.find(OCI, "podinfo", "1.x") == Candidate("1.10.0", "1.10.0")
    assert charts.find(OCI, "podinfo", "<1.10") == Candidate("1.9.0+build", "1.9.0_build")
    assert [found.version for found in charts.versions(OCI, "podinfo")] == ["1.10.0", "1.9.0+build", "1.2.0"]


def test_an_exact_version_is_the_tag_itself(memory: registries.MemoryRegistry, charts: Repositories) -> None:
    for tag in ("v1.3.0", "1.2.0", "1.5.0_meta"):
        _push(memory, "podinfo", "1.0.0", tag=tag)
    assert charts.find(OCI, "podinfo", "v1.3.0") == Candidate("v1.3.0", "v1.3.0")
    assert charts.find(OCI, "podinfo", "1.5.0+meta") == Candidate("1.5.0+meta", "1.5.0_meta")
    hints = []
    for absent in ("1.3.0", "1.2"):
        with pytest.raises(Unresolvable) as caught:
            charts.find(OCI, "podinfo", absent)
        hints.append(caught.value.hint)
    assert hints == ["write v1.3.0", "write 1.2.0"]


def test_an_exact_version_needs_no_list_of_tags(memory: registries.MemoryRegistry, cache: Cache) -> None:
    _push(memory, "podinfo", "1.0.0")
    memory.tags = lambda _: pytest.fail("the tags were listed")  # type: ignore[assignment,method-assign]
    assert _repositories(cache, memory).find(OCI, "podinfo", "1.0.0").version == "1.0.0"


def test_tags_that_no_range_sees_are_told(memory: registries.MemoryRegistry, charts: Repositories) -> None:
    _push(memory, "podinfo", "1.0.0", tag="v1.0.0")
    with pytest.raises(Unresolvable) as caught:
        charts.find(OCI, "podinfo", "1.x")
    assert "v1.0.0" in str(caught.value)
    assert caught.value.hint == "write a tag as it is, such as v1.0.0"


@pytest.mark.parametrize("repository", [OCI, "oci://registry.test/charts/", "oci://registry.test", "oci://Reg/UPPER"])
def test_a_chart_that_no_registry_has_is_the_authors_fault(charts: Repositories, repository: str) -> None:
    with pytest.raises(Unresolvable):
        charts.find(repository, "podinfo", "*")


def test_a_chart_is_fetched_from_a_registry(memory: registries.MemoryRegistry, charts: Repositories) -> None:
    content = _push(memory, "podinfo", "1.0.0+build")
    package = charts.fetch(OCI, "podinfo", charts.find(OCI, "podinfo", "1.0.0+build"))
    assert (package.content, package.version) == (content, "1.0.0+build")
    assert package.manifest_digest == memory.tagged["charts/podinfo", "1.0.0_build"]


def _retagged(memory: registries.MemoryRegistry) -> tuple[bytes, str]:
    """Publish, then publish again with other content under the same tag; gives the first package and its manifest."""
    content = _push(memory, "podinfo", "1.0.0")
    manifest = memory.tagged["charts/podinfo", "1.0.0"]
    _push(memory, "podinfo", "1.0.0", package=chart_package("podinfo", "1.0.0", {"README.md": "changed"}))
    return content, manifest


def test_a_moved_tag_is_refused_with_both_digests(memory: registries.MemoryRegistry, charts: Repositories) -> None:
    content, manifest = _retagged(memory)
    with pytest.raises(Republished) as caught:
        charts.fetch(OCI, "podinfo", "1.0.0", digest=Digest.of(content), manifest_digest=manifest)
    assert caught.value.expected == manifest
    assert caught.value.found == memory.tagged["charts/podinfo", "1.0.0"]


def test_a_moved_tag_is_refused_when_only_the_package_is_pinned(
    memory: registries.MemoryRegistry, charts: Repositories
) -> None:
    content, _ = _retagged(memory)
    with pytest.raises(Republished) as caught:
        charts.fetch(OCI, "podinfo", "1.0.0", digest=Digest.of(content))
    assert caught.value.expected == Digest.of(content)


def test_a_tag_that_is_gone_does_not_hide_what_the_lock_names(
    memory: registries.MemoryRegistry, charts: Repositories
) -> None:
    content = _push(memory, "podinfo", "1.0.0")
    manifest = memory.tagged.pop(("charts/podinfo", "1.0.0"))
    assert charts.fetch(OCI, "podinfo", "1.0.0", digest=Digest.of(content), manifest_digest=manifest).content == content
    with pytest.raises(WorldError):
        charts.fetch(OCI, "podinfo", "1.0.0")


def test_a_layer_that_the_cache_has_is_not_downloaded(memory: registries.MemoryRegistry, cache: Cache) -> None:
    content = _push(memory, "podinfo", "1.0.0")
    _repositories(cache, memory).fetch(OCI, "podinfo", "1.0.0")
    memory.blob = lambda *_, **__: pytest.fail("it was downloaded")  # type: ignore[method-assign]
    assert _repositories(cache, memory).fetch(OCI, "podinfo", "1.0.0").content == content


def _put(memory: registries.MemoryRegistry, config: str, layers: list[Any], **more: Any) -> None:
    blob = Blob.of(config, b"{}")
    memory.put_blob("charts/podinfo", blob)
    described = {"mediaType": config, "digest": blob.descriptor.digest, "size": 2}
    body = compact_json({"schemaVersion": 2, "config": described, "layers": layers, **more})
    memory.put_manifest("charts/podinfo", "1.0.0", Blob.of("application/vnd.oci.image.manifest.v1+json", body))


def test_provenance_may_stand_before_the_chart(memory: registries.MemoryRegistry, charts: Repositories) -> None:
    content = chart_package("podinfo", "1.0.0")
    blobs = [Blob.of("application/vnd.cncf.helm.chart.provenance.v1.prov", b"signed"), Blob.of(HELM_CHART, content)]
    for blob in blobs:
        memory.put_blob("charts/podinfo", blob)
    _put(memory, HELM_CONFIG, [_described(blob.descriptor) for blob in blobs])
    assert charts.fetch(OCI, "podinfo", "1.0.0").content == content


def _described(descriptor: Descriptor) -> Mapping[str, Any]:
    return {"mediaType": descriptor.media_type, "digest": descriptor.digest, "size": descriptor.size}


def test_what_is_no_chart_is_told_by_its_kind(memory: registries.MemoryRegistry, charts: Repositories) -> None:
    _put(memory, "application/vnd.oci.image.config.v1+json", [])
    with pytest.raises(WorldError, match=r"podinfo:1\.0\.0 is no Helm chart but application/vnd\.oci\.image\.config"):
        charts.fetch(OCI, "podinfo", "1.0.0")


@pytest.mark.parametrize(
    "layer",
    [
        None,
        {"mediaType": HELM_CHART},
        {"mediaType": HELM_CHART, "digest": "sha512:00", "size": 1},
        {"mediaType": HELM_CHART, "digest": ZERO, "size": -1},
        {"mediaType": HELM_CHART, "digest": ZERO, "size": "1"},
        {"mediaType": "text/plain", "digest": ZERO, "size": 1},
    ],
)
def test_a_manifest_that_names_no_chart_package_is_told(cache: Cache, layer: Any) -> None:
    config = {"mediaType": HELM_CONFIG, "digest": ZERO, "size": 2}
    body = json.dumps({"config": config, "layers": [layer]}).encode()
    manifest = Blob.of("application/vnd.oci.image.manifest.v1+json", body)
    registry = registries.MemoryRegistry()
    registry.manifest = lambda *_: manifest  # type: ignore[method-assign]
    with pytest.raises(WorldError, match=r"oci://registry\.test/charts/podinfo:1\.0\.0"):
        _repositories(cache, registry).fetch(OCI, "podinfo", "1.0.0")


def test_an_index_may_name_a_registry(
    server: ChartRepository, memory: registries.MemoryRegistry, charts: Repositories
) -> None:
    content = _push(memory, "podinfo", "1.0.0")
    server.add("podinfo", "1.0.0", urls=["oci://registry.test/charts/podinfo:1.0.0"])
    package = charts.fetch(server.url, "podinfo", charts.find(server.url, "podinfo", "*"), digest=Digest.of(content))
    assert package.content == content
    assert server.paths() == ["/index.yaml"]


# --- Helm is the judge ------------------------------------------------------------------------------------------------

_PUBLISHED: Mapping[str, tuple[str, ...]] = {
    "odd": ("v1.3.0", "1.4", "1.2.0", "2.0.0", "01.1.0", "1.5.0+meta", "3.0.0-rc.1"),
    "prereleases": ("1.0.0-alpha", "1.0.0-rc.1", "0.9.0-rc.1"),
    "builds": ("1.5.0+b", "1.5.0+a", "1.5.0", "1.4.9+z"),
    "unsorted": ("1.0.0", "10.0.0", "2.0.0", "1.10.0", "1.9.0", "0.1.0"),
    "invalid": ("latest", "1.2.3.4", "", "1.0.0", "1.0.0-01"),
    "zero": ("0.0.1", "0.0.2", "0.1.0", "0.2.0"),
}
_CONSTRAINTS = (
    "*", "1.x", "^1.0.0", "~1.4", "1.3.0", "1.4.0", "1.4", "v1.3.0", "1.5.0", "1.5.0+meta", "1.5.0+a", ">=1, <2", ">1",
    "<2.0.0", ">=0-0", "*-0", "^1-0", "1.0.0-rc.1", "=1.2.0", "!=2.0.0", "1.2 - 1.4", "^0", "~0.0.1", "99", "1 || 2",
    "^0.9.0-0", "01.1.0", "1.1.0",
)  # fmt: skip


@pytest.fixture(scope="module")
def engine() -> Any:
    return pytest.importorskip("helm_python", reason=_HELM)


def _found(charts: Repositories, repository: str, name: str, constraint: str) -> str | None:
    try:
        return charts.find(repository, name, constraint).version
    except Unresolvable:
        return None


def _helm_locks(engine: Any, folder: Path, dependencies: list[dict[str, str]]) -> list[str]:
    """Let Helm resolve; gives the locked versions in order."""
    import yaml

    folder.mkdir()
    (folder / "Chart.yaml").write_text(
        json.dumps({"apiVersion": "v2", "name": "judge", "version": "1.0.0", "dependencies": dependencies})
    )
    engine.dependency_update(folder, plain_http=True)
    lock = yaml.safe_load((folder / "Chart.lock").read_text())
    return [entry["version"] for entry in lock["dependencies"]]


def _dependency(name: str, repository: str, constraint: str, number: int) -> dict[str, str]:
    return {"name": name, "repository": repository, "version": constraint, "alias": f"a{number}"}


def test_helm_chooses_the_same_versions_from_an_index(
    engine: Any, server: ChartRepository, charts: Repositories, tmp_path: Path
) -> None:
    for name, versions in _PUBLISHED.items():
        for version in versions:
            server.add(name, version, chart_package(name, "1.0.0") if name == "invalid" else None)
        server.add(name, "1.6.0", urls=[])
    asked = [(name, constraint) for name in _PUBLISHED for constraint in _CONSTRAINTS]
    ours = {pair: _found(charts, server.url, *pair) for pair in asked}
    good = [pair for pair in asked if ours[pair] is not None]
    wanted = [_dependency(name, server.url, text, number) for number, (name, text) in enumerate(good)]
    assert list(zip(good, _helm_locks(engine, tmp_path / "good", wanted), strict=True)) == [
        (pair, ours[pair]) for pair in good
    ]
    bad = [pair for pair in asked if ours[pair] is None]
    wanted = [_dependency(name, server.url, text, number) for number, (name, text) in enumerate(bad)]
    with pytest.raises(engine.HelmRepoError) as caught:
        _helm_locks(engine, tmp_path / "bad", wanted)
    assert f"can't get a valid version for {len(bad)} subchart(s)" in str(caught.value)
    assert len(good) > 50
    assert len(bad) > 20


def test_helm_chooses_the_same_versions_from_a_registry(engine: Any, cache: Cache, tmp_path: Path) -> None:
    with registries.docker_registry() as host:
        registry = _open(host)
        for name in ("odd", "prereleases", "zero", "unsorted"):
            for version in (*_PUBLISHED[name], "latest"):
                _push(registry, name, "1.0.0", tag=tag_of(version))
        _push(registry, "builds", "1.5.0+b")
        repository = f"oci://{host}/charts"
        charts = _repositories(cache, registry)
        asked = [(name, text) for name in ("odd", "prereleases", "zero", "unsorted", "builds") for text in _CONSTRAINTS]
        ours = {pair: _found(charts, repository, *pair) for pair in asked}
        good = [pair for pair in asked if ours[pair] is not None]
        wanted = [_dependency(name, repository, text, number) for number, (name, text) in enumerate(good)]
        locked = _helm_locks(engine, tmp_path / "good", wanted)
        assert list(zip(good, locked, strict=True)) == [(pair, ours[pair]) for pair in good]
        for number, (name, text) in enumerate(pair for pair in asked if ours[pair] is None):
            with pytest.raises(engine.HelmError):
                _helm_locks(engine, tmp_path / f"bad{number}", [_dependency(name, repository, text, 0)])


def _open(host: str) -> Any:
    from brolly.registry import open_registry

    return open_registry(f"oci://{host}", plain_http=True)[0]
