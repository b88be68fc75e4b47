"""Documents: what Helm reads, where it stands, what is said about faults, and what is written. Helm's engine judges."""

from __future__ import annotations

import contextlib
import gc
import http.server
import json
import string
import threading
from importlib import resources
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from brolly import document
from brolly.archive import Entry, stored_gzip, write_tar
from brolly.document import DocumentError, syntax
from brolly.findings import Location, Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from brolly.document import Document
    from brolly.findings import Finding

REFUSED = "refused"


def examples(least: int) -> settings:
    """Try more examples than usual; the profile may ask for more still."""
    return settings(max_examples=max(least, settings().max_examples))


# ------------------------------------------------------------------------------------------------ the judge


@pytest.fixture(scope="module")
def engine() -> Any:
    return pytest.importorskip("helm_python", reason="needs Helm's engine: pip install 'brolly[helm]'")


def plain_json(value: Any) -> Any:
    """Give a value in a form in which 1 and 1.0 are equal, and 1 and True are not."""
    match value:
        case dict():
            return {key: plain_json(item) for key, item in value.items()}
        case list():
            return [plain_json(item) for item in value]
        case bool():
            return ("bool", value)
        case int() | float():
            return float(value)
        case _:
            return value


def read_by_helm(engine: Any, text: str) -> Any:
    """Ask for the first document, as of a values file."""
    try:
        return plain_json(engine.values_from_yaml(text))
    except engine.HelmError:
        return REFUSED


def values_by_helm(engine: Any, content: bytes) -> Any:
    """Ask for a chart's values.yaml: all documents."""
    chart = Entry("judge/Chart.yaml", b"apiVersion: v2\nname: judge\nversion: 1.0.0\n")
    package = stored_gzip(write_tar((chart, Entry("judge/values.yaml", content))))
    try:
        with engine.Chart.load_archive(package) as loaded:
            return plain_json(loaded.values)
    except engine.HelmError:
        return REFUSED


def read_by_us(text: str) -> Any:
    try:
        data = document.parse(text.encode())
    except DocumentError:
        return REFUSED
    if data is None:
        return {}
    return plain_json(data) if isinstance(data, dict) else REFUSED


# ------------------------------------------------------------------------------------------------ scalars

NUMBERS = """
0 -0 +0 00 007 08 09 0888 -08 017 -017 +017 0o17 0O17 -0o17 0o8 0o 0x1F 0X1f -0x1F 0xG 0x 0b101 0B101 -0b11 0b2 0b
0777777777777777777777777777 0xffffffffffffffff 0xfffffffffffffffff -0x8000000000000000 1_000 1__0 1_ _1 +_5 -_
0x_1 0_x1
1e3 1E3 1e+3 1e-3 1.5e3 1.e3 1e21 1e 1e+ 0e0 1e400 -1e400 1e-400 1e5_ 1.0 5. .5 +.5 -.5 .5E+3 . .. .e5 .5. 1._5 1_.5
.1_0 ._1 .1__0 .5e1_0 .5e_1 0.1 -0.0 4.9e-324 1.7976931348623157e308 1.7976931348623159e308 0x1p4 0x1.8p1 1p3 ++1 --1
9007199254740992 9007199254740993 9223372036854775807 9223372036854775808 -9223372036854775808 -9223372036854775809
18446744073709551615 18446744073709551616 +9223372036854775807 +9223372036854775808 100000000000000000000.0
12345678 123456789012345678 1000000000000000000000000000000 0.1e-7 1e22 123456.0 1234567.0 0.0001 0.00001 1.123456789
16777217.0 1e40 -1e40 3.14159265358979 1e-50 12:30:45 12:30 190:20:30 2001-12-14 2001-12-14T21:59:43.10-05:00 1.2.3 6.x
.inf -.inf +.inf .Inf .INF .iNf .nan .NaN .NAN +.nan inf NaN Infinity
""".split()  # noqa: SIM905 - a table
WORDS = """
y Y n N yes Yes YES yEs no No NO on On ON oN off Off OFF true True TRUE tRUE false False FALSE null Null NULL nULL ~ ~~
= << - -- --- ... ? : -a ?a :a a:b a#b @x `x %x |x >x &x *x !x
""".split()  # noqa: SIM905 - a table
TAGGED = (
    *("!!str 1", "!!str", "!!str ~", "!!int 1", "!!int '1'", "!!int 08", "!!int 1.0", "!!int x", "!!int", "!!bool y"),
    *("!!bool 1", "!!float 1", "!!float 0x10", "!!float 18446744073709551615", "!!float .5", "!!float .inf"),
    *("!!float 1e400", "!!null ''", "!!null", "!!null ~", "!!null x", "!!binary aGk=", "!!binary aGk", "!!binary /w=="),
    *("!!binary gICA4oI=", "!!binary ' aGk='", "!!timestamp 2001-01-01", "!!timestamp x", "!!timestamp '2001-1-1'"),
    *("!!timestamp 2001-13-01", "!!timestamp '2001-1-1 1:2:3'", "!!timestamp", "!!merge x", "!!set {x}", "!!map [1]"),
    *("!!seq {}", "!!omap [{a: 1}]", "!!unknown 1", "!local x", "!local 1", "!local [1]", "!!python/none x", "! 1"),
    *("! x", "! '1'", "!<tag:yaml.org,2002:int> 1", "!<x> 1", "!a!b 1", "!a%20b 1", "!!binary {a: 1}"),
)
QUOTED = (
    *(r'"\/"', r'"a\/b"', r'"\\/"', r'"\\\/"', r'"\\\\/"', r"'\/'", r"\/", r'"\ud83d\ude00"', r'"\U0001F600"'),
    *(r'"\U00110000"', r'"\x41\u00e9"', r'"\0\a\b\e\f\v\t\r\n\N\_\L\P\ \""', r'"\q"', r'"\x7f\x85"', r'"\ufffe"'),
    *("''", "'it''s'", "'", '"', "'a", '"a', "'a'b", '"a" b', "'a\n  b'", '"a\n\n b"', '"a\\\n  b"', "'a\n---\nb'"),
    *("'x\x85y'", '"x\x85\x85y"', "'x\u2028 y'", "x\u2028 y", "'x\r\n y'", "\ufeffb", "\U0001f600", "\ufffe", "\x7f"),
    *("\x01", "\x1b[0m", "\xa0", "b\xa0", "é", "\U0001ffff"),
)


