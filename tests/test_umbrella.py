"""A compiled umbrella chart, as Helm loads, lints, renders, rebuilds, pushes and pulls it."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import tarfile
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from brolly import chart as charts
from brolly import definition as definitions
from brolly import document, umbrella
from brolly.archive import MAX_FILE, stored_gzip
from brolly.lock import LockedDependency, canonical
from brolly.oci import Descriptor, Digest
from brolly.registry import open_registry
from brolly.sources import Component, Settings, Sources
from brolly.versions import Constraint, Version
from chart_repository import chart_repository
from engine_charts import chart_files, chart_package, engine, package
from registries import docker_registry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from brolly.findings import Finding
    from brolly.umbrella import Umbrella

FOLDER = "bundles/shop"
EPOCH = 1_700_000_000
LOCAL = "file://charts/here"
RICH: dict[str, Any] = {
    "description": 'Sells {{ .Values.things }} & "more"; {{ fail "no" }}\n# yes: [it] does',
    "kubeVersion": ">=1.25.0-0",
    "appVersion": "1.10",
    "keywords": ["shop", "no", "{{ .Chart }}"],
    "home": "https://shop.example",
    "sources": ["https://git.example/shop", "https://mirror.example/shop"],
    "icon": "https://shop.example/icon.svg",
    "maintainers": [{"name": "Ada", "email": "ada@shop.example"}, {"name": "Bob", "url": "https://bob.example"}],
    "annotations": {"artifacthub.io/changes": "- one\n- two: <b>\n", "empty": "", "team": "1.50"},
    "deprecated": True,
}


class Compiled(NamedTuple):
    result: Umbrella | None
    findings: tuple[Finding, ...]

    @property
    def made(self) -> Umbrella:
        assert self.result, self.findings
        return self.result

    @property
    def package(self) -> bytes:
        return self.made.package

    @property
    def files(self) -> dict[str, bytes]:
        """Give the files of the package in its order, by their names in the chart."""
        return files_of(self.package)

    def only(self, code: str) -> Finding:
        """Give the one finding that there is."""
        assert [finding.code for finding in self.findings] == [code], self.findings
        return self.findings[0]


def files_of(content: bytes) -> dict[str, bytes]:
    found = {}
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        for member in tar:
            source = tar.extractfile(member)
            assert source
            found[member.name.partition("/")[2]] = source.read()
    return found


def dependency(
    name: str, alias: str = "", repository: str = LOCAL, version: str = "*-0", **more: Any
) -> dict[str, Any]:
    return {"name": name, **({"alias": alias} if alias else {}), "version": version, "repository": repository, **more}


def compiled(
    *dependencies: dict[str, Any],
    values: str | bytes | None = None,
    files: Mapping[str, str | bytes] | None = None,
    packages: Mapping[str, bytes] | None = None,
    epoch: int = EPOCH,
    **fields: Any,
) -> Compiled:
    """Compile a bundle named shop; `packages` by key, and by default the smallest chart of the name."""
    head = {"apiVersion": "brolly/v1alpha1", "target": "umbrella", "name": "shop", "version": "1.2.3"}
    text = document.emit({**head, **fields, "dependencies": list(dependencies)})
    read, faults = document.read(text.encode(), f"{FOLDER}/bundle.yaml", strict=True)
    assert read, faults
    bundle, faults = definitions.parse(read, folder=FOLDER, repositories={})
    assert bundle, faults
    given = {**(files or {}), **({} if values is None else {"values.yaml": values})}
    sources = Sources(FOLDER, {name: text.encode() if isinstance(text, str) else text for name, text in given.items()})
    written = None
    if values is not None:
        written, faults = document.read(sources.files["values.yaml"], f"{FOLDER}/values.yaml", strict=False)
        assert written, faults
    components = [
        component(one, (packages or {}).get(one.key) or chart_package(one.name)) for one in bundle.dependencies
    ]
    at = Settings("oci://registry.example/apps", epoch=epoch)
    return Compiled(
        *umbrella.compile_bundle(bundle, components, sources, read, written, at, inputs="sha256:in", lock="sha256:lock")
    )


def component(asked: definitions.Dependency, content: bytes) -> Component:
    chart = charts.read_package(content)
    locked = LockedDependency(
        digest=Digest.of(content),
        name=asked.name,
        repository=canonical(asked.repository),
        version=chart.version,
        alias=asked.alias,
    )
    return Component(asked, locked, content, chart)


def rendered(content: bytes, values: dict[str, Any] | None = None) -> dict[str, str]:
    """Render with Helm; the names of the templates begin below the umbrella."""
    with engine().Chart.load_archive(content) as chart:
        found = chart.render(values or {}, name="rel", namespace="default")
    return {name.partition("/")[2]: text for name, text in found.items()}


def values_seen(content: bytes, values: dict[str, Any] | None = None) -> dict[str, Any]:
    """Give the values that each subchart sees, by its key: the smallest chart prints them."""
    texts = {
        name.split("/")[1]: text for name, text in rendered(content, values).items() if name.endswith("config.yaml")
    }
    return {key: json.loads(yaml.safe_load(text)["data"]["values"]) for key, text in texts.items()}


def unpacked(content: bytes, folder: Path) -> Path:
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        tar.extractall(folder, filter="data")
    return folder / "shop"


def linted(content: bytes, folder: Path) -> list[Any]:
    """Lint the package and its folder strictly: every message above information."""
    path = folder / "shop.tgz"
    path.write_bytes(content)
    reports = [engine().lint(one, strict=True) for one in (path, unpacked(content, folder))]
    return [message for report in reports for message in report["messages"] if message["severity"] > 1]


def printing(name: str, version: str, text: str, **files: str) -> bytes:
    """Package a chart whose one template is the text."""
    made = chart_files(name, version) | {"templates/config.yaml": text}
    return package(made | {path.replace("__", "/"): content for path, content in files.items()}, name)


# what Helm says of it


def test_helm_lints_it_strictly_as_a_package_and_as_a_folder_and_renders_it(tmp_path: Path) -> None:
    schema = json.dumps({"type": "object", "properties": {"level": {"enum": ["low", "high"]}}})
    result = compiled(
        dependency("web"), dependency("web", "second"), dependency("api"),
        values="level: low\nweb: {size: 2}\n", files={"values.schema.json": schema}, **RICH,
    )  # fmt: skip
    assert linted(result.package, tmp_path) == []
    assert {key: seen["size"] for key, seen in values_seen(result.package).items()} == {"web": 2, "second": 1, "api": 1}


def test_helm_reads_what_the_definition_says() -> None:
    result = compiled(dependency("web", "w", condition="w.on", tags=["a", "b"]), **RICH)
    with engine().Chart.load_archive(result.package) as chart:
        found = chart.metadata
    ours = {
        "io.brolly.bundle.inputs": "sha256:in",
        "io.brolly.bundle.lock": "sha256:lock",
        "io.brolly.bundle.target": "umbrella",
        "org.opencontainers.image.created": "2023-11-14T22:13:20Z",
    }
    assert found == {
        **RICH,
        "apiVersion": "v2", "name": "shop", "version": "1.2.3", "type": "application",
        # Helm's own strings have no line breaks
        "description": RICH["description"].replace("\n", " "),
        "annotations": RICH["annotations"] | ours,
        "dependencies": [
            {"name": "web", "version": "1.0.0", "repository": "", "alias": "w", "condition": "w.on", "tags": ["a", "b"]}
        ],
    }  # fmt: skip


@given(st.text(max_size=30), st.text(max_size=30), st.lists(st.text(max_size=10), max_size=3))
@settings(max_examples=40)
def test_no_text_of_a_definition_changes_anything_but_itself(
    description: str, annotation: str, words: list[str]
) -> None:
    fields: dict[str, Any] = {"description": description, "annotations": {"note": annotation}, "keywords": words}
    result = compiled(dependency("web"), **fields)
    with engine().Chart.load_archive(result.package) as chart:
        found = chart.metadata
    assert found["annotations"]["note"] == annotation
    assert json.loads(result.made.artifact.blobs[0].content) == found
    assert rendered(result.package) == rendered(compiled(dependency("web")).package)


def test_sixty_dependencies_are_one_chart(tmp_path: Path) -> None:
    names = [f"service-{place:02}" for place in range(60)]
    result = compiled(*(dependency(name) for name in names), values="global: {zone: a}\n")
    assert linted(result.package, tmp_path) == []
    seen = values_seen(result.package)
    assert sorted(seen) == names
    assert all(values == {"global": {"zone": "a"}, "size": 1} for values in seen.values())


# what is in it


def test_files_have_helms_order_and_fixed_headers() -> None:
    files = {"README.md": "# Shop\n", "templates/b.yaml": "a: 1\n", "templates/_h.tpl": "", "values.schema.json": "{}"}
    result = compiled(dependency("web"), dependency("api"), values="a: 1\n", files=files)
    with tarfile.open(fileobj=io.BytesIO(result.package)) as tar:
        facts = [(one.name, one.mode, one.uid, one.gid, one.uname, one.mtime) for one in tar]
    names = [
        "Chart.yaml", "Chart.lock", "values.yaml", "values.schema.json", "templates/_h.tpl", "templates/b.yaml",
        "README.md", "charts/api-1.0.0.tgz", "charts/web-1.0.0.tgz",
    ]  # fmt: skip
    assert facts == [(f"shop/{name}", 0o644, 0, 0, "", EPOCH) for name in names]


def test_it_is_a_gzip_of_stored_blocks() -> None:
    content = compiled(dependency("web")).package
    assert content == stored_gzip(gzip.decompress(content))


def test_two_compiles_give_the_same_bytes_and_another_time_moves_only_times() -> None:
    one, two, later = (compiled(dependency("web"), **RICH, epoch=epoch) for epoch in (EPOCH, EPOCH, EPOCH + 60))
    assert one.package == two.package
    assert one.made.artifact == two.made.artifact
    assert one.package != later.package
    moved = {name: text.replace(b"22:14:20Z", b"22:13:20Z") for name, text in later.files.items()}
    assert moved == one.files


@pytest.mark.parametrize(
    "values",
    [
        b"# kept\nweb:   # this too\n  size: 2\n\n# and this\n",
        b"a: 1\r\n# dos\r\n",
        b"\xef\xbb\xbfa: 1\n",
        b"a: 1\n---\nb: 2\n",
        b"",
    ],
)
def test_values_are_shipped_byte_for_byte(values: bytes) -> None:
    result = compiled(dependency("web"), values=values)
    assert result.files["values.yaml"] == values
    assert values_seen(result.package)["web"]["size"] == (2 if b"size" in values else 1)


def test_packages_are_embedded_byte_for_byte_and_once() -> None:
    web, other = gzip.compress(gzip.decompress(chart_package("web")), 9), chart_package("web", "2.0.0")
    asked = (dependency("web"), dependency("web", "again"), dependency("web", "other"))
    result = compiled(*asked, packages={"web": web, "again": web, "other": other})
    embedded = {name: content for name, content in result.files.items() if name.startswith("charts/")}
    assert embedded == {"charts/web-1.0.0.tgz": web, "charts/web-2.0.0.tgz": other}
    assert sorted(values_seen(result.package)) == ["again", "other", "web"]


def test_the_lock_in_the_chart_pins_each_package() -> None:
    web, api = chart_package("web", "1.4"), chart_package("api")
    https = "https://charts.example/stable"
    asked = (dependency("web", repository=https, version="1.x"), dependency("api"))
    lock = yaml.safe_load(compiled(*asked, packages={"web": web, "api": api}).files["Chart.lock"])
    assert lock["dependencies"] == [
        {"name": "web", "repository": https, "version": "1.4", "digest": Digest.of(web)},
        {"name": "api", "repository": "", "version": "1.0.0", "digest": Digest.of(api)},
    ]
    assert lock["generated"] == "2023-11-14T22:13:20Z"


def test_the_table_of_values_is_beside_the_chart_and_not_in_it() -> None:
    result = compiled(dependency("web"), values="web: {size: 7}\nlevel: low\n")
    assert "| `web.size` | `7` |" in result.made.values_table
    assert sorted(result.files) == [
        "Chart.lock", "Chart.yaml", "README.md", "charts/web-1.0.0.tgz", "templates/NOTES.txt", "values.yaml",
    ]  # fmt: skip


@pytest.mark.parametrize("description", ["", "Sells things.", "é{{" * 200, "\n" * 500])
@pytest.mark.parametrize("count", [1, 50])
def test_the_readme_stays_under_two_kibibytes(count: int, description: str) -> None:
    names = [f"a-name-that-is-nearly-as-long-as-any-will-ever-be-in-practice-{place}" for place in range(count)]
    readme = compiled(*(dependency(name) for name in names), description=description).files["README.md"].decode()
    assert len(readme.encode()) < 2048
    listed = [name for name in names if f"| {name} |" in readme]
    assert len(listed) == count or f"and {count - len(listed)} more" in readme
    assert names[0] in listed


def test_the_authors_readme_is_shipped_if_it_is_short_enough() -> None:
    short = compiled(dependency("web"), files={"README.md": "x" * 2047})
    assert (short.files["README.md"], short.findings) == (b"x" * 2047, ())
    long = compiled(dependency("web"), files={"README.md": "x" * 2048})
    assert long.only("umbrella/long-readme").location.path == f"{FOLDER}/README.md"  # type: ignore[union-attr]
    assert b"| web | web | 1.0.0 |" in long.files["README.md"]


@pytest.mark.parametrize("files", [{}, {"templates/.gitkeep": ""}])
def test_there_is_always_a_template_which_lists_the_components(files: dict[str, str], tmp_path: Path) -> None:
    result = compiled(dependency("web"), dependency("api", "back"), files=files, description="{{ fail }}")
    assert linted(result.package, tmp_path) == []
    notes = rendered(result.package)["templates/NOTES.txt"]
    assert notes == "shop 1.2.3 installs:\n  web (web 1.0.0)\n  back (api 1.0.0)\n"


def test_the_bundles_own_templates_see_all_values() -> None:
    template = "a: {{ .Values.web.size }} {{ .Values.level }} {{ .Chart.Name }}\n"
    result = compiled(dependency("web"), values="level: low\nweb: {size: 3}\n", files={"templates/own.yaml": template})
    assert rendered(result.package)["templates/own.yaml"] == "a: 3 low shop\n"
    assert "templates/NOTES.txt" not in result.files


# subcharts, which Helm takes in random order: every case is rendered many times

PAIRS = (
    ("1.0.0", "2.0.0"), ("2.0.0", "1.0.0"), ("1.4", "1.4.7"), ("1", "1.0.1"), ("v1.3.0", "1.3.1"), ("v1", "v1.1"),
    ("1.5.0+meta", "1.6.0"), ("1.5.0-rc.1", "1.5.0"), ("1.0.0-rc.1", "1.0.0-rc.2"), ("1.4-rc.1", "1.4"),
    ("1.4-a.b", "1.4.7"), ("1.4+a.b", "1.4.1"), ("1-x.y.z", "1.0.0"), ("1+x.y", "1.2.0"), ("01.02.03", "1.2.4"),
    ("0.0.0", "0.0.1"),
)  # fmt: skip


def test_each_alias_always_gets_its_version() -> None:
    asked, packages, expected = [], {}, {}
    for place, versions in enumerate(PAIRS):
        for alias, version in zip((f"a-{place}", f"b-{place}"), versions, strict=True):
            asked.append(dependency(f"web-{place}", alias))
            packages[alias] = printing(f"web-{place}", version, f"got: {version} {{{{ .Chart.Version }}}}\n")
            expected[f"charts/{alias}/templates/config.yaml"] = f"got: {version} {version}\n"
    result = compiled(*asked, packages=packages)
    for _ in range(30):
        found = rendered(result.package)
        assert {name: text for name, text in found.items() if name.startswith("charts/")} == expected


def test_an_alias_that_is_another_charts_name_stays_apart() -> None:
    chart = "c: {{ .Chart.Name }} "
    plain = compiled(
        dependency("web"), dependency("web", "old"),
        packages={"web": printing("web", "2.0.0", chart + "2\n"), "old": printing("web", "1.0.0", chart + "1\n")},
    )  # fmt: skip
    crossed = compiled(
        dependency("old", "web"), dependency("web", "old"),
        packages={"web": printing("old", "1.0.0", chart + "old\n"), "old": printing("web", "1.0.0", chart + "web\n")},
    )  # fmt: skip
    for _ in range(15):
        texts = [rendered(one.package) for one in (plain, crossed)]
        found = [text[f"charts/{key}/templates/config.yaml"] for text in texts for key in ("web", "old")]
        assert found == ["c: web 2\n", "c: old 1\n", "c: web old\n", "c: old web\n"]


def test_one_package_under_two_aliases_keeps_values_and_its_own_subcharts_apart() -> None:
    inner = {f"charts/inner/{name}": text for name, text in chart_files("inner").items()}
    needs = [{"name": "inner", "version": "1.x", "alias": "deep", "condition": "deep.enabled"}]
    content = package({**chart_files("web", dependencies=needs), **inner}, "web")
    result = compiled(
        dependency("web", "a"), dependency("web", "b"), dependency("web", "c"), packages=dict.fromkeys("abc", content),
        values="a: {size: 2, deep: {size: 20}}\nb: {deep: {size: 30}}\nc: {deep: {enabled: false}}\n",
    )  # fmt: skip
    for _ in range(15):
        found = {
            name.removesuffix("/templates/config.yaml"): json.loads(yaml.safe_load(text)["data"]["values"])["size"]
            for name, text in rendered(result.package).items()
            if name.endswith("config.yaml")
        }
        assert found == {
            "charts/a": 2, "charts/b": 1, "charts/c": 1, "charts/a/charts/deep": 20, "charts/b/charts/deep": 30,
        }  # fmt: skip


NUMBERS = st.lists(st.integers(0, 3).map(str), min_size=1, max_size=3).map(".".join)
IDENTIFIERS = st.sampled_from(["rc", "rc.1", "0", "a.b.c", "x-y"])


@given(st.sampled_from(["", "v"]), NUMBERS, st.none() | IDENTIFIERS, st.none() | IDENTIFIERS, NUMBERS)
@settings(max_examples=300)
def test_an_exact_version_allows_itself_and_no_other(
    v: str, numbers: str, pre: str | None, build: str | None, other: str
) -> None:
    version = v + numbers + (f"-{pre}" if pre else "") + (f"+{build}" if build else "")
    constraint = Constraint.parse(umbrella.exact(version))
    assert constraint.allows(Version.parse(version))
    for another in (other, f"{other}-rc.1", f"{other}-rc"):
        same = Version.parse(another) == Version.parse(version)
        assert constraint.allows(Version.parse(another)) == same


def test_packages_of_one_name_and_version_must_be_the_same() -> None:
    web, other = chart_package("web"), chart_package("web", description="other")
    result = compiled(dependency("web"), dependency("web", "second"), packages={"web": web, "second": other})
    found = result.only("umbrella/ambiguous-chart")
    assert result.result is None
    assert Digest.of(web)[:19] in found.message
    assert Digest.of(other)[:19] in found.message
    assert found.location
    assert (found.location.path, found.location.line) == (f"{FOLDER}/bundle.yaml", 9)


@pytest.mark.parametrize(("one", "two"), [("1.5.0+a", "1.5.0+b"), ("1.4", "1.4.0"), ("v1.0.0", "1.0.0")])
def test_versions_that_helm_cannot_tell_apart_are_refused(one: str, two: str) -> None:
    packages = {"web": chart_package("web", one), "second": chart_package("web", two)}
    result = compiled(dependency("web"), dependency("web", "second"), packages=packages)
    result.only("umbrella/ambiguous-chart")


def test_two_packages_that_would_have_one_file_name_are_refused() -> None:
    packages = {"web-1": chart_package("web-1", "2"), "web": chart_package("web", "1-2")}
    result = compiled(dependency("web-1"), dependency("web"), packages=packages)
    result.only("umbrella/ambiguous-chart")


def helper(version: str, body: str) -> bytes:
    helpers = f'{{{{- define "web.tag" -}}}}\n{body}\n{{{{- end -}}}}\n'
    return printing("web", version, 'tag: {{ include "web.tag" . }}\n', templates___helpers=helpers)


def test_helpers_that_two_versions_define_differently_are_a_warning_since_helm_mixes_them_up() -> None:
    asked = (dependency("web", "old"), dependency("web", "new"))
    mixed = compiled(*asked, packages={"old": helper("1.0.0", "one"), "new": helper("2.0.0", "two")})
    found = mixed.only("umbrella/shared-template")
    assert "old and new define web.tag differently" in found.message
    tags = {rendered(mixed.package)[f"charts/{alias}/templates/config.yaml"] for alias in ("old", "new")}
    assert len(tags) == 1
    same = compiled(*asked, packages={"old": helper("1.0.0", "one"), "new": helper("2.0.0", "one")})
    assert same.findings == ()


# values


IMPORTS = (
    {**dependency("api"), "import-values": ["ports", {"child": "size", "parent": "taken"}]},
    dependency("web", condition="web.enabled,fallback.enabled", tags=["front"]),
)
API = package(
    {**chart_files("api"), "values.yaml": "exports: {ports: {http: 80}}\nsize: {cpu: 1}\n"},
    "api",
)
OWN = {"templates/own.yaml": "own: {{ pick .Values `http` `taken` `level` | toJson }}\n"}


def test_imported_values_reach_the_umbrella_in_both_forms() -> None:
    result = compiled(*IMPORTS, packages={"api": API}, files=OWN, values="level: low\napi: {size: {cpu: 2}}\n")
    assert rendered(result.package)["templates/own.yaml"] == 'own: {"http":80,"level":"low","taken":{"cpu":2}}\n'


@pytest.mark.parametrize(
    ("values", "given", "is_on"),
    [
        ("{}", {}, True),
        ("web: {enabled: false}", {}, False),
        ("fallback: {enabled: false}", {}, False),
        ("web: {enabled: true}\nfallback: {enabled: false}", {}, True),
        ("tags: {front: false}", {}, False),
        ("tags: {front: false}\nweb: {enabled: true}", {}, True),
        ("tags: {front: false}", {"tags": {"front": True}}, True),
        ("web: {enabled: false}", {"web": {"enabled": True}}, True),
    ],
)
def test_conditions_and_tags_switch_a_chart(values: str, given: dict[str, Any], *, is_on: bool) -> None:
    result = compiled(*IMPORTS, packages={"api": API}, values=values)
    assert ("web" in values_seen(result.package, given)) == is_on


def test_globals_reach_every_chart_and_values_only_their_own() -> None:
    result = compiled(dependency("web"), dependency("web", "b"), values="global: {zone: a}\nweb: {size: 2}\n")
    seen = values_seen(result.package, {"global": {"more": 1}, "b": {"size": 3}})
    both = {"zone": "a", "more": 1}
    assert seen == {"web": {"global": both, "size": 2}, "b": {"global": both, "size": 3}}


def test_the_authors_schema_holds_in_the_result() -> None:
    schema = json.dumps({"properties": {"web": {"properties": {"size": {"maximum": 5}}}}})
    result = compiled(dependency("web"), values="web: {size: 5}\n", files={"values.schema.json": schema})
    assert values_seen(result.package)["web"]["size"] == 5
    helm = engine()
    with helm.Chart.load_archive(result.package) as chart, pytest.raises(helm.HelmError, match="maximum"):
        chart.render({"web": {"size": 6}}, name="rel", namespace="default")


def test_a_null_under_a_dependency_is_an_error_where_it_stands() -> None:
    values = (
        "own: null\nglobal: {x: null}\nweb:\n  size: 1\n  limits:\n    cpu: null\n  list: [null, {a: null}]\n  empty:\n"
    )
    result = compiled(dependency("web", "web"), values=values)
    assert result.result is None
    places = [(one.code, one.location.line, one.location.column) for one in result.findings if one.location]
    assert places == [("umbrella/null-value", 6, 10), ("umbrella/null-value", 8, 9)]
    assert "web.limits.cpu is null" in result.findings[0].message


def test_helm_keeps_a_default_that_an_umbrella_sets_to_null() -> None:
    subchart = {f"charts/web/{name}": text for name, text in chart_files("web").items()}
    needs = [{"name": "web", "version": "1.0.0"}]
    files = {**chart_files("shop", dependencies=needs), **subchart, "values.yaml": "web: {size: null}\n"}
    assert values_seen(package(files, "shop"))["web"]["size"] == 1


# sizes


def padded(name: str, size: int) -> bytes:
    """Package a chart of so many bytes: nearly all of it a file, the rest an extra field of the gzip."""
    made = package({**chart_files(name), "zeros": bytes(size - 8000)}, name)
    length = size - len(made) - 2
    return made[:3] + b"\x04" + made[4:10] + length.to_bytes(2, "little") + bytes(length) + made[10:]


def test_helm_takes_an_embedded_package_of_five_mebibytes_and_not_one_byte_more() -> None:
    limit = compiled(dependency("web"), packages={"web": padded("web", MAX_FILE)})
    assert values_seen(limit.package)["web"]["size"] == 1
    over = compiled(dependency("web"), packages={"web": padded("web", MAX_FILE + 1)})
    with pytest.raises(Exception, match="larger than the maximum file size"):
        values_seen(over.package)


def test_a_chart_that_helm_would_not_unpack_is_refused() -> None:
    keys = [f"web-{place}" for place in range(21)]
    content = {key: package({**chart_files(key), "zeros": bytes(MAX_FILE - 100_000)}, key) for key in keys}
    result = compiled(*(dependency(key) for key in keys), packages=content)
    assert "unpacks to more than" in result.only("umbrella/unreadable").message


# Helm rebuilds it from its repositories


def rebuilt(result: Compiled, folder: Path) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Let Helm fetch the dependencies anew: what was embedded, and what Helm put there."""
    root = unpacked(result.package, folder)
    embedded = {path.name: path.read_bytes() for path in (root / "charts").iterdir()}
    shutil.rmtree(root / "charts")
    engine().dependency_build(root, plain_http=True)
    return embedded, {path.name: path.read_bytes() for path in (root / "charts").iterdir()}


