"""Bad input: one clear error that names what was being done; cache, locks and dist stay as they were."""

from __future__ import annotations

import functools
import gzip
import io
import os
import re
import shutil
import sys
import tarfile
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pytest

from brolly import workspace
from chart_repository import (
    ALTERED,
    GARBAGE,
    HANG,
    TRUNCATED,
    ChartRepository,
    Fault,
    chart_package,
    chart_repository,
    status,
)
from registries import Answer, Asked, forward, serve
from workspaces import Run, Workspace, chart_files, local, local_chart, push

if TYPE_CHECKING:
    from collections.abc import Iterator

Spoil = Callable[[Workspace], None]


@pytest.fixture
def repository() -> Iterator[ChartRepository]:
    with chart_repository() as served:
        yield served


def one_error(done: Run) -> str:
    """Give the one error that a command said."""
    errors = [line for line in done.err.splitlines() if re.match(r"error(\[|:)", line)]
    assert len(errors) == 1, done.err
    assert "Traceback" not in done.err
    return errors[0]


# --- what the author wrote


def put(name: str, content: bytes | str) -> Spoil:
    return lambda space: space.write({f"bundles/app/{name}": content})


def link(name: str, target: str) -> Spoil:
    def spoil(space: Workspace) -> None:
        path = space.root / "bundles/app" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.symlink_to(target)

    return spoil


def pipe(name: str) -> Spoil:
    def spoil(space: Workspace) -> None:
        path = space.root / "bundles/app" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        os.mkfifo(path)

    return spoil


def remove(name: str) -> Spoil:
    return lambda space: (space.root / "bundles/app" / name).unlink()


def empty_folder(space: Workspace) -> None:
    shutil.rmtree(space.root / "bundles/app")
    (space.root / "bundles/app").mkdir()


def folder_instead(space: Workspace) -> None:
    (space.root / "bundles/app/bundle.yaml").unlink()
    (space.root / "bundles/app/bundle.yaml").mkdir()


def linked_bundle(space: Workspace) -> None:
    outside = space.root.with_name("outside")
    (space.root / "bundles/app").rename(outside)
    (space.root / "bundles/app").symlink_to(outside)


def odd_name(space: Workspace) -> None:
    path = os.fsencode(space.root / "bundles/app/templates")
    os.mkdir(path)  # noqa: PTH102 - the name of the file is no text
    with open(path + b"/\xff.yaml", "wb"):  # noqa: PTH123
        pass


SCHEMA = "values.schema.json"
HUGE = b"# " + b"x" * (6 << 20)

