"""Checks of what an author wrote: values that reach nobody, and values that are no mapping."""

from __future__ import annotations

import json
from typing import Any

import pytest

from brolly import authored, checks
from brolly.sources import Sources
from workspaces import bundle_yaml, local, local_chart

DEPENDENCIES = (
    local(alias="german", condition="german.enabled,switches.german"),
    local(alias="english", tags=["west"]),
)
CLOSED = {"properties": {"german": {}}, "additionalProperties": False}


def found(files: dict[str, str], *, target: str = "umbrella") -> list[tuple[str, str, str]]:
    """Give code, place and hint of what the checks say of an author's files."""
    written = {"bundle.yaml": bundle_yaml("app", target, dependencies=DEPENDENCIES), **local_chart(), **files}
    content = {name: text.encode() if isinstance(text, str) else text for name, text in sorted(written.items())}
    read, _ = authored.read("app", Sources("bundles/app", content), {})
    assert read is not None
    findings = (finding for check in checks.AUTHORED_CHECKS for finding in check(read))
    return [(one.code, str(one.location).removeprefix("bundles/app/"), one.hint) for one in findings]


def unknown(files: dict[str, str], **more: Any) -> list[str]:
    """Give the places of keys that nothing reads."""
    return [place for code, place, _ in found(files, **more) if code == "values/unknown-key"]


# --- keys that nothing reads


def test_a_misspelt_key_gets_a_suggestion_where_it_is_written() -> None:
    files = {"values.yaml": "german: {}\nenglihs: {}\n", "overlays/eu.yaml": "german: {}\n\ngermann: {}\n"}
    assert found(files) == [
        ("values/unknown-key", "values.yaml:2:1", "did you mean `english`?"),
        ("values/unknown-key", "overlays/eu.yaml:3:1", "did you mean `german`?"),
    ]


def test_the_name_of_a_chart_with_aliases_is_answered_with_them() -> None:
    assert found({"overlays/eu.yaml": "greeter: {}\n"}) == [
        ("values/unknown-key", "overlays/eu.yaml:1:1", "write its alias: german or english")
    ]


def test_what_is_near_to_nothing_is_answered_with_all_keys() -> None:
    ((_, _, hint),) = found({"values.yaml": "zzz: 1\n"})
    assert hint == "keys here: global, tags, german, english"


@pytest.mark.parametrize("name", ["values.yaml", "overlays/eu.yaml"])
@pytest.mark.parametrize("key", ["german", "english", "global", "tags", "switches", "exports"])
def test_what_helm_reads_is_known(name: str, key: str) -> None:
    assert unknown({name: f"{key}: {{}}\n"}) == []


@pytest.mark.parametrize("name", ["values.yaml", "overlays/eu.yaml"])
def test_what_the_authors_schema_names_is_known(name: str) -> None:
    schema = json.dumps({"properties": {"noise": {}}})
    assert unknown({name: "noise: 1\nsilence: 1\n", "values.schema.json": schema}) == [f"{name}:2:1"]


@pytest.mark.parametrize("name", ["values.yaml", "overlays/eu.yaml"])
def test_a_value_that_others_refer_to_is_known(name: str) -> None:
    assert unknown({name: "common: &common {greeting: hi}\ngerman: *common\nenglish: {<<: *common}\n"}) == []


def test_what_values_yaml_has_is_known_in_an_overlay_and_said_once() -> None:
    assert unknown({"values.yaml": "noise: 1\n", "overlays/eu.yaml": "noise: 2\n"}) == ["values.yaml:1:1"]


def test_the_bundles_own_templates_may_read_any_value_and_overlays_set_what_they_name() -> None:
    template = {"templates/a.yaml": "a: {{ .Values.noise.level }}\n"}
    assert unknown({**template, "values.yaml": "noise: {}\nsilence: {}\n"}) == []
    assert unknown({**template, "overlays/eu.yaml": "noise: {}\nsilence: {}\n"}) == ["overlays/eu.yaml:2:1"]


def test_a_schema_that_allows_no_other_key_says_it_itself() -> None:
    assert unknown({"overlays/eu.yaml": "germann: {}\n", "values.schema.json": json.dumps(CLOSED)}) == []


@pytest.mark.parametrize("schema", ["{", "[]", "true", "[" * 100_000])
def test_a_schema_that_cannot_be_read_hides_no_key(schema: str) -> None:
    assert unknown({"overlays/eu.yaml": "germann: {}\n", "values.schema.json": schema}) == ["overlays/eu.yaml:1:1"]


def test_under_kustomize_such_a_key_is_an_error_of_another_rule() -> None:
    codes = [code for code, _, _ in found({"overlays/eu.yaml": "germann: {}\n"}, target="kustomize")]
    assert codes == ["values/overlay-key"]


# --- values that are no mapping


@pytest.mark.parametrize("target", ["umbrella", "kustomize"])
@pytest.mark.parametrize("name", ["values.yaml", "overlays/eu.yaml"])
@pytest.mark.parametrize("value", ["1", "text", "true", "[a]", "", "\n  - a"])
def test_values_of_a_chart_that_are_no_mapping_are_one_finding_at_their_key(name: str, value: str, target: str) -> None:
    schema = json.dumps({"properties": {"german": {"type": "object"}, "english": {"type": "object"}}})
    files = {name: f"english: {{}}\ngerman: {value}\n", "values.schema.json": schema}
    assert [(code, place) for code, place, _ in found(files, target=target)] == [("values/type", f"{name}:2:1")]
