"""Sizes, limits and values schemas through the command line: each fault is a finding with a place, the rest goes on."""

from __future__ import annotations

import base64
import io
import json
import random
import re
import tarfile
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from brolly import schemas, values
from workspaces import Run, Workspace, local, local_chart

if TYPE_CHECKING:
    from collections.abc import Mapping

UMBRELLA, KUSTOMIZE = "umbrella", "kustomize"


class Said(NamedTuple):
    """A finding: its bundle, code, and place."""

    bundle: str
    code: str
    place: str


def said(done: Run) -> list[Said]:
    """List the findings of a run with --output json; every one has a place."""
    found = []
    for one in done.json["findings"]:
        at = one["location"]
        place = f"{at['path'].removeprefix('bundles/' + one['bundle'] + '/')}:{at['line']}:{at['column']}"
        found.append(Said(one["bundle"], one["code"], place))
    return found


def checked(space: Workspace) -> Run:
    """Lock what can be locked, and check all; a good bundle beside the bad ones passes."""
    space.bundle("good", local_chart(), dependencies=[local()])
    space.run("lock", "--output", "json")
    done = space.run("build", "--output", "json")
    assert done.err == ""
    assert {bundle["name"]: bundle["status"] for bundle in done.json["bundles"]}["good"] == "built"
    return done