AUTHORED: Mapping[str, tuple[Spoil, str, str]] = {
    "an empty folder": (empty_folder, "bundle/no-definition", "bundles/app/bundle.yaml"),
    "no definition": (remove("bundle.yaml"), "bundle/no-definition", "bundles/app/bundle.yaml"),
    "a folder for a definition": (folder_instead, "bundle/no-definition", "bundles/app/bundle.yaml"),
    "an empty definition": (put("bundle.yaml", ""), "yaml/empty", "bundles/app/bundle.yaml"),
    "a definition that is no YAML": (put("bundle.yaml", "name: [\n"), "yaml/syntax", "bundles/app/bundle.yaml"),
    "a definition that is not UTF-8": (put("bundle.yaml", b"name: \xff\n"), "yaml/encoding", "bundles/app/bundle.yaml"),
    "a definition in UTF-16": (put("bundle.yaml", b"\xff\xfea\0"), "yaml/encoding", "bundles/app/bundle.yaml"),
    "a huge definition": (put("bundle.yaml", HUGE), "bundle/file-too-large", "bundles/app/bundle.yaml"),
    "a definition that is a pipe": (pipe("bundle.yaml"), "bundle/unreadable-file", "bundles/app/bundle.yaml"),
    "a definition that links out": (link("bundle.yaml", "/etc/hostname"), "bundle/link", "bundles/app/bundle.yaml"),
    "values that are no YAML": (put("values.yaml", "a: b: c\n"), "yaml/syntax", "bundles/app/values.yaml"),
    "values that are not UTF-8": (put("values.yaml", b"\xff\xfe\x00"), "yaml/encoding", "bundles/app/values.yaml"),
    "values that are a list": (put("values.yaml", "- a\n"), "yaml/root", "bundles/app/values.yaml"),
    "huge values": (put("values.yaml", HUGE), "bundle/file-too-large", "bundles/app/values.yaml"),
    "values that link out": (link("values.yaml", "../../../secret"), "bundle/link", "bundles/app/values.yaml"),
    "values that link to nothing": (link("values.yaml", "nothing"), "bundle/link", "bundles/app/values.yaml"),
    "values that link to themselves": (link("values.yaml", "values.yaml"), "bundle/link", "bundles/app/values.yaml"),
    "values that are a pipe": (pipe("values.yaml"), "bundle/unreadable-file", "bundles/app/values.yaml"),
    "an overlay that is no YAML": (put("overlays/a.yaml", "{\n"), "yaml/syntax", "bundles/app/overlays/a.yaml"),
    "an overlay that is a pipe": (pipe("overlays/a.yaml"), "bundle/unreadable-file", "bundles/app/overlays/a.yaml"),
    "a template that links out": (link("templates/a", "/etc/hostname"), "bundle/link", "bundles/app/templates/a"),
    "a folder that is a link": (link("templates", "charts/greeter/templates"), "bundle/link", "bundles/app/templates"),
    "a bundle that is a link": (linked_bundle, "bundle/link", "bundles/app"),
    "a schema that is no JSON": (put(SCHEMA, "{"), "values/broken-schema", f"bundles/app/{SCHEMA}"),
    "a lock that links out": (link("bundle.lock", "/etc/hostname"), "bundle/link", "bundles/app/bundle.lock"),
    "a lock that is no YAML": (put("bundle.lock", "{"), "yaml/syntax", "bundles/app/bundle.lock"),
    "a name that is no text": (odd_name, "bundle/unreadable-file", "bundles/app/templates/\ufffd.yaml"),
}  # fmt: skip


@pytest.fixture
def app(space: Workspace) -> Workspace:
    """Give a workspace with a bundle that was locked and built, and a secret beside it."""
    space.bundle("app", {**local_chart(), "values.yaml": "greeter: {greeting: hi}\n"}, dependencies=[local()])
    space.write({"../secret": "secret: 1\n"})
    space.good("lock")
    space.good("build")
    return space


@pytest.mark.parametrize("case", AUTHORED)
def test_a_fault_in_a_bundle_is_one_finding_at_its_file(case: str, app: Workspace) -> None:
    spoil, code, path = AUTHORED[case]
    spoil(app)
    before = {name: one for name, one in app.state().items() if name != "dist/report.json"}
    for command in ("check", "build"):
        done = app.run(command)
        assert done.code == 1, done.err
        assert one_error(done).startswith(f"error[{code}]: ")
        assert f"--> {path}:" in done.err
    # the report says that the bundle failed; all else is as it was
    assert {name: one for name, one in app.state().items() if name != "dist/report.json"} == before
    assert app.run("publish").code == 1


@pytest.mark.parametrize("command", ["lock", "check", "build", "render"])
def test_no_bundles_folder_and_no_bundle_is_said(command: str, app: Workspace) -> None:
    before = app.state()
    shutil.rmtree(app.root / "bundles/app")
    assert "holds no bundle" in one_error(app.run(command))
    (app.root / "bundles").rmdir()
    done = app.run(command)
    assert (done.code, "has no bundles/ folder" in one_error(done)) == (2, True)
    (app.root / "bundles").write_text("a file")
    assert app.run(command).code == 2
    assert {name for name in before if name.startswith("dist")} <= set(app.state())


def test_more_files_than_a_chart_can_hold_is_one_finding(app: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspace, "_MAX_FILES", 10)
    app.write({f"bundles/app/templates/{number}.yaml": "" for number in range(20)})
    assert "error[bundle/too-much]" in app.run("check").err


def test_folders_nested_beyond_reason_are_no_crash(app: Workspace) -> None:
    """With a stack of ordinary depth a thousand folders are enough; here it is a smaller one."""
    app.write({f"bundles/app/templates/{'a/' * 200}a.yaml": "a: 1\n"})
    found = workspace.find(app.root)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(180)
    try:
        sources, findings = workspace.read_sources(found, "app")
    finally:
        sys.setrecursionlimit(limit)
    assert (max(sources.files, key=len), findings) == (f"templates/{'a/' * 200}a.yaml", ())


