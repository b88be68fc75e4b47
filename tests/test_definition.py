"""bundle.yaml: what it may say, and every fault at its place, all at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from brolly import definition, document
from brolly.definition import Bundle, HttpRepository, LocalChart, OciRepository, Target

if TYPE_CHECKING:
    from brolly.findings import Finding

HEAD = "apiVersion: brolly/v1alpha1\ntarget: {target}\nname: shop\nversion: 1.2.3\n"
PODINFO = "  - name: podinfo\n    version: 6.x\n    repository: oci://registry.example/charts\n"


def read(text: str, folder: str = "bundles/shop") -> tuple[Bundle | None, tuple[Finding, ...]]:
    found, faults = document.read(text.encode(), f"{folder}/bundle.yaml", strict=True)
    assert found is not None, faults
    repositories = {"mine": "https://charts.example/stable/"}
    return definition.parse(found, folder=folder, repositories=repositories)


def at(repository: str) -> str:
    return PODINFO.replace("oci://registry.example/charts", repository)


def bundle(dependencies: str, target: str = "kustomize", more: str = "") -> str:
    return HEAD.format(target=target) + more + "dependencies:\n" + dependencies


def places(faults: tuple[Finding, ...]) -> list[tuple[str, int, int]]:
    return [(fault.code, fault.location.line, fault.location.column) for fault in faults if fault.location]


def test_a_definition_is_read() -> None:
    text = bundle(
        PODINFO + "    alias: hello\n    dependsOn: [other]\n    targetNamespace: test\n"
        "  - {name: other, version: ^1.2, repository: '@mine', tags: [x], condition: other.enabled}\n"
        "  - {name: own, version: '*', repository: file://charts/own}\n",
        more="description: A shop.\nappVersion: '1.10'\nkeywords: [shop]\n",
    )
    found, faults = read(text)
    assert faults == ()
    assert found is not None
    assert (found.target, found.name, found.version) == (Target.KUSTOMIZE, "shop", "1.2.3")
    assert found.metadata == {"description": "A shop.", "appVersion": "1.10", "keywords": ["shop"]}
    assert [dependency.key for dependency in found.dependencies] == ["hello", "other", "own"]
    assert [dependency.repository for dependency in found.dependencies] == [
        OciRepository("oci://registry.example/charts"),
        HttpRepository("https://charts.example/stable"),
        LocalChart("file://charts/own", "charts/own"),
    ]
    assert found.dependencies[0].depends_on == ("other",)


def test_all_faults_are_found_at_once_each_at_its_place() -> None:
    text = (
        "apiVersion: brolly/v1alpha1\n"
        "target: kustomise\n"
        "name: shop\n"
        "version: 1.10\n"
        "descripton: x\n"
        "dependencies:\n"
        "  - name: podinfo\n"
        "    verison: 6.x\n"
        "    version: 6.x\n"
        "    repository: oci://registry.example/charts\n"
        "    tags: web\n"
    )
    found, faults = read(text)
    assert found is None
    assert sorted(places(faults), key=lambda place: place[1:]) == [
        ("definition/shape", 2, 9),
        ("definition/shape", 4, 10),
        ("definition/unknown-field", 5, 1),
        ("definition/unknown-field", 8, 5),
        ("definition/shape", 11, 11),
    ]
    hints = {fault.message: fault.hint for fault in faults}
    assert hints["bundle.yaml knows no field 'verison' here"] == "did you mean `version`?"
    assert hints["version is read as the number 1.1, a text is expected"] == 'put it in quotes: "..."'


CASES = {
    "a name that is no chart name": (bundle(PODINFO).replace("name: shop", "name: Shop_"), ("definition/name", 3, 7)),
    "a name that is not the folder's": (bundle(PODINFO).replace("name: shop", "name: shp"), ("definition/name", 3, 7)),
    "a partial version": (bundle(PODINFO).replace("1.2.3", "'1.2'"), ("definition/version", 4, 10)),
    "a bad constraint": (bundle(PODINFO.replace("6.x", "'6 ||| 7'")), ("definition/version", 7, 14)),
    "a bad alias": (bundle(PODINFO + "    alias: a b\n", "umbrella"), ("definition/name", 9, 12)),
    "an alias that is no release name": (bundle(PODINFO + "    alias: A_b\n"), ("definition/name", 9, 12)),
    "an alias that values.yaml needs": (bundle(PODINFO + "    alias: global\n"), ("definition/name", 9, 12)),
    "two equal keys": (bundle(PODINFO + PODINFO), ("definition/clash", 9, 11)),
    "an alias that is another's name": (
        bundle(PODINFO + PODINFO.replace("podinfo", "x") + "    alias: podinfo\n"),
        ("definition/clash", 12, 12),
    ),
    "an unknown repository name": (
        bundle(at("'@mien'")),
        ("definition/repository", 8, 17),
    ),
    "a repository without a host": (
        bundle(at("https:///x")),
        ("definition/repository", 8, 17),
    ),
    "credentials in a repository": (
        bundle(PODINFO.replace("oci://", "oci://me:secret@")),
        ("definition/repository", 8, 17),
    ),
    "a path": (bundle(at("./charts")), ("definition/repository", 8, 17)),
    "a chart out of the repository": (
        bundle(at("file://../../../up")),
        ("definition/repository", 8, 17),
    ),
    "an absolute chart": (
        bundle(at("file:///etc/chart")),
        ("definition/repository", 8, 17),
    ),
    "import-values under kustomize": (bundle(PODINFO + "    import-values: [x]\n"), ("definition/target", 9, 5)),
    "dependsOn under umbrella": (bundle(PODINFO + "    dependsOn: []\n", "umbrella"), ("definition/target", 9, 5)),
    "release under umbrella": (bundle(PODINFO + "    release: {}\n", "umbrella"), ("definition/target", 9, 5)),
    "targetNamespace under umbrella": (
        bundle(PODINFO + "    targetNamespace: x\n", "umbrella"),
        ("definition/target", 9, 5),
    ),
    "a release field of ours": (bundle(PODINFO + "    release:\n      values: {}\n"), ("definition/release", 10, 7)),
    "upstream of a registry": (bundle(PODINFO + "    source: upstream\n"), ("definition/target", 9, 13)),
    "dependsOn of nobody": (bundle(PODINFO + "    dependsOn: [podinof]\n"), ("definition/depends-on", 9, 17)),
    "a circle": (
        bundle(PODINFO + "    dependsOn: [b]\n" + PODINFO.replace("podinfo", "b") + "    dependsOn: [podinfo]\n"),
        ("definition/depends-on", 9, 16),
    ),
    "itself": (bundle(PODINFO + "    dependsOn: [podinfo]\n"), ("definition/depends-on", 9, 16)),
    "an unknown limit": (bundle(PODINFO, more="limits:\n  realease-record: 1Mi\n"), ("size/unknown-limit", 6, 3)),
    "a limit that is no size": (bundle(PODINFO, more="limits:\n  object: 1MB\n"), ("definition/shape", 6, 11)),
    "a limit of nothing": (bundle(PODINFO, more="limits:\n  object: 0\n"), ("definition/shape", 6, 11)),
    "a limit with a fraction": (bundle(PODINFO, more="limits:\n  object: 819200.5\n"), ("definition/shape", 6, 11)),
    "a limit that is neither": (bundle(PODINFO, more="limits:\n  object: true\n"), ("definition/shape", 6, 11)),
    "a limit in the long form of nothing": (
        bundle(PODINFO, more="limits:\n  object: {limit: 0}\n"),
        ("definition/shape", 6, 19),
    ),
    "a loosened limit": (bundle(PODINFO, more="limits:\n  object: 2Mi\n"), ("size/no-reason", 6, 11)),
    "a schema to embed under kustomize": (bundle(PODINFO, more="embedSchema: true\n"), ("definition/target", 5, 1)),
    "a bad namespace": (bundle(PODINFO + "    targetNamespace: A_b\n"), ("definition/name", 9, 22)),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_fault_has_a_code_a_place_and_a_hint(case: tuple[str, tuple[str, int, int]]) -> None:
    text, expected = case
    found, faults = read(text)
    assert found is None
    assert places(faults) == [expected]
    assert faults[0].hint


def test_a_limit_is_tightened_freely_and_loosened_with_a_reason() -> None:
    more = "limits:\n  object: 1Mi\n  secret: 819200\n  chart-package: {limit: 20971520, reason: ours takes more}\n"
    more += "embedSchema: true\n"
    found, faults = read(bundle(PODINFO, "umbrella", more))
    assert faults == ()
    assert found is not None
    assert (found.limits["object"], found.limits["secret"], found.embeds_schema) == ("1Mi", 819200, True)


def test_credentials_are_never_repeated() -> None:
    _, faults = read(CASES["credentials in a repository"][0])
    assert "secret" not in str(faults)


def test_a_condition_with_a_space_is_a_warning() -> None:
    found, faults = read(bundle(PODINFO + "    condition: 'a.on, b.on'\n", "umbrella"))
    assert found is not None
    assert places(faults) == [("definition/condition", 9, 16)]


@pytest.mark.parametrize("target", ["umbrella", "kustomize"])
def test_what_is_not_specific_compiles_for_both_targets(target: str) -> None:
    found, faults = read(bundle(PODINFO + "    alias: hello\n    condition: hello.enabled\n    tags: [a]\n", target))
    assert found is not None
    assert faults == ()


def test_the_chart_yaml_of_an_umbrella_can_be_pasted() -> None:
    chart = (
        "type: application\n"
        "kubeVersion: '>=1.27.0-0'\nappVersion: '2'\nhome: https://shop.example\n"
        "icon: https://shop.example/i.svg\nsources: [https://code.example]\n"
        "maintainers: [{name: Ada, email: a@b.example}]\n"
        "annotations: {team: shop}\ndeprecated: false\nkeywords: [a]\n"
    )
    found, faults = read(bundle(PODINFO + "    import-values: [x, {child: a, parent: b}]\n", "umbrella", chart))
    assert faults == ()
    assert found is not None
    assert found.dependencies[0].import_values == ("x", {"child": "a", "parent": "b"})
