"""An index is read as Helm reads it, whether one chart is cut out of it or the whole is parsed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import chart_repository as faulty
from brolly.repositories import index as index_module
from brolly.repositories.index import Index, IndexFault
from chart_repository import ChartRepository, chart_repository

if TYPE_CHECKING:
    from collections.abc import Iterator

_HELM = "needs Helm's engine: pip install 'brolly[helm]'"


def _index(*entries: str, name: str = "podinfo", top: str = "apiVersion: v1\n") -> bytes:
    """Write an index with one chart; each entry is a flow mapping."""
    listed = "".join(f"  - {entry}\n" for entry in entries)
    return f"{top}entries:\n  {name}:\n{listed}".encode()


def _versions(content: bytes, name: str = "podinfo") -> list[str]:
    listing = Index(content).listing(name)
    assert listing is not None
    return [entry.version for entry in listing.entries]


def test_versions_are_listed_newest_first_and_equal_ones_in_the_order_of_the_index() -> None:
    content = _index(
        *(f"{{name: podinfo, version: {text}}}" for text in ("1.9.0", "1.10.0+a", "v1.10.0", "1.10.0-rc.1"))
    )
    assert _versions(content) == ["1.10.0+a", "v1.10.0", "1.10.0-rc.1", "1.9.0"]


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("null", "entries.podinfo[0] is empty"),
        ("{name: podinfo}", "has the version ''"),
        ("{name: podinfo, version: one}", "has the version 'one'"),
        ("{version: 1.0.0}", "has the name ''"),
        ("{name: .., version: 1.0.0}", "has the name '..'"),
        ("{name: a/b, version: 1.0.0}", "has the name 'a/b'"),
        ("{name: podinfo, version: 1.0.0, type: plugin}", "is of type 'plugin'"),
        ("{name: podinfo, version: 1.0.0, maintainers: [null]}", "has an empty maintainer"),
        ("{name: podinfo, version: 1.0.0, dependencies: [null]}", "has an empty dependency"),
        ("{name: podinfo, version: 1.0.0, dependencies: [{name: a, alias: a b}]}", "with an unusable alias"),
    ],
)
def test_an_entry_that_helm_drops_is_dropped_with_a_warning(entry: str, reason: str) -> None:
    listing = Index(_index(entry, "{name: podinfo, version: 2.0.0}")).listing("podinfo")
    assert listing is not None
    assert [found.version for found in listing.entries] == ["2.0.0"]
    assert len(listing.warnings) == 1
    assert reason in listing.warnings[0]


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (
            "{name: podinfo, version: 1.0.0, colour: red}",
            "entries.podinfo[0].colour is a field that Helm does not know",
        ),
        ("{name: podinfo, version: 1.0.0, version: 1.0.0}", "is written twice"),
        ("{name: podinfo, version: [1]}", "entries.podinfo[0].version is no text"),
        ("{name: podinfo, version: 1.0.0, urls: here}", "entries.podinfo[0].urls is no list"),
        ("{name: podinfo, version: 1.0.0, created: yesterday}", "entries.podinfo[0].created is no time"),
        ("{name: podinfo, version: 1.0.0, deprecated: 1}", "neither true nor false"),
        ("{name: podinfo, version: 1.0.0, maintainers: [me]}", "entries.podinfo[0].maintainers[0] is no mapping"),
        ("{name: podinfo, version: 1.0.0, annotations: [a]}", "entries.podinfo[0].annotations is no mapping"),
        ("text", "entries.podinfo[0] is no mapping"),
    ],
)
def test_an_entry_that_helm_cannot_decode_makes_the_chart_unusable(entry: str, reason: str) -> None:
    index = Index(_index(entry))
    with pytest.raises(IndexFault) as caught:
        index.listing("podinfo")
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"# nothing\n",
        b"entries: {}\n",
        b"[]",
        b"text",
        b"apiVersion: v1\nentries: []\n",
        b"apiVersion: v1\nentries:\n  podinfo: []\ncolour: red\n",
        b"apiVersion: v1\nentries:\n  podinfo: []\n  podinfo: []\n",
        b"apiVersion: v1\napiVersion: v1\nentries: {}\n",
        b"apiVersion: v1\ngenerated: today\nentries:\n  podinfo: []\n",
        b"apiVersion: v1\nentries: {a: [}\n",
        b'{"apiVersion": 1}',
        b"<html><body>Sign in</body></html>",
        b"apiVersion: v1\nentries:\n  podinfo:\x0c\n  - {name: podinfo, version: 1.0.0}\n",
    ],
)
def test_an_index_that_helm_cannot_use_is_refused(content: bytes) -> None:
    with pytest.raises(IndexFault):
        Index(content)


def test_a_json_index_is_read_leniently_as_helm_does() -> None:
    entry = '{"name": "podinfo", "version": "1.0.0", "colour": "red", "urls": ["a.tgz"]}'
    content = f'{{"apiVersion": "v1", "colour": 1, "entries": {{"podinfo": [{entry}]}}}}'.encode()
    assert _versions(content) == ["1.0.0"]


def test_somebody_elses_broken_entry_does_not_stop_you() -> None:
    content = b"""apiVersion: v1
