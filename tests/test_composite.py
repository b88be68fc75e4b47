"""One values schema for a bundle, with Helm's own engine as the judge."""

from __future__ import annotations

import json
import random
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brolly import chart as charts
from brolly import definition as definitions
from brolly import document, schemas, values
from brolly.composite import Composite, compose_kustomize, compose_umbrella, forbidding_global
from brolly.composite import definition as defined
from brolly.lock import LockedDependency, canonical
from brolly.oci import Digest
from brolly.sources import Component
from engine_charts import engine, package
from test_schemas import DRAFTS
from test_schemas import Generator as Schemas

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from brolly.document import Document
    from brolly.findings import Finding

REMOTE: Final = "http://127.0.0.1:9/x.json"
ALWAYS: Final = {"apiVersion": "brolly/v1alpha1", "target": "umbrella", "name": "all", "version": "1.2.3"}


class Demo(NamedTuple):
    """A chart as a test declares it: its schema, its defaults and what it embeds."""

    name: str
    schema: Any = None
    values: Mapping[str, Any] = {}
    below: Sequence[Demo] = ()
    requires: Sequence[Mapping[str, Any]] = ()

    def files(self) -> dict[str, bytes | str]:
        metadata = {"apiVersion": "v2", "name": self.name, "version": "1.0.0", "description": f"The {self.name}."}
        requires = [{"version": "1.x", "repository": "", **need} for need in self.requires]
        files: dict[str, bytes | str] = {
            "Chart.yaml": json.dumps({**metadata, **({"dependencies": requires} if requires else {})}),
            "values.yaml": json.dumps(self.values),
            "templates/empty.yaml": "",
        }
        if self.schema is not None:
            files["values.schema.json"] = self.schema if isinstance(self.schema, bytes) else json.dumps(self.schema)
        for sub in self.below:
            files |= {f"charts/{sub.name}/{path}": content for path, content in sub.files().items()}
        return files

    def without_schemas(self) -> Demo:
        return self._replace(schema=None, below=[sub.without_schemas() for sub in self.below])


class Bundle(NamedTuple):
    """A bundle as a test declares it; `dependencies` are Chart.yaml's words."""

    demos: Sequence[Demo]
    dependencies: Sequence[Mapping[str, Any]]
    values: Mapping[str, Any] = {}
    schema: Any = None

    def parsed(self) -> tuple[definitions.Bundle, list[Component], Document]:
        asked = [{"version": "1.x", "repository": "https://charts.example", **one} for one in self.dependencies]
        text = json.dumps({**ALWAYS, "dependencies": asked}, indent=1)
        read, faults = document.read(text.encode(), "bundles/all/bundle.yaml", strict=True)
        assert read, faults
        bundle, faults = definitions.parse(read, folder="bundles/all", repositories={})
        assert bundle, faults
        packages = {demo.name: package(demo.files(), demo.name) for demo in self.demos}
        components = []
        for one in bundle.dependencies:
            content = packages[one.name]
            locked = LockedDependency(
                digest=Digest.of(content),
                name=one.name,
                repository=canonical(one.repository),
                version="1.0.0",
                alias=one.alias,
            )
            components.append(Component(one, locked, content, charts.read_package(content)))
        return bundle, components, read

    @property
    def own(self) -> bytes | None:
        return json.dumps(self.schema).encode() if self.schema is not None else None

    def composed(self) -> tuple[Composite, tuple[Finding, ...]]:
        bundle, components, read = self.parsed()
        return compose_umbrella(bundle, components, self.own, self.values, read)

    def composite(self) -> Composite:
        return self.composed()[0]

    def whole(self) -> bytes:
        """Give the composite of schemas that are not relaxed: it judges coalesced values."""
        bundle, components, read = self.parsed()
        return compose_umbrella(bundle, components, self.own, self.values, read, define=whole)[0].content

    @property
    def has_global(self) -> bool:
        """Whether something stands in a `global`, which may then be another than Helm's."""
        return '"global": {"' in json.dumps([self.values, *(demo.values for demo in self.demos)])

    def forbidding(self) -> list[Finding]:
        """Say which components refuse `global`."""
        _, components, read = self.parsed()
        return list(forbidding_global(components, self.values, read).values())

    def packed(self, schema: bytes | None, *, stripped: bool = False) -> bytes:
        """Package the umbrella as Helm loads it, with a schema in the parent."""
        asked = [{"version": "1.0.0", "repository": "", **one} for one in self.dependencies]
        files: dict[str, bytes | str] = {
            "Chart.yaml": json.dumps({"apiVersion": "v2", "name": "all", "version": "1.2.3", "dependencies": asked}),
            "values.yaml": json.dumps(self.values),
            "templates/empty.yaml": "",
        }
        for demo in self.demos:
            chosen = demo.without_schemas() if stripped else demo
            files |= {f"charts/{demo.name}/{path}": content for path, content in chosen.files().items()}
        return package(files | ({"values.schema.json": schema} if schema else {}), "all")