@pytest.mark.parametrize("template", ["a: {}\n", "- {}", "a: [{}]\n", "a: [x, {} , y]\n", "a: {{b: {}}}\n"])
def test_a_scalar_means_what_it_means_to_helm(engine: Any, template: str) -> None:
    texts = [template.format(text) for text in (*NUMBERS, *WORDS, *TAGGED, *QUOTED)]
    assert [text for text in texts if read_by_us(text) != read_by_helm(engine, text)] == []


@pytest.mark.parametrize("template", ["{}: 1\n", "a: {{{}: 1}}\n", "? {}\n: 1\n", "&x {}: 1\n"])
def test_a_key_is_the_text_that_helm_makes_of_it(engine: Any, template: str) -> None:
    texts = [template.format(text) for text in (*NUMBERS, *WORDS, *TAGGED, *QUOTED)]
    assert [text for text in texts if read_by_us(text) != read_by_helm(engine, text)] == []


def test_a_number_is_an_int_where_it_is_integral() -> None:
    data = document.parse(b"[1.0, 1e3, 9007199254740993, 1.5, 1e21, -0.0, 18446744073709551615]")
    assert [(type(number), number) for number in data] == [
        (int, 1),
        (int, 1000),
        (int, 9007199254740992),
        (float, 1.5),
        (float, 1e21),
        (int, 0),
        (int, 18446744073709551616),
    ]


# ------------------------------------------------------------------------------------------------ structure

MERGES = """
a: &b {p: 1}
c: {<<: *b, p: 9}
----
a: &b {p: 1}
c: {p: 9, <<: *b}
----
a: &b {p: 1}
d: &d {q: 1, p: 2}
c: {<<: [*b, *d]}
----
a: &b {p: 1}
d: &d {q: 1, p: 2}
c: {<<: *b, x: 1, <<: *d}
----
a: &b {p: 1}
c: &c {p: 2, <<: *b, q: {<<: *b}}
e: {p: 3, <<: *c}
----
a: &b [1]
c: {<<: *b}
----
a: &b [{x: 1}]
c: {<<: *b}
----
a: &b [{x: 1}]
c: {<<: [*b]}
----
c: {<<: 1}
----
c: {<<: }
----
c: {<<: []}
----
c: {<<: [[]]}
----
c: {<<: [{a: 1}, {a: 2}]}
----
c: {'<<': 1}
----
c: {!!str <<: {a: 1}}
----
c: {!!merge <<: {a: 1}}
----
c: {!!merge '<<': {a: 1}}
----
c:
  ! <<: {a: 1}
----
x: &m <<
c: {*m : {a: 1}}
----
<<: {a: 1}
b: <<
----
a: &x [*x]
----
a: &x {b: *x}
----
a: &x 1
b: &x [*x]
----
a: &x 1
b: &x 2
c: *x
----
a: [&a {a: 0, b: &a 1}, *a]
----
a: &a {b: &a 1, c: *a}
----
a: *u
----
a: &x 9007199254740993
*x : *x
----
a: &x {q: 1}
? *x
: 1
----
a: &x
b: *x
c: &y !!str
d: *y
e: !!int &z 7
f: *z
----
&x a: 1
b: *x
----
*a : 1
""".strip().split("\n----\n")
LAYOUTS = (
    *(
        "",
        "\n",
        "# c",
        "---",
        "--- \n...\n",
        "null",
        "~",
        "[1]",
        "x",
        "1",
        "''",
        "- a",
        "{}",
        "[]",
        "a:",
        "a: \nb:",
        ": 1",
    ),
    *(
        "? a",
        "? ",
        "? [1]\n: 2",
        "? {a: 1}\n: 2",
        "{a}",
        "{a, b: 1}",
        "[a: 1]",
        "k: [a: 1, b]",
        "k: [? a : 1]",
        "k: {: 1}",
    ),
    *(
        "k: {a:b}",
        "k: {'a':b}",
        'k: {"a":1}',
        "k: [a?]",
        "k: [a ?b]",
        "k: {a?: 1}",
        "k: {?a: 1}",
        "k: a?b",
        "k: [a::b]",
    ),
    *("k: [:b]", "k: [-b]", "k: [-]", "k: [- a]", "k: - a", "k: {u: http://x/?y}", "k: [a#b]", "k: 'a'#b", "k: [a]#b"),
    *(
        "a: 1\n---\nb: 2",
        "a: 1\n...\nb: 2",
        "a: 1\n--- b",
        "--- a: 1",
        "--- {a: 1}",
        "---a: 1",
        "...\na: 1",
        "{a: 1} {b: 2}",
    ),
    *("%YAML 1.1\n---\na: 1", "%YAML 1.2\n---\na: 1", "%YAML 1.0\n---\na: 1", "%YAML 1.1\na: 1", "%FOO x\n---\na: 1"),
    *("%TAG !e! tag:e,2000:\n---\na: !e!x 1", "%TAG !y! tag:yaml.org,2002:\n---\na: !y!int x", "a: !e!x 1", "a: %x"),
    *(
        "a:\tb",
        "a: b\t",
        "a: [1,\t2]",
        "a:\n\tb: 1",
        "a:\n \tb: 1",
        "\ta: 1",
        "a: 1\n\t",
        "a: 1\n\t# c\nb: 2",
        "a\t: b",
    ),
    *(
        "a: x\n\ty",
        "a: 'x\n\ty'",
        "a: |\n\tx",
        "a: |\n \tx",
        "-\ta",
        "k:\n- \ta",
        "?\ta",
        "a: {\n\tb: 1\n}",
        "a:\t\n  b: 1",
    ),
    *(
        "a: |\n x\n y\n",
        "a: |2\n   b",
        "a: |0\n b",
        "a: |+\n b\n\n",
        "a: |-\n b\n\n",
        "a: | # c\n b",
        "a: |# c\n b",
        "a: |x\n b",
    ),
    *(
        "a: |\n\n  b",
        "a: |\n   \n  b",
        "a: >\n a\n b\n\n c\n  d\n e",
        "a: |\n",
        "a: |\nb: 1",
        "a: |\n  x\n# c\n",
        "|\n x",
    ),
    *(
        "a b: 1",
        "a: b: c",
        "a: b\n c: d",
        "a: b\n- c",
        "a:\n- b\nc: 1",
        "a:\n - b\n- c",
        "a:\n   b: 1\n  c: 2",
        " a: 1\nb: 2",
    ),
    *(
        "a: 1# c",
        "a:#b",
        "a: #b",
        "a: [1,2",
        "a: {b: 1",
        "a: ]",
        "a: [,]",
        "a: [1,,2]",
        "a: [1,]",
        "a: {b: 1,}",
        "a:\n{b: 1}",
    ),
    *(
        "a: {b\n: 1}",
        'a: {"b"\n: 1}',
        "'a\nb': 1",
        "a\nb: 1",
        "a: 1\n]",
        "a: 1\r\nb: 2\r\n",
        "a: 1\rb: 2",
        "\ufeffa: 1",
    ),
    *(
        "a: 1\na: 2",
        "a: {x: 1}\na: {y: 1}",
        "1: x\n'1': x",
        "y: x\ntrue: x",
        "k:\n- - a\n  - b\n- - c",
        "k:\n-\n  a: 1\n-   b",
    ),
    *(f"{'a' * length}: 1" for length in (1023, 1024, 1025)),
    *(f"k: {{'{'a' * length}': 1}}" for length in (1021, 1022, 1023)),
    "? " + "a" * 2000 + "\n: 1",
)


