"""Versions and constraints: the promises of the module, and Helm's own verdicts on thousands of texts."""

from __future__ import annotations

import contextlib
import http.server
import itertools
import json
import pickle
import threading
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brolly.archive import Entry, stored_gzip, write_tar
from brolly.versions import MAX_CONSTRAINT, MAX_GROUPS, MAX_VERSION, Constraint, Version

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LARGEST = str(2**64 - 1)
TOO_LARGE = str(2**64)
REFUSALS = ("improper constraint", "constraint parser error", "constraint string is too long", "too many constraint")


# ------------------------------------------------------------------------------------------------ the judge


@pytest.fixture(scope="module")
def engine() -> Any:
    return pytest.importorskip("helm_python", reason="needs Helm's engine: pip install 'brolly[helm]'")


def render(engine: Any, template: str, values: dict[str, Any]) -> str:
    files = (
        Entry("judge/Chart.yaml", b"apiVersion: v2\nname: judge\nversion: 1.0.0\n"),
        Entry("judge/templates/verdicts", template.encode()),
    )
    chart = engine.Chart.load_archive(stored_gzip(write_tar(files)))
    return cast("str", chart.render(values)["judge/templates/verdicts"])


def parsed_by_helm(engine: Any, texts: Sequence[str]) -> list[list[str] | None]:
    """Ask NewVersion for each text: String, Prerelease and Metadata, or None.

    `semver` would end the render at the first fault; a version's `Scan` calls NewVersion too, and gives the error back.
    """
    template = """{{ $version := semver "1.0.0" }}{{ range .Values.texts }}{{ if $version.Scan . }}null
    {{- else }}{{ list $version.String $version.Prerelease $version.Metadata | toJson }}{{ end }}
{{ end }}"""
    return [json.loads(line) for line in render(engine, template, {"texts": texts}).split("\n") if line]


def compared_by_helm(engine: Any, texts: Sequence[str]) -> list[list[int]]:
    template = """{{ range $one := .Values.texts }}{{ $version := semver $one }}[
    {{- range $index, $other := $.Values.texts }}{{ if $index }},{{ end }}{{ $version.Compare (semver $other) }}
    {{- end }}]
{{ end }}"""
    return [json.loads(line) for line in render(engine, template, {"texts": texts}).split("\n") if line]


def allowed_by_helm(engine: Any, constraints: Sequence[str], versions: Sequence[str]) -> dict[str, list[bool]]:
    """Ask semverCompare for every pair in one render; a constraint that Helm refuses fails it."""
    template = """{{ range $constraint := .Values.constraints }}[
    {{- range $index, $version := $.Values.versions }}{{ if $index }},{{ end }}{{ semverCompare $constraint $version }}
    {{- end }}]
{{ end }}"""
    output = render(engine, template, {"constraints": constraints, "versions": versions})
    return dict(zip(constraints, map(json.loads, filter(None, output.split("\n"))), strict=True))


def refused_by_helm(engine: Any, constraint: str) -> bool:
    try:
        allowed_by_helm(engine, [constraint], ["1.0.0"])
    except engine.HelmRenderError as error:
        return any(reason in str(error) for reason in REFUSALS)
    return False


def parsed_by_us(text: str) -> list[str] | None:
    try:
        version = Version.parse(text)
    except ValueError:
        return None
    return [str(version), version.prerelease, version.build]


def constraint_or_none(text: str) -> Constraint | None:
    try:
        return Constraint.parse(text)
    except ValueError:
        return None


def assert_same_verdicts(engine: Any, constraints: Sequence[str], versions: Sequence[str]) -> None:
    ours = {text: constraint_or_none(text) for text in constraints}
    wrongly_refused = [text for text, one in ours.items() if not one and not refused_by_helm(engine, text)]
    assert wrongly_refused == []
    parsed = [Version.parse(version) for version in versions]
    accepted = {text: [one.allows(version) for version in parsed] for text, one in ours.items() if one}
    assert accepted == allowed_by_helm(engine, list(accepted), versions)


# ------------------------------------------------------------------------------------------------ what it is fed


def dotted(parts: Sequence[str]) -> list[str]:
    return [".".join(some) for length in (1, 2, 3) for some in itertools.product(parts, repeat=length)]