def whole(schema: bytes, address: str, _: frozenset[str] | None) -> dict[str, Any]:
    return defined(schema, address)


def helm_refuses(chart: bytes, user: Mapping[str, Any]) -> str:
    """Ask Helm's engine to render; say why it does not, or give an empty text."""
    helm = engine()
    with helm.Chart.load_archive(chart) as handle:
        try:
            handle.render(dict(user))
        except helm.HelmError as error:
            return str(error)
    return ""


def lint_refuses(chart: bytes, user: Mapping[str, Any] | None = None) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "all-1.2.3.tgz"
        path.write_bytes(chart)
        report = engine().lint(str(path), dict(user or {}))
    return [str(error) for error in report["errors"]]


# -- generated bundles ------------------------------------------------------------------------------------------------

KEYS: Final = ("a", "b", "c")
CONDITIONS: Final = ("{}.on", "{}.on", "a.on", "b.on,{}.on", "on", "global.on", "{}.v.a", "c.global.on", "n.on,{}.on")


class Generator:
    """Bundles of three charts under up to four keys, over all drafts, with what switches them."""

    def __init__(self, seed: int, *, odd: bool) -> None:
        self.random = random.Random(seed)
        self.odd = odd

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def schema(self) -> Any:
        """Give a schema of any draft, its references twisted in one of the ways that documents have."""
        made = Schemas(self.random.randrange(2**32))
        schema = made.document()
        kind, kept = "id" if made.draft == 4 else "$id", made.kept
        twist = self.random.randrange(9)
        if twist == 0:
            inner = {name: value for name, value in schema.items() if name not in {"$schema", "$id", "id", kept}}
            outer = {name: schema[name] for name in ("$schema",) if name in schema}
            return {**outer, "$ref": f"#/{kept}/Root", kept: {**schema[kept], "Root": inner}}
        if twist == 1:
            return {**schema, kind: "https://a.example/x.json", **self.relative(kind, kept, schema)}
        if twist == 2:
            return {**schema, **self.relative(kind, kept, schema)}
        if twist == 3 and self.odd and self.chance(0.3):
            return {**schema, "allOf": [{"$ref": self.random.choice((REMOTE, "none.json", "urn:b"))}]}
        if twist == 4 and self.odd and self.chance(0.3):
            return self.random.choice((True, False, {"type": "strin"}, b"[", {"$ref": "#"}, {"pattern": "(?=a)"}))
        if twist == 5:
            forbids = {"properties": {**schema["properties"], "on": {}, "n": {}}, "additionalProperties": False}
            return {**schema, **forbids} if self.odd else schema
        return schema

    def relative(self, kind: str, kept: str, schema: dict[str, Any]) -> dict[str, Any]:
        """Add a resource with a relative address, and references to it and out of it."""
        below = {kind: "below", "type": "object", "additionalProperties": {"$ref": "#/x"}, "x": {"type": "string"}}
        below[kept] = {"d": {kind: "deep", "type": "boolean"}}
        chosen = self.random.choice(("below", "below#", f"below#/{kept}/d", "deep", "below#/x"))
        return {
            "properties": {**schema["properties"], "w": {"$ref": chosen}, "on": {"type": "boolean"}},
            kept: {**schema[kept], "Below": below},
        }

    def table(self, key: str) -> dict[str, Any]:
        """Give values of a chart."""
        made = Schemas(self.random.randrange(2**32))
        table: dict[str, Any] = {"v": made.instance()} if self.chance(0.8) else {}
        if self.chance(0.3):
            table["w"] = self.random.choice((True, "x", {"a": "x"}, {"a": 1}))
        if self.chance(0.5):
            table["on"] = self.chance(0.6)
        if self.odd and self.chance(0.2):
            table[self.random.choice(("global", "tags", "n", "x", key, "exports", "on"))] = self.random.choice(
                ({"on": self.chance(0.5)}, {"x": {"on": False}}, None, "x", {"v": made.instance(1)})
            )
        return table

    def need(self, name: str, key: str) -> dict[str, Any]:
        found: dict[str, Any] = {"name": name}
        if key != name:
            found["alias"] = key
        if self.chance(0.6):
            found["condition"] = self.random.choice(CONDITIONS).format(key)
        if self.chance(0.3):
            found["tags"] = self.random.choice((["t1"], ["t1", "t2"]))
        if self.odd and self.chance(0.1):
            found["import-values"] = [
                self.random.choice(("x", {"child": "v", "parent": "."}, {"child": "exports", "parent": "b"}))
            ]
        return found

    def fitting(self, schema: Any, name: str) -> dict[str, Any]:
        """Give values of a chart that its schema mostly takes."""
        content = schema if isinstance(schema, bytes) else json.dumps(schema).encode()
        tables = [self.table(name) for _ in range(6)]
        try:
            return next((table for table in tables if not schemas.judge(content, table)), tables[0])
        except schemas.SchemaFault:
            return tables[0]

    def demo(self, name: str) -> Demo:
        schema = self.schema() if self.chance(0.7) else None
        if not self.chance(0.4):
            return Demo(name, schema, self.fitting(schema if schema is not None else {}, name))
        below = self.schema()
        sub = Demo("n", below, self.fitting(below, "n"))
        key = self.random.choice(("n", "m")) if self.odd else "n"
        requires = [self.need("n", key)] if self.chance(0.8) else []
        return Demo(name, schema, {**self.table(name), **self.keyed(("n", "m"))}, [sub], requires)

    def keyed(self, keys: Sequence[str]) -> dict[str, Any]:
        return {key: self.table(key) for key in keys if self.chance(0.3)}

    def given(self) -> dict[str, Any]:
        """Give values of a whole bundle."""
        table: dict[str, Any] = {key: self.table(key) for key in (*KEYS, "z") if self.chance(0.3)}
        for key in KEYS:
            if key in table and self.chance(0.2):
                table[key]["n"] = self.table("n")
        if self.chance(0.5):
            table["tags"] = {tag: self.chance(0.5) for tag in ("t1", "t2") if self.chance(0.6)}
        if self.chance(0.3):
            table["global"] = {"on": self.chance(0.6)}
        if self.chance(0.2):
            table["on"] = self.chance(0.5)
        return table

    def bundle(self) -> Bundle:
        demos = [self.demo(name) for name in KEYS]
        asked = [self.need(name, name) for name in KEYS if self.chance(0.8)] or [self.need("a", "a")]
        if self.chance(0.5):
            asked.append(self.need(self.random.choice(asked)["name"], "z"))
        used = {one["name"] for one in asked}
        own = self.schema() if self.chance(0.3) else None
        return Bundle([demo for demo in demos if demo.name in used], asked, self.given(), own)


