"""The main job through the command line: lock, build, render."""

from __future__ import annotations

import json
import tarfile
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from brolly import outcome
from brolly.engine import Engine
from brolly.oci import Digest
from brolly.registry.remote import OciRegistry
from chart_repository import ChartRepository, chart_package, chart_repository, status
from workspaces import Workspace, chart_files, digest, local, local_chart, picture, times

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REFUSES = "http://127.0.0.1:9"


@pytest.fixture
def repository() -> Iterator[ChartRepository]:
    with chart_repository() as served:
        yield served


def push(address: str, name: str, version: str, content: bytes) -> str:
    """Publish a chart as Helm does; give the manifest's digest."""
    from brolly import helm
    from brolly.chart import read_package

    artifact = helm.chart_artifact(content, read_package(content), name, 0)
    to = OciRegistry(address)
    for blob in artifact.blobs:
        to.put_blob(name, blob)
    to.put_manifest(name, version.replace("+", "_"), artifact.manifest)
    return artifact.digest


def remote(served: ChartRepository, **more: Any) -> dict[str, Any]:
    return {"name": "podinfo", "version": "6.x", "repository": served.url, **more}


def entry(space: Workspace, name: str = "app", place: int = 0) -> dict[str, str]:
    """Read an entry of a lock."""
    from brolly import document

    found: dict[str, str] = document.parse(space.lock_text(name).encode())["dependencies"][place]
    return found


# --- lock


def test_lock_writes_what_it_resolved_and_check_then_agrees(space: Workspace, repository: ChartRepository) -> None:
    repository.add("podinfo", "5.9.0")
    package = repository.add("podinfo", "6.1.0")
    repository.add("podinfo", "7.0.0")
    space.bundle("app", dependencies=[remote(repository)])
    assert space.run("lock", "--check").code == 1
    assert space.good("lock").out == "app: locked (1 dependency)\n  podinfo 6.1.0\n"
    assert entry(space) == {
        "digest": Digest.of(package), "name": "podinfo", "repository": repository.url, "version": "6.1.0"
    }  # fmt: skip
    assert space.good("lock", "--check").out == "locks are current: app\n"


def test_a_lock_is_not_touched_if_nothing_changed(space: Workspace, repository: ChartRepository) -> None:
    repository.add("podinfo", "6.1.0")
    space.bundle("app", dependencies=[remote(repository)])
    space.good("lock")
    before = times(space.root / "bundles")
    assert "unchanged" in space.good("lock").out
    assert space.good("lock", "--upgrade", "--output", "json").json["locks"][0]["changed"] is False
    assert times(space.root / "bundles") == before


def test_lock_stays_and_upgrade_moves(space: Workspace, repository: ChartRepository) -> None:
    for name in ("podinfo", "other"):
        repository.add(name, "6.1.0")
    space.bundle("app", dependencies=[remote(repository), remote(repository, name="other", alias="two")])
    space.good("lock")
    for name in ("podinfo", "other"):
        repository.add(name, "6.2.0")
    assert space.good("lock").out == "app: unchanged (2 dependencies)\n"
    assert space.good("lock", "--upgrade", "two").out == "app: locked (2 dependencies)\n  two 6.1.0 -> 6.2.0\n"
    assert space.good("lock", "--upgrade").out == "app: locked (2 dependencies)\n  podinfo 6.1.0 -> 6.2.0\n"
    moves = space.good("lock", "--upgrade", "--output", "json").json["locks"][0]["moves"]
    assert moves == []


def test_what_cannot_be_upgraded_is_named_with_a_suggestion(space: Workspace) -> None:
    space.bundle("app", local_chart(), dependencies=[local()])
    assert "did you mean `greeter`?" in space.run("lock", "--upgrade", "greter").err
    assert "brolly lock app --upgrade" in space.run("lock", "--upgrade", "app").err