NUMBERS = ["0", "1", "2", "3", "10", "007", LARGEST, TOO_LARGE]
IDENTIFIERS = ["0", "1", "10", "01", "a", "0a", "rc", "-", "1-", "-1", LARGEST, TOO_LARGE, "9" * 23, "9" * 22]
SUFFIXES = ["", "-0", "-rc.1", "+b.01", "-rc.1+b", *map("-{}".format, IDENTIFIERS), *map("-rc.{}".format, IDENTIFIERS)]
OPERATORS = ["", "=", "!=", ">", ">=", "=>", "<", "<=", "=<", "~", "~>", "^"]
JOINTS = [",", ", ", " ", "  ", " , ", "\n", " || ", "||", " - "]
NOISE = [*"vVxX*.-+,|<>=!~^ 019a\t\n\v\f\r\0&/\\", "||", " - ", ".0", "\xa0", "\u0661", "\uff11", "é"]


@st.composite
def mutated(draw: st.DrawFn, texts: st.SearchStrategy[str]) -> str:
    """Damage one text of four at one place."""
    text = draw(texts)
    if draw(st.sampled_from([False, False, False, True])):
        start = draw(st.integers(0, len(text)))
        text = text[:start] + draw(st.sampled_from(NOISE)) + text[start + draw(st.integers(0, 1)) :]
    return text


prefixes = st.sampled_from(["", "", "", "v"])
suffixes = st.sampled_from(["", "-0"]) | st.sampled_from(SUFFIXES)
plain = st.sampled_from(dotted("0123"))
operands = st.tuples(prefixes, plain | st.sampled_from(dotted(["x", "*", *NUMBERS])), suffixes).map("".join)
operators = st.sampled_from([operator + space for space in ("", "", " ") for operator in OPERATORS])
compared = st.tuples(operators, operands).map("".join)
continued = st.tuples(st.sampled_from(JOINTS), compared | operands).map("".join)
joined = st.tuples(compared, st.lists(continued, max_size=3).map("".join)).map("".join)
constraint_texts = mutated(joined)
version_texts = mutated(st.tuples(prefixes, plain | st.sampled_from(dotted(NUMBERS)), suffixes).map("".join))
probes = st.lists(
    version_texts.filter(lambda text: parsed_by_us(text) is not None), min_size=8, max_size=16, unique=True
)


# ------------------------------------------------------------------------------------------------ versions


@given(texts=st.lists(version_texts, min_size=25, max_size=60))
def test_a_version_is_read_as_helm_reads_it(engine: Any, texts: list[str]) -> None:
    assert [parsed_by_us(text) for text in texts] == parsed_by_helm(engine, texts)


@given(texts=probes)
def test_versions_stand_in_helms_order_and_equal_ones_have_one_hash(engine: Any, texts: list[str]) -> None:
    versions = [Version.parse(text) for text in texts]
    assert [[(one > other) - (one < other) for other in versions] for one in versions] == compared_by_helm(
        engine, texts
    )
    assert all((one == other) == (not one < other and not one > other) for one in versions for other in versions)
    assert all(hash(one) == hash(other) for one in versions for other in versions if one == other)


def test_a_prerelease_number_beyond_64_bits_is_a_text_as_in_helm(engine: Any) -> None:
    names = ["9", LARGEST, TOO_LARGE, "2" + "0" * 22, "1" + "0" * 23, "-", "0a", "a"]
    names += [TOO_LARGE + tail for tail in ("-", "--", "-0", "-a", "0-", "a", ".0", ".a", "-.0")]
    texts = [f"1.0.0-{name}" for name in names]
    versions = [Version.parse(text) for text in texts]
    assert [[(one > other) - (one < other) for other in versions] for one in versions] == compared_by_helm(
        engine, texts
    )


@pytest.mark.parametrize("text", ["v1.2.3", "1.2", "01.2.3", "0" * 255 + "1"])
def test_a_loose_version_keeps_its_text_and_is_no_strict_one(text: str) -> None:
    assert Version.parse(text).original == text
    with pytest.raises(ValueError, match=r"^not a version: .*: written in full it is \d+\.\d+\.\d+$"):
        Version.parse_strict(text)