def with_globals(generator: Generator, table: Mapping[str, Any]) -> dict[str, Any]:
    """Write a `global` here and there."""
    out = {key: with_globals(generator, item) if isinstance(item, dict) else item for key, item in table.items()}
    if generator.chance(0.25):
        out["global"] = generator.random.choice(({}, {"on": False}, {"x": 1}, {"v": {"a": 1}}, {"n": {}}, None, "x"))
    if out and generator.chance(0.1):
        out[generator.random.choice(list(out))] = None
    return out


@given(st.integers(0, 2**32))
def test_with_the_composite_inside_helms_verdict_is_what_it_was(seed: int) -> None:
    generator = Generator(seed, odd=True)
    bundle = generator.bundle()
    bundle = bundle._replace(values=with_globals(generator, bundle.values))
    if isinstance(bundle.schema, bytes):
        bundle = bundle._replace(schema=None)
    composite = bundle.composite()
    before = bundle.packed(bundle.own)
    if composite.embedded is None:
        assert any(not one.path for one in composite.left_out)
        return
    embedded = bundle.packed(composite.embedded)
    for user in ({}, generator.given(), with_globals(generator, generator.given())):
        verdict, after = helm_refuses(before, user), helm_refuses(embedded, user)
        assert bool(after) == bool(verdict), (user, after, verdict)
        if not verdict:
            said = lint_refuses(before, user)
            assert lint_refuses(embedded, user) == said, user


