"""Values over charts and subcharts, with Helm's own engine as the judge."""

from __future__ import annotations

import io
import json
import random
import tarfile
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brolly.chart import Chart, Requirement
from brolly.values import Instance, ValuesError, effective, for_release, merge, switched_off


def chart(
    name: str,
    values: dict[str, Any],
    *subcharts: Chart,
    requires: tuple[Requirement, ...] | None = None,
    version: str = "1.0.0",
) -> Chart:
    """Declare a chart; by default it requires exactly its subcharts."""
    if requires is None:
        requires = tuple(Requirement(sub.name, sub.version) for sub in subcharts)
    metadata: dict[str, Any] = {"dependencies": []} if requires else {}
    return Chart(name, version, metadata, requires, values, subcharts=subcharts)


def packaged(declared: Chart) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", compresslevel=0) as tar:
        add_chart(tar, declared, declared.name)
    return out.getvalue()


def add_chart(tar: tarfile.TarFile, declared: Chart, folder: str) -> None:
    dependencies = [
        {
            "name": item.name,
            "version": item.version,
            "repository": "",
            "alias": item.alias,
            "condition": item.condition,
            "tags": list(item.tags),
            "import-values": list(item.import_values),
        }
        for item in declared.requirements
    ]
    metadata: dict[str, Any] = {"apiVersion": "v2", "name": declared.name, "version": declared.version}
    if "dependencies" in declared.metadata or dependencies:
        metadata["dependencies"] = dependencies
    files = {
        "Chart.yaml": json.dumps(metadata),
        "values.yaml": json.dumps(declared.values),
        "templates/values.yaml": "{{ .Values | toJson }}",
    }
    for name, text in files.items():
        info = tarfile.TarInfo(f"{folder}/{name}")
        info.size = len(text.encode())
        tar.addfile(info, io.BytesIO(text.encode()))
    for sub in declared.subcharts:
        add_chart(tar, sub, f"{folder}/charts/{sub.name}-{sub.version}")


def helm_says(declared: Chart, user: dict[str, Any]) -> dict[tuple[str, ...], Any] | str:
    """Ask Helm's engine which charts render, and what each sees as its values."""
    engine = pytest.importorskip("helm_python", reason="needs Helm's engine: pip install 'brolly[helm]'")
    with engine.Chart.load_archive(packaged(declared)) as handle:
        try:
            rendered = handle.render(user)
        except engine.HelmError as error:
            return "refused" if "type mismatch" in str(error) else f"unexpected: {error}"
    found = {}
    for path, text in rendered.items():
        inner = path.removesuffix("/templates/values.yaml").split("/charts/")[1:]
        found[tuple(inner)] = json.loads(text)
    return found


def brolly_says(declared: Chart, user: dict[str, Any]) -> dict[tuple[str, ...], Any] | str:
    try:
        root, _ = effective(declared, user)
    except ValuesError:
        return "refused"
    return {instance.path: instance.values for instance in root.walk()}


# -- generated cases --------------------------------------------------------------------------------------------------

KEYS: Final = ("a", "b", "c", "global", "tags", "exports", "enabled", "s1", "s2", "x", "y", "t1")
CONDITIONS: Final = (
    "x.enabled",
    "s1.enabled",
    "y.enabled,a",
    "a",
    "a, b",
    "a.b",
    " s2.enabled",
    "tags.t1",
    "global.a",
    ",b",
    "x.s1.enabled",
)
CHILDREN: Final = ("a", "exports.a", "b", "exports", "global", "s1", "a.b", "s1.a", "none")


