"""Chart packages, read as Helm's engine reads them: the same ones are refused, and the others say the same."""

from __future__ import annotations

import gzip
import io
import json
import re
import tarfile
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from brolly import helm
from brolly.archive import stored_gzip
from brolly.chart import Chart, ChartError, read_package
from engine_charts import chart_files, chart_package, engine, package

if TYPE_CHECKING:
    from collections.abc import Mapping

HEAD = "apiVersion: v2\nname: demo\nversion: 1.0.0\n"
V1 = HEAD.replace("v2", "v1")
SUB = "apiVersion: v2\nname: sub\nversion: 2.0.0\n"


class Read(NamedTuple):
    """What there is of a chart, to compare."""

    metadata: Any
    values: Any
    schema: Any
    subcharts: list[str]
    templates: list[str]
    crds: list[str]


def raw(*files: tuple[str, str | bytes]) -> bytes:
    """Package files under exactly these names."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, text in files:
            content = text.encode() if isinstance(text, str) else text
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return gzip.compress(out.getvalue(), 1)


def chart(files: Mapping[str, str | bytes], head: str = HEAD) -> bytes:
    return raw(("demo/Chart.yaml", head), *((f"demo/{name}", text) for name, text in files.items()))


def by_helm(content: bytes) -> Read | None:
    library = engine()
    try:
        with library.Chart.load_archive(content) as loaded:
            return Read(
                loaded.metadata,
                loaded.values or {},
                loaded.schema,
                sorted(one["name"] for one in loaded.dependencies),
                [one["name"] for one in loaded.templates],
                [one["name"] for one in loaded.crds],
            )
    except library.HelmError:
        return None


def by_us(content: bytes) -> Read | None:
    try:
        found = read_package(content)
    except ChartError:
        return None
    return Read(
        kept(found),
        found.values,
        json.loads(found.schema) if found.schema else None,
        sorted(one.name for one in found.subcharts),
        [one.name for one in found.templates],
        [one.name for one in (*found.crds, *(crd for sub in found.subcharts for crd in sub.crds))],
    )


def kept(found: Chart) -> Any:
    """Give Chart.yaml as Helm serializes it."""
    return json.loads(helm.chart_artifact(b"", found, "demo", 0).blobs[0].content)


LOADED: dict[str, bytes] = {
    "the smallest": chart({}),
    "a byte order mark": chart(
        {"values.yaml": b"\xef\xbb\xbfa: 1\n", "values.schema.json": b'\xef\xbb\xbf{"type": "object"}'}, "\ufeff" + HEAD
    ),
    "files in several folders": raw(("demo/Chart.yaml", HEAD), ("other/values.yaml", "a: 1\n")),
    "dots in a path": raw(("demo/./Chart.yaml", HEAD), ("demo/templates/./x.yaml", "a: 1\n")),
    "no apiVersion": chart({}, "name: demo\nversion: 1.0.0\n"),
    "an unknown apiVersion": chart({}, HEAD.replace("v2", "v9")),
    "two documents": chart({"values.yaml": "a: 1\nb: {c: 1}\n---\nb: {d: 2}\n"}, HEAD + "---\nname: other\n"),
    "values that are null": chart({"values.yaml": "null\n"}),
    "a subchart in a folder": chart({"charts/any/Chart.yaml": SUB, "charts/any/crds/a.YAML": "{}"}),
    "a subchart in a package": chart({"charts/any.tgz": raw(("x/Chart.yaml", SUB))}),
    "packages in packages": chart(
        {"charts/a.tgz": raw(("x/Chart.yaml", SUB), ("x/charts/b.tgz", raw(("y/Chart.yaml", SUB))))}
    ),
    "charts/_x and charts/.x": chart({"charts/_x/Chart.yaml": "[", "charts/.x": "[", "charts/_x.tgz": "["}),
    "signatures in charts/": chart({"charts/any.tgz.prov": "x", "charts/any/x.prov": "x"}),
    "files named like folders": chart({"templates": "x", "charts": "x"}),
    "requirements.yaml of v1": chart({"requirements.yaml": "dependencies: [{name: sub, version: 1.x}]"}, V1),
    "requirements.yaml of v2": chart({"requirements.yaml": "dependencies: [{name: sub, version: 1.x}]"}),
    "requirements.yaml over Chart.yaml": chart(
        {"requirements.yaml": "dependencies: [{name: sub, tags: [z]}]\nname: new\nversion: null\nannotations: {c: d}"},
        HEAD + "dependencies: [{name: a, alias: x, tags: [x, y]}, {name: b}]\nannotations: {a: b}\n",
    ),
    "requirements.yaml that empties": chart({"requirements.yaml": "dependencies: null"}, HEAD + "dependencies: [{}]\n"),
    "dependencies of v1 in Chart.yaml": chart({}, V1 + "dependencies: [{name: sub}]\n"),
    "an empty Chart.lock": chart({"Chart.lock": ""}),
    "a loose Chart.lock": chart({"Chart.lock": "Digest: 1\nx: 1\ndependencies: [null, {name: 1}]\ngenerated: null\n"}),
    "a time in Chart.lock": chart({"Chart.lock": 'generated: "2024-01-01T10:20:30.123456789+02:00"\n'}),
}

REFUSED: dict[str, bytes] = {
    "no Chart.yaml": raw(("demo/values.yaml", "a: 1\n")),
    "another spelling of it": raw(("demo/chart.yaml", HEAD)),
    "Chart.yaml without a folder": raw(("Chart.yaml", HEAD)),
    "a file without a folder": raw(("demo/Chart.yaml", HEAD), ("other.txt", "x")),
    "a name that begins with two dots": chart({"..data": "x"}),
    "a drive": chart({"c:/x": "x"}),
    "an absolute path": chart({"/x": "x"}),
    "an empty Chart.yaml": chart({}, ""),
    "a Chart.yaml that is a list": chart({}, "[1]"),
    "a Chart.yaml that is no YAML": chart({}, "a: ["),
    "values that are a list": chart({"values.yaml": "[1]"}),
    "values that are no YAML": chart({"values.yaml": "a: ["}),
    "a file in charts/": chart({"charts/README.md": "x"}),
    "a tar.gz in charts/": chart({"charts/sub.tar.gz": raw(("x/Chart.yaml", SUB))}),
    "a folder in charts/ that is no chart": chart({"charts/sub/values.yaml": "a: 1"}),
    "a folder in charts/ named like a package": chart({"charts/sub.tgz/Chart.yaml": SUB}),
    "a package in charts/ that is none": chart({"charts/sub.tgz": b"nonsense"}),
    "a package in charts/ with no folder around a file": chart({"charts/s.tgz": raw(("s/Chart.yaml", SUB), ("x", ""))}),
    "a broken subchart far below": chart(
        {"charts/a.tgz": raw(("x/Chart.yaml", SUB), ("x/charts/b/Chart.yaml", "name: b\n"))}
    ),
    "a requirements.yaml that is a list": chart({"requirements.yaml": "- name: a"}, V1),
    "a Chart.lock that is a list": chart({"Chart.lock": "[1]"}),
    "a Chart.lock with a day": chart({"Chart.lock": "generated: 2024-01-01\n"}),
    "a Chart.lock with no time": chart({"Chart.lock": 'generated: ""\n'}),
    "a Chart.lock with a time that never was": chart({"Chart.lock": 'generated: "2024-02-30T00:00:00Z"\n'}),
    "a Chart.lock without a list": chart({"Chart.lock": "dependencies: x\n"}),
    "a requirements.lock that is no YAML": chart({"requirements.lock": "["}, V1),
    # CVE-2025-55198: Helm before 3.18.5 panicked
    **{
        f"Chart.yaml with {field}": chart({}, HEAD + field + "\n")
        for field in (
            "keywords: x", "keywords: {a: b}", "sources: [{a: b}]", "maintainers: x", "maintainers: [null]",
            "maintainers: [x]", "dependencies: x", "dependencies: [null]", "dependencies: [x]", "annotations: [x]",
            "annotations: {a: [x]}", "annotations: {a: {b: c}}", "deprecated: 'true'", "deprecated: 1", "tags: [x]",
            "type: other", "icon: [x]", "home: {}", "dependencies: [{name: [x]}]", "dependencies: [{tags: x}]",
            "dependencies: [{enabled: 'yes'}]", "dependencies: [{import-values: x}]", "dependencies: [{alias: 'a b'}]",
            "dependencies: [{alias: a.b}]", "dependencies: [{name: x}, {name: x}]",
            "dependencies: [{name: x}, {name: y, alias: x}]",
        )
    },
    **{
        f"the name {name!r}": chart({}, f"apiVersion: v2\nname: {name}\nversion: 1.0.0\n")
        for name in ('""', ".", "..", "../x", "a/b", "null", "[x]", '"\\u0007"')
    },
    **{
        f"the version {version!r}": chart({}, f"apiVersion: v2\nname: demo\nversion: {version}\n")
        for version in ('""', "null", "x", "1.2.3.4", '"1.0.0 "', "1.0.0-01", "[1]", "1.x", "1..0")
    },
}  # fmt: skip

# what nobody writes in good faith: Helm takes it, and at the second name the last one wins
REFUSED_BY_US: dict[str, bytes] = {
    "two charts side by side": raw(("a/Chart.yaml", HEAD), ("b/Chart.yaml", SUB)),
    "two charts side by side, below": chart({"charts/n.tgz": raw(("a/Chart.yaml", HEAD), ("b/Chart.yaml", SUB))}),
    "one name in two folders": raw(("a/Chart.yaml", HEAD), ("a/values.yaml", "a: 1"), ("b/values.yaml", "a: 2")),
    "one name in two spellings": raw(("a/Chart.yaml", HEAD), ("a/x", "1"), ("a/./x", "2")),
    "one name twice": raw(("a/Chart.yaml", HEAD), ("a/Chart.yaml", SUB)),
    "backslashes": raw(("demo\\Chart.yaml", HEAD)),
    "a name that is a slash": chart({}, HEAD.replace("demo", "/")),
    "a name with a space": chart({}, HEAD.replace("demo", "de mo")),
    "a name in other letters": chart({}, HEAD.replace("demo", "démo")),
}


@pytest.mark.parametrize("content", LOADED.values(), ids=LOADED)
def test_a_chart_that_helm_loads_is_read_as_helm_reads_it(content: bytes) -> None:
    found = by_us(content)
    assert found is not None
    assert found == by_helm(content)


@pytest.mark.parametrize("content", REFUSED.values(), ids=REFUSED)
def test_a_chart_that_helm_refuses_is_refused(content: bytes) -> None:
    assert by_helm(content) is None
    assert by_us(content) is None


@pytest.mark.parametrize("content", REFUSED_BY_US.values(), ids=REFUSED_BY_US)
def test_a_chart_that_could_be_two_is_refused_though_helm_takes_it(content: bytes) -> None:
    assert by_helm(content) is not None
    assert by_us(content) is None


TEXTS = st.text(max_size=8)
WORDS = st.sampled_from(["1.0.0", "v1.2", "2.0.0-rc.1", "application", "library", "v1", "v2", "x"])
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | NUMBERS | TEXTS | WORDS
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=3,
)


def fields(*names: str) -> st.SearchStrategy[str]:
    """Draw field names, now and then in other letters."""
    return st.sampled_from(names).flatmap(lambda name: st.sampled_from([name, name, name, name.upper(), name.title()]))


DEPENDENCIES = st.fixed_dictionaries(
    {"name": WORDS | TEXTS},
    optional={
        **dict.fromkeys(("version", "repository", "condition", "Condition"), SCALARS),
        "tags": st.none() | st.lists(SCALARS, max_size=2),
        "enabled": st.none() | st.booleans(),
        "import-values": st.none() | st.lists(ANYTHING, max_size=2),
        "alias": st.none() | st.sampled_from(["a", "b", "a b", True]),
    },
)
PEOPLE = st.dictionaries(fields("name", "email", "url", "x"), SCALARS, max_size=3)
TYPED: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(("description", "home", "icon", "condition", "tags", "appVersion", "kubeVersion"), SCALARS),
    **dict.fromkeys(("sources", "keywords"), st.none() | st.lists(SCALARS, max_size=3)),
    "apiVersion": WORDS | st.none(),
    "type": st.sampled_from(["application", "library", "", None]),
    "deprecated": st.booleans() | st.none(),
    "annotations": st.none() | st.dictionaries(TEXTS, SCALARS, max_size=3),
    "maintainers": st.none() | st.lists(PEOPLE, max_size=2),
    "dependencies": st.none() | st.lists(DEPENDENCIES, max_size=3),
}
WELL_TYPED = st.fixed_dictionaries({}, optional=TYPED)
ODD = st.dictionaries(fields("name", "version", *TYPED), ANYTHING, max_size=2)
NAMES = re.compile(r"[A-Za-z0-9._-]+")


@given(WELL_TYPED, st.just({}) | ODD, st.none() | ODD | WELL_TYPED)
@settings(max_examples=400)
def test_every_chart_yaml_is_read_or_refused_as_by_helm(typed: Any, odd: Any, requirements: Any) -> None:
    head = yaml.safe_dump({"name": "demo", "version": "1.0.0", **typed, **odd}, allow_unicode=True)
    files = {} if requirements is None else {"requirements.yaml": yaml.safe_dump(requirements, allow_unicode=True)}
    content = chart(files, head)
    theirs, ours = by_helm(content), by_us(content)
    if theirs is None or not NAMES.fullmatch(theirs.metadata["name"]):
        assert ours is None
    else:
        assert ours == theirs


def test_a_package_in_two_gzip_members_is_refused_or_read_whole() -> None:
    tar = gzip.decompress(chart({"values.yaml": "a: 1\n"}))
    content = gzip.compress(tar[:1024]) + gzip.compress(tar[1024:])
    assert by_us(content) in (None, by_helm(content))


def test_charts_nested_without_end_are_refused() -> None:
    content = raw(("x/Chart.yaml", SUB))
    for _ in range(16):
        content = raw(("x/Chart.yaml", SUB), ("x/charts/x.tgz", content))
    assert by_us(content) is not None
    assert by_us(raw(("x/Chart.yaml", SUB), ("x/charts/x.tgz", content))) is None
    folders = [(f"x/{'charts/x/' * depth}Chart.yaml", SUB) for depth in range(18)]
    assert by_us(raw(*folders[:17])) is not None
    assert by_us(raw(*folders)) is None


def test_a_refusal_says_where_it_is() -> None:
    inner = raw(("x/Chart.yaml", SUB + "maintainers: [{name: a}, {email: [x]}]\n"))
    with pytest.raises(ChartError, match=r"charts/a\.tgz: Chart\.yaml: maintainers\[1\]\.email: a text is expected"):
        read_package(chart({"charts/a.tgz": inner}))


@given(st.binary(max_size=60), st.integers(0, 2000))
def test_a_damaged_package_is_refused_and_never_breaks(noise: bytes, place: int) -> None:
    tar = bytearray(gzip.decompress(package({**chart_files(), "charts/s.tgz": chart_package("s")})))
    tar[place : place + len(noise)] = noise
    content = stored_gzip(bytes(tar))
    assert by_us(content) is None or by_helm(content) is not None