@given(st.integers(0, 2**32))
def test_a_part_of_the_values_is_refused_only_if_helm_refuses_the_whole(seed: int) -> None:
    generator = Generator(seed, odd=True)
    bundle = generator.bundle()
    if isinstance(bundle.schema, bytes):
        bundle = bundle._replace(schema=None)
    bundle = bundle._replace(values=with_globals(generator, bundle.values))
    content, chart = bundle.composite().content, bundle.packed(bundle.own)
    for user in [with_globals(generator, generator.given()) for _ in range(4)]:
        assert not is_refused(content, user) or helm_refuses(chart, user), user


@given(st.integers(0, 2**32))
def test_the_composite_alone_gives_the_verdict_of_all_schemas(seed: int) -> None:
    generator = Generator(seed, odd=False)
    bundle = generator.bundle()
    if bundle.composite().left_out:
        return
    before, stripped = bundle.packed(bundle.own), bundle.packed(bundle.whole(), stripped=True)
    for user in ({}, generator.given(), generator.given()):
        verdict, alone = helm_refuses(before, user), helm_refuses(stripped, user)
        has_global = bundle.has_global or '"global": {"' in json.dumps(user)
        assert not alone if has_global and not verdict else has_global or bool(alone) == bool(verdict), (user, alone)


# -- one by one -------------------------------------------------------------------------------------------------------

TEXT: Final = {"type": "string"}
D4, D6, D7, D2019, D2020 = DRAFTS.values()


def one(schema: Any, defaults: Mapping[str, Any] | None = None, **need: Any) -> Bundle:
    """Declare a bundle of one chart, `a`."""
    return Bundle([Demo("a", schema, defaults or {})], [{"name": "a", **need}])


def left_out(composite: Composite) -> list[tuple[str, str]]:
    return [(".".join(item.path), item.reason) for item in composite.left_out]


@pytest.mark.parametrize(
    "schema",
    [
        {"$schema": D7, "$ref": "#/definitions/r", "definitions": {"r": {"properties": {"v": TEXT}}}},
        {"$schema": D7, "$ref": "#/definitions/r", "definitions": {"r": {"$ref": "#/properties"}}, "properties": {}},
        {"$schema": D4, "id": "http://a.example/x#", "properties": {"v": {"$ref": "x#/definitions/t"}}}
        | {"definitions": {"t": TEXT}},
        {"$schema": D6, "properties": {"v": {"$ref": "#t"}}, "definitions": {"t": {"$id": "#t", **TEXT}}},
        {"$schema": D7, "properties": {"v": {"$ref": "t#u"}}, "definitions": {"t": {"$id": "t#u", **TEXT}}},
        {"$schema": D7, "properties": {"v": {"$ref": "#/definitions/t/x"}}, "definitions": {"t": {"x": TEXT}}},
        {"$schema": D2019, "properties": {"v": {"$ref": "sub"}}, "$defs": {"t": {"$id": "sub", **TEXT}}},
        {"$schema": D2019, "$recursiveAnchor": True, "additionalProperties": {"anyOf": [{"$recursiveRef": "#"}, TEXT]}}
        | {"type": "object"},
        {"properties": {"v": {"$ref": "#t"}}, "$defs": {"t": {"$anchor": "t", **TEXT}}},
        {
            "properties": {"v": {"$ref": "/sub/x"}},
            "$defs": {"t": {"$id": "sub/", "$defs": {"u": {"$id": "x", **TEXT}}}},
        },
        {"properties": {"v": {"$ref": "urn:t"}}, "$defs": {"t": {"$id": "urn:t", **TEXT}}},
        {"properties": {"v": {"$ref": "urn:brolly:sha256:none"}}},
        {"properties": {"v": {"$ref": D7 + "/definitions/nonNegativeInteger"}}},
        {"$dynamicAnchor": "n", "type": "object", "additionalProperties": {"anyOf": [{"$dynamicRef": "#n"}, TEXT]}},
        {"properties": {"v": {"const": 0.1, "multipleOf": 1e-3, "maximum": 12345678901234567890}}},
        {"properties": {"v": {"enum": [{"$ref": "x", "$id": "y"}, "x"]}}},
        False,
    ],
)
def test_references_of_every_kind_still_lead_where_they_led(schema: Any) -> None:
    # what Helm adds, `global`, would be one of the additional properties
    bundle = one(schema)._replace(demos=[Demo("a", schema, {"global": {}})])
    assert bundle.composite().left_out == ()
    content = bundle.whole()
    for value in ("x", 7, 0.1, {"w": "x"}, {"w": 1}, {"$ref": "x", "$id": "y"}):
        user = {"a": {"v": value}}
        verdict = helm_refuses(bundle.packed(None), user)
        assert bool(helm_refuses(bundle.packed(content, stripped=True), user)) == bool(verdict), (user, verdict)
        relaxed = helm_refuses(bundle.packed(bundle.composite().content, stripped=True), user)
        assert verdict or not relaxed