def test_a_structure_means_what_it_means_to_helm(engine: Any) -> None:
    assert [text for text in (*MERGES, *LAYOUTS) if read_by_us(text) != read_by_helm(engine, text)] == []


# Helm reads these, libyaml does not; no file in use is known to need them
@pytest.mark.parametrize("text", [r'a: "it\'s"', "k: [a:]", "k: {a:}", "k: !a,b 1", "k: [!a, b]", "a: 1\n\ufeffb: 2"])
def test_what_only_helm_reads_is_refused_and_never_misread(engine: Any, text: str) -> None:
    assert (read_by_helm(engine, text) != REFUSED, read_by_us(text)) == (True, REFUSED)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "a: 1\n---\nb: 2",
            "a: {x: 1, y: {z: 1}}\n---\na: {x: null, y: {w: 2}}",
            "a: {x: 1}\n---\na: 5\n---\na: {y: 1}",
        ),
        *(
            "---\na: 1\n---\n---\nb: 1\n---",
            "--- # c\na: 1\n--- # d\nb: 2",
            "--- {a: 1}",
            "---a: 1",
            "a: |\n  x\n---\nb: 1",
        ),
        *(
            "a: 1\n...\nb: 2\n---\nc: 3",
            "a: 1\n---\n[1]",
            "a: 1\n---\nnull",
            "",
            "---",
            "a: 1\r\n---\t\r\nb: 2\r\n",
            "x",
        ),
        *(
            "a: 'x\n---\ny'",
            "\ufeff---\na: 1\n---\nb: 2",
            "a: 1\n ---\nb: 1",
            "a: 1\n----\nb: 2",
            "a: &x 1\n---\nb: *x",
        ),
        *(
            "a: |\n  x",
            "a: |+\n  x\n\n",
            "a: >-\n  x",
            "a: 9007199254740993",
            "a: 1\n---\na: {b: [1,}",
            "a: [1]\n---\na: [2]",
        ),
        *("a: {}\n---\na: {b: 1}", "a: 1\n---\n# only", "%YAML 1.1\n---\na: 1", "a: \x00", "a: \x01", "a: &a [*a]"),
    ],
)
def test_all_documents_of_values_are_merged_as_helm_merges_them(engine: Any, text: str) -> None:
    try:
        ours = plain_json(document.parse_values(text.encode()))
    except DocumentError:
        ours = REFUSED
    assert ours == values_by_helm(engine, text.encode())


def test_the_place_of_a_fault_counts_the_documents_before_it() -> None:
    with pytest.raises(DocumentError) as refused:
        document.parse_values(b"---\na: 1\n---\nb: 2\nc: [}\n")
    assert (refused.value.line, refused.value.column) == (5, 5)