class Generator:
    """Trees of charts that share few names, so that they meet."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.nulls = self.random.choice((0.0, 0.05, 0.25))

    def values(self, depth: int = 3) -> dict[str, Any]:
        return {self.random.choice(KEYS): self.value(depth - 1) for _ in range(self.random.randrange(5))}

    def value(self, depth: int) -> Any:
        if self.random.random() < self.nulls:
            return None
        if depth and self.random.random() < 0.55:
            return self.values(depth)
        return self.random.choice((1, 2, "text", True, False, [1, None], {}))

    def tables(self) -> dict[str, Any]:
        """Values in which the keys of subcharts are mostly mappings."""
        out = self.values()
        for key in ("s1", "s2", "x", "y", "global", "tags"):
            if key in out and not isinstance(out[key], dict) and self.random.random() < 0.97:
                out[key] = self.values(2)
        return out

    def chart(self, name: str, depth: int) -> Chart:
        names = self.random.sample(("s1", "s2", "s3"), self.random.randrange(3)) if depth else []
        subcharts = [self.chart(sub, depth - 1) for sub in names]
        requirements = [item for sub in subcharts for item in self.requirements(sub)]
        keys = [item.key for item in requirements]
        unique = [item for at, item in enumerate(requirements) if item.key not in keys[:at]]
        metadata: dict[str, Any] = {"dependencies": []} if unique or self.random.random() < 0.1 else {}
        return Chart(name, "1.0.0", metadata, tuple(unique), self.tables(), subcharts=tuple(subcharts))

    def requirements(self, sub: Chart) -> list[Requirement]:
        return [self.requirement(sub) for _ in range(self.random.choice((0, 1, 1, 1, 1, 2)))]

    def requirement(self, sub: Chart) -> Requirement:
        return Requirement(
            name=sub.name,
            version=self.random.choice(("1.0.0", "1.x", ">=1.0.0", "^1", "1.0.0", "1.0.0", "2.x", "")),
            alias=self.random.choice(("", "", "x", "y", "s1", "a")),
            condition=self.random.choice(("", "", *CONDITIONS)),
            tags=tuple(self.random.sample(("t1", "a", "b"), self.random.choice((0, 0, 1, 2)))),
            import_values=tuple(self.imports() for _ in range(self.random.choice((0, 0, 0, 1, 2)))),
        )

    def imports(self) -> Any:
        if self.random.random() < 0.4:
            return self.random.choice(("a", "b", "x"))
        return {
            "child": self.random.choice(CHILDREN),
            "parent": self.random.choice((".", "a", "a.b", "c", "s1", "global")),
        }


@given(st.integers(0, 2**32))
def test_what_renders_and_with_which_values_is_helms_answer(seed: int) -> None:
    for offset in range(6):
        generator = Generator(seed + offset)
        declared, user = generator.chart("root", 2), generator.tables()
        assert (seed + offset, brolly_says(declared, user)) == (seed + offset, helm_says(declared, user))


# -- the rules by name ------------------------------------------------------------------------------------------------


def only_child(declared: Chart, user: dict[str, Any]) -> Instance:
    root, _ = effective(declared, user)
    assert len(root.subcharts) == 1
    return root.subcharts[0]


def kinds(declared: Chart, user: dict[str, Any] | None = None) -> list[tuple[tuple[str, ...], str]]:
    _, notes = effective(declared, user)
    return [(note.path, note.kind) for note in notes]


SUB: Final = chart("sub", {"a": 1, "deep": {"x": 1, "y": 2}})


def test_a_users_null_deletes_a_subcharts_default_and_one_in_the_parents_file_does_not() -> None:
    assert only_child(chart("root", {}, SUB), {"sub": {"a": None}}).values == {"deep": {"x": 1, "y": 2}, "global": {}}
    parent = chart("root", {"sub": {"deep": {"x": None}}}, SUB)
    assert only_child(parent, {}).values == helm_says(parent, {})["sub",]  # type: ignore[index]


def test_one_chart_under_two_aliases_has_two_sets_of_values() -> None:
    needs = (Requirement("sub", "1.x", alias="one"), Requirement("sub", "^1.0.0", alias="two"))
    root, _ = effective(chart("root", {}, SUB, requires=needs), {"two": {"a": 2}})
    assert [(instance.path, instance.values.get("a")) for instance in root.walk()] == [
        ((), None),
        (("one",), 1),
        (("two",), 2),
    ]


def test_two_versions_of_one_chart_are_told_apart_by_their_ranges() -> None:
    other = chart("sub", {"a": 2}, version="2.0.0")
    needs = (Requirement("sub", "2.0.0", alias="two"), Requirement("sub", "1.0.0", alias="one"))
    declared = chart("root", {}, SUB, other, requires=needs)
    assert brolly_says(declared, {}) == helm_says(declared, {})


@pytest.mark.parametrize("value", ["text", None, 1, ["a"]])
def test_what_is_no_mapping_under_a_subcharts_key_is_refused(value: Any) -> None:
    assert helm_says(chart("root", {}, SUB), {"sub": value}) == "refused"
    with pytest.raises(ValuesError, match=r"^sub: a mapping is expected"):
        effective(chart("root", {}, SUB), {"sub": value})


def test_what_helm_does_in_silence_is_noted() -> None:
    needs = (
        Requirement("sub", "1.0.0", alias="one", condition="one.on, two.on", tags=("t",)),
        Requirement("sub", "2.0.0", alias="two", import_values=("data",)),
        Requirement("sub", "1.0.0", alias="three", condition="off"),
    )
    loose = chart("loose", {})
    declared = chart("root", {"one": {"on": "yes"}, "tags": {"t": 1}, "off": False}, SUB, loose, requires=needs)
    assert kinds(declared) == [
        (("loose",), "undeclared"),
        (("two",), "no-subchart"),
        (("one",), "condition-no-boolean"),
        (("one",), "condition-space"),
        (("one",), "condition-without-value"),
        (("one",), "tag-no-boolean"),
        (("three",), "disabled"),
        (("two",), "import-missing"),
    ]


def test_a_mapping_that_meets_what_is_none_is_noted() -> None:
    assert kinds(chart("root", {"a": {"b": {"c": 1}}, "d": 1}), {"a": {"b": 1}, "d": {}}) == [
        (("a",), "table-kept"),
        ((), "table-expected"),
    ]


def test_nothing_that_is_handed_in_is_changed() -> None:
    declared = chart("root", {"sub": {"deep": {"x": None}}, "global": {"g": {"h": 1}}}, SUB)
    user = {"sub": {"deep": {"y": None}}, "global": {"g": {"i": 2}}}
    before = json.dumps([declared.values, SUB.values, user])
    effective(declared, user)
    assert json.dumps([declared.values, SUB.values, user]) == before


def test_files_merge_deep_and_keep_nulls() -> None:
    base, over = {"a": {"b": 1, "c": [1]}, "d": 1}, {"a": {"b": None, "c": [2]}, "d": {"e": 1}}
    assert merge(base, over) == {"a": {"b": None, "c": [2]}, "d": {"e": 1}}
    assert base == {"a": {"b": 1, "c": [1]}, "d": 1}


@given(st.integers(0, 2**32))
def test_merging_is_what_the_engine_makes_of_two_layers_without_nulls(seed: int) -> None:
    generator = Generator(seed)
    generator.nulls = 0.0
    base, over = generator.values(), generator.values()
    assert effective(chart("root", base), over)[0].values == merge(base, over)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({}, ""),
        ({"a": {"on": False}}, "a.on is false"),
        ({"a": {"on": "no"}, "tags": {"t": False}}, "tags.t is false"),
        ({"a": {"on": True}, "tags": {"t": False}}, ""),
        ({"tags": {"t": False, "u": False}}, "tags.t, tags.u are false"),
        ({"tags": {"t": False, "u": True}}, ""),
        ({"b": False}, "b is false"),
        ({"a": {"on": {}}, "b": True, "tags": {"t": False}}, ""),
        ({"tags": None}, ""),
    ],
)
def test_conditions_and_tags_switch_a_dependency_off_as_under_helm(values: dict[str, Any], reason: str) -> None:
    need = Requirement("sub", "1.0.0", alias="a", condition="a.on,b", tags=("t", "u"))
    assert switched_off(need, values) == reason
    rendered = helm_says(chart("root", {}, SUB, requires=(need,)), values)
    assert (("a",) in rendered) == (not reason)


def test_a_release_gets_its_own_values_and_the_global_ones() -> None:
    values = {"a": {"x": None, "global": {"k": 1, "m": {"n": 1}}}, "global": {"k": 2, "m": {"o": None}}, "b": {}}
    assert for_release(values, "a") == {"x": None, "global": {"k": 2, "m": {"n": 1, "o": None}}}
    assert for_release({"a": {}}, "a") == {}
    assert for_release({}, "a") == {}
    with pytest.raises(ValuesError, match="a: a mapping is expected"):
        for_release({"a": None}, "a")
