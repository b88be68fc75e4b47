"""One values schema for a bundle, with Helm's own engine as the judge."""

from __future__ import annotations

import json
import random
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from brolly import chart as charts
from brolly import definition as definitions
from brolly import document, schemas, values
from brolly.composite import Composite, compose_umbrella
from brolly.lock import LockedDependency, canonical
from brolly.oci import Digest
from brolly.sources import Component
from engine_charts import engine, package
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


def helm_refuses(chart: bytes, user: Mapping[str, Any]) -> str:
    """Ask Helm's engine to render; say why it does not, or give an empty text."""
    helm = engine()
    with helm.Chart.load_archive(chart) as handle:
        try:
            handle.render(dict(user))
        except helm.HelmError as error:
            return str(error)
    return ""


def lint_refuses(chart: bytes) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "all-1.2.3.tgz"
        path.write_bytes(chart)
        report = engine().lint(str(path), {})
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


@given(st.integers(0, 2**32))
def test_with_the_composite_inside_helms_verdict_is_what_it_was(seed: int) -> None:
    generator = Generator(seed, odd=True)
    bundle = generator.bundle()
    if isinstance(bundle.schema, bytes):
        bundle = bundle._replace(schema=None)
    composite = bundle.composite()
    before = bundle.packed(bundle.own)
    if composite.embedded is None:
        assert any(not one.path for one in composite.left_out)
        return
    for user in ({}, *(generator.given() for _ in range(3))):
        verdict = helm_refuses(before, user)
        for schema in (composite.embedded, composite.content):
            after = helm_refuses(bundle.packed(schema), user)
            assert bool(after) == bool(verdict), (user, after, verdict)


@given(st.integers(0, 2**32))
def test_the_composite_alone_gives_the_verdict_of_all_schemas(seed: int) -> None:
    generator = Generator(seed, odd=False)
    bundle = generator.bundle()
    composite = bundle.composite()
    if composite.left_out:
        return
    for user in ({}, *(generator.given() for _ in range(3))):
        verdict = helm_refuses(bundle.packed(bundle.own), user)
        alone = helm_refuses(bundle.packed(composite.content, stripped=True), user)
        assert bool(alone) == bool(verdict), (user, alone, verdict)