@contextlib.contextmanager
def served(content: bytes) -> Iterator[str]:
    class Index(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Index) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    "entry",
    [
        *(
            "{a: '1', b: '2'}",
            "{a: '1', a: '2'}",
            "{a: '1', 'a': '1'}",
            "{&x a: '1', *x : '2'}",
            "{<<: {a: '1'}, a: '2'}",
        ),
        *(
            "{a: '1', <<: {a: '2'}}",
            "{<<: [{a: '1'}, {a: '2'}]}",
            "{<<: {a: '1'}, b: '2'}",
            "{<<: {a: '1'}, <<: {b: '1'}}",
        ),
    ],
)
def test_an_index_with_a_key_twice_is_refused_as_helm_refuses_it(engine: Any, entry: str) -> None:
    index = f"""apiVersion: v1
entries:
  app:
    - {{name: app, version: 1.0.0, apiVersion: v2, urls: [app.tgz], annotations: {entry}}}
"""
    with served(index.encode()) as address:
        try:
            engine.repo_index(address)
            read = True
        except engine.HelmError:
            read = False
    with contextlib.nullcontext() if read else pytest.raises(DocumentError, match=r"is written twice|is there already"):
        document.parse_strict(index.encode())


# ------------------------------------------------------------------------------------------------ generated texts

# not infinities: Helm reads one that a later key replaces, we do not
FINITE = [text for text in NUMBERS if not text.lower().strip("+-").startswith((".inf", ".nan"))]
PLAIN = st.sampled_from(
    [
        *FINITE,
        "a",
        "b",
        "c",
        "key",
        "y",
        "n",
        "on",
        "a-b",
        "a.b/c",
        "http://x/y",
        "a:b",
        "é",
        "\U0001f600",
        "=",
        "<<",
        "-a",
    ]
)
QUOTES = st.sampled_from(
    ["''", "'it''s'", '"d\\n"', '"\\x41\\u00e9"', '"a b"', '"\\\\/"', "'#'", '"x\n  y"', "'x\n\n    y'"]
)
PROPERTIES = st.sampled_from(["", "", "", "", "", "&a ", "&b ", "!!str ", "!local ", "! ", "!!int "])
ALIASES = st.sampled_from(["*a", "*b"])
COLONS = st.sampled_from([": ", ": ", ": ", ":\t", " : ", ":  "])
ENDS = st.sampled_from(["", "", "", " # c", " \t", "\t# c", "\n\n# c", "\n  # c"])


@st.composite
def scalars(draw: st.DrawFn) -> str:
    if draw(st.integers(0, 9)) == 0:
        return draw(ALIASES)
    return draw(PROPERTIES) + draw(PLAIN | QUOTES)


@st.composite
def keys(draw: st.DrawFn) -> str:
    return draw(
        st.sampled_from(["a", "b", "c", "<<", "<<", "1", "2.0", "y", "'q'", '"d\\n"', "&a k", "*a ", "!!str 3"])
    )


@st.composite
def nodes(draw: st.DrawFn, indent: int, depth: int, *, flow: bool = False) -> str:
    kind = draw(st.integers(0, 8)) if depth else 0
    if kind <= 2:
        return draw(scalars())
    if kind == 3:
        return "[" + ", ".join(draw(st.lists(nodes(indent, depth - 1, flow=True), max_size=3))) + "]"
    if kind == 4:
        short = draw(st.lists(st.tuples(keys(), nodes(indent, depth - 1, flow=True)), max_size=3))
        return draw(PROPERTIES) + "{" + ", ".join(f"{key}: {value}" for key, value in short) + "}"
    if flow:
        return draw(scalars())
    if kind == 5:
        header = draw(st.sampled_from(["|", ">", "|-", ">+", "|2", ">1-"]))
        lines = draw(st.lists(st.sampled_from(["x", " y", "", "# z", "a: b", "\tt", "w \t"]), max_size=4))
        return header + "".join(f"\n{' ' * (indent + 1)}{line}" for line in lines)
    inner = indent + draw(st.integers(0, 2))
    lead = "\n" + " " * inner
    if kind == 6:
        return "".join(
            f"{lead}- {item}" for item in draw(st.lists(nodes(inner + 2, depth - 1), min_size=1, max_size=3))
        )
    pairs = draw(st.lists(st.tuples(keys(), COLONS, nodes(inner + 1, depth - 1)), min_size=1, max_size=3))
    return draw(st.sampled_from(["", "", "&b ", "&a "])) + "".join(
        f"{lead}{key}{colon}{value}" for key, colon, value in pairs
    )


@st.composite
def texts(draw: st.DrawFn) -> str:
    lines = draw(st.lists(st.tuples(keys(), COLONS, nodes(1, 3), ENDS), min_size=1, max_size=4))
    first = draw(st.sampled_from(["", "", "a: &a {p: 1, b: 2}\n", "a: &a x\nb: &b [1]\n", "---\n", "# c\n\n"]))
    text = first + "\n".join("".join(line) for line in lines)
    return text.replace("\n", draw(st.sampled_from(["\n", "\n", "\n", "\r\n"])))


@examples(600)
@given(texts())
def test_a_generated_text_means_what_it_means_to_helm(engine: Any, text: str) -> None:
    assert read_by_us(text) == read_by_helm(engine, text)


@examples(150)
@given(texts())
def test_a_text_is_refused_with_places_exactly_if_it_is_without(text: str) -> None:
    found, findings = document.read(text.encode() + b"\n", "values.yaml", strict=False)
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    ours = read_by_us(text + "\n")
    assert bool(errors) == (ours == REFUSED)
    if found and not errors:
        assert plain_json(found.data) == ours


@examples(150)
@given(texts())
def test_every_value_has_a_place_in_its_text(text: str) -> None:
    found, _ = document.read(text.encode(), "values.yaml", strict=False)
    lines = text.count("\n") + 2
    for route in routes(found.data) if found and found.data else ():
        assert found is not None
        assert found.has(route)
        at = found.location(route)
        assert (1, 1) <= (at.line, at.column) <= (at.end_line, at.end_column) <= (lines, 1000)


def routes(data: Any, above: document.Route = ()) -> Iterator[document.Route]:
    yield above
    below = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for step, value in below:
        yield from routes(value, (*above, step))