def test_a_version_has_its_parts() -> None:
    version = Version.parse("v1.2-rc.1+up.3")
    assert (version.numbers, version.prerelease, version.build, str(version)) == (
        (1, 2, 0),
        "rc.1",
        "up.3",
        "1.2.0-rc.1+up.3",
    )


def test_build_metadata_and_spelling_do_not_count() -> None:
    texts = ["1.2.0+a", "1.2.0+b", "v1.2", "1.2.0"]
    assert len({Version.parse(text) for text in texts}) == 1
    assert Version.parse("1.2.0") != Version.parse("1.2.0-rc")
    assert Version.parse("1.2.0") != "1.2.0"


def test_versions_and_constraints_travel_between_processes() -> None:
    version, constraint = Version.parse("1.2.3+a"), Constraint.parse("^1 || 3")
    assert pickle.loads(pickle.dumps((version, constraint))) == (version, constraint)  # noqa: S301 - our own bytes


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("latest", "expected MAJOR.MINOR.PATCH"),
        ("1.2.3.4", "expected MAJOR.MINOR.PATCH"),
        ("1.x", "expected MAJOR.MINOR.PATCH"),
        (" 1.2.3", "expected MAJOR.MINOR.PATCH"),
        ("1.2.3\n", "expected MAJOR.MINOR.PATCH"),
        ("1.2.3-a..b", "expected MAJOR.MINOR.PATCH"),
        ("\uff11.2.3", "expected MAJOR.MINOR.PATCH"),
        ("1.2.3-rc.01", "a number in the prerelease starts with 0"),
        (f"1.{TOO_LARGE}", "a number is larger than 18446744073709551615"),
        ("1" * (MAX_VERSION + 1), "longer than 256 characters"),
    ],
)
def test_what_is_no_version_is_refused_with_its_reason(engine: Any, text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^not a version: .*: {reason}"):
        Version.parse(text)
    assert parsed_by_helm(engine, [text]) == [None]


def test_a_version_of_256_characters_is_read_and_no_longer_one(engine: Any) -> None:
    texts = ["1.2.3-" + "a" * (MAX_VERSION - 6 + more) for more in (0, 1)]
    assert [parsed_by_us(text) is not None for text in texts] == [True, False]
    assert parsed_by_helm(engine, texts) == [parsed_by_us(text) for text in texts]


# ------------------------------------------------------------------------------------------------ strict versions


@contextlib.contextmanager
def registry_with_tags(tags: Sequence[str]) -> Iterator[str]:
    """Serve a list of tags on loopback, whatever they hold."""
    body = json.dumps({"name": "charts/x", "tags": tags}).encode()

    class TagList(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), TagList) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def strictly_parsed(text: str) -> bool:
    try:
        Version.parse_strict(text)
    except ValueError:
        return False
    return True


@given(texts=st.lists(version_texts, min_size=15, max_size=40, unique=True))
def test_helm_sees_the_tags_that_are_strict_versions(engine: Any, texts: list[str]) -> None:
    with registry_with_tags(texts) as host:
        seen = engine.RegistryClient(plain_http=True).tags(f"{host}/charts/x")
    assert sorted(seen) == sorted(filter(strictly_parsed, texts))


# from the table of semver.org's regular expression, less the number that 64 bits cannot hold
STRICT = [
    "0.0.4",
    "1.2.3",
    "10.20.30",
    "1.1.2-prerelease+meta",
    "1.1.2+meta",
    "1.1.2+meta-valid",
    "1.0.0-alpha",
    "1.0.0-alpha.beta",
    "1.0.0-alpha.1",
    "1.0.0-alpha0.valid",
    "1.0.0-alpha.0valid",
    "1.0.0-rc.1+build.123",
    "1.2.3----RC-SNAPSHOT.12.9.1--.12",
    "1.0.0-0A.is.legal",
    "1.2.3----R-S.12.9.1--.12+meta",
    "1.0.0+0.build.1-rc.10000aaa-kk-0.1",
    "2.0.0+build.1848",
    "1.0.0+001",
]
NOT_STRICT = [
    "1",
    "1.2",
    "1.2.3-0123",
    "1.2.3-0123.0123",
    "1.1.2+.123",
    "+invalid",
    "-invalid",
    "alpha",
    "alpha.beta",
    "1.0.0-alpha_beta",
    "1.0.0-alpha..1",
    "01.1.1",
    "1.01.1",
    "1.1.01",
    "1.2.3.DEV",
    "1.2-SNAPSHOT",
    "1.2.31.2.3----RC-SNAPSHOT.12.09.1--..12+788",
    "v1.2.3",
    "-1.0.3-gamma+b7718",
    "+justmeta",
    "9.8.7+meta+meta",
    "9.8.7-whatever+meta+meta",
    "99999999999999999999.0.0",
]


