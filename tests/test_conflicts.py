"""One object, two owners: what Helm does about it is tried, and what Brolly says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from api_server import ApiServer, Installer
from engine_charts import chart_files, engine, package

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workspaces import Workspace

CRD = (
    "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: carts.shop.example}\n"
    "spec: {group: shop.example, names: {kind: Cart, plural: carts}, scope: Namespaced, versions: []}\n"
)
SAME = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: same}\ndata: {from: {{ .Chart.Name }}}\n"
NAMED = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{{ .Chart.Name }}'}\n"
LIST = "apiVersion: v1\nkind: List\nitems:\n- "
HOOK = "{name: carts.shop.example, annotations: {helm.sh/hook: 'pre-install,pre-upgrade'}}"
ROLE = "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: same}\n"

CASES = {
    "two templates": ({"templates/x.yaml": SAME}, {"templates/x.yaml": SAME}, ["conflict/object"]),
    "names of their own": ({"templates/x.yaml": NAMED}, {"templates/x.yaml": NAMED}, []),
    "two definitions": ({"templates/x.yaml": CRD}, {"templates/x.yaml": CRD}, ["conflict/crd"]),
    "a template and a folder": ({"crds/x.yaml": CRD}, {"templates/x.yaml": CRD}, ["conflict/crd"]),
    "two folders alike": ({"crds/x.yaml": CRD}, {"crds/x.yaml": "# same\n" + CRD}, ["conflict/shared-crd"]),
    "two folders that differ": (
        {"crds/x.yaml": CRD},
        {"crds/x.yaml": CRD.replace("[]", "[{name: v1}]")},
        ["conflict/crd"],
    ),
    "an object in a folder and a template": (
        {"crds/x.yaml": NAMED.replace("'{{ .Chart.Name }}'", "same")},
        {"templates/x.yaml": SAME},
        ["conflict/object"],
    ),
    "a list and a template": (
        {"templates/x.yaml": LIST + SAME.replace("\n", "\n  ")},
        {"templates/x.yaml": SAME},
        ["conflict/object"],
    ),
    "a list in a template and a folder": (
        {"templates/x.yaml": LIST + CRD.replace("\n", "\n  ")},
        {"crds/x.yaml": CRD},
        ["conflict/crd"],
    ),
    "a list in a folder and a template": (
        {"crds/x.yaml": LIST + CRD.replace("\n", "\n  ")},
        {"templates/x.yaml": CRD},
        ["conflict/crd"],
    ),
    "a list of names of their own": (
        {"templates/x.yaml": LIST + NAMED.replace("\n", "\n  ")},
        {"templates/x.yaml": LIST + NAMED.replace("\n", "\n  ")},
        [],
    ),
    "a hook and a template": (
        {"templates/x.yaml": CRD.replace("{name: carts.shop.example}", HOOK)},
        {"templates/x.yaml": CRD},
        [],
    ),
    "a hook and a folder": (
        {"templates/x.yaml": CRD.replace("{name: carts.shop.example}", HOOK)},
        {"crds/x.yaml": CRD},
        [],
    ),
    "cluster roles": ({"templates/x.yaml": ROLE}, {"templates/x.yaml": ROLE}, ["conflict/object"]),
}


def bundle(space: Workspace, case: str, target: str, *, is_off: bool = False) -> None:
    files = {}
    for name, more in zip(("one", "two"), CASES[case][:2], strict=True):
        for path, content in {**chart_files(name), **more}.items():
            files[f"bundles/app/charts/{name}/{path}"] = content
    space.write({path: content if isinstance(content, str) else content.decode() for path, content in files.items()})
    dependencies = [{"name": name, "version": "1.x", "repository": f"file://charts/{name}"} for name in ("one", "two")]
    if is_off:
        dependencies[1]["condition"] = "two.enabled"
        values = {"values.yaml": "two: {enabled: false}\n", "overlays/eu.yaml": "two: {enabled: true}\n"}
        space.write({f"bundles/app/{path}": text for path, text in {**values, "overlays/us.yaml": "{}\n"}.items()})
    space.bundle("app", target=target, dependencies=dependencies)
    space.good("lock")


@pytest.mark.parametrize("target", ["umbrella", "kustomize"])
@pytest.mark.parametrize("case", CASES)
def test_an_object_with_two_owners_is_found_at_the_second(case: str, target: str, space: Workspace) -> None:
    bundle(space, case, target)
    found = conflicts(space)
    assert [one["code"] for one in found] == CASES[case][2]
    assert all("both one and two" in one["message"] for one in found)


def conflicts(space: Workspace) -> list[dict[str, Any]]:
    """Give what is said of conflicts; `helm lint` does not like a list that has no name."""
    found = space.run("check", "--output", "json").json["findings"]
    assert {one["code"] for one in found if not one["code"].startswith("conflict/")} <= {"helm/lint"}
    return [one for one in found if one["code"].startswith("conflict/")]


@pytest.mark.parametrize("case", CASES)
def test_an_object_that_gets_a_second_owner_by_an_overlay_is_found(case: str, helm: Workspace) -> None:
    bundle(helm, case, "umbrella", is_off=True)
    found = conflicts(helm)
    assert [one["code"] for one in found] == CASES[case][2]
    assert all("both one and two" in one["message"] and " with overlay eu: " in one["message"] for one in found)


def test_a_conflict_that_the_defaults_have_is_not_said_again_for_an_overlay(helm: Workspace) -> None:
    bundle(helm, "two templates", "umbrella")
    helm.write({"bundles/app/overlays/eu.yaml": "one: {size: 2}\n"})
    (found,) = conflicts(helm)
    assert "overlay" not in found["message"]


def test_a_release_that_skips_its_folder_of_definitions_owns_none(space: Workspace) -> None:
    bundle(space, "a template and a folder", "kustomize")
    dependencies = [{"name": name, "version": "1.x", "repository": f"file://charts/{name}"} for name in ("one", "two")]
    skipping = {**dependencies[0], "release": {"install": {"crds": "Skip"}}}
    space.bundle("app", target="kustomize", dependencies=[skipping, dependencies[1]])
    space.good("lock")
    assert conflicts(space) == []


@pytest.fixture(scope="module")
def installer() -> Iterator[Installer]:
    engine()
    with ApiServer() as server, Installer(server) as started:
        yield started


REFUSED = {case for case in CASES if "folder and a" in case or "and a folder" in case} - {"a hook and a folder"}


@pytest.mark.parametrize("case", CASES)
def test_helm_refuses_what_a_template_renders_and_a_folder_brings_and_nothing_else(
    case: str, installer: Installer
) -> None:
    files = chart_files(
        "app", dependencies=[{"name": name, "version": "1.0.0", "repository": ""} for name in ("one", "two")]
    )
    for name, more in zip(("one", "two"), CASES[case][:2], strict=True):
        files |= {f"charts/{name}/{path}": text for path, text in {**chart_files(name), **more}.items()}
    kinds = [("rbac.authorization.k8s.io/v1", "ClusterRole")]
    _, fault = installer.install(package(files, "app"), {}, name="app", kinds=kinds, upgrades=1)
    assert ("exists and cannot be imported into the current release" in fault) == (case in REFUSED)
    assert bool(fault) == (case in REFUSED)
