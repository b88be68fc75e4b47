"""Rules that no other test makes speak: each with the smallest bundle that breaks it, and the one that does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from chart_repository import chart_repository
from engine_charts import chart_files, package
from workspaces import local, local_chart

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workspaces import Workspace

CONFIG = "apiVersion: v1\nkind: {kind}\nmetadata:\n  name: x\n  annotations: {annotations}\n{data}\n"
TEXT = "x" * 3000


def manifest(kind: str = "ConfigMap", annotations: str = "{}", data: str = "") -> dict[str, str]:
    return {"templates/x.yaml": CONFIG.format(kind=kind, annotations=annotations, data=data)}


# rule, target, fields of bundle.yaml, files of the chart, other files of the bundle
CASES: dict[str, tuple[str, str, dict[str, Any], Mapping[str, Any], Mapping[str, Any]]] = {
    "templates under kustomize": ("bundle/foreign-folder", "kustomize", {}, {}, {"templates/x.yaml": "a: 1\n"}),
    "patches under umbrella": ("bundle/foreign-folder", "umbrella", {}, {}, {"patches/x.yaml": "a: 1\n"}),
    "a chart without a version": (
        "lock/bad-chart",
        "umbrella",
        {},
        {"Chart.yaml": "apiVersion: v2\nname: greeter\n"},
        {},
    ),
    "many annotations": (
        "size/annotations",
        "umbrella",
        {"limits": {"annotations": "1Ki"}},
        manifest(annotations=f"{{a: {TEXT}}}"),
        {},
    ),
    "a large object": (
        "size/object",
        "kustomize",
        {"limits": {"object": "1Ki"}},
        manifest(data=f"data: {{a: {TEXT}}}"),
        {},
    ),
    "a large Secret": (
        "size/secret",
        "umbrella",
        {"limits": {"secret": "2Ki"}},
        manifest("Secret", data=f"stringData: {{a: {TEXT}}}"),
        {},
    ),
    "a large package": (
        "size/chart-package",
        "kustomize",
        {"limits": {"chart-package": "1Ki"}},
        {"README.md": TEXT},
        {},
    ),
    "a large file": ("size/chart-file", "kustomize", {"limits": {"chart-file": "2Ki"}}, {"README.md": TEXT}, {}),
    "a large chart": (
        "size/chart-unpacked",
        "kustomize",
        {"limits": {"chart-unpacked": "2Ki"}},
        {"README.md": TEXT},
        {},
    ),
    "a large manifest": ("size/oci-manifest", "umbrella", {"limits": {"oci-manifest": "100"}}, {}, {}),
}


def codes(space: Workspace, *more: str) -> list[str]:
    return [one["code"] for one in space.run("check", "--output", "json", *more).json["findings"]]


@pytest.mark.parametrize("case", CASES)
def test_a_rule_speaks_where_it_is_broken_and_only_there(case: str, space: Workspace) -> None:
    code, target, fields, chart, files = CASES[case]
    space.bundle("app", {**local_chart(), **files}, target=target, dependencies=[local()])
    # `greeter` with nothing but its chart is a good bundle
    if not files:
        space.good("lock")
        assert codes(space) == []
    changed = {f"charts/greeter/{path}": content for path, content in chart.items()}
    space.bundle("app", {**changed}, target=target, dependencies=[local()], **fields)
    locked = space.run("lock", "--output", "json")
    found = [one["code"] for one in locked.json["findings"]] if locked.code else codes(space)
    assert found == [code]


def test_a_setting_that_helm_passes_over_is_a_warning(space: Workspace) -> None:
    dependency = local(condition="greeter.enabled")
    space.bundle("app", {**local_chart(), "values.yaml": "greeter: {enabled: 'no'}\n"}, dependencies=[dependency])
    space.good("lock")
    assert codes(space) == ["values/not-as-written"]
    space.write({"bundles/app/values.yaml": "greeter: {enabled: true}\n"})
    assert codes(space) == []


def test_an_index_that_flux_cannot_read_is_an_error_where_flux_reads_it(space: Workspace) -> None:
    with chart_repository() as repository:
        repository.add("greeter", "1.0.0", package(chart_files("greeter")))
        repository.files["index.yaml"] += b"#" * (3 << 20)
        dependency = {"name": "greeter", "version": "1.x", "repository": repository.url}
        tight: dict[str, Any] = {"target": "kustomize", "limits": {"repository-index": "2Mi"}}
        space.bundle("beside", dependencies=[dependency], **tight)
        space.bundle("upstream", dependencies=[{**dependency, "source": "upstream"}], **tight)
        space.bundle("usual", dependencies=[{**dependency, "source": "upstream"}], target="kustomize")
        space.good("lock")
        space.good("check", "beside", "usual")
    assert codes(space, "beside", "--offline") == []
    assert codes(space, "usual", "--offline") == ["kustomize/upstream"]
    (found,) = [
        one
        for one in space.run("check", "upstream", "--offline", "--output", "json").json["findings"]
        if one["code"] != "kustomize/upstream"
    ]
    assert (found["code"], found["severity"]) == ("size/repository-index", "error")
    assert found["message"] == (
        f"the index of {repository.url}, from which Flux takes greeter, is 4.00 MiB, the limit is 2.00 MiB"
    )
    written = (space.root / "bundles/upstream/bundle.yaml").read_text().splitlines()
    assert repository.url in written[found["location"]["line"] - 1]


def test_an_index_near_fluxs_limit_is_a_warning_and_a_reason_makes_room(space: Workspace) -> None:
    with chart_repository() as repository:
        repository.add("greeter", "1.0.0", package(chart_files("greeter")))
        repository.files["index.yaml"] += b"#" * (19 << 18)
        dependency = {"name": "greeter", "version": "1.x", "repository": repository.url, "source": "upstream"}
        for name, limit in (("near", "5000Ki"), ("soft", {"limit": "4Mi", "severity": "warning", "reason": "a try"})):
            space.bundle(name, target="kustomize", dependencies=[dependency], limits={"repository-index": limit})
        space.good("lock")
    for name in ("near", "soft"):
        space.good("check", name, "--offline")
        assert sorted(codes(space, name, "--offline")) == ["kustomize/upstream", "size/repository-index"]


def test_lint_of_a_chart_of_others_is_a_warning_and_of_ones_own_an_error(space: Workspace) -> None:
    # a chart without templates/ fails `helm lint --strict`
    files = {name: content for name, content in chart_files("bare").items() if not name.startswith("templates/")}
    with chart_repository() as repository:
        repository.add("bare", "1.0.0", package(files, "bare"))
        theirs = {"name": "bare", "version": "1.x", "repository": repository.url}
        space.bundle("theirs", target="kustomize", dependencies=[theirs])
        local_files = {f"charts/bare/{path}": content for path, content in files.items()}
        space.bundle("ours", local_files, target="kustomize", dependencies=[local("bare")])
        space.good("lock")
        assert codes(space, "theirs") == ["helm/lint-upstream"]
        assert codes(space, "ours") == ["helm/lint"]
