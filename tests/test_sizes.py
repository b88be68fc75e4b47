"""Sizes of what Brolly builds: each thing that somebody limits is measured, at the file that makes it large."""

from __future__ import annotations

import gzip
import json
import random
import re
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml

from brolly import helm as helms
from workspaces import Workspace, local, local_chart

if TYPE_CHECKING:
    from workspaces import Run

UMBRELLA, KUSTOMIZE = "umbrella", "kustomize"
MIB: Final = 1 << 20


def noise(size: int, seed: int = 0) -> str:
    """Give hexadecimal text, which compresses to half."""
    return random.Random(seed).randbytes(size // 2).hex()


def found(done: Run) -> list[tuple[str, str, str, str]]:
    """List findings: bundle, code, severity and place."""
    return [
        (one["bundle"], one["code"], one["severity"], _place(one["location"], one["bundle"]))
        for one in done.json["findings"]
    ]


def _place(at: dict[str, Any], bundle: str) -> str:
    return f"{at['path'].removeprefix(f'bundles/{bundle}/')}:{at['line']}:{at['column']}"


def heavy(size: int) -> dict[str, bytes | str]:
    """Give the files of a local chart whose package has about so many bytes; none of them is large by itself."""
    return local_chart(**{f"files/{number}": "0" * (size // 3) for number in range(3)})


# --- charts


def test_the_files_of_an_umbrella_are_measured_as_helm_counts_them(helm: Workspace) -> None:
    inner = {"Chart.yaml": "apiVersion: v2\nname: inner\nversion: 1.0.0\n", "files/f": "0" * 50_000}
    tar = helms.package_folder({name: text.encode() for name, text in inner.items()}, "inner", 0)[1]
    charts: dict[str, dict[str, bytes | str]] = {
        "plain": local_chart(),
        "a-file": local_chart(**{"files/f": noise(50_000)}),
        "in-a-folder": local_chart(**{f"charts/inner/{name}": text for name, text in inner.items()}),
        "in-a-package": {**local_chart(), "charts/greeter/charts/inner-1.0.0.tgz": gzip.compress(tar)},
        "a-package": local_chart(**{"files/f": noise(30_000), "files/g": noise(30_000)}),
        "own": {**local_chart(), "templates/own.yaml": "# " + noise(50_000)},
    }
    for name, files in charts.items():
        helm.bundle(name, files, dependencies=[local()], limits={"chart-file": "40Ki"})
    helm.good("lock")
    done = helm.run("check", "--output", "json")
    assert {(bundle, code) for bundle, code, _, _ in found(done)} == {(name, "size/chart-file") for name in charts} - {
        ("plain", "size/chart-file")
    }
    said: dict[str, set[tuple[str, str]]] = {}
    for one, (bundle, _, _, place) in zip(done.json["findings"], found(done), strict=True):
        said.setdefault(bundle, set()).add((place, one["message"].split(" is ")[0]))
    package = ("bundle.yaml:7:5", "the package of greeter (greeter 1.0.0), a file of the umbrella,")
    file = ("bundle.yaml:7:5", "the largest file of greeter (greeter 1.0.0)")
    assert said["a-package"] == {package}
    assert said["a-file"] == said["in-a-folder"] == {package, file}
    assert said["in-a-package"] == {file}
    assert said["own"] == {("templates/own.yaml:1:1", "templates/own.yaml of own")}


def test_an_embedded_package_has_the_limit_of_a_file(helm: Workspace) -> None:
    for name, size in {"near": 9 * MIB // 2, "over": 11 * MIB // 2}.items():
        helm.bundle(name, heavy(size), dependencies=[local()])
    helm.bundle("beside", heavy(11 * MIB // 2), target=KUSTOMIZE, dependencies=[local()])
    helm.good("lock")
    done = helm.run("check", "--output", "json")
    assert found(done) == [
        ("near", "size/chart-file", "warning", "bundle.yaml:6:5"),
        ("over", "size/chart-file", "error", "bundle.yaml:6:5"),
    ]
    assert "bundle of its own" in done.json["findings"][1]["hint"]


def test_no_reason_lets_a_file_pass_that_helm_does_not_read(helm: Workspace) -> None:
    limits = {"chart-file": {"limit": "6Mi", "severity": "warning", "reason": "a try"}}
    helm.bundle("over", heavy(11 * MIB // 2), dependencies=[local()], limits=limits)
    soft = {"chart-file": {"limit": "10Ki", "severity": "warning", "reason": "a try"}}
    helm.bundle("under", local_chart(**{"files/f": noise(50_000)}), dependencies=[local()], limits=soft)
    helm.good("lock")
    assert set(found(helm.run("check", "--output", "json"))) == {
        ("over", "size/chart-file", "error", "bundle.yaml:7:5"),
        ("under", "size/chart-file", "warning", "bundle.yaml:7:5"),
    }


# --- what Flux applies itself


def test_the_objects_of_resources_are_measured_at_their_place(space: Workspace) -> None:
    noted = "".join(f"    note-{number}: {noise(1000)}\n" for number in range(300))
    config = f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{}}\n  annotations:\n{noted}"
    filled = "data: {a: " + noise(1_300_000) + "}\n"
    secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {a: " + noise(1_700_000) + "}\n"
    files = {
        "resources/cm.yaml": "# large\n" + config.format("noted") + "---\n" + config.format("both") + filled,
        "resources/secret.yaml": secret,
        "resources/list.yaml": json.dumps({"apiVersion": "v1", "kind": "List", "items": [yaml.safe_load(secret)] * 2})
        .replace('"name": "a"', '"name": "b"', 1)
        .replace('"name": "a"', '"name": "c"', 1),
    }
    space.bundle("app", {**local_chart(), **files}, target=KUSTOMIZE, dependencies=[local()])
    space.good("lock")
    done = [one for one in found(space.run("check", "--output", "json")) if one[1] != "helm/no-engine"]
    assert done == [
        ("app", "size/annotations", "error", "resources/cm.yaml:2:1"),
        ("app", "size/annotations", "error", "resources/cm.yaml:308:1"),
        ("app", "size/config-map", "error", "resources/cm.yaml:308:1"),
        ("app", "size/object", "error", "resources/cm.yaml:308:1"),
        *(("app", "size/object", "error", "resources/list.yaml:1:2") for _ in range(2)),
        *(("app", "size/secret", "error", "resources/list.yaml:1:2") for _ in range(2)),
        ("app", "size/object", "error", "resources/secret.yaml:1:1"),
        ("app", "size/secret", "error", "resources/secret.yaml:1:1"),
    ]


def test_the_values_of_a_release_have_the_limits_of_a_config_map(space: Workspace) -> None:
    soft = {"limit": "2Mi", "reason": "a try", "severity": "warning"}
    bundles: dict[str, tuple[int, dict[str, Any]]] = {
        "tight": (120_000, {"config-map": "100Ki"}),
        "near": (900_000, {}),
        "over": (1_200_000, {}),
        "roomy": (1_200_000, {"config-map": soft}),
        "object": (1_700_000, {"config-map": {**soft, "limit": "1Mi"}}),
    }
    for name, (size, limits) in bundles.items():
        more = {"limits": limits} if limits else {}
        files = {**local_chart(), "values.yaml": f"# ours\ngreeter:\n  text: {'x' * size}\n"}
        space.bundle(name, files, target=KUSTOMIZE, dependencies=[local()], **more)
    space.good("lock")
    done = space.run("check", "--output", "json")
    assert [one for one in found(done) if one[1] != "helm/no-engine"] == [
        ("near", "size/config-map", "warning", "values.yaml:2:1"),
        ("object", "size/config-map", "warning", "values.yaml:2:1"),
        ("object", "size/object", "error", "values.yaml:2:1"),
        ("over", "size/config-map", "error", "values.yaml:2:1"),
        ("tight", "size/config-map", "error", "values.yaml:2:1"),
    ]
    (message,) = {one["message"] for one in done.json["findings"] if one["bundle"] == "over"}
    assert message == (
        "the data of ConfigMap greeter-bundle-defaults, the values of greeter, is 1.14 MiB, the limit is 1.00 MiB"
    )


# --- where a record comes from

CONFIG: Final = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: NAME}\ndata: {text: TEXT}\n"


def config(name: str, size: int) -> str:
    return CONFIG.replace("NAME", name).replace("TEXT", noise(size))


def two() -> dict[str, bytes | str]:
    """Give the files of two local charts, of which the second renders a little more."""
    return {**local_chart(), **local_chart("other", **{"templates/more.yaml": config("more", 4000)})}


def blamed(space: Workspace, name: str, files: dict[str, bytes | str], **fields: Any) -> dict[str, str]:
    """Build a bundle that is too large for one finding: its place, label and hint."""
    dependencies = fields.pop("dependencies", [local(), local("other")])
    space.bundle(name, files, dependencies=dependencies, limits={"release-record": "100Ki"}, **fields)
    space.good("lock", name)
    done = space.run("build", name, "--output", "json")
    assert [code for _, code, _, _ in found(done)] == ["size/release-too-large"]
    (one,) = done.json["findings"]
    return {"place": _place(one["location"], name), "label": one["label"], "hint": one["hint"]}


def test_a_bundles_own_templates_are_blamed_for_what_they_add(helm: Workspace) -> None:
    own = {f"templates/own-{number}.yaml": config(f"own-{number}", 100_000 + number) for number in (1, 9, 2)}
    said = blamed(helm, "app", {**two(), **own})
    assert said["place"] == "templates/own-9.yaml:1:1"
    assert re.fullmatch(r"\d+ KiB of it come from here: \d+ KiB files, \d+ KiB manifests", said["label"])
    assert re.match(r"take out what no release needs of .* own templates and files \(-\d+ KiB", said["hint"])


def test_values_are_blamed_where_they_are_written(helm: Workspace) -> None:
    text = f"# large\ngreeter:\n  text: {noise(300_000)}\n"
    for name, files, target in (
        ("over", {"overlays/eu.yaml": text, "values.yaml": "greeter: {a: 1}\n"}, UMBRELLA),
        ("flux", {"overlays/eu.yaml": text, "values.yaml": "greeter: {a: 1}\n"}, KUSTOMIZE),
    ):
        said = blamed(helm, name, {**two(), **files}, target=target)
        assert said["place"] == "overlays/eu.yaml:2:1"
        assert re.fullmatch(r"\d+ KiB of it come from here, mostly values", said["label"])
        assert re.match(r"shorten the values of greeter \(-2\d\d KiB\)", said["hint"])
    assert blamed(helm, "default", {**two(), "values.yaml": text})["place"] == "values.yaml:2:1"
    assert blamed(helm, "beside", {**two(), "values.yaml": text}, target=KUSTOMIZE)["place"] == "values.yaml:2:1"
    own = CONFIG.replace("TEXT", "{{ len .Values.shared | quote }}").replace("NAME", "own")
    shared = {"overlays/eu.yaml": f"# large\nshared: {noise(300_000)}\n", "templates/x.yaml": own}
    assert blamed(helm, "shared", {**two(), **shared, "values.yaml": "shared: ''\n"})["place"] == "overlays/eu.yaml:2:1"


def test_a_hint_fits_the_target(helm: Workspace) -> None:
    large = {"templates/large.yaml": config("large", 300_000)}
    inner = {"Chart.yaml": "apiVersion: v2\nname: inner\nversion: 1.0.0\n", **large}
    needs = json.loads(str(local_chart()["charts/greeter/Chart.yaml"]))
    needs["dependencies"] = [{"name": "inner", "version": "1.0.0"}]
    vendored = local_chart(**{f"charts/inner/{path}": text for path, text in inner.items()})
    vendored["charts/greeter/Chart.yaml"] = json.dumps(needs)
    one = {"dependencies": [local()]}
    said = blamed(helm, "vendored", vendored, target=KUSTOMIZE, **one)
    assert re.fullmatch(r"2\d\d KiB of it come from its subchart inner, mostly manifests", said["label"])
    assert re.match(r"switch inner off in the values of greeter \(-2\d\d KiB\)", said["hint"])
    made = "{{ range until 4000 }}\n  k{{ . }}: {{ . | toString | sha256sum }}\n{{ end }}"
    alone = {"templates/large.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata:\n" + made}
    said = blamed(helm, "alone", local_chart(**alone), target=KUSTOMIZE, **one)
    assert said["hint"].startswith("switch off by values what nobody uses of greeter")
    said = blamed(helm, "files", local_chart(**{"files/f": noise(300_000)}), target=KUSTOMIZE, **one)
    assert said["hint"].startswith("leave out of greeter what no release needs")
    said = blamed(helm, "all", local_chart(**large), **one)
    assert re.match(r"move greeter to a bundle of its own \(-2\d\d KiB\), or set `target: kustomize`", said["hint"])


def records(space: Workspace, name: str) -> list[dict[str, Any]]:
    """Give the sizes of a bundle's records out of dist/report.json."""
    report = json.loads((space.dist / "report.json").read_text())
    (bundle,) = [one for one in report["bundles"] if one["name"] == name]
    return [one for one in bundle["sizes"] if one["name"] == "release-record"]


def test_the_report_splits_each_share(helm: Workspace) -> None:
    hook = "apiVersion: v1\nkind: Pod\nmetadata: {name: x, annotations: {helm.sh/hook: test}}\n"
    files = {**two(), "charts/other/templates/hook.yaml": hook, "overlays/eu.yaml": f"greeter: {{a: {noise(2000)}}}\n"}
    helm.bundle("app", files, dependencies=[local(), local("other")])
    helm.good("lock")
    helm.good("build")
    plain, overlay = records(helm, "app")
    for one in (plain, overlay):
        assert {key: sum(split.values()) for key, split in one["split"].items()} == one["shares"]
        assert sum(one["shares"].values()) == one["bytes"]
    assert plain["split"]["other"]["hooks"] > 0
    assert plain["split"]["other"]["manifests"] > plain["split"]["greeter"]["manifests"]
    assert plain["split"][""]["files"] > 0
    assert overlay["split"]["greeter"]["values"] > 1000 > plain["split"]["greeter"]["values"]


def test_what_an_embedded_schema_adds_to_a_record_is_reported(helm: Workspace) -> None:
    fields = {f"field-{number}": {"type": "string", "description": noise(80, number)} for number in range(300)}
    chart = local_chart(**{"values.schema.json": json.dumps({"properties": fields})})
    for name, more in {"with": {"embedSchema": True}, "without": {}}.items():
        helm.bundle(name, chart, dependencies=[local()], **more)
    helm.good("lock")
    done = helm.good("build")
    (larger,), (smaller,) = records(helm, "with"), records(helm, "without")
    assert larger["schema"] == pytest.approx(larger["bytes"] - smaller["bytes"], rel=0.1)
    assert "schema" not in smaller
    lines = done.out.splitlines()
    assert re.search(r"record [\d.]+ KiB of 1\.00 MiB \([\d.]+ KiB are the schema\)", lines[0])
    assert "schema" not in lines[1]


def test_a_schema_that_makes_a_record_too_large_is_blamed(helm: Workspace) -> None:
    fields = {f"field-{number}": {"type": "string", "description": noise(500, number)} for number in range(800)}
    chart = local_chart(**{"values.schema.json": json.dumps({"properties": fields})})
    said = blamed(helm, "app", chart, dependencies=[local()], embedSchema=True)
    assert said["place"] == "bundle.yaml:6:1"
    assert said["hint"].startswith("remove `embedSchema: true` (-")