def test_each_distinct_schema_stands_once_with_its_draft_and_an_address_of_its_own() -> None:
    old = {"$schema": D4, "title": "Old", "properties": {"n": {"description": "How many.", "minimum": 1}}}
    new = {"title": "New"}
    bundle = Bundle([Demo("a", old), Demo("b", new)], [{"name": "a"}, {"name": "a", "alias": "z"}, {"name": "b"}])
    data = json.loads(bundle.composite().content)
    assert [(entry["$schema"], entry["title"]) for entry in data["$defs"].values()] == [
        ("http://json-schema.org/draft-04/schema", "Old"),
        (D2020, "New"),
    ]
    name = Digest.of(json.dumps(old).encode()).hex
    assert data["$defs"][name]["id"] == f"urn:brolly:sha256:{name}"
    assert data["$defs"][name]["properties"] == old["properties"]
    assert [part["properties"] for part in data["else"]["allOf"][:2]] == [
        {key: {"$ref": f"urn:brolly:sha256:{name}"}} for key in ("a", "z")
    ]


def test_editors_see_which_chart_a_key_belongs_to() -> None:
    data = json.loads(one({}, alias="web").composite().content)
    assert (data["$schema"], data["title"]) == (D2020, "all 1.2.3")
    assert data["properties"]["web"] == {"title": "a 1.0.0", "description": "The a."}


def test_the_same_bundle_gives_the_same_bytes_and_a_last_newline() -> None:
    bundle = Generator(7, odd=False).bundle()
    assert bundle.composite() == bundle.composite()
    assert bundle.composite().content.endswith(b"}\n")


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"properties": {"v": {"$ref": REMOTE}}}, f"refers to another document: {REMOTE}"),
        (b'{"minimum": 0.12345678901234567890123}', "the number 0.12345678901234567890123 has too many digits"),
        (b"{", "not JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
    ],
)
def test_a_schema_that_cannot_be_taken_in_is_left_out_with_a_warning(schema: Any, reason: str) -> None:
    bundle = one(schema)
    composite, findings = bundle.composed()
    assert left_out(composite) == [("a", reason)]
    assert [finding.code for finding in findings] == ["values/left-out-schema"]
    assert findings[0].location
    assert findings[0].location.line == 7
    assert schemas.judge(composite.content, {"a": {"v": 1}}) == ()


def test_without_the_bundles_own_schema_nothing_may_take_its_place_in_the_chart() -> None:
    composite, findings = one({})._replace(schema={"$ref": REMOTE}).composed()
    assert left_out(composite) == [("", f"refers to another document: {REMOTE}")]
    assert composite.embedded is None
    assert "values schema of all " in findings[0].message