def noise(size: int, seed: int = 0) -> str:
    """Give text that compresses to four fifths at best, and is one plain YAML scalar."""
    return base64.urlsafe_b64encode(random.Random(seed).randbytes(size * 3 // 4)).decode().rstrip("=")


# --- too much


def lines(size: int) -> str:
    return "greeter:\n  lines:\n" + "".join(f"    - a{noise(72, number)}\n" for number in range(size // 80))


HUGE: Final = lines(10 << 20)
LARGE: Final = lines(15 << 18)


@pytest.mark.parametrize(
    ("target", "files", "expected"),
    [
        (UMBRELLA, {"values.yaml": HUGE}, ("bundle/file-too-large", "values.yaml:1:1")),
        (KUSTOMIZE, {"values.yaml": HUGE}, ("bundle/file-too-large", "values.yaml:1:1")),
        (UMBRELLA, {"overlays/eu.yaml": HUGE}, ("bundle/file-too-large", "overlays/eu.yaml:1:1")),
        (KUSTOMIZE, {"overlays/eu.yaml": HUGE}, ("bundle/file-too-large", "overlays/eu.yaml:1:1")),
        (UMBRELLA, {"values.yaml": LARGE}, ("size/release-too-large", "values.yaml:1:1")),
        (KUSTOMIZE, {"values.yaml": LARGE}, ("size/config-map", "values.yaml:1:1")),
        (UMBRELLA, {"overlays/eu.yaml": LARGE}, ("size/release-too-large", "overlays/eu.yaml:1:1")),
        (KUSTOMIZE, {"overlays/eu.yaml": LARGE}, ("size/release-too-large", "overlays/eu.yaml:1:1")),
    ],
    ids=[f"{size} {path} {target}" for size in ("huge", "large") for path in ("values", "overlay") for target in "uk"],
)
def test_values_of_many_megabytes_are_one_finding(
    target: str, files: dict[str, str], expected: tuple[str, str], helm: Workspace
) -> None:
    helm.bundle("bad", {**local_chart(), **files}, target=target, dependencies=[local()])
    assert said(checked(helm)) == [Said("bad", *expected)]


DEEP: Final = {
    "flow": "greeter: {a: " + "[" * 3000 + "]" * 3000 + "}\n",
    "block": "greeter:\n" + "".join(" " * depth + "a:\n" for depth in range(1, 3000)),
    "dashes": "greeter:\n  a:\n  " + "- " * 3000 + "x\n",
}


@pytest.mark.parametrize("target", [UMBRELLA, KUSTOMIZE])
@pytest.mark.parametrize("path", ["values.yaml", "overlays/eu.yaml", "bundle.yaml", "bundle.lock"])
def test_yaml_of_three_thousand_levels_is_one_finding(path: str, target: str, helm: Workspace) -> None:
    for name, text in DEEP.items():
        helm.bundle(name, local_chart(), target=target, dependencies=[local()])
        helm.good("lock", name)
        helm.write({f"bundles/{name}/{path}": text})
    done = helm.run("check", "--output", "json")
    assert [(one.bundle, one.code) for one in said(done)] == [(name, "yaml/too-deep") for name in sorted(DEEP)]
    assert all(one.place.startswith(path + ":") for one in said(done))


CONFIG_MAPS: Final = """{{ range $number := until 8 }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ $.Chart.Name }}-{{ $number }}
data:
  noise: {{ $.Files.Get (printf "files/%d" $number) | quote }}
{{ end }}
"""


def noisy(name: str, size: int) -> dict[str, bytes | str]:
    """Give the files of a local chart that renders eight ConfigMaps, so many bytes together."""
    files = {f"files/{number}": noise(size // 8, number) for number in range(8)}
    return local_chart(name, **files, **{"templates/maps.yaml": CONFIG_MAPS})


def test_a_record_of_five_mebibytes_is_a_finding_at_the_dependency_that_makes_it(helm: Workspace) -> None:
    charts = {**noisy("large", 5 << 19), **noisy("larger", 15 << 18), **noisy("small", 1 << 16)}
    dependencies = [local("small"), local("large"), local("larger")]
    for target in (UMBRELLA, KUSTOMIZE):
        helm.bundle(target, charts, target=target, dependencies=dependencies)
    done = checked(helm)
    assert said(done) == [
        Said(KUSTOMIZE, "size/release-too-large", "bundle.yaml:7:5"),
        Said(KUSTOMIZE, "size/release-too-large", "bundle.yaml:8:5"),
        Said(UMBRELLA, "size/release-too-large", "bundle.yaml:8:5"),
    ]
    finding = done.json["findings"][-1]
    bound = re.search(r"at most, is ([0-9.]+) MiB, the limit is 1\.00 MiB", finding["message"])
    assert bound
    assert float(bound[1]) > 5
    assert "larger" in finding["hint"]
    (record,) = [
        size
        for bundle in done.json["bundles"]
        for size in bundle["sizes"]
        if bundle["name"] == UMBRELLA and size["name"] == "release-record"
    ]
    assert record["upperBound"] >= record["bytes"] > 5 << 20
    assert max(record["shares"], key=record["shares"].get) == "larger"


# --- limits


RECORD: Final = "release-record"


@pytest.mark.parametrize("target", [UMBRELLA, KUSTOMIZE])
@pytest.mark.parametrize("where", ["bundle.yaml", "brolly.toml"])
def test_a_limit_is_tightened_by_a_bundle_and_by_the_workspace(where: str, target: str, helm: Workspace) -> None:
    for limit, expected in (("1Ki", [("size/release-too-large", "error")]), ("1Mi", [])):
        limits: dict[str, Any] = {"limits": {RECORD: limit}} if where == "bundle.yaml" else {}
        if where == "brolly.toml":
            helm.write({"brolly.toml": f'address = "oci://registry.example/b"\n[limits]\n{RECORD} = "{limit}"\n'})
        helm.bundle("app", local_chart(), target=target, dependencies=[local()], **limits)
        helm.good("lock")
        done = helm.run("build", "--output", "json")
        assert [(one["code"], one["severity"]) for one in done.json["findings"]] == expected
        assert done.code == len(expected)


def test_a_limit_may_be_a_plain_number(helm: Workspace) -> None:
    helm.bundle("app", local_chart(), dependencies=[local()], limits={RECORD: 1024})
    helm.bundle("own", local_chart(), dependencies=[local()], limits={RECORD: {"limit": 819_200, "reason": "ours"}})
    helm.write({"brolly.toml": f'address = "oci://registry.example/b"\n[limits]\n{RECORD} = 2048\n'})
    helm.good("lock")
    found = [(one["bundle"], one["code"]) for one in helm.run("check", "--output", "json").json["findings"]]
    assert found == [("app", "size/release-too-large")]
    helm.write({"brolly.toml": f"[limits]\n{RECORD} = 0\n"})
    assert helm.run("check").code == 2


def test_a_bundle_does_not_loosen_the_workspaces_limits_without_a_reason(helm: Workspace) -> None:
    text = 'address = "oci://registry.example/b"\n[limits]\nrelease-record = "1Ki"\n'
    helm.write({"brolly.toml": text + 'chart-package = {limit = "1Ki", severity = "error"}\n'})
    for name, limits in {
        "higher": {RECORD: "900Ki"},
        "softer": {"chart-package": {"severity": "warning"}},
        "tighter": {RECORD: "900", "chart-package": "900"},
    }.items():
        helm.bundle(name, local_chart(), dependencies=[local()], limits=limits)
    done = helm.run("lock", "--output", "json")
    assert said(done) == [
        Said("higher", "size/no-reason", "bundle.yaml:5:28"),
        Said("softer", "size/no-reason", "bundle.yaml:5:27"),
    ]
    loose = {RECORD: {"limit": "900Ki", "reason": "ours"}, "chart-package": {"severity": "warning", "reason": "ours"}}
    helm.bundle("reasoned", local_chart(), dependencies=[local()], limits=loose)
    helm.good("lock", "reasoned")
    assert [one.code for one in said(helm.good("build", "reasoned", "--output", "json"))] == ["size/chart-package"]


def test_near_a_limit_is_a_warning(helm: Workspace) -> None:
    helm.bundle("app", noisy("greeter", 1 << 16), limits={"config-map": "9Ki"}, dependencies=[local()])
    helm.good("lock")
    done = helm.good("check", "--output", "json")
    assert {(one["code"], one["severity"]) for one in done.json["findings"]} == {("size/config-map", "warning")}
    assert helm.run("check", "--strict").code == 1


def test_a_limit_is_loosened_with_a_reason_only(helm: Workspace) -> None:
    charts = noisy("greeter", 2 << 20)
    loose = {"limit": "8Mi", "reason": "the storage driver is SQL"}
    for name, limits in {
        "none": {},
        "reason": {RECORD: loose},
        "softer": {RECORD: {"severity": "warning", "reason": "it is split later"}},
        "unsaid": {RECORD: "8Mi"},
    }.items():
        more = {"limits": limits} if limits else {}
        helm.bundle(name, charts, dependencies=[local()], **more)
    done = checked(helm)
    assert [(one.bundle, one.code) for one in said(done)] == [
        ("none", "size/release-too-large"),
        ("softer", "size/release-too-large"),
        ("unsaid", "size/no-reason"),
    ]
    assert [bundle["status"] for bundle in done.json["bundles"]] == ["built", "failed", "built", "built", "failed"]
    for setting, code in (('"8Mi"', 2), ('{limit = "8Mi", reason = "SQL"}', 0)):
        helm.write({"brolly.toml": f'address = "oci://registry.example/b"\n[limits]\n{RECORD} = {setting}\n'})
        assert helm.run("check", "none").code == code


# --- schemas


TEXT: Final = {"type": "string"}
DOUBLING: Final = {
    "$ref": "#/$defs/a17",
    "$defs": {"a0": {}, **{f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n - 1}"}] * 2} for n in range(1, 18)}},
}
REFERENCES: Final[Mapping[str, tuple[Any, str]]] = {
    "remote": ({"$ref": "https://schemas.example/x.json"}, "values/remote-schema"),
    "of an unknown draft": ({"$schema": "http://json-schema.org/draft-03/schema#"}, "values/remote-schema"),
    "a file of the host": ({"$ref": "file:///etc/passwd"}, "values/broken-schema"),
    "a file of the chart": ({"$ref": "defs.json"}, "values/broken-schema"),
    "of itself": ({"$ref": "#"}, "values/broken-schema"),
    "in circles": (
        {"properties": {"greeter": {"$ref": "#/$defs/a"}, "greeting": {"$ref": "#/$defs/a"}}}
        | {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
        "values/broken-schema",
    ),
    "to nothing": ({"properties": {"greeting": {"$ref": "#/nope"}}}, "values/broken-schema"),
    "a number": ({"$ref": 7}, "values/broken-schema"),
    "recursive": ({"properties": {"greeting": TEXT, "more": {"$ref": "#"}}}, ""),
}


@pytest.mark.parametrize("target", [UMBRELLA, KUSTOMIZE])
@pytest.mark.parametrize("case", REFERENCES)
def test_a_schema_with_odd_references_is_a_finding_with_a_place(case: str, target: str, helm: Workspace) -> None:
    schema, code = REFERENCES[case]
    text = json.dumps(schema)
    helm.bundle("a-chart", local_chart(**{"values.schema.json": text}), target=target, dependencies=[local()])
    own = {"values.yaml": "greeter: {greeting: hi}\n", "values.schema.json": text}
    helm.bundle("own", {**local_chart(), **own}, target=target, dependencies=[local()])
    found = said(checked(helm))
    assert found == (
        [Said("a-chart", code, "bundle.yaml:6:5"), Said("own", code, "values.schema.json:1:1")] if code else []
    )


@pytest.mark.parametrize("target", [UMBRELLA, KUSTOMIZE])
def test_a_schema_that_multiplies_stops_nobody(target: str, helm: Workspace) -> None:
    chart = local_chart(**{"values.schema.json": json.dumps(DOUBLING)})
    helm.bundle("app", chart, target=target, dependencies=[local()])
    assert said(checked(helm)) == [Said("app", "values/left-out-schema", "bundle.yaml:6:5")]


def test_a_schema_elsewhere_hides_nothing_of_what_helm_would_install(helm: Workspace) -> None:
    remote = {"properties": {"size": {"$ref": "https://schemas.example/x.json"}}}
    charts = {
        **local_chart("seen", **{"values.schema.json": json.dumps({"properties": {"size": {"type": "integer"}}})}),
        **local_chart("unseen", **{"values.schema.json": json.dumps(remote)}),
        "overlays/eu.yaml": "seen: {size: 2}\n",
        "overlays/us.yaml": "seen: {size: two}\n",
    }
    for target in (UMBRELLA, KUSTOMIZE):
        helm.bundle(target, charts, target=target, dependencies=[local("seen"), local("unseen")])
    helm.good("lock")
    done = helm.run("build", "--output", "json")
    for bundle in done.json["bundles"]:
        named = bundle["name"]
        assert [one for one in said(done) if one.bundle == named] == [
            Said(named, "values/remote-schema", "bundle.yaml:7:5"),
            Said(named, "values/schema", "overlays/us.yaml:1:14"),
        ]
        assert "kind: ConfigMap" in helm.run("render", named).out
        measured = {size.get("values", "defaults") for size in bundle["sizes"] if size["name"] == "release-record"}
        assert {"defaults", "eu"} <= measured


@pytest.mark.parametrize(
    "schema",
    [{"maxProperties": 1}, {"not": {"required": ["global"]}}, {"properties": {"global": False}}],
    ids=json.dumps,
)
def test_a_chart_that_refuses_global_in_any_way_is_one_finding(schema: Any, helm: Workspace) -> None:
    chart = local_chart(**{"values.schema.json": json.dumps(schema)})
    helm.bundle("app", chart, dependencies=[local()])
    assert said(checked(helm)) == [Said("app", "values/forbids-global", "bundle.yaml:6:5")]


@pytest.mark.parametrize("target", [UMBRELLA, KUSTOMIZE])
def test_an_empty_schema_is_a_fault_of_its_chart(target: str, helm: Workspace) -> None:
    chart = local_chart(**{"values.schema.json": ""})
    helm.bundle("app", chart, target=target, dependencies=[local()])
    assert said(checked(helm)) == [Said("app", "values/broken-schema", "bundle.yaml:6:5")]


@pytest.mark.parametrize(("target", "code"), [(UMBRELLA, "values/unknown-key"), (KUSTOMIZE, "values/overlay-key")])
def test_an_overlay_for_another_bundle_is_a_finding_at_its_key(target: str, code: str, helm: Workspace) -> None:
    files = {**local_chart(), "overlays/eu.yaml": "# eu\npodinfo:\n  replicas: 2\n"}
    helm.bundle("app", files, target=target, dependencies=[local()])
    done = checked(helm)
    assert said(done) == [Said("app", code, "overlays/eu.yaml:2:1")]
    assert "podinfo" in done.json["findings"][0]["message"]


STRICT: Final = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "properties": {"greeting": {"type": "string", "minLength": 2}, "count": {"type": "integer"}, "global": {}},
    "additionalProperties": False,
}


def in_package(space: Workspace, name: str, member: str) -> bytes:
    """Read a file of an umbrella chart in dist/."""
    with tarfile.open(fileobj=io.BytesIO((space.dist / f"{name}-1.0.0.tgz").read_bytes())) as tar:
        content = tar.extractfile(f"{name}/{member}")
        assert content
        return content.read()


def test_an_embedded_schema_is_helms_to_judge_by_and_says_nothing_twice(helm: Workspace) -> None:
    chart = local_chart(**{"values.schema.json": json.dumps(STRICT)})
    twice = [local(), local(alias="again", condition="again.on")]
    own = json.dumps({"properties": {"again": {"properties": {"greeting": {"maxLength": 9}}}}})
    fields = {"dependencies": twice, "embedSchema": True}
    helm.bundle("app", {**chart, "values.yaml": "again: {greeting: ahoy}\n", "values.schema.json": own}, **fields)
    helm.bundle("plain", chart, dependencies=twice)
    helm.good("lock")
    assert said(helm.good("build", "--output", "json")) == []
    embedded = json.loads(in_package(helm, "app", "values.schema.json"))
    assert len(embedded["$defs"]) == 2
    with pytest.raises(KeyError):
        in_package(helm, "plain", "values.schema.json")
    overlay = "again:\n  greeting: 7\ngreeter:\n  greting: hi\n  count: 1.5\n"
    helm.write({f"bundles/{name}/overlays/eu.yaml": overlay for name in ("app", "plain")})
    done = helm.run("check", "--output", "json")
    for name in ("app", "plain"):
        assert [one for one in said(done) if one.bundle == name] == [
            Said(name, "values/schema", "overlays/eu.yaml:2:13"),
            Said(name, "values/schema", "overlays/eu.yaml:4:3"),
            Said(name, "values/schema", "overlays/eu.yaml:5:10"),
        ]
    helm.write({"bundles/app/overlays/eu.yaml": "again: {greeting: far too long a greeting}\n"})
    assert said(helm.run("check", "app", "--output", "json")) == [Said("app", "values/schema", "overlays/eu.yaml:1:19")]


@pytest.mark.parametrize("embed", [{}, {"embedSchema": True}], ids=str)
def test_a_chart_that_forbids_global_is_one_finding_and_under_kustomize_none(
    embed: dict[str, bool], helm: Workspace
) -> None:
    closed = {"properties": {"greeting": TEXT}, "additionalProperties": False}
    chart = local_chart(**{"values.schema.json": json.dumps(closed)})
    overlay = {"overlays/eu.yaml": "greeter: {greeting: ahoy}\n"}
    helm.bundle("app", {**chart, **overlay}, dependencies=[local()], **embed)
    helm.bundle("flux", {**chart, **overlay}, target=KUSTOMIZE, dependencies=[local()])
    done = checked(helm)
    line = 7 if embed else 6
    assert said(done) == [Said("app", "values/forbids-global", f"bundle.yaml:{line}:5")]
    assert "target: kustomize" in done.json["findings"][0]["hint"]


def test_the_schema_in_dist_judges_an_overlay_as_helm_does(helm: Workspace) -> None:
    chart = local_chart(**{"values.schema.json": json.dumps(STRICT)})
    for target in (UMBRELLA, KUSTOMIZE):
        helm.bundle(target, chart, target=target, dependencies=[local(), local(alias="again")])
    helm.good("lock")
    helm.good("build")
    given: tuple[dict[str, Any], ...] = (
        {}, {"greeter": {"greeting": "ahoy"}}, {"greeter": {"greeting": "x"}}, {"again": {"greeting": 7}},
        {"again": {"count": 3}}, {"again": {"count": 3.5}}, {"greeter": {"greting": "hi"}}, {"greeter": {"global": {}}},
        {"global": {"a": 1}}, {"greeter": {"count": "3"}, "again": {"count": "3"}},
    )  # fmt: skip
    defaults = {"greeter": {"greeting": "hello"}, "again": {"greeting": "hello"}}
    judged = []
    for target in (UMBRELLA, KUSTOMIZE):
        schema = (helm.dist / f"{target}-1.0.0.values.schema.json").read_bytes()
        for number, overlay in enumerate(given):
            path = helm.root / f"bundles/{target}/overlays/{number}.yaml"
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(overlay))
            judged.append((target, number, bool(schemas.judge(schema, values.merge(defaults, overlay)))))
    done = helm.run("check", "--output", "json")
    refused = {(one.bundle, one.place.split(":")[0]) for one in said(done) if one.code == "values/schema"}
    assert refused == {(target, f"overlays/{number}.yaml") for target, number, is_refused in judged if is_refused}
    assert [is_refused for _, _, is_refused in judged].count(True) == 10


@pytest.mark.parametrize("target", [UMBRELLA, KUSTOMIZE])
def test_an_editor_with_the_schema_in_dist_takes_what_check_takes(target: str, helm: Workspace) -> None:
    schema = {"required": ["greeting", "host"], "properties": {"greeting": TEXT, "host": TEXT}}
    chart = local_chart(**{"values.schema.json": json.dumps(schema)})
    files = {"values.yaml": "greeter: {host: here}\n", "overlays/eu.yaml": "greeter: {name: x, global: {a: 1}}\n"}
    embed = {"embedSchema": True} if target == UMBRELLA else {}
    helm.bundle("app", {**chart, **files}, target=target, dependencies=[local()], **embed)
    assert said(checked(helm)) == []
    content = (helm.dist / "app-1.0.0.values.schema.json").read_bytes()
    editor = Draft202012Validator(json.loads(content), registry=registry(json.loads(content)))
    for part in ({}, {"greeter": {"name": "x"}}, {"greeter": {"host": None}}, {"greeter": {"global": {"x": 1}}}):
        assert list(editor.iter_errors(part)) == []
    assert [list(error.path) for error in editor.iter_errors({"greeter": {"greeting": 1}})] == [["greeter", "greeting"]]
    if target == UMBRELLA:
        assert in_package(helm, "app", "values.schema.json") == content


def registry(schema: Any) -> Registry[Any]:
    """Give what a schema holds under addresses of its own."""
    resources = [(inner["$id"], Resource.from_contents(inner)) for inner in schema["$defs"].values()]
    return Registry().with_resources(resources)
