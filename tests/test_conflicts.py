"""One object, two owners: what Helm does about it is tried, and what Brolly says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from api_server import ApiServer, Installer
from engine_charts import chart_files, engine, package

if TYPE_CHECKING:
    from workspaces import Workspace

CRD = (
    "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: carts.shop.example}\n"
    "spec: {group: shop.example, names: {kind: Cart, plural: carts}, scope: Namespaced, versions: []}\n"
)
SAME = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: same}\ndata: {from: {{ .Chart.Name }}}\n"
NAMED = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{{ .Chart.Name }}'}\n"
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
    "cluster roles": ({"templates/x.yaml": ROLE}, {"templates/x.yaml": ROLE}, ["conflict/object"]),
}


def bundle(space: Workspace, case: str, target: str) -> None:
    files = {}
    for name, more in zip(("one", "two"), CASES[case][:2], strict=True):
        for path, content in {**chart_files(name), **more}.items():
            files[f"bundles/app/charts/{name}/{path}"] = content
    space.write({path: content if isinstance(content, str) else content.decode() for path, content in files.items()})
    dependencies = [{"name": name, "version": "1.x", "repository": f"file://charts/{name}"} for name in ("one", "two")]
    space.bundle("app", target=target, dependencies=dependencies)
    space.good("lock")


@pytest.mark.parametrize("target", ["umbrella", "kustomize"])
@pytest.mark.parametrize("case", CASES)
def test_an_object_with_two_owners_is_found_at_the_second(case: str, target: str, space: Workspace) -> None:
    bundle(space, case, target)
    found = space.run("check", "--output", "json").json["findings"]
    assert [one["code"] for one in found] == CASES[case][2]
    assert all("both one and two" in one["message"] for one in found)


def test_helm_refuses_a_definition_that_a_template_renders_and_a_folder_brings() -> None:
    engine()
    files = chart_files(
        "app", dependencies=[{"name": name, "version": "1.0.0", "repository": ""} for name in ("a", "b")]
    )
    for name, place in (("a", "crds/x.yaml"), ("b", "templates/x.yaml")):
        files |= {f"charts/{name}/{path}": text for path, text in {**chart_files(name), place: CRD}.items()}
    with ApiServer() as server, Installer(server) as installer:
        records, fault = installer.install(package(files, "app"), {}, name="app")
    assert records == []
    assert "exists and cannot be imported into the current release" in fault