def test_a_name_that_no_archive_takes_is_a_finding(app: Workspace) -> None:
    app.write({f"bundles/app/charts/greeter/templates/{'x' * 200}.yaml": "a: 1\n"})
    for command in ("lock", "check"):
        done = app.run(command)
        assert done.code == 1
        assert "cannot be packaged" in one_error(done)


def test_a_chart_behind_a_link_out_of_the_repository_is_refused(space: Workspace) -> None:
    outside = space.root.with_name("outside")
    outside.mkdir()
    for name, content in chart_files().items():
        path = outside / "greeter" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(content))
    (space.root / "shared").symlink_to(outside)
    space.bundle("app", dependencies=[local(repository="file://../../shared/greeter")])
    done = space.run("lock", "--output", "json")
    assert done.code == 1
    assert "bundle/link" in done.codes


# --- what a chart's crds/ hold


GREETER = "charts/greeter"
CRD_FILE = f"{GREETER}/crds/a.yaml"
CRDS: Mapping[str, tuple[bytes | str, str, str]] = {
    "a template": ("{{- if .Values.x }}\nkind: A\n{{- end }}\n", "1:3", "error parsing: did not find expected node"),
    "no YAML": ("kind: [oops\n", "2:1", "error parsing: did not find expected ',' or ']'"),
    "a list as a key": ("kind: A\n? [a]\n: 1\n", "2:3", "error parsing: only a text can be a key"),
    "a list of three thousand levels": (f"a: {'[' * 3000}{']' * 3000}\n", "1:203", "error parsing: mappings and lists"),
    "Latin-1": (b"kind: A\nx: caf\xe9\n", "2:7", "error parsing: the byte 0xE9 is no UTF-8"),
    "a comment in Latin-1": (b"kind: A # caf\xe9\n", "1:14", "error parsing: the byte 0xE9 is no UTF-8"),
    "UTF-16": ("kind: A\n".encode("utf-16"), "1:1", "error parsing: the file is UTF-16"),
    "a cut character": ("kind: A\nx: \ufffd".encode() + b"\xe4\xb8\n", "2:5", "error parsing: the byte"),
    "no kind": ("---\n# none\nname: a\n", "1:1", "unable to decode: Object 'Kind' is missing"),
}  # fmt: skip


@pytest.mark.parametrize("target", ["umbrella", "kustomize"])
@pytest.mark.parametrize("case", CRDS)
def test_a_file_of_crds_that_helm_cannot_install_is_one_finding_in_it(case: str, target: str, helm: Workspace) -> None:
    content, place, reason = CRDS[case]
    helm.bundle("app", {**local_chart(), CRD_FILE: content}, target=target, dependencies=[local()])
    helm.bundle("good", local_chart(), dependencies=[local()])
    helm.good("lock")
    for command in ("check", "build", "render"):
        done = helm.run(command)
        assert done.code == 1
        name = "app" if target == "umbrella" else "greeter"
        assert one_error(done).startswith(f"error[helm/crd]: {name}: failed to install CRD crds/a.yaml: {reason}")
        assert f"--> bundles/app/charts/greeter/crds/a.yaml:{place}\n" in done.err
    assert (helm.dist / "good-1.0.0.tgz").exists()


def test_each_file_of_crds_is_said_once_at_the_dependency_where_it_is_not_the_authors(
    helm: Workspace, repository: ChartRepository
) -> None:
    repository.add("podinfo", "6.1.0", chart_package("podinfo", "6.1.0", {"crds/a.yaml": "[", "crds/b.yaml": ""}))
    files = {"overlays/eu.yaml": "podinfo: {replicas: 2}\n"}
    for target in ("umbrella", "kustomize"):
        helm.bundle(target, files, target=target, dependencies=[podinfo(repository.url)])
    helm.good("lock")
    found = [one for one in helm.run("check", "--output", "json").json["findings"] if one["code"] == "helm/crd"]
    said = [(one["bundle"], one["message"].split(": ")[1], one["location"]["line"]) for one in found]
    # Flux passes over a file that says nothing
    assert said == [
        ("kustomize", "failed to install CRD crds/a.yaml", 6),
        ("umbrella", "failed to install CRD crds/a.yaml", 6),
        ("umbrella", "failed to install CRD crds/b.yaml", 6),
    ]