def test_a_narrower_constraint_makes_the_lock_stale_without_any_network(
    space: Workspace, repository: ChartRepository
) -> None:
    repository.add("podinfo", "6.1.0")
    space.bundle("app", dependencies=[remote(repository)])
    space.good("lock")
    asked = len(repository.requests)
    space.bundle("app", dependencies=[remote(repository, version=">=6.2.0")])
    for command in (("lock", "--check"), ("check",), ("build",)):
        done = space.run(*command, "--output", "json")
        assert (done.code, done.codes) == (1, ["lock/violated"])
    space.bundle("app", dependencies=[remote(repository), remote(repository, alias="two")])
    done = space.run("lock", "--check", "--output", "json")
    assert (done.code, done.codes) == (1, ["lock/stale"])
    assert len(repository.requests) == asked


def test_lock_check_asks_nobody(space: Workspace) -> None:
    space.bundle("app", dependencies=[{"name": "podinfo", "version": "6.x", "repository": REFUSES}])
    done = space.run("lock", "--check", "--output", "json")
    assert (done.code, done.codes, done.json["failures"]) == (1, ["lock/missing"], [])


def test_a_version_that_was_published_again_is_refused_by_lock_and_build(
    space: Workspace, repository: ChartRepository
) -> None:
    first = repository.add("podinfo", "6.1.0")
    space.bundle("app", dependencies=[remote(repository)])
    space.good("lock")
    again = chart_package("podinfo", "6.1.0", {"values.yaml": "greeting: other\n"})
    repository.files["charts/podinfo-6.1.0.tgz"] = again
    forget(space)
    before = space.state()
    for command in (("lock", "--upgrade"), ("build",), ("check",)):
        done = space.run(*command)
        assert done.code == 3
        assert Digest.of(first) in done.err
        assert Digest.of(again) in done.err
    assert locks_and_dist(space.state()) == locks_and_dist(before)


def test_a_tag_that_moved_is_refused_with_both_digests(space: Workspace, docker: str) -> None:
    here = push(docker, "moving/podinfo", "6.1.0", chart_package("podinfo", "6.1.0"))
    space.bundle("app", dependencies=[{"name": "podinfo", "version": "6.x", "repository": f"oci://{docker}/moving"}])
    space.good("lock")
    assert entry(space)["manifest"] == here
    there = push(docker, "moving/podinfo", "6.1.0", chart_package("podinfo", "6.1.0", {"values.yaml": "{}\n"}))
    forget(space)
    done = space.run("build")
    assert done.code == 3
    assert here in done.err
    assert there in done.err


def forget(space: Workspace) -> None:
    """Empty the cache."""
    for path in [path for path in space.cache.rglob("*") if path.is_file()]:
        path.unlink()


def locks_and_dist(state: dict[str, str]) -> dict[str, str]:
    return {name: one for name, one in state.items() if not name.startswith("work-cache")}


def test_http_and_oci_repositories_names_and_mirrors_lock_build_and_render(
    helm: Workspace, repository: ChartRepository, docker: str
) -> None:
    package = repository.add("podinfo", "6.1.0")
    pushed = push(docker, "charts/podinfo", "6.2.0+build.1", chart_package("podinfo", "6.2.0+build.1"))
    config = {
        "address": "oci://registry.example/bundles",
        "repositories": {"stable": repository.url},
        "mirrors": {"https://charts.example/stable": repository.url, "oci://registry.example": f"oci://{docker}"},
    }
    helm.write({"brolly.toml": toml(config)})
    helm.bundle(
        "app",
        dependencies=[
            remote(repository, alias="named", repository="@stable"),
            remote(repository, alias="mirrored", repository="https://charts.example/stable"),
            remote(repository, alias="oci", repository="oci://registry.example/charts"),
        ],
    )
    helm.good("lock")
    locked = {one["alias"]: one for one in (entry(helm, place=place) for place in range(3))}
    assert {key: one["repository"] for key, one in locked.items()} == {
        "named": repository.url,
        "mirrored": "https://charts.example/stable",
        "oci": "oci://registry.example/charts",
    }
    assert locked["oci"]["manifest"] == pushed
    assert locked["oci"]["version"] == "6.2.0+build.1"
    helm.good("build")
    chart = chart_in(helm.dist / "app-1.0.0.tgz")
    assert chart["app/charts/podinfo-6.1.0.tgz"] == package
    assert "# Source: app/charts/oci/templates/configmap.yaml" in helm.good("render").out