entries:
  broken:
  - {name: broken, version: 1.0.0, colour: red, colour: blue}
  podinfo:
  - {name: podinfo, version: 1.0.0}
"""
    assert _versions(content) == ["1.0.0"]


def test_an_alias_into_another_chart_is_followed() -> None:
    content = b"""apiVersion: v1
entries:
  first:
  - {name: first, version: 1.0.0, urls: &urls [first.tgz]}
  podinfo:
  - {name: podinfo, version: 1.0.0, urls: *urls}
"""
    index = Index(content)
    listing = index.listing("podinfo")
    assert listing is not None
    assert listing.entries[0].url == "first.tgz"
    assert index.listing("first") == Index(content).listing("first")


_NASTY = st.sampled_from(
    [
        "plain",
        "two\nlines",
        "  podinfo:\n  - name: podinfo\n    version: 9.9.9\n",
        "\n  podinfo:\n\nentries:\n  podinfo: []\n",
        "long " * 40,
        "quote \" and ' and: colon # hash",
        "tab\tand\rreturn",
        "next\x85line and\u2028separator",
        "- item",
        "*alias &anchor",
        "---",
        "é",
        "true",
        "",
    ]
)
_NAMES = st.sampled_from(["podinfo", "grafana", "1.0", "yes", "7zip", "pod", "null", "a-b.c_d", "x: y", "Podinfo"])
_ENTRIES = st.lists(
    st.fixed_dictionaries(
        {
            "name": _NAMES,
            "version": st.sampled_from(["1.0.0", "1.4", "v2.0.0", "3.0.0-rc.1", "bad"]),
            "description": _NASTY,
        },
        optional={"urls": st.lists(_NASTY, max_size=2), "annotations": st.dictionaries(_NASTY, _NASTY, max_size=2)},
    ),
    max_size=3,
)


@given(
    charts=st.dictionaries(_NAMES, _ENTRIES, max_size=4),
    annotations=st.dictionaries(_NASTY, _NASTY, max_size=2),
    indent=st.sampled_from([2, 4]),
    width=st.sampled_from([20, 80, 10_000]),
    style=st.sampled_from([None, '"', "'", "|", ">"]),
    flow=st.sampled_from([False, None]),
    start=st.booleans(),
)
def test_a_chart_cut_out_of_an_index_is_what_the_whole_index_says(
    charts: dict[str, Any], annotations: dict[str, str], indent: int, width: int, style: Any, flow: Any, *, start: bool
) -> None:
    import yaml

    content = yaml.safe_dump(
        {"apiVersion": "v1", "annotations": annotations, "entries": charts, "serverInfo": {}},
        indent=indent,
        width=width,
        default_style=style,
        default_flow_style=flow,
        explicit_start=start,
        sort_keys=False,
        allow_unicode=True,
    ).encode()
    _require_same_answers(content)


@given(data=st.data())
def test_an_index_with_a_line_changed_reads_the_same_cut_and_whole(data: st.DataObject) -> None:
    lines = _SMALL.splitlines(keepends=True)
    at = data.draw(st.integers(0, len(lines) - 1))
    change = data.draw(st.sampled_from(["drop", "twice", "indent", "outdent", "comment", "swap"]))
    line = lines[at]
    changed = {
        "drop": [],
        "twice": [line, line],
        "indent": ["  " + line],
        "outdent": [line.removeprefix("  ")],
        "comment": ["# " + line],
        "swap": [lines[at - 1], line],
    }[change]
    _require_same_answers("".join([*lines[:at], *changed, *lines[at + 1 :]]).encode())


_ODD = st.sampled_from(
    (
        "", " ", "  ", "   ", "# c", " # c", "  # c", "  -", "  - a", "  -a", " a: b", "  a: []", "  a:", "   a: b",
        "a: b", "- a", "---", "...", "entries:", "entries: ", "  a:\x0c", "  podinfo:", "  ? a", "  {a: []}",
        "  'a':  ", "  é:", "\x0b",
    )
)  # fmt: skip


@given(at=st.integers(0, 22), odd=_ODD, end=st.sampled_from(["\n", ""]))
def test_an_index_with_an_odd_line_reads_the_same_cut_and_whole(at: int, odd: str, end: str) -> None:
    lines = _SMALL.splitlines(keepends=True)
    _require_same_answers("".join([*lines[:at], odd + "\n", *lines[at:]]).encode())
    _require_same_answers("".join([*lines[:at], odd + end]).encode())


_SMALL = """apiVersion: v1
entries:
  grafana:
  - name: grafana
    urls:
    - grafana.tgz
    version: 1.0.0
  podinfo:
  - description: |-
      text
      podinfo:
    name: podinfo
    version: 2.0.0

  # a comment
  - name: podinfo
    version: 1.0.0
    urls: []
  "redis":
  - name: redis
    version: 3.0.0
