"""The main job through the command line: build and render."""

from __future__ import annotations

import json
import shutil
import weakref
from contextlib import ExitStack
from typing import Any

import jsonschema
import pytest

from brolly import dist, outcome
from brolly.engine import Engine
from brolly.oci import Digest
from workspaces import Workspace, digest, files_below, local, local_chart, picture, times

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
        "flux-1.0.0", "flux-1.0.0.values.md", "flux-1.0.0.values.schema.json", "oci", "report.json",
        "umbrella-1.0.0.tgz", "umbrella-1.0.0.values.md", "umbrella-1.0.0.values.schema.json",
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


def test_a_second_build_says_unchanged_and_a_third_rewrites_nothing_at_all(space: Workspace) -> None:
    two_targets(space)
    space.good("build")
    built = times(space.dist)
    assert [line.split()[3] for line in space.good("build").out.splitlines()] == ["unchanged", "unchanged"]
    unchanged = times(space.dist)
    assert {name for name, time in unchanged.items() if time != built[name]} == {"report.json"}
    space.good("build")
    assert times(space.dist) == unchanged


@pytest.mark.parametrize("option", [[], ["--no-cache"]])
def test_what_dist_lost_comes_back(option: list[str], space: Workspace) -> None:
    two_targets(space)
    space.good("build")
    before = {path: path.read_bytes() for path in space.dist.rglob("*") if path.is_file()}
    (space.dist / "umbrella-1.0.0.tgz").unlink()
    (space.dist / "flux-1.0.0/kustomization.yaml").write_text("edited")
    (space.dist / "flux-1.0.0/stray.yaml").write_text("a: 1")
    blob = next(path for path in space.dist.rglob("blobs/sha256/*") if path.stat().st_size > 5000)
    blob.write_bytes(b"damaged")
    space.good("build", *option)
    assert {path: path.read_bytes() for path in space.dist.rglob("*") if path.is_file()} == before


def test_a_damaged_result_is_made_again(space: Workspace) -> None:
    two_targets(space)
    space.good("build")
    for path in space.cache.rglob("notes/*/*"):
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert [line.split()[3] for line in space.good("build").out.splitlines()] == ["built", "built"]
    assert [line.split()[3] for line in space.good("build").out.splitlines()] == ["unchanged", "unchanged"]


def test_results_whose_content_is_gone_are_made_again(space: Workspace) -> None:
    two_targets(space)
    space.good("build")
    for path in space.cache.rglob("sha256/*/*"):
        path.unlink()
    assert space.good("build").out.split()[3] == "unchanged"
    (space.dist / "umbrella-1.0.0.tgz").unlink()
    assert [line.split()[3] for line in space.good("build").out.splitlines()] == ["unchanged", "built"]


@pytest.mark.parametrize("option", [[], ["--no-cache"]])
def test_the_bytes_of_a_bundle_are_let_go_when_it_is_done(
    option: list[str], space: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abcd":
        space.bundle(name, local_chart(), dependencies=[local()])
    space.good("lock")
    seen: list[weakref.ref[Any]] = []
    living: list[int] = []
    put = dist.Staging.put

    def watched(staging: dist.Staging, built: outcome.Outcome) -> None:
        living.append(sum(one() is not None for one in seen))
        seen.extend(weakref.ref(one) for one in (built, *built.artifacts))
        put(staging, built)

    monkeypatch.setattr(dist.Staging, "put", watched)
    space.good("build", "-j", "1", *option)
    assert living == [0] * 4
    # what is brought back from the cache is never held
    shutil.rmtree(space.dist)
    space.good("build", "-j", "1", *option)
    assert living == [0] * (8 if option else 4)


def test_what_comes_back_from_the_cache_is_what_was_built_and_takes_no_room(space: Workspace) -> None:
    two_targets(space)
    space.good("build")
    built = picture(space.dist)
    shutil.rmtree(space.dist)
    assert [line.split()[3] for line in space.good("build").out.splitlines()] == ["built", "built"]
    assert picture(space.dist) == built
    kept = {path.stat().st_ino for path in space.cache.rglob("sha256/*/*")}
    brought = [path for path in files_below(space.dist) if path.parent.name == "sha256" or path.suffix == ".tgz"]
    assert [path.stat().st_ino in kept for path in brought] == [True] * len(brought)
    assert {path.stat().st_mode & 0o777 for path in brought} == {0o644}
    # who writes into one of them damages the cache as well, which is seen
    (space.dist / "umbrella-1.0.0.tgz").write_bytes(b"x")
    assert [line.split()[3] for line in space.good("build").out.splitlines()] == ["unchanged", "built"]
    assert picture(space.dist / "oci") == {
        name.removeprefix("dist/"): one for name, one in built.items() if "/oci/" in name
    }
    assert picture(space.dist)["dist/umbrella-1.0.0.tgz"] == built["dist/umbrella-1.0.0.tgz"]


def test_a_bundle_that_moved_is_judged_anew(space: Workspace) -> None:
    two_targets(space)
    space.good("build")
    (space.root / "bundles/umbrella").rename(space.root / "bundles/moved")
    for command in ("check", "build"):
        done = space.run(command, "--output", "json")
        assert (done.code, done.codes) == (1, ["definition/name"])
        assert "bundles/moved/bundle.yaml" in done.out


def test_an_outcome_belongs_to_all_that_went_in(space: Workspace) -> None:
    two_targets(space)
    space.good("build")
    for change in ("values.yaml", "overlays/new.yaml"):
        (space.root / "bundles/umbrella" / change).parent.mkdir(exist_ok=True)
        (space.root / "bundles/umbrella" / change).write_text("greeter: {greeting: salve}\n")
        words = [line.split()[3] for line in space.good("build").out.splitlines()]
        assert words == ["unchanged", "built"], change
    assert [line.split()[3] for line in space.good("build", "--address", "oci://a.example/b").out.splitlines()] == [
        "built", "built",
    ]  # fmt: skip


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