def test_dependency_build_from_chart_repositories_gives_the_embedded_packages(tmp_path: Path) -> None:
    with chart_repository() as stable, chart_repository() as other:
        packages = {
            "one": stable.add("web", "1.0.0"), "two": stable.add("web", "2.0.0"), "again": stable.add("web", "1.0.0"),
            "api": stable.add("api", "v1.3.0"), "db": stable.add("db", "1.5.0+meta"),
            "queue": stable.add("queue", "1.4"), "beta": stable.add("beta", "1.0.0-rc.1"),
            "elsewhere": other.add("web", "3.0.0"),
        }  # fmt: skip
        result = compiled(
            dependency("web", "one", stable.url, "1.x", condition="one.on,\tall.on", tags=["a\tb", "c"]),
            dependency("web", "two", stable.url, "2.x", **{"import-values": ["data", {"child": "c<", "parent": "p&"}]}),
            dependency("web", "again", stable.url, "1.x"),
            dependency("web", "elsewhere", other.url + "/", "3.x"),
            *(dependency(name, "", stable.url, "1.x-0") for name in ("api", "db", "queue", "beta")),
            packages=packages,
        )
        embedded, found = rebuilt(result, tmp_path)
    assert found == embedded
    assert len(found) == 7


def test_dependency_build_from_a_registry_gives_the_embedded_packages(tmp_path: Path, registry: str) -> None:
    asked, packages = [], {}
    for key, name, version in (
        ("one", "web", "1.0.0"), ("two", "web", "2.0.0-rc.1"), ("api", "api", "1.5.0+meta"), ("db", "db", "v1.3.0"),
        ("queue", "queue", "1.4"),
    ):  # fmt: skip
        packages[key] = chart_package(name, version)
        push(packages[key], f"{name}-{version}.tgz", f"oci://{registry}/charts", tmp_path)
        asked.append(dependency(name, key, f"oci://{registry}/charts"))
    embedded, found = rebuilt(compiled(*asked, packages=packages), tmp_path)
    assert found == embedded
    assert len(found) == 5


TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)


@given(TEXTS, st.lists(TEXTS, max_size=2), st.lists(TEXTS.filter(bool), max_size=2), st.sampled_from(["", "a_B-9"]))
@settings(max_examples=25)
def test_helm_accepts_the_digest_of_the_lock(condition: str, tags: list[str], imports: list[str], alias: str) -> None:
    import tempfile
    from pathlib import Path

    with chart_repository() as repository, tempfile.TemporaryDirectory() as folder:
        packages = {alias or "web": repository.add("web", "1.0.0")}
        more = {"import-values": [*imports, {"child": "c", "parent": condition + "p"}]}
        asked = dependency("web", alias, repository.url, "1.x", condition=condition, tags=tags, **more)
        embedded, found = rebuilt(compiled(asked, packages=packages), Path(folder))
    assert found == embedded


# and it is published as Helm would


@pytest.fixture(scope="module")
def registry() -> Iterator[str]:
    with docker_registry() as address:
        yield address


def push(content: bytes, name: str, remote: str, folder: Path) -> None:
    path = folder / name
    path.write_bytes(content)
    engine().push(path, remote, plain_http=True)


@pytest.mark.parametrize("version", ["1.2.3", "1.2.3-rc.1+build.7"])
def test_helms_push_gives_the_same_manifest(version: str, tmp_path: Path, registry: str) -> None:
    result = compiled(dependency("web"), **RICH, version=version)
    push(result.package, f"shop-{version}.tgz", f"oci://{registry}/pushed", tmp_path)
    there = open_registry(f"oci://{registry}")[0].manifest("pushed/shop", version.replace("+", "_"))
    assert there.content == result.made.artifact.manifest.content
    assert there.descriptor.digest == result.made.artifact.digest