generated: "2026-01-02T03:04:05Z"
"""


def _require_same_answers(content: bytes) -> None:
    """Compare with the whole parse. Cutting may see less of other charts' faults, never more and never other things."""
    whole = _answers(content, cut=False)
    if isinstance(whole, dict):
        assert _answers(content, cut=True) == whole


def _answers(content: bytes, *, cut: bool) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        if not cut:
            patch.setattr(index_module, "_layout", lambda _: None)
        try:
            index = Index(content)
        except IndexFault as fault:
            return str(fault)
        return {name: _answer(index, name) for name in (*index.names, "podinfo", "absent")}


def _answer(index: Index, name: str) -> Any:
    try:
        return index.listing(name)
    except IndexFault as fault:
        return str(fault)


def test_the_usual_layout_is_cut_and_not_parsed_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "_parsed", lambda _: pytest.fail("it was parsed whole"))
    charts = {name: [{"name": name, "version": "1.0.0", "urls": ["x"]}] for name in ("podinfo", "7zip", "a.b_c-d")}
    index = Index(faulty.index_yaml({**charts, "empty": []}))
    assert index.names == ("7zip", "a.b_c-d", "empty", "podinfo")
    assert all(index.listing(name) for name in index.names)
    assert _versions(_SMALL.encode()) == ["2.0.0", "1.0.0"]


# --- Helm is the judge -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def engine() -> Any:
    return pytest.importorskip("helm_python", reason=_HELM)


@pytest.fixture(scope="module")
def server() -> Iterator[ChartRepository]:
    with chart_repository() as repository:
        yield repository