@examples(150)
@given(
    st.binary(max_size=60)
    | st.text(alphabet="ab01 \t\n\r:-?[]{},&*!|>'\"%@#\x00\x1b\x85\ufeff\u2028", max_size=40).map(str.encode)
)
@example(b"\xff\xfea\x00")
@example(b"\xef\xbb\xbf\xff\xfea\x00")
@example(b"a: 1\n...\n" + b"#" * 99999 + b"\xff")
def test_any_bytes_give_data_or_a_fault_that_is_fit_to_print(content: bytes) -> None:
    for strict in (True, False):
        found, findings = document.read(content, "values.yaml", strict=strict)
        assert found is not None or findings
        said = "".join(finding.message + finding.hint for finding in findings)
        assert said.isprintable()
    for parse in (document.parse, document.parse_values, document.parse_strict):
        assert refusal(parse, content).isprintable()


def refusal(parse: Callable[[bytes], object], content: bytes) -> str:
    try:
        parse(content)
    except DocumentError as error:
        return str(error)
    return ""


@examples(100)
@given(texts())
def test_without_libyaml_the_same_is_read(text: str) -> None:
    assert without_libyaml(lambda: read_by_us(text.replace("\t", " "))) == read_by_us(text.replace("\t", " "))


def without_libyaml(read: Callable[[], Any]) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(syntax, "_Reader", yaml.BaseLoader)
        return read()