SWITCHED: Final[tuple[tuple[dict[str, Any], dict[str, Any], dict[str, Any], bool], ...]] = (
    # what switches it, the chart's default, values, whether Helm judges it
    ({"condition": "a.on"}, {}, {}, True),
    ({"condition": "a.on"}, {"on": False}, {}, False),
    ({"condition": "a.on"}, {"on": False}, {"a": {"on": True}}, True),
    ({"condition": "a.on"}, {"on": True}, {"a": {"on": False}}, False),
    ({"condition": "a.on"}, {}, {"a": {"on": "false"}}, True),
    ({"condition": "x.on,a.on"}, {"on": False}, {"x": {"on": True}}, True),
    ({"condition": "x.on,a.on"}, {"on": True}, {"x": {"on": False}}, False),
    ({"condition": "x.on,a.on"}, {"on": True}, {"x": {"on": 0}, "a": {"on": False}}, False),
    ({"condition": "global.a"}, {}, {"global": {"a": False}}, False),
    ({"tags": ["t", "u"]}, {}, {"tags": {"t": False}}, False),
    ({"tags": ["t", "u"]}, {}, {"tags": {"t": False, "u": True}}, True),
    ({"tags": ["t", "u"]}, {}, {"tags": {"other": False}}, True),
    ({"condition": "a.on", "tags": ["t"]}, {}, {"tags": {"t": False}}, False),
    ({"condition": "a.on", "tags": ["t"]}, {}, {"tags": {"t": False}, "a": {"on": True}}, True),
)


@pytest.mark.parametrize(("need", "defaults", "given", "is_judged"), SWITCHED)
def test_what_is_switched_off_is_not_judged(
    need: dict[str, Any], defaults: dict[str, Any], given: dict[str, Any], *, is_judged: bool
) -> None:
    bundle = one({"required": ["none"]}, defaults, **need)
    composite = bundle.composite()
    for chart in (bundle.packed(None), bundle.packed(composite.content, stripped=True)):
        assert bool(helm_refuses(chart, given)) == is_judged


def test_subcharts_of_charts_are_judged_at_their_own_keys() -> None:
    inner = Demo("n", {"properties": {"v": TEXT}}, {"on": False})
    bundle = Bundle([Demo("a", None, {}, [inner], [{"name": "n", "condition": "n.on"}])], [{"name": "a"}])
    composite = bundle.composite()
    for on in (True, False):
        user = {"a": {"n": {"v": 1, "on": on}}}
        for chart in (bundle.packed(None), bundle.packed(composite.content, stripped=True)):
            assert bool(helm_refuses(chart, user)) == on


def test_where_an_import_could_switch_a_chart_its_schema_is_left_out() -> None:
    exporting = Demo("b", None, {"exports": {"x": {"a": {"on": True}}}})
    bundle = Bundle(
        [Demo("a", {"required": ["none"]}, {"on": False}), exporting],
        [{"name": "a", "condition": "a.on"}, {"name": "b", "import-values": ["x"]}],
    )
    composite = bundle.composite()
    assert [key for key, _ in left_out(composite)] == ["a"]
    assert helm_refuses(bundle.packed(composite.content), {}) == ""


WANTING: Final = {"required": ["image", "host"], "properties": {"image": TEXT, "host": TEXT}}


def test_lint_judges_values_without_defaults_and_passes_as_before() -> None:
    bundle = one(WANTING, {"image": "x"})._replace(values={"a": {"host": "y"}})
    composite = bundle.composite()
    assert lint_refuses(bundle.packed(bundle.whole())) != []  # this is why schemas are relaxed
    assert lint_refuses(bundle.packed(composite.embedded)) == []
    assert "at '/a/image': got number" in helm_refuses(bundle.packed(composite.embedded), {"a": {"image": 1}})


@pytest.mark.parametrize("user", [{"a": {"global": {"x": 1}}}, {"global": {"x": 1}}, {"a": {"b": 1}}, {}], ids=str)
def test_a_global_that_somebody_wrote_does_not_pass_for_coalesced_values(user: dict[str, Any]) -> None:
    bundle = one({"required": ["image"]}, {"image": "x"})
    assert lint_refuses(bundle.packed(bundle.composite().embedded), user) == []


