"""Sizes of what Brolly builds: each thing that somebody limits is measured, at the file that makes it large."""

from __future__ import annotations

import gzip
import json
import random
from typing import TYPE_CHECKING, Any, Final

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