# ------------------------------------------------------------------------------------------------ hostile texts

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 9)}]\n" for n in range(9)
)
MERGE_BOMB = (
    "a0: &a0 {"
    + ", ".join(f"k{n}: 1" for n in range(50))
    + "}\n"
    + "".join(f"a{n + 1}: &a{n + 1}\n  <<: *a{n}\n  z{n}: *a{n}\n" for n in range(40))
)
CHAIN = "a0: &a0 [1]\n" + "".join(f"a{n + 1}: &a{n + 1} [*a{n}]\n" for n in range(1000))
HOSTILE = {
    "a bomb of aliases": BOMB,
    "a bomb of merges": MERGE_BOMB,
    "a chain of aliases": CHAIN,
    "an alias of itself": "a: &a {b: [*a]}",
    **{f"{depth} brackets": "a: " + "[" * depth + "]" * depth for depth in (3_000, 100_000)},
    **{f"{depth} braces": "{a: " * depth for depth in (3_000, 100_000)},
    **{f"{depth} dashes": "a:\n " + "- " * depth + "x" for depth in (3_000, 100_000)},
    **{f"{depth} questions": "? " * depth for depth in (3_000, 100_000)},
    "3000 mappings": "".join(f"{' ' * n}a:\n" for n in range(3_000)),
    "an open quote": "a: '" + "a\n" * 100_000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_text_is_refused_at_a_place(text: str) -> None:
    for parse in (document.parse, document.parse_strict, document.parse_values):
        with pytest.raises(DocumentError, match=r"^line \d+, column \d+: "):
            parse(text.encode())
    for strict in (True, False):
        found, findings = document.read(text.encode(), "values.yaml", strict=strict)
        assert found is None
        assert all(finding.location and finding.hint for finding in findings)


@pytest.mark.parametrize(
    "text", ["a: " + "!" * 100_000, "a: b" + " !" * 50_000, 'a: "' + "\\\\" * 50_000 + '"', "a: " + "9" * 200_000]
)
def test_a_long_text_does_not_keep_a_reader_busy(text: str) -> None:
    # a pattern that backtracks takes minutes here
    found, findings = document.read(text.encode(), "values.yaml", strict=False)
    assert found is not None
    assert all(len(finding.message) < 200 for finding in findings)


@pytest.mark.parametrize("copies", [1, 20, 190, 200, 5_000])
def test_aliases_may_multiply_a_text_as_much_as_helm_allows(engine: Any, copies: int) -> None:
    text = "a: &a [" + "1, " * 200 + "]\nb:\n" + "- *a\n" * copies
    assert (read_by_us(text) == REFUSED, read_by_helm(engine, text) == REFUSED) == (copies >= 200, copies >= 200)


def test_a_text_nested_as_deep_as_allowed_survives_all_that_recurses() -> None:
    depth = document.MAX_DEPTH - 1
    data = document.parse(b"a: " + b"[" * depth + b"]" * depth)
    assert document.parse(document.emit(data).encode()) == json.loads(json.dumps(data))


def test_an_alias_is_a_copy_that_can_be_changed_alone() -> None:
    data = document.parse(b"a: &a {b: {c: 1}}\nd: *a\ne: {<<: *a}\n")
    data["d"]["b"]["c"] = 2
    data["e"]["b"]["c"] = 3
    assert data["a"] == {"b": {"c": 1}}


def test_the_garbage_collector_runs_again_after_a_large_text() -> None:
    with pytest.raises(DocumentError):
        document.parse(b"a: 1\n" * 20_000 + b"]")
    assert gc.isenabled()


# ------------------------------------------------------------------------------------------------ places

VALUES = """\
# values
base: &base
  replicas: 1
  image: {name: "podinfo", tag: 6.x}

hello:
  <<: *base
  list:
    - first
    - name: second
      text: |
        lines
        more

  empty:
copy: *base
"""


@pytest.fixture
def values() -> Document:
    found, findings = document.read(VALUES.encode(), "values.yaml", strict=False)
    assert found is not None
    assert findings == ()
    return found


@pytest.mark.parametrize(
    ("route", "place"),
    [
        ((), (2, 1, 16, 12)),
        (("base",), (2, 7, 4, 37)),
        (("base", "replicas"), (3, 13, 3, 14)),
        (("base", "image"), (4, 10, 4, 37)),
        (("base", "image", "name"), (4, 17, 4, 26)),
        (("hello", "list"), (9, 5, 15, 1)),
        (("hello", "list", 0), (9, 7, 9, 12)),
        (("hello", "list", 1), (10, 7, 15, 1)),
        (("hello", "list", 1, "text"), (11, 13, 15, 1)),
        (("hello", "empty"), (15, 9, 15, 9)),
        (("hello", "replicas"), (3, 13, 3, 14)),
        (("hello", "image", "tag"), (4, 33, 4, 36)),
        (("copy",), (2, 7, 4, 37)),
        (("copy", "replicas"), (3, 13, 3, 14)),
    ],
)
def test_a_value_stands_where_it_is_written(values: Document, route: document.Route, place: tuple[int, ...]) -> None:
    assert values.location(route) == Location("values.yaml", *place)


@pytest.mark.parametrize(
    ("route", "place"),
    [
        (("hello",), (6, 1, 6, 6)),
        (("hello", "list", 1, "text"), (11, 7, 11, 11)),
        (("hello", "replicas"), (3, 3, 3, 11)),
        (("copy",), (16, 1, 16, 5)),
        (("hello", "list", 0), (9, 7, 9, 12)),
        (("base", "image", "digest"), (4, 10, 4, 37)),
    ],
)
def test_a_key_stands_where_it_is_written(values: Document, route: document.Route, place: tuple[int, ...]) -> None:
    assert values.location(route, key=True) == Location("values.yaml", *place)


def test_a_route_that_leads_nowhere_has_the_place_of_its_nearest_ancestor(values: Document) -> None:
    nowhere: list[document.Route] = [
        ("base", "image", "digest"),
        ("hello", "list", 7),
        ("hello", "list", "x"),
        ("none",),
        ("base", "replicas", 0),
    ]
    assert [values.has(route) for route in nowhere] == [False] * 5
    assert [values.location(route).line for route in nowhere] == [4, 9, 9, 2, 3]
    assert values.has(("hello", "list", 1, "name"))


def test_an_empty_file_of_values_is_an_empty_mapping_at_its_start() -> None:
    for text in (b"", b"# nothing\n", b"---\n", b"null\n"):
        found, findings = document.read(text, "values.yaml", strict=False)
        assert (found is not None and found.data, findings) == ({}, ())
        assert found is not None
        assert found.location(("a",)).path == "values.yaml"


def test_a_byte_order_mark_moves_no_place() -> None:
    found, _ = document.read(b"\xef\xbb\xbfa: 1\n", "values.yaml", strict=False)
    assert found is not None
    assert found.location(("a",)) == Location("values.yaml", 1, 4, 1, 5)


# ------------------------------------------------------------------------------------------------ findings


def told(findings: tuple[Finding, ...]) -> list[str]:
    return [f"{_place(f)} {f.severity} {f.code.removeprefix('yaml/')}: {f.message} [{f.hint}]" for f in findings]


def _place(finding: Finding) -> str:
    return str(finding.location).partition(":")[2]


def test_all_faults_of_a_definition_are_told_at_once() -> None:
    text = """\
name: &n hello-world
version: !!str 1
same: *n
more:
  <<: {a: 1}
  name: x
  name: y
null: 1
on: 2
? [a, b]
: 3
limit: .inf
wrong: !!int x
merged:
  <<: 5
---
second: 1
"""
    found, findings = document.read(text.encode(), "bundle.yaml", strict=True)
    assert found is not None
    assert told(findings) == [
        "1:7 error anchor: anchors have no place here [write the value out]",
        "2:10 error tag: tags have no place here [delete the tag]",
        "3:7 error anchor: aliases have no place here [write the value out]",
        "5:3 error anchor: merge keys have no place here [write the keys out]",
        "7:3 error duplicate-key: 'name' stands in line 6 already; Helm keeps the last [delete one]",
        "8:1 error key: only a text can be a key [put the key in double quotes]",
        "9:1 error key: Helm reads the key 'on' as 'true' [put the key in double quotes]",
        "10:3 error key: only a text can be a key [put the key in double quotes]",
        "12:8 error number: JSON has no infinity and no NaN, so Helm refuses this [put it in double quotes]",
        "13:8 error tag: Helm cannot read this: 'x' is not of the kind int [delete the tag]",
        "13:8 error tag: tags have no place here [delete the tag]",
        "15:3 error anchor: merge keys have no place here [write the keys out]",
        "15:7 error merge: only mappings can be merged [write `<<: *name`, the name of a mapping]",
        (
            "16:1 error several-documents: a second document begins here; what it means depends on the version of Helm "
            "[move it to a file of its own]"
        ),
    ]


def test_traps_in_values_are_warnings() -> None:
    text = """\
base: &base {replicas: 1, tag: a}
hello:
  replicas: 3
  <<: *base
  tag: b
  y: 1
  1.10: 2
  80: 3
  secret: !vault x
  port: !!str 80
  y: 2
"""
    found, findings = document.read(text.encode(), "values.yaml", strict=False)
    assert found is not None
    assert found.data["hello"] == {"replicas": 1, "tag": "b", "true": 2, "1.1": 2, "80": 3, "secret": "x", "port": "80"}
    assert told(findings) == [
        "3:3 warning merge: Helm lets the merge below replace 'replicas' [move `<<` to the top of the mapping]",
        "6:3 warning key: Helm reads the key 'y' as 'true' [put the key in double quotes]",
        "7:3 warning key: Helm reads the key '1.10' as '1.1' [put the key in double quotes]",
        "9:11 warning tag: Helm ignores the tag '!vault' [delete the tag]",
        "11:3 warning duplicate-key: 'true' stands in line 6 already; Helm keeps the last [delete one]",
    ]


@pytest.mark.parametrize(
    ("content", "said", "hint"),
    [
        (b"a: caf\xe9\n", "1:7 error encoding: the byte 0xE9 is no UTF-8", "save the file as UTF-8"),
        ("a: 1\n".encode("utf-16"), "1:1 error encoding: the file is UTF-16", "save it as UTF-8"),
        (
            b"a: 1\nb: x\x1b[0m\n",
            "2:5 error control-character: the character U+001B must not stand in YAML as it is",
            'delete it, or write it in double quotes as "\\u001B"',
        ),
        (b"a:\n\tb: 1\n", "2:1 error tab: a tab stands in the indentation", "indent with spaces"),
        (
            b"a: 1\nb: 'x\nc: 2\n",
            "2:4 error syntax: found unexpected end of stream while scanning a quoted scalar",
            "close the quotes, the bracket or the brace that opens here",
        ),
        (
            b"a: b: c\n",
            "1:5 error syntax: mapping values are not allowed in this context",
            "put the text in double quotes, or check the indentation",
        ),
        (
            b"a: @x\n",
            "1:4 error syntax: found character that cannot start any token while scanning for the next token",
            "put the text in double quotes",
        ),
        (b'a: "\\/"\n', "1:4 error syntax: Helm does not read the escape \\/", "write / alone"),
        (
            b"a: [b?]\n",
            "1:5 error syntax: Helm does not read a bare ? between brackets",
            "put it in double quotes",
        ),
        (
            b"a: *b\n",
            "1:4 error alias: no anchor 'b' stands before this alias",
            "write `&` and the name before the value",
        ),
        (b"- 1\n", "1:1 error root: the file must hold a mapping", "write `key: value`"),
        (
            b"%YAML 1.2\n---\na: 1\n",
            "1:1 error directive: Helm does not read %YAML 1.2",
            "delete the line %YAML 1.2",
        ),
        (
            b"a: 1 #" + b"x" * document.MAX_BYTES,
            f"1:1 error too-large: the file has {document.MAX_BYTES + 6} bytes, Helm reads no more than 5242880",
            "split the file, or delete what the defaults say already",
        ),
    ],
    ids=lambda value: value[:16] if isinstance(value, bytes) else "",
)
def test_a_text_that_helm_refuses_is_told_in_the_words_of_its_author(content: bytes, said: str, hint: str) -> None:
    for strict in (True, False):
        _, findings = document.read(content, "v.yaml", strict=strict)
        assert told(findings)[-1:] == [f"{said} [{hint}]"]


@pytest.mark.parametrize("text", ["", "# only\n", "\n\n"])
def test_an_empty_definition_is_an_error(text: str) -> None:
    found, findings = document.read(text.encode(), "bundle.yaml", strict=True)
    assert (found, [finding.code for finding in findings]) == (None, ["yaml/empty"])


def test_a_directive_has_no_place_in_a_definition() -> None:
    for text in ("%YAML 1.1\n---\na: 1\n", "%TAG ! tag:x,1:\n---\na: 1\n"):
        assert [f.code for f in document.read(text.encode(), "bundle.yaml", strict=True)[1]] == ["yaml/directive"]
        assert document.read(text.encode(), "values.yaml", strict=False)[1] == ()


def test_each_rule_has_a_page_and_each_page_a_rule() -> None:
    pages = resources.files("brolly") / "explain" / "yaml"
    heads = {page.name: page.read_text(encoding="utf-8").splitlines()[0] for page in pages.iterdir()}
    assert heads == {f"{rule.code.removeprefix('yaml/')}.md": f"# {rule.code}" for rule in document.RULES}


# ------------------------------------------------------------------------------------------------ writing

TRAPS = [
    *NUMBERS,
    *WORDS,
    *(
        "",
        " ",
        "a ",
        " a",
        "a b",
        "a, b",
        "x: y",
        "x #y",
        "x:",
        ":x",
        "- a",
        "a\n",
        "a\n\n",
        "\n",
        "\na",
        "a\nb",
        "a\n\nb\n",
    ),
    *(
        "a\n b",
        " a\nb",
        "a\n  \nb",
        "a\n\tb",
        "a\tb\nc",
        "a \nb",
        "# a\nb",
        "a\n#b\n",
        "---\na",
        "a\n---\nb",
        "a\n...\nb\n",
    ),
    *(
        "k: v\nl: w\n",
        "a\r\nb",
        "a\rb",
        "\ta\nb",
        "a\nb \n\n\n",
        '"',
        "'",
        "\\",
        "\\n",
        "{{ .x }}",
        "${x}",
        "1.10",
        "~1.2.3",
    ),
    *(
        "\x7f",
        "\x85",
        "\u2028",
        "\u2029",
        "\ufeff",
        "\ufffe",
        "\uffff",
        "\U0001f600",
        "\U0001ffff",
        "\u202e",
        "\u200b",
        "\x00",
    ),
    *(
        "a" * 2000,
        "a b " * 600,
        '"' * 600,
        "sha256:" + "0" * 64,
        "oci://ghcr.io/x/y:1",
        "1.2.3-rc.1+m",
        "<=1.2",
        "<<",
        "=",
        "y",
    ),
]
STRINGS = (
    st.sampled_from(TRAPS)
    | st.text(max_size=12)
    | st.text(alphabet=string.printable + "\x85\ufeff\u2028", max_size=12)
    | st.text(alphabet="ab \n\n\t#:-", max_size=14)
)
DATA = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-(2**70), max_value=2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | STRINGS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(STRINGS, inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("text", TRAPS)
def test_a_text_stays_a_text_for_every_reader(engine: Any, text: str) -> None:
    data = {"value": text, text: ["x", text], "last": text}
    written = document.emit(data)
    assert engine.values_from_yaml(written) == data
    assert yaml.safe_load(written) == data


@examples(300)
@given(st.dictionaries(STRINGS, DATA, max_size=4))
def test_what_is_written_is_read_back_by_helm_by_pyyaml_and_by_us(engine: Any, data: dict[str, Any]) -> None:
    written = document.emit(data)
    expected = plain_json(data)
    assert read_by_helm(engine, written) == expected
    assert read_by_us(written) == expected
    assert plain_json(yaml.safe_load(written)) == expected


@examples(150)
@given(st.dictionaries(STRINGS, DATA, min_size=1, max_size=4))
def test_what_is_written_is_free_of_faults_and_keeps_the_order(data: dict[str, Any]) -> None:
    found, findings = document.read(document.emit(data).encode(), "bundle.lock", strict=True)
    assert findings == ()
    assert found is not None
    assert list(found.data) == list(data)


@given(DATA)
def test_any_root_can_be_written(data: Any) -> None:
    assert plain_json(document.parse(document.emit(data).encode())) == plain_json(data)


def test_what_is_written_is_pleasant_to_read() -> None:
    data = {
        "apiVersion": "brolly/v1alpha1",
        "version": "1.10",
        "description": "Two greeters, that share one configuration.",
        "dependencies": [
            {"name": "podinfo", "version": "6.14.1", "repository": "oci://ghcr.io/stefanprodan/charts"},
            {"name": "redis", "version": "^6.1.0", "tags": ["a", "n"], "values": {}},
        ],
        "script": "set -e\n\necho done\n",
        "numbers": [1, 1.5, 1e21, 1e-7, True, None, [], [[1], [2]]],
        "a: b": "it's",
    }
    assert document.emit(data) == (
        "apiVersion: brolly/v1alpha1\n"
        'version: "1.10"\n'
        "description: Two greeters, that share one configuration.\n"
        "dependencies:\n"
        "  - name: podinfo\n"
        "    version: 6.14.1\n"
        "    repository: oci://ghcr.io/stefanprodan/charts\n"
        "  - name: redis\n"
        "    version: ^6.1.0\n"
        "    tags:\n"
        "      - a\n"
        '      - "n"\n'
        "    values: {}\n"
        "script: |\n"
        "  set -e\n"
        "\n"
        "  echo done\n"
        "numbers:\n"
        "  - 1\n"
        "  - 1.5\n"
        "  - 1.0e+21\n"
        "  - 1.0e-07\n"
        "  - true\n"
        "  - null\n"
        "  - []\n"
        "  - - - 1\n"
        "    - - 2\n"
        '"a: b": it\'s\n'
    )


@pytest.mark.parametrize(
    "data",
    [float("inf"), float("nan"), {1: 2}, {None: 1}, {"a": {1, 2}}, b"x", (1,), "\ud800", {"\udfff": 1}, object()],
)
def test_what_json_has_not_is_not_written(data: Any) -> None:
    with pytest.raises(ValueError, match=r".+"):
        document.emit({"a": [data]})


def test_a_bottomless_value_is_not_written() -> None:
    data: list[Any] = []
    data.append(data)
    with pytest.raises(ValueError, match="nested more than 200 deep"):
        document.emit(data)


# ------------------------------------------------------------------------------------------------ replacing

DEFINITION = """\
# keep me
dependencies:
  - name: podinfo   # the chart
    version: 6.x    # until 7
  - {name: redis, version: "~1.2", alias: 'cache' }
empty:
note: |
  text
"""


@pytest.mark.parametrize(
    ("route", "text", "old", "new"),
    [
        (("dependencies", 0, "version"), "7.x", "version: 6.x ", "version: 7.x "),
        (("dependencies", 0, "version"), "1.10", "version: 6.x ", 'version: "1.10" '),
        (("dependencies", 0, "version"), ">=1, <2", "version: 6.x ", 'version: ">=1, <2" '),
        (("dependencies", 1, "version"), "^2.0.0", '"~1.2"', '"^2.0.0"'),
        (("dependencies", 1, "alias"), "it's", "'cache'", "'it''s'"),
        (("dependencies", 1, "alias"), "a\nb", "'cache'", '"a\\nb"'),
        (("dependencies", 1, "name"), "a, b", "name: redis", 'name: "a, b"'),
        (("empty",), "y", "empty:", 'empty: "y"'),
    ],
)
def test_a_scalar_is_replaced_and_all_else_stays(route: document.Route, text: str, old: str, new: str) -> None:
    for mark in ("", "\ufeff"):
        found, _ = document.read((mark + DEFINITION).encode(), "bundle.yaml", strict=True)
        assert found is not None
        assert document.replace(found, route, text) == mark + DEFINITION.replace(old, new)


@given(
    STRINGS,
    st.sampled_from(
        [("dependencies", 0, "version"), ("dependencies", 1, "version"), ("dependencies", 1, "alias"), ("empty",)]
    ),
)
def test_what_replaces_a_scalar_is_read_there(text: str, route: document.Route) -> None:
    found, _ = document.read(DEFINITION.encode(), "bundle.yaml", strict=True)
    assert found is not None
    again, findings = document.read(document.replace(found, route, text).encode(), "bundle.yaml", strict=True)
    assert again is not None
    assert findings == ()
    value: Any = again.data
    for step in route:
        value = value[step]
    assert value == text


def test_only_a_scalar_of_one_line_is_replaced() -> None:
    found, _ = document.read(DEFINITION.encode(), "bundle.yaml", strict=True)
    assert found is not None
    for route in (("dependencies",), ("dependencies", 0), ("note",)):
        with pytest.raises(ValueError, match="not a plain or quoted scalar"):
            document.replace(found, route, "x")
    with pytest.raises(KeyError):
        document.replace(found, ("none",), "x")