def test_a_strict_version_is_one_by_semver_org() -> None:
    assert [text for text in [*STRICT, *NOT_STRICT, "", "1.2.3\n", " 1.2.3"] if strictly_parsed(text)] == STRICT


# ------------------------------------------------------------------------------------------------ constraints


@given(constraints=st.lists(constraint_texts, min_size=15, max_size=30, unique=True), versions=probes)
def test_a_constraint_allows_what_helm_allows(engine: Any, constraints: list[str], versions: list[str]) -> None:
    assert_same_verdicts(engine, constraints, versions)


@pytest.mark.parametrize("rest", ["", ", >=0-0"])
def test_every_operator_agrees_with_helm_on_every_shape_of_version(engine: Any, rest: str) -> None:
    shapes = ["*", "0", "1", "0.0", "0.1", "1.2", "1.x", "1.x.3", "x.1", "0.0.0", "0.0.1", "0.1.2", "1.2.3", "1.2.*"]
    ends = ["", "-0", "-rc.1", "+b"]
    versions = [".".join(numbers) + end for numbers in itertools.product("012", "012", "013") for end in ends]
    constraints = ["".join(parts) + rest for parts in itertools.product(OPERATORS, shapes, ends)]
    assert_same_verdicts(engine, constraints, versions)


def test_every_short_text_is_a_constraint_only_if_it_is_one_for_helm(engine: Any) -> None:
    atoms = ["1", "x", "|", " ", ",", "-", ".", "v", ">", "=", " - "]
    texts = ["".join(word) for length in range(4) for word in itertools.product(atoms, repeat=length)]
    assert_same_verdicts(engine, sorted(set(texts)), ["1.0.0", "1.1.0-1", "0.0.0"])


ODD = """1 - 2
1 - 2 3
1 - 2>1.5
1 - 2v1.5
1 - 2 1 - 1.5
1 1 - 2
1, 1 - 2
1||2 - 3
1 || 2 - 3
1||2 - 3 - 4
>1 - 2
1.x - 2.x-0
x.|
x.1x||2
1x
1 - 1x
!=1.2, >=0-0
!=1.2-rc.1
1-2
>=1.0.0-0 <2.0.0
>=1.2.3-01
x-01
x.99999999999999999999
1.99999999999999999999.x
1|2
v1, v2
""".splitlines()


def test_the_odd_corners_are_helms(engine: Any) -> None:
    numbers = ["0.0.0", "1.0.0", "1.2.0", "1.2.9", "1.5.0", "2.0.0", "2.9.9", "3.0.0", "4.0.0"]
    assert_same_verdicts(engine, ODD, [number + end for number in numbers for end in ("", "-0", "-rc.1")])


def test_the_limits_are_helms(engine: Any) -> None:
    texts = [
        *("1" + " " * (MAX_CONSTRAINT - 1 + more) for more in (0, 1)),
        *("||".join(["1"] * (MAX_GROUPS + more)) for more in (0, 1)),
        *(
            f"{start}-" + "a" * (MAX_VERSION - 6 + more)
            for start in ("1", "1.0", "1.0.0", "v1", "v1.0.0")
            for more in (-1, 0, 1)
        ),
        *(f"{start}+" + "a" * length for start in ("1", "1.0.0", "x") for length in (250, 251, 300)),
        *("0" * zeros + "1" for zeros in (251, 252)),
        "1 - 2" + ",1 - 2" * 84,
    ]
    assert_same_verdicts(engine, texts, ["1.0.0", "1.0.0-b"])
    assert 0 < sum(constraint_or_none(text) is not None for text in texts) < len(texts)