def test_an_editor_flags_what_is_wrong_in_any_values_and_not_what_is_there_by_default() -> None:
    composite = one(WANTING | {"additionalProperties": False}, {"image": "x"}).composite()
    given: tuple[tuple[dict[str, Any], list[tuple[Any, ...]]], ...] = (
        ({"host": "x"}, []),
        ({"host": "x", "image": None}, []),
        ({"host": 1}, [("a", "host")]),
        ({}, [("a",)]),  # nobody but the operator can name a host
        ({"host": "x", "imag": "x"}, [("a", "imag")]),
    )
    for table, routes in given:
        assert [found.route for found in schemas.judge(composite.content, {"a": table})] == routes


OLD: Final = {
    "$schema": D2019,
    "properties": {"v": {"$ref": "#/definitions/t"}, "w": {"$ref": "#/definitions/a~1b/properties/x"}},
    "definitions": {"t": TEXT, "a/b": {"properties": {"x": {"type": "integer"}}}},
    "$defs": {"t": {"type": "boolean"}},
    "dependencies": {"v": ["w"], "n": {"properties": {"w": {"const": 7}}}},
}


def test_a_2019_schema_with_old_keywords_is_taken_in() -> None:
    bundle = one(OLD)
    content, relaxed = bundle.whole(), bundle.composite()
    assert relaxed.left_out == ()
    assert bundle._replace(schema=OLD, demos=[Demo("a")]).composite().left_out == ()
    for table in ({}, {"v": "x"}, {"v": "x", "w": 1}, {"v": True}, {"w": "x"}, {"n": 1, "w": 7}, {"n": 1, "w": 8}):
        verdict = helm_refuses(bundle.packed(None), {"a": table})
        assert bool(helm_refuses(bundle.packed(content, stripped=True), {"a": table})) == bool(verdict), table
        assert verdict or not helm_refuses(bundle.packed(relaxed.content, stripped=True), {"a": table})


DROPPED: Final = (
    {"not": {"type": "string"}, "properties": {"v": {"$ref": "#/not"}}},
    {"$schema": D7, "if": {"$id": "#c", **TEXT}, "properties": {"v": {"$ref": "#c"}}},
    {"oneOf": [TEXT, {"properties": {"v": TEXT}}], "anyOf": [{}], "properties": {"w": {"$ref": "#/oneOf/1"}}},
    {"oneOf": [{}, TEXT], "properties": {"v": {"$ref": "#/oneOf/1"}}},
    {"$schema": D7, "dependencies": {"a b": TEXT}, "properties": {"v": {"$ref": "#/dependencies/a%20b"}}},
    {"dependencies": {"x": {}}, "properties": {"v": {"$ref": "#/dependencies"}}},
    {"$dynamicAnchor": "n", "if": {"$id": "urn:q", "$dynamicAnchor": "n"}, "properties": {"v": {"$dynamicRef": "#n"}}},
    {"const": {"v": "x"}},
    {"enum": [{"v": "x"}, 1]},
    {"properties": {"v": False}, "$schema": D6},
)


@pytest.mark.parametrize("schema", DROPPED, ids=json.dumps)
def test_what_is_relaxed_refuses_no_more_than_helm(schema: Any) -> None:
    bundle = one(schema, {"v": "x"})
    content = bundle.composite().content
    for table in ({}, {"v": 1}, {"v": "x"}, {"v": None}, {"w": {"v": 1}}, {"w": 1}, {"v": {"v": 1}}):
        user = {"a": table}
        assert not schemas.judge(content, user) or helm_refuses(bundle.packed(None), user), user


def test_a_global_below_a_charts_own_key_does_not_pass_for_helms() -> None:
    bundle = one({"required": ["image"]}, {"image": "x"})._replace(values={"a": {"global": {}}})
    assert lint_refuses(bundle.packed(bundle.composite().embedded)) == []


# -- global -----------------------------------------------------------------------------------------------------------

FORBIDDING: Final = (
    {"properties": {"n": {}}, "additionalProperties": False},
    {"propertyNames": {"pattern": "^.$"}},
    {"maxProperties": 1},
    {"not": {"required": ["global"]}},
    {"$schema": D7, "patternProperties": {"^.$": {}}, "additionalProperties": {"type": "integer"}},
)