@pytest.mark.parametrize("version", ["1.2.3", "1.2.3-rc.1+build.7"])
def test_helm_pulls_what_was_published_byte_for_byte(version: str, tmp_path: Path, registry: str) -> None:
    artifact = (result := compiled(dependency("web"), **RICH, version=version)).made.artifact
    port = open_registry(f"oci://{registry}")[0]
    repository = f"ours/{artifact.repository}"
    for blob in artifact.blobs:
        port.put_blob(repository, blob)
    port.put_manifest(repository, artifact.tag, artifact.manifest)
    engine().pull(f"oci://{registry}/{repository}", version=version, destination=tmp_path, plain_http=True)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [result.package]


def test_the_artifact_holds_what_its_manifest_names() -> None:
    artifact = compiled(dependency("web")).made.artifact
    manifest = json.loads(artifact.manifest.content)
    named = [msgspec.convert(one, Descriptor) for one in (manifest["config"], *manifest["layers"])]
    assert [blob.descriptor for blob in artifact.blobs] == named
    assert manifest["annotations"]["io.brolly.bundle.target"] == "umbrella"


# the table of values


def test_the_table_lists_every_value_once_with_what_the_bundle_sets() -> None:
    defaults = "size: 1\nlist: [1, 2]\nempty: {}\nnone: null\ndeep: {a: {b: text}, c: 'x|y`z'}\n"
    content = package({**chart_files("web"), "values.yaml": defaults}, "web")
    values = "level: low\nweb: {deep: {a: {b: other}}, new: true}\n"
    table = compiled(dependency("web"), packages={"web": content}, values=values).made.values_table
    rows = [line for line in table.splitlines() if line.startswith("| `")]
    assert rows == [
        '| `level` | `"low"` |',
        '| `web.deep.a.b` | `"other"` |',
        """| `web.deep.c` | `"x\\|y'z"` |""",
        "| `web.empty` | `{}` |",
        "| `web.list` | `[1, 2]` |",
        "| `web.new` | `true` |",
        "| `web.none` | `null` |",
        "| `web.size` | `1` |",
    ]  # fmt: skip
    assert Counter(rows).most_common(1)[0][1] == 1


def test_no_key_or_value_breaks_the_table() -> None:
    values = json.dumps({"a|b\nc": {"`d`": "e\nf" * 60}, "web": 3})
    table = compiled(dependency("web"), values=values).made.values_table
    rows = [line for line in table.splitlines() if line.startswith("| `")]
    assert len(rows) == 1
    assert rows[0].replace("\\|", "").count("|") == 3
    assert len(rows[0]) < 120