def toml(config: dict[str, Any]) -> str:
    """Write a flat table and tables of texts; JSON's strings are TOML's."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in config.items() if isinstance(value, str)]
    for key, table in config.items():
        if isinstance(table, dict):
            lines += [f"[{key}]", *(f"{json.dumps(name)} = {json.dumps(value)}" for name, value in table.items())]
    return "\n".join(lines) + "\n"


def chart_in(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        return {info.name: read(tar, info) for info in tar}


def read(tar: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    content = tar.extractfile(info)
    return content.read() if content else b""


def test_a_package_is_downloaded_once_for_all_bundles_and_builds(space: Workspace, repository: ChartRepository) -> None:
    repository.add("podinfo", "6.1.0")
    for name in ("one", "two"):
        space.bundle(name, dependencies=[remote(repository), remote(repository, alias="again")])
    space.good("lock", "-j", "4")
    assert sorted(repository.paths()) == ["/charts/podinfo-6.1.0.tgz", "/index.yaml"]
    space.good("build", "-j", "4")
    assert len(repository.requests) == 2
    forget(space)
    space.good("build", "-j", "4")
    assert repository.paths().count("/charts/podinfo-6.1.0.tgz") == 2


def test_offline_names_all_that_is_missing(space: Workspace, repository: ChartRepository) -> None:
    digests = [Digest.of(repository.add(name, "6.1.0")) for name in ("podinfo", "other")]
    space.bundle("app", dependencies=[remote(repository), remote(repository, name="other")])
    space.bundle("more", dependencies=[remote(repository)])
    space.good("lock")
    space.good("build", "--offline")
    forget(space)
    done = space.run("build", "--offline", "--output", "json")
    assert done.code == 3
    said = [(one["bundle"], one["message"]) for one in done.json["failures"]]
    assert [bundle for bundle, _ in said] == ["app", "app", "more"]
    for (_, message), name, found in zip(said, ("podinfo", "other", "podinfo"), (*digests, digests[0]), strict=True):
        assert message.startswith(f"{name} 6.1.0 from {repository.url} ({found}) is not in the cache")


def test_no_version_that_fits_is_a_finding_at_the_constraint(space: Workspace, repository: ChartRepository) -> None:
    repository.add("podinfo", "5.0.0")
    space.bundle("app", dependencies=[remote(repository), remote(repository, name="podinof", alias="two")])
    done = space.run("lock", "--output", "json")
    assert (done.code, done.codes) == (1, ["lock/unresolved"] * 2)
    assert "5.0.0" in done.json["findings"][0]["message"]
    assert "did you mean `podinfo`?" in done.json["findings"][1]["hint"]
    assert not (space.root / "bundles/app/bundle.lock").exists()


def test_a_damaged_lock_is_said_by_check_and_written_anew_by_lock(space: Workspace) -> None:
    space.bundle("app", local_chart(), dependencies=[local()])
    space.good("lock")
    good = space.lock_text("app")
    for text in ("", "]", "apiVersion: brolly/v1alpha1\n", good.replace("sha256:", "md5:")):
        space.write({"bundles/app/bundle.lock": text})
        done = space.run("check", "--output", "json")
        assert done.code == 1
        assert {code.partition("/")[0] for code in done.codes} <= {"lock", "yaml"}
        space.good("lock")
        assert space.lock_text("app") == good


# --- local charts


def test_local_charts_may_be_folders_packages_and_lie_outside_the_bundle(helm: Workspace) -> None:
    helm.write({f"shared/outside/{name}": content for name, content in chart_files("outside").items()})
    helm.write({"shared/packed-1.0.0.tgz": chart_package("packed", "1.0.0")})
    helm.bundle(
        "app",
        {**local_chart(), "charts/inner-1.0.0.tgz": chart_package("inner", "1.0.0")},
        dependencies=[
            local(),
            local("inner", repository="file://charts/inner-1.0.0.tgz"),
            local("outside", repository="file://../../shared/outside"),
            local("packed", repository="file://../../shared/packed-1.0.0.tgz"),
        ],
    )
    helm.good("lock")
    helm.good("check", "--strict")
    text = helm.good("render").out
    assert text.count("# Source: ") == 4
    helm.write({"shared/outside/values.yaml": "greeting: changed\n"})
    done = helm.run("lock", "--check", "--output", "json")
    assert (done.code, done.codes) == (1, ["lock/local-changed"])


@pytest.mark.parametrize("path", ["../../../elsewhere", "/etc", "charts/../../../../x", "~/x"])
def test_a_local_chart_outside_the_repository_is_refused(path: str, space: Workspace) -> None:
    space.bundle("app", local_chart(), dependencies=[local(repository=f"file://{path}")])
    done = space.run("lock", "--output", "json")
    assert done.code == 1
    assert set(done.codes) <= {"definition/repository", "bundle/no-local-chart"}


def test_a_local_chart_whose_dependencies_are_not_vendored_is_refused(space: Workspace) -> None:
    header = {
        "apiVersion": "v2", "name": "greeter", "version": "1.0.0",
        "dependencies": [{"name": "redis", "version": "1.x", "repository": "https://charts.example"}],
    }  # fmt: skip
    space.bundle("app", local_chart(**{"Chart.yaml": json.dumps(header)}), dependencies=[local()])
    done = space.run("lock", "--output", "json")
    assert (done.code, done.codes) == (1, ["lock/not-vendored"])
    vendored = {f"charts/greeter/charts/redis/{name}": text for name, text in chart_files("redis", "1.1.0").items()}
    space.bundle("app", {**local_chart(**{"Chart.yaml": json.dumps(header)}), **vendored}, dependencies=[local()])
    space.good("lock")
    space.good("check")


def test_a_local_chart_of_another_name_or_version_is_refused(space: Workspace) -> None:
    space.bundle(
        "app",
        local_chart(),
        dependencies=[local("greter", repository="file://charts/greeter"), local(version="2.x", alias="b")],
    )
    done = space.run("lock", "--output", "json")
    assert (done.code, done.codes) == (1, ["lock/other-chart"] * 2)


# --- build


def two_targets(space: Workspace) -> None:
    space.bundle("umbrella", {**local_chart(), "values.yaml": "greeter: {greeting: hi}\n"}, dependencies=[local()])
    space.bundle("flux", local_chart(), target="kustomize", dependencies=[local()])
    space.good("lock")


def test_build_writes_a_layout_the_files_and_a_report(helm: Workspace) -> None:
    two_targets(helm)
    done = helm.good("build")
    assert [line.split()[:4] for line in done.out.splitlines()] == [
        ["flux", "1.0.0", "kustomize", "built"], ["umbrella", "1.0.0", "umbrella", "built"],
    ]  # fmt: skip
    assert sorted(path.name for path in helm.dist.iterdir() if path.name[0] != ".") == [
        "flux-1.0.0", "flux-1.0.0.values.md", "oci", "report.json", "umbrella-1.0.0.tgz", "umbrella-1.0.0.values.md",
    ]  # fmt: skip
    report = json.loads((helm.dist / "report.json").read_text())
    jsonschema.Draft202012Validator(outcome.json_schema()).validate(report)
    assert [bundle["status"] for bundle in report["bundles"]] == ["built", "built"]
    index = json.loads((helm.dist / "oci/index.json").read_text())
    assert [one["annotations"]["org.opencontainers.image.ref.name"] for one in index["manifests"]] == [
        "charts/greeter-1.0.0", "flux-1.0.0", "umbrella-1.0.0",
    ]  # fmt: skip
    named = {one["digest"] for one in index["manifests"]}
    for one in index["manifests"]:
        content = (helm.dist / "oci/blobs/sha256" / one["digest"][7:]).read_bytes()
        assert (Digest.of(content), len(content)) == (one["digest"], one["size"])
        named |= {part["digest"] for part in (json.loads(content)["config"], *json.loads(content)["layers"])}
    blobs = sorted((helm.dist / "oci/blobs/sha256").iterdir())
    assert [f"sha256:{path.name}" for path in blobs] == sorted(named)
    assert all(digest(path) == path.name for path in blobs)


def test_a_second_build_rewrites_nothing(space: Workspace) -> None:
    two_targets(space)
    space.good("build")
    before = times(space.dist)
    space.good("build")
    assert times(space.dist) == before


def test_check_writes_nothing(space: Workspace) -> None:
    two_targets(space)
    space.good("check")
    assert not space.dist.exists()


def test_a_bundle_that_fails_keeps_its_old_outputs_and_the_others_are_built(space: Workspace) -> None:
    two_targets(space)
    space.good("build")
    before = picture(space.dist)
    space.write(
        {"bundles/umbrella/values.yaml": "greeter: 1\n", "bundles/flux/values.yaml": "greeter: {greeting: ho}\n"}
    )
    done = space.run("build", "--output", "json")
    assert done.code == 1
    assert [bundle["status"] for bundle in done.json["bundles"]] == ["built", "failed"]
    after = picture(space.dist)
    assert after["dist/umbrella-1.0.0.tgz"] == before["dist/umbrella-1.0.0.tgz"]
    assert after["dist/flux-1.0.0/releases/greeter.yaml"] != before["dist/flux-1.0.0/releases/greeter.yaml"]
    report = json.loads((space.dist / "report.json").read_text())
    assert report["bundles"][1]["status"] == "failed"
    assert report["bundles"][1]["artifacts"]


def test_a_bundle_that_is_gone_leaves_dist_with_the_next_full_build(space: Workspace) -> None:
    two_targets(space)
    space.good("build")
    for path in sorted((space.root / "bundles/flux").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (space.root / "bundles/flux").rmdir()
    space.good("build")
    assert not any("flux" in name or "charts" in name for name in picture(space.dist))
    assert b"flux" not in (space.dist / "oci/index.json").read_bytes()
    assert len(list((space.dist / "oci/blobs/sha256").iterdir())) == 3


def test_a_new_version_takes_the_place_of_the_old_one(space: Workspace) -> None:
    two_targets(space)
    space.good("build")
    space.bundle("flux", target="kustomize", version="1.1.0", dependencies=[local()])
    space.good("build", "flux")
    names = {path.name for path in space.dist.iterdir()}
    assert {"flux-1.1.0", "umbrella-1.0.0.tgz"} <= names
    assert "flux-1.0.0" not in names


def test_a_partial_build_keeps_the_others(space: Workspace) -> None:
    two_targets(space)
    space.good("build")
    before = picture(space.dist)
    space.write({"bundles/umbrella/values.yaml": "greeter: {greeting: ho}\n"})
    space.good("build", "umbrella")
    after = picture(space.dist)
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert "dist/umbrella-1.0.0.tgz" in changed
    assert not any("flux" in name for name in changed)
    assert [bundle["name"] for bundle in json.loads((space.dist / "report.json").read_text())["bundles"]] == [
        "flux", "umbrella",
    ]  # fmt: skip


def test_a_damaged_dist_is_healed_by_the_next_build(space: Workspace) -> None:
    two_targets(space)
    space.good("build")
    good = picture(space.dist)
    for blob in (space.dist / "oci/blobs/sha256").iterdir():
        blob.write_bytes(b"damaged")
    (space.dist / "oci/index.json").write_text("[]")
    (space.dist / "flux-1.0.0/stray.yaml").write_text("a: 1\n")
    (space.dist / "umbrella-1.0.0.tgz").unlink()
    (space.dist / ".umbrella-1.0.0.tgz.12345.tmp").write_text("left by a killed build")
    space.good("build")
    assert picture(space.dist) == good


@pytest.mark.parametrize("lost", ["index.json", "blobs"])
def test_what_a_failed_bundle_kept_and_dist_lost_is_not_listed_any_more(lost: str, space: Workspace) -> None:
    two_targets(space)
    space.good("build")
    for path in [path for path in (space.dist / "oci").rglob("*") if lost in path.parts and path.is_file()]:
        path.unlink()
    space.write({"bundles/umbrella/values.yaml": "greeter: 1\n"})
    assert space.run("build").code == 1
    index = (space.dist / "oci/index.json").read_text()
    assert ("umbrella-1.0.0" in index) == (lost == "index.json")


def test_a_dist_that_cannot_be_written_is_a_fault_of_the_world(space: Workspace) -> None:
    two_targets(space)
    space.dist.write_text("a file in its place")
    done = space.run("build")
    assert done.code == 3
    assert f"error: writing {space.dist}" in done.err


def test_without_the_engine_a_build_warns_and_under_strict_fails(space: Workspace) -> None:
    two_targets(space)
    space.engine = None
    done = space.good("build", "--output", "json")
    assert done.codes == ["helm/no-engine"] * 2
    assert space.run("build", "--strict").code == 1
    assert "pip install 'brolly[helm]'" in space.run("render").err


def test_the_address_is_an_input_of_the_build(space: Workspace) -> None:
    space.write({"brolly.toml": ""})
    two_targets(space)
    assert space.good("build", "--output", "json").codes == ["workspace/no-address"]
    before = picture(space.dist)
    space.good("build", "--address", "oci://ghcr.example/team")
    source = (space.dist / "flux-1.0.0/releases/greeter.yaml").read_text()
    assert "url: oci://ghcr.example/team/charts/greeter" in source
    assert picture(space.dist)["dist/umbrella-1.0.0.tgz"] != before["dist/umbrella-1.0.0.tgz"]


ENDLESS = '{{- define "again" -}}{{ tpl "{{ include \\"again\\" . }}" . }}{{- end -}}\n{{ include "again" . }}\n'


def test_a_template_that_recurses_for_ever_is_a_finding_and_the_other_bundles_finish(helm: Workspace) -> None:
    files = local_chart(**{"templates/endless.yaml": ENDLESS})
    helm.bundle("endless", files, dependencies=[local()])
    helm.bundle("good", local_chart(), dependencies=[local()])
    helm.good("lock")
    helm.engine = Engine(timeout=10)
    with ExitStack() as closing:
        closing.callback(helm.engine.close)
        done = helm.run("build", "--output", "json")
    assert done.code == 1
    assert [bundle["status"] for bundle in done.json["bundles"]] == ["failed", "built"]
    assert {finding["bundle"] for finding in done.json["findings"]} == {"endless"}
    assert set(done.codes) <= {"helm/engine", "helm/render", "helm/lint"}


def test_all_bundles_that_meet_a_fault_of_the_world_are_named(space: Workspace, repository: ChartRepository) -> None:
    for name in ("one", "two"):
        space.bundle(name, dependencies=[remote(repository, name=name, repository=f"{repository.url}/{name}")])
    space.bundle("good", local_chart(), dependencies=[local()])
    repository.faults = {f"/{name}/index.yaml": status(500).always() for name in ("one", "two")}
    done = space.run("lock", "--output", "json")
    assert done.code == 3
    assert [one["bundle"] for one in done.json["failures"]] == ["one", "two"]
    assert (space.root / "bundles/good/bundle.lock").is_file()
    assert space.run("lock").err.count("answers 500") == 2


# --- render


def test_render_prints_what_helm_template_prints(helm: Workspace) -> None:
    hook = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: hook\n  annotations: {helm.sh/hook: pre-install}\n"
    account = "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: account\n"
    crd = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata:\n  name: a.b\n"
    more = {"templates/zhook.yaml": hook, "templates/zaccount.yaml": account, "crds/a.yaml": crd}
    helm.bundle("app", {**local_chart(**more), "values.yaml": "greeter: {greeting: hi}\n"}, dependencies=[local()])
    helm.good("lock")
    config = 'apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: app-greeter\ndata:\n  greeting: "hi"\n'
    source = "---\n# Source: app/charts/greeter"
    objects = f"{source}/templates/zaccount.yaml\n{account}\n{source}/templates/configmap.yaml\n{config}"
    hooks = f"\n{source}/templates/zhook.yaml\n{hook}\n"
    assert squeezed(helm.good("render").out) == squeezed(objects + hooks)
    with_crds = helm.good("render", "app", "--include-crds").out
    assert with_crds.startswith(f"{source}/crds/a.yaml\n{crd}")


def squeezed(text: str) -> list[str]:
    return [line for line in text.splitlines() if line]


def render_values(helm: Workspace) -> None:
    helm.bundle("app", local_chart(), dependencies=[local()])
    helm.bundle(
        "flux", {**local_chart(), "values.yaml": "one: {greeting: uno}\nglobal: {a: 1}\n"}, target="kustomize",
        dependencies=[local(alias="one"), local(alias="two", targetNamespace="there")],
    )  # fmt: skip
    helm.good("lock")


def test_render_takes_operators_values_later_files_over_earlier_ones(helm: Workspace) -> None:
    render_values(helm)
    helm.write({"a.yaml": "greeter: {greeting: first}\n", "b.yaml": "greeter: {greeting: second}\n"})
    assert 'greeting: "first"' in helm.good("render", "app", "-f", "a.yaml").out
    assert 'greeting: "second"' in helm.good("render", "app", "-f", "a.yaml", "--values", "b.yaml").out


def test_render_gives_each_release_of_a_flux_bundle_its_values(helm: Workspace) -> None:
    render_values(helm)
    helm.write({"operator.yaml": "two: {greeting: dos}\n"})
    done = helm.good("render", "flux", "-f", "operator.yaml", "--output", "json").json
    assert [(one["release"], one["namespace"]) for one in done["releases"]] == [
        ("one", "default"), ("there-two", "there"),
    ]  # fmt: skip
    assert [one["objects"][0]["object"]["data"]["greeting"] for one in done["releases"]] == ["uno", "dos"]
    assert [one["values"] for one in done["releases"]] == [
        {"greeting": "uno", "global": {"a": 1}}, {"greeting": "dos", "global": {"a": 1}},
    ]  # fmt: skip
    text = helm.good("render", "flux").out
    assert "# Bundle: flux, release: there-two, namespace: there\n" in text


def test_render_writes_one_file_per_release_with_output_dir(helm: Workspace) -> None:
    render_values(helm)
    done = helm.good("render", "--output-dir", "out")
    assert done.out.split() == ["out/app/app.yaml", "out/flux/one.yaml", "out/flux/there-two.yaml"]
    assert (helm.root / "out/app/app.yaml").read_text() == helm.good("render", "app").out
    assert helm.good("render", "--output-dir", "out", "--output", "json").json["files"] == done.out.split()


@pytest.mark.parametrize(
    ("text", "code", "place"),
    [
        ("greeter: [\n", "yaml/syntax", "op.yaml:2:1"),
        ("greeter:\n  greeting: 1\n", "values/schema", "op.yaml:2:13"),
        ("- a\n", "yaml/root", "op.yaml:1:1"),
        (b"a: \xff\n", "yaml/encoding", "op.yaml:1:4"),
    ],
)
def test_a_fault_in_a_values_file_is_shown_at_its_place(
    text: bytes | str, code: str, place: str, helm: Workspace
) -> None:
    schema = json.dumps({"properties": {"greeting": {"type": "string"}}})
    helm.bundle("app", local_chart(**{"values.schema.json": schema}), dependencies=[local()])
    helm.good("lock")
    helm.write({"op.yaml": text})
    done = helm.run("render", "-f", "op.yaml")
    assert done.code == 1
    assert f"error[{code}]" in done.err
    assert f"--> {place}\n" in done.err
    assert "|" in done.err
    assert done.out == ""


def test_a_values_file_is_for_one_bundle_and_must_be_there(helm: Workspace) -> None:
    render_values(helm)
    done = helm.run("render", "-f", "op.yaml")
    assert (done.code, done.err) == (2, "error: reading op.yaml: No such file or directory\n")
    helm.write({"op.yaml": "{}"})
    assert "name it: brolly render app --values FILE" in helm.run("render", "-f", "op.yaml").err