def test_crds_that_a_release_skips_are_not_read(helm: Workspace) -> None:
    chart = {**local_chart(), CRD_FILE: "name: a\n"}
    release = {"install": {"crds": "Skip"}}
    helm.bundle("app", chart, target="kustomize", dependencies=[local(release=release)])
    helm.good("lock")
    assert "helm/crd" not in helm.run("check", "--output", "json").codes


NOT_UTF8 = b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a # caf\xe9\n"


@pytest.mark.parametrize("target", ["umbrella", "kustomize"])
def test_a_template_that_is_not_utf8_is_one_finding_in_it(target: str, helm: Workspace) -> None:
    chart = {**local_chart(), f"{GREETER}/templates/a.yaml": NOT_UTF8}
    helm.bundle("app", chart, target=target, dependencies=[local()])
    helm.good("lock")
    for command in ("check", "render"):
        done = helm.run(command)
        assert done.code == 1
        said = one_error(done)
        assert said.startswith("error[helm/render]: ")
        assert said.endswith("error converting YAML to JSON: yaml: incomplete UTF-8 octet sequence")
        assert "--> bundles/app/charts/greeter/templates/a.yaml:1:1\n" in done.err


def test_bytes_that_helm_does_not_read_as_yaml_and_a_replacement_character_are_no_fault(helm: Workspace) -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: '\ufffd'}\n"
    chart = {**local_chart(), f"{GREETER}/templates/NOTES.txt": b"caf\xe9\n", f"{GREETER}/templates/a.yaml": text}
    helm.bundle("app", {**chart, CRD_FILE: text.replace("name: a", "name: b")}, dependencies=[local()])
    helm.good("lock")
    helm.good("build")


# --- archives


def tar_of(*members: tuple[str, bytes] | tarfile.TarInfo) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
                continue
            info = tarfile.TarInfo(member[0])
            info.size = len(member[1])
            tar.addfile(info, io.BytesIO(member[1]))
    return out.getvalue()


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


CHART = ("podinfo/Chart.yaml", b"apiVersion: v2\nname: podinfo\nversion: 6.1.0\n")


@functools.cache
def bomb() -> bytes:
    return tar_of(CHART, *((f"podinfo/templates/{number}", bytes(4 << 20)) for number in range(26)))


ARCHIVES: Mapping[str, tuple[Callable[[], bytes], str]] = {
    "traversal": (lambda: tar_of(CHART, ("podinfo/../../evil", b"")), "unsafe name"),
    "an absolute name": (lambda: tar_of(CHART, ("/etc/passwd", b"")), "unsafe name"),
    "a link": (lambda: tar_of(CHART, special("podinfo/a", tarfile.SYMTYPE, "/etc/passwd")), "is a link"),
    "a hard link": (lambda: tar_of(CHART, special("podinfo/a", tarfile.LNKTYPE, CHART[0])), "is a link"),
    "a device": (lambda: tar_of(CHART, special("podinfo/a", tarfile.CHRTYPE)), "is no regular file"),
    "a pipe": (lambda: tar_of(CHART, special("podinfo/a", tarfile.FIFOTYPE)), "is no regular file"),
    "two of one name": (lambda: tar_of(CHART, CHART), "two entries named"),
    "a bomb": (bomb, "unpacks to more than"),
    "a large file": (lambda: tar_of(CHART, ("podinfo/a", bytes(6 << 20))), "the limit is"),
    "no Chart.yaml": (lambda: tar_of(("podinfo/values.yaml", b"")), "no Chart.yaml"),
    "nothing": (tar_of, "no Chart.yaml"),
    "a Chart.yaml that is no YAML": (lambda: tar_of((CHART[0], b"]")), "Chart.yaml"),
    "no archive": (lambda: b"<html>", "not a gzip archive"),
    "no tar": (lambda: gzip.compress(b"hello" * 200), "not a tar archive"),
    "half": (lambda: chart_package("podinfo", "6.1.0")[:-20], "cut off"),
}


