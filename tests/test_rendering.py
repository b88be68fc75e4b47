"""Rendered templates come in Helm's order and bytes; Helm's own install action is the judge."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brolly import rendering
from brolly.archive import Entry, stored_gzip, write_tar
from brolly.engine import Engine
from brolly.engine_worker import Request
from brolly.rendering import (
    HOOK_EVENTS,
    INSTALL_ORDER,
    CrdFile,
    Hook,
    RenderingError,
    SchemaViolation,
    TemplatePlace,
    failure,
    from_templates,
    lint_report,
    split_documents,
    stored_manifest,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

CHART = b"apiVersion: v2\nname: demo\nversion: 1.0.0\n"
SLOTS = ("a", "b", "nested/c", "_partial")


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    if not Engine.available():
        pytest.skip("needs Helm's engine: pip install 'brolly[helm]'")
    with Engine() as started:
        yield started


def package(files: Mapping[str, bytes], name: str = "demo") -> bytes:
    return stored_gzip(write_tar(Entry(f"{name}/{path}", content) for path, content in files.items()))


# each template is one of the values: whatever is generated is rendered as it stands, hundreds of times from one package
VERBATIM = package(
    {
        "Chart.yaml": CHART,
        "templates/NOTES.txt": b"thanks",
        **{f"templates/{slot}.yaml": b"{{ index .Values %s }}" % json.dumps(slot).encode() for slot in SLOTS},
    }
)


class Answers(NamedTuple):
    """What Helm renders (text by path), and what it would store, None where it refuses."""

    templates: dict[str, str]
    stored: str | None


def helm(engine: Engine, charts: Sequence[Mapping[str, str]]) -> list[Answers]:
    texts = [json.dumps({slot: chart.get(slot, "") for slot in SLOTS}) for chart in charts]
    return [
        Answers(
            engine.ask(Request(VERBATIM, text, "templates")).result["templates"],
            engine.ask(Request(VERBATIM, text, "install")).result,
        )
        for text in texts
    ]


def ours(answer: Answers) -> str | None:
    try:
        return stored_manifest(from_templates(answer.templates))
    except RenderingError:
        return None


KINDS = st.sampled_from((*INSTALL_ORDER, "Widget", "Aardvark", "Zebra", "widget", "List", "Éclair"))
EVENTS = st.lists(
    st.sampled_from((*HOOK_EVENTS, "test-success", " Test ", "PRE-INSTALL", "crd-install", "")), min_size=1, max_size=3
)
WEIGHTS = st.sampled_from(('"5"', '"-3"', '"+2"', '" 1"', '"1_0"', '"x"', "7", "1e1", '"99999999999999999999"', "~"))
ODDITIES = st.sampled_from(
    (
        "# only a comment", " ", "\t", "null", "~", "{}", "[]", "text", "5", "a: b: c", "- a: 1",
        "kind: [x]", "kind: 5", "kind: null", "kind: yes", "KIND: Pod", "Kind: Job\nkind: Service", "kind: A\nkind: B",
        "metadata: []", "metadata: text", "metadata: null", "metadata: {name: [a]}", "metadata: {name: 1.5}",
        "metadata: {annotations: [a]}", "metadata: {annotations: {a: [1]}}", "metadata: {annotations: {a: {b: 1}}}",
        "metadata: {annotations: {a: 2, b: true, c: null}}", "metadata: {annotations: {helm.sh/hook: null}}",
        "metadata: {annotations: {helm.sh/hook: 5}}", "metadata: {Annotations: {helm.sh/hook: test}}",
        "Metadata: {annotations: {helm.sh/hook: test}}\nmetadata: {name: a}", "metadata: {labels: {a: [1]}}",
        '{"kind": "Secret", "metadata": {"name": "json"}}', "apiVersion: 1\nkind: Pod", "kind: 'Pod", "x: .inf",
        "kind: List\nitems:\n- kind: Pod\n  metadata: {annotations: {helm.sh/hook: test}}",
        "kind: Pod\nspec: |\n  ---\n  text", "kind: Pod\nspec: |\n---\ntext", "kind: Pod\n...\nkind: Job\n: [",
        "k: &a 1\nkind: Pod\nz: *a", "kind: Pod\nz: *missing", "!custom\nkind: Pod", "kind: !!str 5",
        "%YAML 1.1\n---\nkind: Pod", "\tkind: Pod", "kind:\tPod", "kind: \u00e9\u2028", "kind: Pod # comment",
        "<<: {kind: Pod}\nname: x", "? kind\n: Pod", "kind: >-\n  Pod\n", "\ufeffkind: Pod",
    )
)  # fmt: skip
SEPARATORS = st.sampled_from(
    (
        "\n---\n", "\n---\n", "\n---\n", "---", "\n--- # next\n", "\n---kind: Pod\n", "\n\n  \n---\n\n", "\n---\n---\n",
        "\n ---\n", "\n----\n", "\n...\n---\n", "\r\n---\r\n", "\v\n---\n", "\n---\v\n", "\u00a0\n---\u00a0\n",
        "\n---\n# Source: x\n", "\n---\t", "\r---\r", "\f\n---\f", "\x85---\x85", "\n---\n...\n", "\x1c\n---\x1c\n",
    )
)  # fmt: skip


@st.composite
def kubernetes_object(draw: st.DrawFn) -> str:
    lines = [f"kind: {draw(KINDS)}"]
    if draw(st.booleans()):
        lines.insert(draw(st.integers(0, 1)), "apiVersion: v1")
    lines += ["metadata:", f"  name: {draw(st.sampled_from(('x', 'y')))}"]
    if draw(st.booleans()):
        events = ",".join(draw(EVENTS))
        policies = draw(st.sampled_from(("hook-succeeded", "Hook-Failed, before-hook-creation", "")))
        lines += ["  annotations:", f'    helm.sh/hook: "{events}"', f"    helm.sh/hook-weight: {draw(WEIGHTS)}"]
        lines += [f'    helm.sh/hook-delete-policy: "{policies}"']
    return "\n".join(lines) + draw(st.sampled_from(("", "\n", "\n\n", "  ", "\n  # end\n")))


@st.composite
def template(draw: st.DrawFn) -> str:
    # most templates are plain, or next to no chart of several would be one that Helm accepts
    plain = draw(st.integers(0, 3)) > 0
    pieces = kubernetes_object() if plain else st.one_of(kubernetes_object(), ODDITIES)
    separators = st.sampled_from(("\n---\n", "\n--- # next\n", "\n\n  \n---\n\n")) if plain else SEPARATORS
    documents = draw(st.lists(pieces, min_size=1, max_size=4))
    written = draw(st.sampled_from(("", "---\n", "\n", "  ---", "\u2003\n---\n")))
    for document in documents:
        written += document + draw(separators)
    return written.replace("\n", "\r\n") if draw(st.booleans()) and draw(st.booleans()) else written


CHARTS = st.fixed_dictionaries({"a": template()}, optional=dict.fromkeys(SLOTS[1:], template()))


@given(st.lists(CHARTS, min_size=3, max_size=6))
def test_the_stored_manifest_is_helms_byte_for_byte(engine: Engine, charts: list[dict[str, str]]) -> None:
    for chart, answer in zip(charts, helm(engine, charts), strict=True):
        assert ours(answer) == answer.stored, chart


@given(st.lists(st.text("-\n\r\t \v\f\x85\u2028a:#", max_size=40), min_size=4, max_size=8))
def test_documents_are_split_where_helm_splits_them(engine: Engine, texts: list[str]) -> None:
    # a comment in front keeps most of it YAML
    charts = [{"a": text.replace("a", "#a").replace(":", "#:")} for text in texts]
    for chart, answer in zip(charts, helm(engine, charts), strict=True):
        assert ours(answer) == answer.stored, chart


@given(st.lists(st.tuples(KINDS, st.sampled_from(SLOTS[:3])), min_size=2, max_size=12))
def test_hooks_are_in_the_order_in_which_helm_puts_manifests(engine: Engine, kinds: list[tuple[str, str]]) -> None:
    chart = dict.fromkeys(SLOTS, "")
    for number, (kind, slot) in enumerate(kinds):
        chart[slot] += f"---\nkind: {kind}\nmetadata: {{name: n{number}, annotations: {{helm.sh/HOOK: test}}}}\n"
    plain, hooked = ({slot: text.replace("HOOK", word) for slot, text in chart.items()} for word in ("plain", "hook"))
    as_manifests, as_hooks = helm(engine, [plain, hooked])
    hooks = from_templates(as_hooks.templates).hooks
    written = "".join(f"---\n# Source: {hook.source}\n{hook.content}\n" for hook in hooks)
    assert written.replace("helm.sh/hook", "helm.sh/plain") == as_manifests.stored
    assert as_hooks.stored == ""


def local_charts() -> list[Path]:
    return sorted(Path(__file__).parents[1].glob("bundles/*/charts/*/Chart.yaml"))


@pytest.mark.parametrize("chart", local_charts(), ids=lambda path: path.parent.name)
def test_a_chart_of_this_repository_renders_as_helm_stores_it(engine: Engine, chart: Path) -> None:
    folder = chart.parent
    files = {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    packed = package(files, folder.name)
    rendered = engine.render(packed, {}, name="demo")
    assert isinstance(rendered, rendering.Rendering), rendered
    assert rendered.manifests
    assert stored_manifest(rendered) == engine.stored_manifest(packed, {}, name="demo")


def test_a_hook_keeps_its_events_weight_and_policies() -> None:
    job = (
        "kind: Job\nmetadata:\n  name: migrate\n  namespace: db\n  annotations:\n"
        '    helm.sh/hook: pre-install, Post-Upgrade,test-success\n    helm.sh/hook-weight: "-5"\n'
        "    helm.sh/hook-delete-policy: before-hook-creation, HOOK-succeeded\n"
        "    helm.sh/hook-output-log-policy: hook-failed\n"
    )
    assert from_templates({"demo/templates/job.yaml": job}).hooks == (
        Hook(
            source="demo/templates/job.yaml",
            content=job,
            kind="Job",
            name="migrate",
            namespace="db",
            events=("pre-install", "post-upgrade", "test"),
            weight=-5,
            delete_policies=("before-hook-creation", "hook-succeeded"),
            output_log_policies=("hook-failed",),
        ),
    )


def test_an_object_with_an_event_that_helm_does_not_know_is_dropped() -> None:
    lost = from_templates({"a.yaml": "kind: Job\nmetadata: {annotations: {helm.sh/hook: 'test,crd-install'}}"})
    assert lost == rendering.Rendering()


@pytest.mark.parametrize(
    ("written", "weight"),
    [("'7'", 7), ("7", 7), ("'+7'", 7), ("'7 '", 0), ("'7.0'", 0), ("'9223372036854775808'", 0), ("'٣'", 0)],
)
def test_a_weight_that_go_cannot_read_is_zero(written: str, weight: int) -> None:
    hook = f"kind: Job\nmetadata: {{annotations: {{helm.sh/hook: test, helm.sh/hook-weight: {written}}}}}"
    assert from_templates({"a.yaml": hook}).hooks[0].weight == weight


def test_the_text_is_what_helm_template_prints() -> None:
    rendered = from_templates(
        {
            "demo/templates/b.yaml": "kind: Service\n\n",
            "demo/templates/a.yaml": "kind: Deployment\n---\nkind: Secret",
            "demo/templates/test.yaml": "kind: Pod\nmetadata: {annotations: {helm.sh/hook: test}}",
            "demo/templates/NOTES.txt": "read me",
            "demo/charts/sub/templates/NOTES.txt": "not me",
            "demo/templates/_helpers.tpl": "kind: Nothing",
        },
        crds=(CrdFile("demo/crds/c.yaml", "kind: CustomResourceDefinition\n"),),
    )
    stored = (
        "---\n# Source: demo/templates/a.yaml\nkind: Secret\n"
        "---\n# Source: demo/templates/b.yaml\nkind: Service\n\n\n"
        "---\n# Source: demo/templates/a.yaml\nkind: Deployment\n"
    )
    crd = "---\n# Source: demo/crds/c.yaml\nkind: CustomResourceDefinition\n\n"
    hook = "---\n# Source: demo/templates/test.yaml\nkind: Pod\nmetadata: {annotations: {helm.sh/hook: test}}\n"
    assert stored_manifest(rendered) == stored
    assert rendering.text(rendered) == stored + hook
    assert rendering.text(rendered, hooks=False) == stored
    assert rendering.text(rendered, include_crds=True) == crd + stored + hook
    assert rendered.notes == "read me"


def test_nothing_rendered_is_an_empty_line_as_helm_prints_it() -> None:
    assert rendering.text(from_templates({"a.yaml": " \n"})) == "\n"


def test_a_manifest_carries_its_data() -> None:
    (manifest,) = from_templates({"a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}"}).manifests
    assert manifest.data == {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}


def test_a_document_that_is_no_yaml_names_its_template() -> None:
    with pytest.raises(RenderingError, match=r"YAML parse error on demo/templates/a\.yaml: ") as caught:
        from_templates({"demo/templates/a.yaml": "a: b: c"})
    assert caught.value.path == "demo/templates/a.yaml"


def test_a_long_run_of_blanks_is_split_in_linear_time() -> None:
    assert split_documents("a" + " " * 2_000_000 + "b" + "\n" * 2_000_000 + "---\nc") == (
        "a" + " " * 2_000_000 + "b",
        "c",
    )


@pytest.mark.parametrize(
    ("message", "place"),
    [
        ("execution error at (demo/templates/a.yaml:2:5): need it", TemplatePlace("demo/templates/a.yaml", 2, 6)),
        ("parse error at (demo/templates/a.yaml:3): unclosed action", TemplatePlace("demo/templates/a.yaml", 3)),
        ("YAML parse error on demo/templates/a.yaml: yaml: line 9: no", TemplatePlace("demo/templates/a.yaml")),
        (
            (
                'demo/templates/a.yaml:2:6\n  executing "demo/templates/a.yaml" at <include "x" .>:\n'
                "    error calling include:\ndemo/templates/_h.tpl:4:10\n"
                '  executing "x" at <.Values.a.b>:\n    nil pointer'
            ),
            TemplatePlace("demo/templates/_h.tpl", 4, 11),
        ),
        (
            'template: demo/templates/a.yaml:1:6: executing "demo/templates/a.yaml" at <index .Values.l 3>: error',
            TemplatePlace("demo/templates/a.yaml", 1, 7),
        ),
        ("rendering template failed: boom", None),
    ],
)
def test_a_failure_names_the_place_in_the_template(message: str, place: TemplatePlace | None) -> None:
    assert failure("template", message).place == place


SCHEMA_TEXT = (
    "values don't meet the specifications of the schema(s) in the following chart(s):\n"
    "sub:\n"
    "- at '/b~1c/0': 'oneOf' failed, none matched\n"
    "  - at '/b~1c/0': minimum: got 1, want 5\n"
    "  - at '/b~1c/0': got number, want string\n"
    "- at '/it\\'s\\n\\u2028': got null, want string\n"
    "- at '': additional properties 'z', 'q\\'q', 'b' not allowed\n"
    "broken:\n"
    "\"file:///values.schema.json#\" is not valid against metaschema: jsonschema validation failed with 'x'\n"
    "- at '/type': got number, want array\n"
)


def test_what_values_schemas_refuse_is_read_in_one_order() -> None:
    found = failure("other", SCHEMA_TEXT)
    assert found.kind == "values-schema"
    assert found.violations == (
        SchemaViolation(
            "broken",
            None,
            "\"file:///values.schema.json#\" is not valid against metaschema: jsonschema validation failed with 'x'\n"
            "- at '/type': got number, want array",
        ),
        SchemaViolation("sub", "", "additional properties 'b', 'q\\'q', 'z' not allowed"),
        SchemaViolation(
            "sub",
            "/b~1c/0",
            "'oneOf' failed, none matched\n  - at '/b~1c/0': got number, want string\n"
            "  - at '/b~1c/0': minimum: got 1, want 5",
        ),
        SchemaViolation("sub", "/it's\n�", "got null, want string"),
    )


def test_the_message_of_a_schema_failure_does_not_depend_on_gos_random_order() -> None:
    head, *lines = SCHEMA_TEXT.splitlines(keepends=True)
    broken, sub = "".join(lines[6:]), "".join((lines[0], lines[4], lines[1], lines[3], lines[2], lines[5]))
    assert failure("other", head + broken + sub).message == failure("other", SCHEMA_TEXT).message


def test_a_message_is_bounded_and_without_control_characters() -> None:
    found = failure("template", "execution error at (a.yaml:1:1): \x1b[31m" + "x" * 1_000_000)
    assert len(found.message) == 4000
    assert found.message.startswith("execution error at (a.yaml:1:1): �[31m")


@given(st.text("- at'\\:/xuU09af\n", max_size=200))
def test_no_message_breaks_the_reader(message: str) -> None:
    assert failure("other", SCHEMA_TEXT.splitlines()[0] + "\n" + message).kind == "values-schema"


def test_a_lint_report_says_each_fault_once() -> None:
    report: Any = lint_report(
        [(1, "Chart.yaml", "icon is recommended"), (3, "templates/", "boom")], ["boom", "no chart"]
    )
    assert [(said.level, said.path, said.message) for said in report.messages] == [
        ("info", "Chart.yaml", "icon is recommended"),
        ("error", "templates/", "boom"),
        ("error", "", "no chart"),
    ]
    assert not report.passes