@pytest.mark.parametrize("schema", FORBIDDING)
def test_a_chart_that_forbids_global_fails_in_every_umbrella_and_not_alone(schema: Any) -> None:
    bundle = one(schema, {"n": 1})
    findings = bundle.forbidding()
    assert [finding.code for finding in findings] == ["values/forbids-global"]
    assert findings[0].location
    assert findings[0].location.line == 7
    assert "target: kustomize" in findings[0].hint
    assert helm_refuses(bundle.packed(None), {}) != ""
    assert helm_refuses(package(bundle.demos[0].files(), "a"), {}) == ""
    definition, components, read = bundle.parsed()
    assert compose_kustomize(definition, components, None, read)[1] == ()


@pytest.mark.parametrize(
    ("schema", "defaults"),
    [
        ({"properties": {"n": {}, "global": {}}, "additionalProperties": False}, {"n": 1}),
        ({"additionalProperties": False, "properties": {"global": {}}}, {"global": {"x": 1}}),
        ({"required": ["n"]}, {}),
        ({"$ref": "#"}, {}),
        (None, {}),
    ],
)
def test_a_chart_that_fails_for_another_reason_does_not_forbid_global(schema: Any, defaults: dict[str, Any]) -> None:
    assert one(schema, defaults).forbidding() == []


ASKING: Final = {"properties": {"global": {"required": ["x"], "properties": {"x": {"type": "integer"}}}}}


@pytest.mark.parametrize("handed", [{}, {"global": {"x": 1}}, {"global": {"x": "one"}}])
def test_a_chart_that_asks_for_something_in_global_does_not_forbid_it(handed: dict[str, Any]) -> None:
    bundle = one(ASKING, {}, condition="a.enabled")._replace(values={"a": {"enabled": False}, **handed})
    assert bundle.forbidding() == []
    assert helm_refuses(bundle.packed(None), {"a": {"enabled": True}, "global": {"x": 1}}) == ""


def test_whether_global_is_refused_is_asked_with_the_bundles_values() -> None:
    strict = {"if": {"properties": {"n": {"const": 1}}}, "then": {"maxProperties": 1}}
    assert len(one(strict, {"n": 1}).forbidding()) == 1
    assert one(strict, {"n": 1})._replace(values={"a": {"n": 2}}).forbidding() == []


# -- kustomize --------------------------------------------------------------------------------------------------------


@given(st.integers(0, 2**32))
def test_under_kustomize_the_composite_refuses_only_what_helm_refuses_of_a_release(seed: int) -> None:
    generator = Generator(seed, odd=False)
    definition, components, read = generator.bundle().parsed()
    composite, _ = compose_kustomize(definition, components, None, read, define=whole)
    relaxed, _ = compose_kustomize(definition, components, None, read)
    given_values = generator.given()
    if '"global": {"' in json.dumps([given_values, *(one.chart.values for one in components)]):
        composite = relaxed  # which global wins is not to be seen
    for component in components:
        key = component.key
        instance, _ = values.effective(component.chart, values.for_release(given_values, key))
        refused = is_refused(composite.content, {key: instance.values})
        verdict = any(is_refused(one.chart.schema or b"{}", one.values) for one in instance.walk())
        part = {name: given_values[name] for name in (key, "global") if name in given_values}
        assert verdict or not is_refused(relaxed.content, part)
        if refused or (composite is not relaxed and not any(item.path[0] == key for item in composite.left_out)):
            assert refused == verdict


def is_refused(schema: bytes, table: dict[str, Any]) -> bool:
    try:
        return bool(schemas.judge(schema, table))
    except schemas.SchemaFault:
        return True


def test_under_kustomize_the_bundles_own_schema_and_every_release_are_held() -> None:
    bundle = Bundle([Demo("a", {"properties": {"v": TEXT}})], [{"name": "a"}, {"name": "a", "alias": "z"}])
    definition, components, read = bundle.parsed()
    own = json.dumps({"required": ["size"]}).encode()
    composite, findings = compose_kustomize(definition, components, own, read)
    assert findings == ()
    assert composite.embedded is None
    found = schemas.judge(composite.content, {"a": {"v": 1}, "z": {"v": 2}})
    assert [(item.route, item.keyword) for item in found] == [
        ((), "required"),
        (("a", "v"), "type"),
        (("z", "v"), "type"),
    ]