@pytest.mark.parametrize("case", ARCHIVES)
def test_an_archive_that_must_not_be_read_is_refused_wherever_it_comes_from(
    case: str, space: Workspace, repository: ChartRepository
) -> None:
    make, said = ARCHIVES[case]
    content = make()
    repository.add("podinfo", "6.1.0", content)
    space.bundle("served", dependencies=[podinfo(repository.url)])
    space.bundle("local", {"charts/podinfo.tgz": content}, dependencies=[podinfo("file://charts/podinfo.tgz")])
    served = space.run("lock", "served")
    assert served.code == 3
    assert said in one_error(served)
    assert f"served: podinfo 6.1.0 from {repository.url}" in served.err
    here = space.run("lock", "local")
    assert here.code == 1
    assert said in one_error(here)
    assert "--> bundles/local/bundle.yaml:6:" in here.err
    assert not list(space.root.glob("bundles/*/bundle.lock"))
    assert not any(len(path.name) == 64 and path.read_bytes() == content for path in space.cache.rglob("*/*/*"))


def podinfo(repository: str, **more: Any) -> dict[str, Any]:
    return {"name": "podinfo", "version": "6.x", "repository": repository, **more}


@pytest.mark.parametrize(("name", "version"), [("other", "6.1.0"), ("podinfo", "6.9.0")])
def test_a_chart_of_another_name_or_version_than_asked_is_refused(
    name: str, version: str, space: Workspace, repository: ChartRepository
) -> None:
    repository.add("podinfo", "6.1.0", chart_package(name, version))
    space.bundle("app", dependencies=[podinfo(repository.url)])
    done = space.run("lock")
    assert done.code == 3
    assert f"podinfo 6.1.0 from {repository.url}: the package holds {name} {version}" in one_error(done)


# --- repositories


@pytest.fixture
def locked(space: Workspace, repository: ChartRepository) -> Workspace:
    """Give a workspace whose bundle was locked and built from a repository; the cache has the index and the package."""
    repository.add("podinfo", "6.1.0")
    space.bundle("app", dependencies=[podinfo(repository.url)])
    space.good("lock")
    space.good("build")
    return space


FAULTS: Mapping[str, tuple[Fault, str]] = {
    "401": (status(401).always(), "answers 401"),
    "403": (status(403).always(), "answers 403"),
    "404": (status(404).always(), "answers 404"),
    "429": (status(429, Retry_After="0").always(), "answers 429"),
    "500": (status(500).always(), "answers 500"),
    "garbage": (GARBAGE, ""),
    "truncated": (TRUNCATED, "broke off"),
    "altered": (ALTERED, ""),
    "nothing": (HANG, "no answer in time"),
}


@pytest.mark.parametrize("case", FAULTS)
@pytest.mark.parametrize("what", ["/index.yaml", "/charts/podinfo-6.1.0.tgz"])
def test_a_repository_that_fails_is_one_error_and_changes_nothing(
    what: str, case: str, locked: Workspace, repository: ChartRepository
) -> None:
    fault, said = FAULTS[case]
    locked.environ["BROLLY_TIMEOUT"] = "0.3"
    repository.faults[what] = fault
    before = locked.state()
    done = locked.run("lock", "--upgrade")
    assert done.code == 3
    message = one_error(done)
    assert repository.url in message
    assert said in message
    assert ("index" if what == "/index.yaml" else "podinfo 6.1.0") in message
    assert locked.state() == before


@pytest.mark.parametrize("case", FAULTS)
def test_a_build_that_has_to_download_and_cannot_is_one_error_and_changes_nothing(
    case: str, locked: Workspace, repository: ChartRepository
) -> None:
    fault, said = FAULTS[case]
    locked.environ["BROLLY_TIMEOUT"] = "0.3"
    repository.faults["/charts/podinfo-6.1.0.tgz"] = fault
    for path in locked.cache.rglob("sha256/*/*"):
        path.unlink()
    repository.etags = False
    before = locked.state()
    done = locked.run("build", "--no-cache")
    assert done.code == 3
    assert said in one_error(done)
    assert "podinfo 6.1.0" in one_error(done)
    assert locked.state() == before


