"""What Helm is asked, and what need not be asked: Helm's own lint is the judge."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brolly.chart import read_package
from brolly.engines import Engines
from brolly.rendering import LintReport, Rendering
from engine_charts import package
from workspaces import Workspace, local, local_chart

if TYPE_CHECKING:
    from brolly.engine import Engine
    from brolly.engine_worker import Answer, Request

DOCUMENTS: Final = (
    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: plain}\n",
    "apiVersion: policy/v1beta1\nkind: PodDisruptionBudget\nmetadata: {name: old}\n",
    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: Not_A_Name}\n",
    "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\nspec: {selector: {}, template: {}}\n",
    "{{ fail `no` }}",
    "a: b: c",
    "{{ .Values.nowhere.at.all }}",
    "{{ required `must` .Values.absent }}",
    "",
)
SCHEMA: Final = json.dumps({"type": "object", "properties": {"which": {"type": "integer"}}})


@pytest.fixture(scope="module")
def engine(shared_engine: Engine | None) -> Engine:
    if shared_engine is None:
        pytest.skip("needs Helm's engine: pip install 'brolly[helm]'")
    return shared_engine


def chosen() -> str:
    cases = "".join(
        f"{{{{ {'else ' if place else ''}if eq (int .Values.which) {place} }}}}\n{text}"
        for place, text in enumerate(DOCUMENTS)
    )
    return cases + "{{ end }}\n"


def umbrella(**more: str) -> bytes:
    """Package an umbrella of two charts that render what the values say, one of which can be switched off."""
    charts = [
        {"name": "a", "version": "1.0.0", "repository": ""},
        {"name": "b", "version": "1.0.0", "repository": "", "condition": "b.on"},
    ]
    files: dict[str, bytes | str] = {
        "Chart.yaml": json.dumps({"apiVersion": "v2", "name": "all", "version": "1.0.0", "dependencies": charts}),
        "values.yaml": "which: 0\nb: {on: false}\n",
        "templates/NOTES.txt": "Thanks.\n",
    }
    for name in ("a", "b"):
        files |= {
            f"charts/{name}/Chart.yaml": json.dumps({"apiVersion": "v2", "name": name, "version": "1.0.0"}),
            f"charts/{name}/values.yaml": "which: 0\n",
            f"charts/{name}/values.schema.json": SCHEMA,
            f"charts/{name}/templates/x.yaml": chosen(),
        }
    return package({**files, **more}, "all")


WHICH: Final = st.one_of(st.integers(0, len(DOCUMENTS)), st.sampled_from(("", "text", None)))
CHARTS: Final = st.fixed_dictionaries({}, optional={"which": WHICH, "on": st.booleans(), "more": st.text(max_size=3)})
GIVEN: Final = st.fixed_dictionaries(
    {}, optional={"a": CHARTS, "b": CHARTS, "which": WHICH, "global": st.just({"x": 1}), "odd": WHICH}
)


@settings(max_examples=150)
@given(GIVEN)
def test_where_only_subcharts_have_templates_lint_says_the_same_of_all_values_that_render(
    engine: Engine, values: dict[str, Any]
) -> None:
    packed = umbrella()
    assert read_package(packed).lints_alike
    if isinstance(engine.render(packed, values, name="all"), Rendering):
        assert engine.lint(packed, values) == engine.lint(packed, {})


@pytest.mark.parametrize(
    "more", [{"templates/own.yaml": chosen()}, {"values.schema.json": SCHEMA}], ids=["own template", "own schema"]
)
def test_a_chart_with_a_template_or_a_schema_of_its_own_is_linted_with_each_values(
    engine: Engine, more: dict[str, str]
) -> None:
    packed = umbrella(**more)
    assert not read_package(packed).lints_alike
    old, plain = (engine.lint(packed, {"which": which}) for which in ("text" if "values.schema.json" in more else 1, 0))
    assert isinstance(old, LintReport)
    assert old != plain


def test_lint_brings_a_default_back_that_a_null_deletes(engine: Engine) -> None:
    template = "{{ if .Values.on }}{{ if .Values.x }}{{ .Values.x.y.z }}{{ end }}{{ end }}"
    packed = umbrella(
        **{
            "charts/a/templates/x.yaml": template,
            "charts/a/values.yaml": "x: {a: 1}\n",
            "charts/a/values.schema.json": "{}",
        }
    )
    values = {"a": {"on": True, "x": None}}
    assert isinstance(engine.render(packed, values, name="all"), Rendering)
    plain, deleting = engine.lint(packed, {}), engine.lint(packed, values)
    assert isinstance(plain, LintReport)
    assert isinstance(deleting, LintReport)
    assert (plain.passes, deleting.passes) == (True, False)


@settings(max_examples=60)
@given(GIVEN, GIVEN)
def test_a_rendering_is_the_same_whatever_was_rendered_before(
    engine: Engine, first: dict[str, Any], second: dict[str, Any]
) -> None:
    def said(*values: dict[str, Any]) -> bytes:
        engine.render(package({"Chart.yaml": "apiVersion: v2\nname: other\nversion: 1.0.0\n"}, "other"), {}, name="x")
        # with what each document says, which makes no difference to ==
        return msgspec.json.encode([engine.render(umbrella(), one, name="all") for one in values][-1])

    assert said(first, second) == said(second)


class Counting(Engines):
    """Engines that remember what they were asked."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(lambda: engine, 1)
        self.asked: list[str] = []

    def _answer(self, request: Request, like: Any) -> Answer:
        self.asked.append(request.want)
        return super()._answer(request, like)

    def close(self) -> None:
        """Leave the engine running."""


@pytest.mark.parametrize(
    ("values", "wants"),
    [
        ({"greeter": {"greeting": "ahoy"}}, ["render", "render", "lint"]),
        ({"greeter": {"greeting": {"not": "a text"}}}, ["render", "render", "lint", "lint"]),
        ({"greeter": {"labels": {"tier": None}}}, ["render", "render", "lint", "lint"]),
    ],
    ids=["renders", "fails", "deletes a default"],
)
def test_an_overlay_is_linted_only_where_lint_could_say_something_else(
    values: dict[str, Any], wants: list[str], engine: Engine, space: Workspace
) -> None:
    engines = Counting(engine)
    space.monkeypatch.setattr(Workspace, "_lent", lambda _: engines)
    chart = local_chart(**{"values.schema.json": '{"properties": {"greeting": {"type": "string"}}}'})
    space.bundle("app", chart, dependencies=[local()])
    space.good("lock")
    space.write({"bundles/app/overlays/eu.yaml": json.dumps(values)})
    space.run("check")
    assert engines.asked == wants