_HELM_CASES = (
    *("{name: podinfo, version: " + text + "}" for text in ("1.10", "1.0", "2", "1e3", "true", "~", "'1.0'", "0x10")),
    *(
        "{name: podinfo, version: 1.0.0, " + text + "}"
        for text in (
            "colour: red", "name: podinfo", "Version: 2.0.0", "URLS: [a]", "urls: a", "urls: [null, 1]", "urls: [[a]]",
            "created: 2026-01-02T03:04:05Z", "created: '2026-01-02'", "created: null", "created: 1", "created: ''",
            "created: 2026-02-30T00:00:00Z", "created: 0001-01-01T00:00:00Z", "created: 2026-01-02T03:04:05.5+01:00",
            "deprecated: yes", "deprecated: 'true'", "removed: true", "annotations: {a: 1}", "annotations: {a: [1]}",
            "annotations: null", "keywords: [1, true]", "keywords: one", "maintainers: [{name: a}]",
            "maintainers: [{nickname: a}]", "maintainers: [null]", "maintainers: [a]", "dependencies: [null]",
            "dependencies: [{name: a, alias: 'a b'}]", "dependencies: [{name: a, import-values: [x, {child: a}]}]",
            "dependencies: [{name: a, enabled: yes, tags: [1]}]", "dependencies: [{name: a, urls: []}]",
            "dependencies: [{name: a}, {name: a}]", "type: library", "type: plugin", "type: null", "tags: a, b",
            "tags: [a]", "checksum: a", "engine: gotpl", "tillerVersion: '>2'", "url: x", "icon: 1", "digest: 12",
            "description: [a]", "kubeVersion: 1.30", "appVersion: 1.30", "sources: null", "sources: [a]",
        )
    ),
    "null", "text", "[a]", "{}", "{version: 1.0.0}", "{name: '', version: 1.0.0}", "{name: ., version: 1.0.0}",
    "{name: a/b, version: 1.0.0}", "{name: 1, version: 1.0.0}", "{name: other, version: 1.0.0}",
)  # fmt: skip
_HELM_INDEXES = (
    *(_index(case, "{name: podinfo, version: 0.1.0, urls: [a.tgz]}") for case in _HELM_CASES),
    *(
        _index("{name: podinfo, version: 1.0.0}", top=top)
        for top in (
            "", "apiVersion: ''\n", "apiVersion: 1\n", "apiVersion: v9\n", "APIVersion: v1\n", "---\napiVersion: v1\n",
            "# comment\napiVersion: v1\n", "apiVersion: v1\ncolour: red\n", "apiVersion: v1\napiVersion: v1\n",
            "apiVersion: v1\ngenerated: today\n", "apiVersion: v1\nserverInfo: {contextPath: /a}\n",
            "apiVersion: v1\nserverInfo: a\n", "apiVersion: v1\npublicKeys: [a]\n",
            "apiVersion: v1\nannotations: {a: 1}\n",
        )
    ),
    b"", b"\n", b"{}", b"[]", b"text", b"apiVersion: v1\n", b"apiVersion: v1\nentries: null\n",
    b"apiVersion: v1\nentries: []\n",
    b"apiVersion: v1\nentries: {podinfo: null}\n", b"apiVersion: v1\nentries: {podinfo: {}}\n",
    b'{"apiVersion": "v1", "colour": 1, "entries": {"podinfo": [{"name": "podinfo", "version": "1.0.0", "x": 1}]}}',
    b'{"apiVersion": "v1", "entries": {"podinfo": [{"name": "podinfo", "version": 1}]}}',
    b'{"apiVersion": "v1", "entries": {"podinfo": [{"name": "podinfo", "version": "1.0.0", "annotations": {"a": 1}}]}}',
    b'{"apiVersion": "v1", entries: {podinfo: [{name: podinfo, version: 1.0.0}]}}',
    b"apiVersion: v1\nentries:\n  podinfo:\n  - {name: podinfo, version: 1.0.0}\n---\napiVersion: v2\n",
    b"apiVersion: v1\nentries:\n  podinfo:\x0c\n  - {name: podinfo, version: 1.0.0}\n", _SMALL.encode() + b"  ",
    _SMALL.encode(), _SMALL.replace("\n", "\r\n").encode(), b"\xef\xbb\xbf" + _SMALL.encode(),
)  # fmt: skip


@pytest.mark.parametrize("content", _HELM_INDEXES)
def test_helm_reads_the_same_versions_in_an_index(engine: Any, server: ChartRepository, content: bytes) -> None:
    server.files["index.yaml"] = content
    try:
        theirs = engine.repo_index(server.url)["entries"] or {}
    except engine.HelmError:
        theirs = None
    try:
        listing = Index(content).listing("podinfo")
    except IndexFault:
        assert theirs is None
        return
    assert theirs is not None
    listed = [(entry["version"], (entry["urls"] or [None])[0]) for entry in theirs.get("podinfo") or ()]
    assert [(entry.version, entry.url) for entry in (listing.entries if listing else ())] == listed