def test_a_repository_that_refuses_the_connection_is_one_error(locked: Workspace) -> None:
    locked.bundle("app", dependencies=[podinfo("http://127.0.0.1:9")])
    before = locked.state()
    done = locked.run("lock")
    assert done.code == 3
    assert "reading the index of http://127.0.0.1:9: GET http://127.0.0.1:9/index.yaml: no connection" in one_error(
        done
    )
    assert locked.state() == before


def test_a_broken_entry_of_an_index_is_left_out_as_helm_does_and_said_if_nothing_else_fits(
    space: Workspace, repository: ChartRepository
) -> None:
    repository.add("podinfo", "5.0.0")
    repository.charts["podinfo"].append({"name": "podinfo", "version": "six", "urls": ["x.tgz"], "apiVersion": "v2"})
    repository.write_index()
    space.bundle("app", dependencies=[podinfo(repository.url, version="5.x")])
    space.good("lock")
    space.bundle("app", dependencies=[podinfo(repository.url)])
    done = space.run("lock")
    assert done.code == 1
    assert one_error(done).startswith("error[lock/unresolved]: podinfo 6.x from")
    assert "entries.podinfo[1] has the version 'six'" in done.err


@pytest.mark.parametrize("index", ["", "]", "apiVersion: v1\nentries: 1\n", "entries: {}\n", "<html></html>"])
def test_an_index_that_helm_cannot_use_is_one_error(index: str, locked: Workspace, repository: ChartRepository) -> None:
    repository.files["index.yaml"] = index.encode()
    done = locked.run("lock", "--upgrade")
    assert done.code == 3
    assert one_error(done).startswith(f"error: app: reading the index of {repository.url}: Helm cannot use it: ")


# --- registries


REGISTRY_FAULTS: Mapping[str, Answer] = {
    "401": Answer(401),
    "403": Answer(403),
    "404": Answer(404),
    "429": Answer(429, {"Retry-After": "0"}),
    "500": Answer(500),
    "garbage": Answer(200, {}, b"<html>Sign in</html>"),
    "dropped": Answer(fault="drop"),
    "nothing": Answer(fault="hang"),
}


@pytest.mark.parametrize("case", REGISTRY_FAULTS)
@pytest.mark.parametrize("kind", ["tags", "manifests", "blobs"])
def test_a_registry_that_fails_while_charts_are_locked_is_one_error(
    kind: str, case: str, space: Workspace, pushed: str
) -> None:
    def fault(asked: Asked) -> Answer | None:
        return REGISTRY_FAULTS[case] if f"/{kind}/" in asked.path else None

    with serve(forward(pushed, fault)) as server:
        space.environ["BROLLY_TIMEOUT"] = "0.5"
        space.bundle("app", dependencies=[podinfo(f"oci://{server.address}/bad")])
        before = space.state()
        done = space.run("lock")
    message = one_error(done)
    assert (done.code, "podinfo" in message) == ((1, True) if (kind, case) == ("tags", "404") else (3, True))
    assert space.state() == before


@pytest.fixture(scope="session")
def pushed(docker: str) -> str:
    """Push a chart; gives the registry's host:port."""
    push(docker, "bad/podinfo", "6.1.0", chart_package("podinfo", "6.1.0"))
    return docker


@pytest.mark.parametrize("case", REGISTRY_FAULTS)
@pytest.mark.parametrize("kind", ["manifests", "blobs"])
def test_a_registry_that_fails_while_publishing_is_one_error(kind: str, case: str, app: Workspace, docker: str) -> None:
    def fault(asked: Asked) -> Answer | None:
        wrong = REGISTRY_FAULTS[case]
        # 404 is an honest answer to a question
        asks = asked.method in {"GET", "HEAD"} and case == "404"
        return wrong if f"/{kind}/" in asked.path and not asks else None

    app.environ["BROLLY_TIMEOUT"] = "0.5"
    with serve(forward(docker, fault)) as server:
        before = app.state()
        done = app.run("publish", "--to", f"oci://{server.address}/{kind}-{case}")
    assert done.code == 3
    assert one_error(done).startswith("error: app: ")
    assert server.address in one_error(done)
    assert app.state() == before