@pytest.mark.parametrize(
    ("constraint", "allowed", "refused"),
    [
        ("1.2.3", ["1.2.3", "v1.2.3", "1.2.3+b"], ["1.2.4", "1.2.3-rc"]),
        ("1.2", ["1.2.0", "1.2.9"], ["1.3.0", "1.2.5-rc"]),
        (">1", ["2.0.0"], ["1.0.1", "1.9.9"]),
        ("<=1.2", ["1.2.9"], ["1.3.0"]),
        ("^0.2.3", ["0.2.9"], ["0.3.0", "0.2.2"]),
        ("~0.0.0", ["9.0.0"], []),
        ("^*", ["0.0.0"], ["1.0.0"]),
        ("1-2", ["1.0.0-2", "1.9.9-0"], ["2.0.0", "1.0.0-1"]),
        ("1 - 2", ["1.0.0", "2.9.9"], ["3.0.0"]),
        (">=1.0.0-0 <2.0.0", ["2.0.0-rc.1"], ["2.0.0"]),
        ("^1 || 3.x", ["1.5.0", "3.1.0"], ["2.0.0"]),
        ("*", ["0.0.0", "9.9.9"], ["1.0.0-rc"]),
        ("*-0", ["1.0.0-rc", "1.0.0"], []),
    ],
)
def test_a_range_is_what_the_documentation_says(constraint: str, allowed: list[str], refused: list[str]) -> None:
    one = Constraint.parse(constraint)
    assert [text for text in allowed + refused if one.allows(Version.parse(text))] == allowed


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", r"expected a comparison such as \^1\.2\.0, ~1\.2 or >=1\.2\.0, found nothing"),
        ("latest", "expected a comparison such as .* found 'latest'"),
        ("==1", "expected a comparison such as .* found '==1'"),
        (">=1 && <2", "expected a comparison such as .* found '&& <2'"),
        (">=1,", "expected a comparison such as .* found nothing"),
        ("1 ||", r"expected a comparison such as .* found nothing"),
        (">=1<2", r"expected ',' or '\|\|', found '<2'"),
        ("1.2.3.4", r"expected ',' or '\|\|', found '.4'"),
        ("1.2.3-01", "not a version: '1.2.3-01': a number in the prerelease starts with 0"),
        ("1" * (MAX_CONSTRAINT + 1), "longer than 512 characters"),
        ("||".join(["1"] * (MAX_GROUPS + 1)), "more than 32 alternatives"),
    ],
)
def test_what_is_no_constraint_is_refused_with_its_reason(engine: Any, text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^not a version constraint: .*: {reason}"):
        Constraint.parse(text)
    assert refused_by_helm(engine, text)


@pytest.mark.parametrize(
    ("text", "exact"),
    [("1.2.3", True), ("v1.2", True), ("1.2.3-rc.1+b", True), ("=1.2.3", False), (" 1.2.3", False), ("1.x", False)],
)
def test_a_version_alone_is_exact(text: str, exact: bool) -> None:  # noqa: FBT001 - a table's column
    assert Constraint.parse(text).is_exact is exact


def test_a_constraint_shows_its_text() -> None:
    assert str(Constraint.parse(" >=1,  <2 ")) == " >=1,  <2 "


BEST = [
    ("^1", ["1.2.0", "1.10.0", "2.0.0", "1.11.0-rc.1"], "1.10.0"),
    ("*", ["1.0.0", "1.0.0+9", "1.0.0+10", "1.0.0+10.1"], "1.0.0+10.1"),
    ("*", ["1.0.0+10", "1.0.0+up1", "1.0.0+01"], "1.0.0+up1"),
    ("*", ["v1.2.0", "1.2", "1.2.0"], "1.2.0"),
    ("*", ["v1.2", "1.2"], "v1.2"),
]


@pytest.mark.parametrize(("constraint", "texts", "best"), BEST)
def test_the_best_version_does_not_depend_on_the_order(constraint: str, texts: list[str], best: str) -> None:
    orders = [[Version.parse(text) for text in order] for order in itertools.permutations(texts)]
    found = {one.original for order in orders if (one := Constraint.parse(constraint).best(order))}
    assert found == {best}


def test_there_is_no_best_version_where_none_is_allowed() -> None:
    assert Constraint.parse("^1").best([Version.parse("2.0.0"), Version.parse("1.0.0-rc")]) is None
