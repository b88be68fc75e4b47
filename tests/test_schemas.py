"""Verdicts on values, with Helm's own engine as the judge."""

from __future__ import annotations

import io
import json
import random
import tarfile
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brolly.schemas import RemoteReference, SchemaFault, TooMuchWork, Violation, formats, judge, judge_parsed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DRAFTS: Final = {
    4: "http://json-schema.org/draft-04/schema#",
    6: "http://json-schema.org/draft-06/schema#",
    7: "http://json-schema.org/draft-07/schema#",
    2019: "https://json-schema.org/draft/2019-09/schema",
    2020: "https://json-schema.org/draft/2020-12/schema",
}


def dumped(schema: Any) -> bytes:
    return json.dumps(schema).encode()


def helm_says(schema: bytes, values: dict[str, Any]) -> str:
    """Ask Helm's engine: valid, invalid, or refused (the schema itself)."""
    engine = pytest.importorskip("helm_python", reason="needs Helm's engine: pip install 'brolly[helm]'")
    files = {"c/Chart.yaml": b"apiVersion: v2\nname: c\nversion: 1.0.0\n", "c/values.schema.json": schema}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", compresslevel=0) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    with engine.Chart.load_archive(out.getvalue()) as chart:
        try:
            chart.validate_schema(values)
        except engine.HelmError as error:
            return "invalid" if str(error).startswith("c:\n- at '") else "refused"
    return "valid"


def brolly_says(schema: bytes, values: dict[str, Any]) -> str:
    try:
        return "invalid" if judge(schema, values) else "valid"
    except SchemaFault as fault:
        # Helm says so of each value, though it is the schema's fault
        return "invalid" if "go round in circles" in str(fault) else "refused"


# -- generated cases --------------------------------------------------------------------------------------------------

NAMES: Final = ("a", "b", "ab", "é", "x-1", "$ref", "0")
TEXTS: Final = (
    *(
        "",
        "a",
        "ab",
        "abc",
        "é",
        "a\n",
        "10",
        "٣",
        "2024-02-30",
        "2024-02-29",
        "10.0.0.1",
        "+1.0.0.1",
        "::1",
        "1:2:3:4:5:6:7::",
    ),
    *("2024-01-01T10:00:00Z", "10:00:00+01:00", "23:59:60Z", "P1D", "P1W", "PT", "a@b.c", '"ab@b.c', "a..b@c.d", "a.b"),
    *(
        "http://a/b",
        "//a",
        "a:b",
        "http://[::1]:x",
        "http://a b/",
        "%zz",
        "/a~1",
        "/~2",
        "0/a",
        "1.2.3-rc.1+b",
        "01.2.3",
    ),
    *("{a}/{b", "a/{b}", "123e4567-e89b-12d3-a456-426614174000", "-a.b", "(", "(?=a)", "[a-z]+$"),
)
PATTERNS: Final = (
    *(
        "^a",
        "b$",
        "^a$",
        r"\d",
        r"^\w+$",
        "[a-c]{2}",
        "a|b",
        "",
        r"\p{L}",
        "(?i)A",
        r"^\S*$",
        "^[^a]+$",
        r"\ba",
        r"a\z",
    ),
    *("(?P<n>a)", "(?<n>a)", "(?s).", "x*"),
)
FOREIGN: Final = ("(?=a)", r"(a)\1", r"a\Z", "a{1001}", "a++", "(", r"\u0041", "(?!x)a", "a**", r"\C")
NUMBERS: Final = (0, 1, 2, 3, -1, 1.0, 0.1, 0.3, 0.5, 1.5, 2.5, 1e21, 1e300, 9007199254740993, 123456789)
KINDS: Final = ("string", "number", "integer", "boolean", "object", "array", "null")


class Generator:
    """Schemas of one draft with values that fit now and then."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.draft = self.random.choice(list(DRAFTS))
        self.wild = self.random.random() < 0.3
        self.size = 0

    def instance(self, depth: int = 3) -> Any:
        pick = self.random.random()
        if depth and pick < 0.35:
            return {self.random.choice(NAMES): self.instance(depth - 1) for _ in range(self.random.randrange(4))}
        if depth and pick < 0.55:
            return [self.instance(depth - 1) for _ in range(self.random.randrange(4))]
        return self.random.choice((None, True, False, self.random.choice(TEXTS), self.random.choice(NUMBERS)))

    def document(self) -> dict[str, Any]:
        root = {"properties": {"v": self.schema(3)}}
        kept = "$defs" if self.draft >= 2019 and self.random.random() < 0.7 else "definitions"
        root[kept] = {name: self.definition(name) for name in ("A", "B", "C")}
        schema = {"$schema": DRAFTS[self.draft], **root} if self.draft != 2020 or self.random.random() < 0.5 else root
        if self.random.random() < 0.1:
            schema = {
                "id" if self.draft == 4 else "$id": self.random.choice(("urn:root", "https://x.y/z.json")),
                **schema,
            }
        self.kept = kept
        return json.loads(json.dumps(schema).replace("DEFS", kept))  # type: ignore[no-any-return]

    def definition(self, name: str) -> Any:
        schema = self.schema(2)
        if isinstance(schema, dict) and name == "B" and "$ref" not in schema:
            other = self.draft
            if self.random.random() < 0.3:
                # Helm's check of a 2019-09 schema inside another draft's is lax and odd: not imitated
                other = self.random.choice([draft for draft in DRAFTS if draft in {4, 6, 7, 2020, self.draft}])
                schema["$schema"] = DRAFTS[other]
            schema["id" if other == 4 else "$id"] = "urn:b"
        if isinstance(schema, dict) and name == "C" and "$ref" not in schema:
            key = "$anchor" if self.draft >= 2019 else "id" if self.draft == 4 else "$id"
            schema[key] = "c" if self.draft >= 2019 else "#c"
        return schema

    def schema(self, depth: int) -> Any:
        self.size += 1
        if self.random.random() < 0.06 and (self.draft > 4 or self.wild):
            return self.random.random() < 0.6
        out: dict[str, Any] = {}
        for _ in range(self.random.choice((0, 1, 1, 2, 2, 3))):
            out.update(self.keyword(depth))
        if self.random.random() < 0.4:
            out["type"] = self.random.choice(KINDS) if self.random.random() < 0.6 else self.random.sample(KINDS, 3)
        return out

    def keyword(self, depth: int) -> dict[str, Any]:
        if self.wild and self.random.random() < 0.02:
            return self.broken()
        pools: list[Callable[[int], dict[str, Any]]] = [self.plain, self.plain, self.reference]
        if depth and self.size < 25:
            pools += [self.nested, self.nested, self.newer]
        return self.random.choice(pools)(depth - 1)

    def broken(self) -> dict[str, Any]:
        return self.random.choice(
            (
                {"type": "text"},
                {"required": True},
                {"minLength": -1},
                {"items": [{}]},
                {"pattern": self.random.choice(FOREIGN)},
                {"patternProperties": {self.random.choice(FOREIGN): {}}},
                {"$ref": "#/nowhere"},
                {"$ref": "#none"},
                {"enum": []},
                {"enum": [1, 1]},
                {"multipleOf": 0},
                {"exclusiveMinimum": True, "minimum": 1},
                {"exclusiveMinimum": 1},
                {"properties": {"a": 1}},
                {"properties": {"a": True}},
                {"$schema": "http:// x"},
                {"$ref": "#/definitions/A/type"},
                {"dependentRequired": {"a": "b"}},
                {"if": 1},
                {"contains": 1},
                {"propertyNames": 1},
                {"writeOnly": 1},
            )
        )

    def plain(self, _depth: int, /) -> dict[str, Any]:
        number, count = self.random.choice(NUMBERS), self.random.randrange(4)
        names = self.random.sample(NAMES, self.random.randrange(1, 3))
        values = [self.instance(1) for _ in range(self.random.randrange(1, 4))]
        unique = list({json.dumps(value): value for value in values}.values())
        return self.random.choice(
            (
                {"enum": unique},
                {"const": unique[0]},
                {"minimum": number},
                {"maximum": number},
                {"exclusiveMaximum": number} if self.draft > 4 else {"maximum": number, "exclusiveMaximum": True},
                {"exclusiveMinimum": number} if self.draft > 4 else {"minimum": number, "exclusiveMinimum": True},
                {"multipleOf": abs(number) or 1},
                {"multipleOf": 0.1},
                {"minLength": count},
                {"maxLength": count},
                {"pattern": self.random.choice(PATTERNS)},
                {"format": self.random.choice((*formats.FORMATS, "int32", "idn-email"))},
                {"format": self.random.choice((*formats.FORMATS, "int32", "idn-email"))},
                {"minItems": count},
                {"maxItems": count},
                {"uniqueItems": True},
                {"minProperties": count},
                {"maxProperties": count},
                {"required": names},
                {"default": number, "title": "t", "x-custom": {"pattern": "("}},
            )
        )

    def reference(self, _depth: int, /) -> dict[str, Any]:
        targets = ["#/DEFS/A", "#/DEFS/B", "#/DEFS/C", "#c", "urn:b", "urn:unknown", "#/properties/v", "#/x-none"]
        target = self.random.choice(targets if self.wild else targets[:3])
        return {"$ref": target, **({"x-none": {"type": "string"}} if target == "#/x-none" else {})}

    def nested(self, depth: int) -> dict[str, Any]:
        def some() -> Any:
            return self.schema(depth)

        def several() -> list[Any]:
            return [some() for _ in range(self.random.randrange(1, 4))]

        properties = {name: some() for name in self.random.sample(NAMES, 2)}
        array_form = {"items": several(), "additionalItems": self.random.choice((True, False, some()))}
        return self.random.choice(
            (
                {"properties": properties},
                {"properties": properties, "additionalProperties": False},
                {"additionalProperties": some()},
                {"patternProperties": {self.random.choice(PATTERNS): some()}, "additionalProperties": some()},
                {"items": some()},
                array_form if self.draft < 2020 else {"prefixItems": several(), "items": some()},
                {"allOf": several()},
                {"anyOf": several()},
                {"oneOf": several()},
                {"not": some()},
                {"dependencies": {"a": some(), "b": ["a"]}},
            )
        )

    def newer(self, depth: int) -> dict[str, Any]:
        """Keywords of later drafts: those that the draft does not know must be ignored."""

        def some() -> Any:
            return self.schema(depth)

        return self.random.choice(
            (
                {"contains": some(), "minContains": self.random.randrange(3)},
                {"contains": some(), "maxContains": self.random.randrange(3)},
                {"propertyNames": some()},
                {"if": some(), "then": some(), "else": some()},
                {"if": self.random.choice((some(), True)), "else": some()},
                {"dependentRequired": {"a": ["b"]}},
                {"dependentSchemas": {"a": some()}},
                {"unevaluatedProperties": self.random.choice((False, some())), **self.nested(depth)},
                {"unevaluatedItems": self.random.choice((False, some())), **self.nested(depth)},
                {"prefixItems": [some()]},
            )
        )


def cases(seed: int, count: int = 12) -> Iterator[tuple[bytes, dict[str, Any]]]:
    generator = Generator(seed)
    schema = dumped(generator.document())
    for _ in range(count):
        yield schema, {"v": generator.instance()}


@given(st.integers(0, 2**32))
def test_verdicts_are_helms_over_all_drafts_and_keywords(seed: int) -> None:
    for schema, values in cases(seed):
        assert (brolly_says(schema, values), schema, values) == (helm_says(schema, values), schema, values)


# Texts on which readers differ, two spaces between them.
FORMAT_CASES: Final = {
    "date": ("2024-02-29  2023-02-29  2024-2-9  0000-02-29  2024-13-01  ٢٠٢٤-01-01  1900-02-29  2000-02-29"),
    "time": (
        "10:00:00Z  1:00:00Z  24:00:00Z  23:59:60Z  00:59:60+01:00  10:00:00.Z  10:00:00.1z  +1:00:00Z  10:00:00+1:00"
    ),
    "date-time": ("2024-01-01T10:00:00Z  2024-01-01 10:00:00Z  2024-01-01t23:59:60z  2024-01-01T10:00:00+24:00"),
    "duration": ("P  PT  P1D  P1DT  P1W  P1W1D  P1Y1D  P1D1Y  PT1H1S  PT1S1H  P1H  P1DT1HT1M  1D  P1  P1.5D"),
    "period": (
        "P1D/2024-01-01T10:00:00Z  2024-01-01T10:00:00Z/P1D  2024-01-01T10:00:00Z/2024-01-01T10:00:00Z  P1D/P1D  x"
    ),
    "ipv4": ("1.2.3.4  01.2.3.4  +1.2.3.4  -0.2.3.4  256.1.1.1  1.2.3  1.2.3.4.  ٣.1.1.1"),
    "ipv6": (
        "::  ::1  1::2::3  ::ffff:1.2.3.4  ::ffff:01.2.3.4  fe80::1%eth0  1:2:3:4:5:6:7:8  12345::  "
        "1:2:3:4:5:6:7::  1.2.3.4"
    ),
    "hostname": ("a  a.b  a.b.  -a  a-  a_b    .  é"),
    "email": (
        'a@b  @b  a@  a  .a@b  a.@b  a..b@c  "a b"@c  "a"b"@c  "ab@c  é@b  "é"@b  a@[1.2.3.4]  '
        "a@[IPv6:::1]  a@[::1]  a b@c  a@b@c"
    ),
    "uri": (
        "http://a  a  a:  urn:a  http://a:x  http://a:1  http://[::1]  http://[::1  http://[x]  "
        "http://a b  http://a/ b  http://a/%z  http://é  1a:b  :a  http://u:p@a  http://u p@a  "
        "http://a\\b  http://a?%zz  http://a#%zz  a\nb:c  http://::1/  http://a|b  http://%41  mailto:a b  "
        "http:///a  http://a:1:2"
    ),
    "uri-reference": ("  a  a:b  /a  //a  //a b  ///a  a b  a\\b  %zz  a%20b  ?%zz  #%zz  1:2  ./1:2  {a}  *  \x7f"),
    "uri-template": ("  {a}  {a  a}  {{a}}  a/{b}/c  {a}{b}  %7Ba  %7B{  http://a/{b  http://a/?{b  http://{a}/  a:{b"),
    "json-pointer": ("  /  a  /a~0  /a~1  /a~2  /a~  /a//b  /\n  /\x7f  /~"),
    "relative-json-pointer": ("0  00  1#  1/a  a  01  1a    #  0~"),
    "uuid": (
        "123e4567-e89b-12d3-a456-426614174000  123E4567-E89B-12D3-A456-426614174000  "
        "123e4567e89b12d3a456426614174000  g23e4567-e89b-12d3-a456-426614174000  "
    ),
    "semver": (
        "1.2.3  01.2.3  1.2  1.2.3-  1.2.3-a  1.2.3-01  1.2.3-0a  1.2.3+  1.2.3+01  1.2.3-a+b  1.2.3+a+b  "
        "v1.2.3  1.2.3-a..b  1.2.3-é"
    ),
    "iri": ("http://é/é  é"),
    "idn-email": ("x"),
}
OTHER_CASES: Final = {
    "hostname": ("a" * 63, "a" * 64, ".".join(["a" * 49] * 5), ".".join(["a" * 51] * 5)),
    "email": ("a" * 64 + "@b", "a" * 65 + "@b", '"' + "é" * 32 + "@b"),
    "ipv4": ("1.2.3.4 ",),
    "regex": (
        *PATTERNS,
        *FOREIGN,
        "[a",
        "a{2,1}",
        "(?i",
        "[[:alpha:]]",
        "[[:x:]]",
        r"\pX",
        r"\Q.\E",
        "a{,2}",
        r"\xZZ",
        "é*",
    ),
}


@pytest.mark.parametrize("name", sorted({*FORMAT_CASES, *OTHER_CASES}))
@pytest.mark.parametrize("draft", [7, 2019])
def test_formats_are_asserted_as_helm_asserts_them(name: str, draft: int) -> None:
    schema = dumped({"$schema": DRAFTS[draft], "additionalProperties": {"format": name}})
    for text in (*FORMAT_CASES.get(name, "").split("  "), *OTHER_CASES.get(name, ())):
        assert (text, brolly_says(schema, {"v": text})) == (text, helm_says(schema, {"v": text}))


@given(
    st.sampled_from(sorted(formats.FORMATS)),
    st.text(alphabet="0123456789abPTYDWHMSZ:.-+/%[]{}@~#?\\\"' éTz_", max_size=24),
)
def test_formats_agree_with_helm_on_any_text(name: str, text: str) -> None:
    schema = dumped({"$schema": DRAFTS[7], "additionalProperties": {"format": name}})
    assert brolly_says(schema, {"v": text}) == helm_says(schema, {"v": text})


TEXTS_TO_MATCH: Final = ("", "a", "a\n", "A", "é", "٣", "1", "ab", "b a", "K", "_", "a-b", "\n", "aa", "ﬀ")


@pytest.mark.parametrize(
    "pattern", [*PATTERNS, *FOREIGN, r"^\D+$", r"\W", "^a", "(?m)^a$", "(?i)k", "a.b", r"[\w-]+$", "^$", r"[$]", r"\$"]
)
def test_patterns_match_as_gos_re2_does(pattern: str) -> None:
    schema = dumped({"additionalProperties": {"pattern": pattern}})
    for text in TEXTS_TO_MATCH:
        assert (text, brolly_says(schema, {"v": text})) == (text, helm_says(schema, {"v": text}))


ODD_DOCUMENTS: Final = (
    b"null",
    b"true",
    b"false",
    b"[]",
    b"{",
    b"{} {}",
    b'{"const": NaN}',
    b"\xef\xbb\xbf{}",
    b'{"title": "\xff", "properties": {"v": {"const": "\xff"}}}',
    b'{"properties": {"v": {"const": "\\ud800"}}}',
    b'{"type": "object", "type": "array"}',
    b'{"properties": {"v": {"minimum": 1e400}}}',
    b'{"properties": {"v": {"const": 0.10000000000000000001}}}',
    b'{"properties": {"v": {"enum": [9007199254740993, 9007199254740992]}}}',
)
TEXT: Final = {"type": "string"}
ODD_SCHEMAS: Final = (
    {"$schema": "https://json-schema.org/schema", "items": [{}]},
    {"$schema": "urn:x", "items": [{}]},
    {"$schema": "ftp://x/y"},
    {"$schema": ""},
    {"$schema": "http://["},
    {"$id": "http://["},
    {"$ref": "http://["},
    {"$schema": 1},
    {"$schema": DRAFTS[7] + "x", "items": [{}]},
    {"$schema": "https://json-schema.org/draft-07/schema", "exclusiveMinimum": True},
    {"$id": "urn:x", "properties": {"v": {"$ref": "urn:x#/$defs/a"}}, "$defs": {"a": TEXT}},
    {"$id": "urn:x", "properties": {"v": {"$ref": "#/$defs/a"}}, "$defs": {"a": TEXT}},
    {"$id": "urn:x", "properties": {"v": {"$ref": "sub"}}},
    {"$id": "https://x.y/a/b", "properties": {"v": {"$ref": "c"}}, "$defs": {"a": {"$id": "/a/c", **TEXT}}},
    {"$id": "%zz"},
    {"properties": {"v": {"$ref": "urn:x#/a"}}},
    {"properties": {"v": {"$ref": "urn:x#a"}}},
    {"properties": {"v": {"$ref": "urn:x#"}}},
    {"properties": {"v": {"$ref": "#/x%2Dy"}}, "x-y": TEXT},
    {"properties": {"v": {"$ref": "#/x%zz"}}},
    {"properties": {"v": {"$ref": "#/x~2"}}},
    {"properties": {"v": {"$ref": "#/x~1y"}}, "x/y": TEXT},
    {"properties": {"v": {"$ref": "#/allOf/0"}}, "allOf": [{"minProperties": 0}]},
    {"properties": {"v": {"$ref": "#/allOf/9"}}, "allOf": [{"minProperties": 0}]},
    {"properties": {"v": {"$ref": "#/x"}}, "x": {"type": "strin"}},
    {"properties": {"v": {"$ref": "#/x"}}, "x": 1},
    {"properties": {"v": {"$ref": "#/x/y"}}, "x": {"$id": "urn:q", "y": {"$ref": "#/z"}, "z": TEXT}},
    {"$defs": {"a": {"$id": "urn:a"}, "b": {"$id": "urn:a"}}},
    {"$defs": {"a": {"$anchor": "a"}, "b": {"$anchor": "a"}}},
    {"$defs": {"a": {"$ref": "http://never.example/x"}}},
    {"properties": {"v": {"$ref": DRAFTS[2020]}}},
    {"properties": {"v": {"$ref": DRAFTS[7] + "/definitions/nonNegativeInteger"}}},
    {"$dynamicAnchor": "n", "type": "object", "additionalProperties": {"anyOf": [{"$dynamicRef": "#n"}, TEXT]}},
    {"$schema": DRAFTS[2019], "$recursiveAnchor": True, "properties": {"v": {"$recursiveRef": "#"}}, "type": "object"},
    {
        "$id": "urn:r",
        "$ref": "urn:t",
        "$defs": {
            "s": {"$dynamicAnchor": "n", **TEXT},
            "t": {
                "$id": "urn:t",
                "additionalProperties": {"$dynamicRef": "#n"},
                "$defs": {"d": {"$dynamicAnchor": "n"}},
            },
        },
    },
    {"$schema": DRAFTS[7], "properties": {"v": {"$ref": "#/definitions/a", "const": 7}}, "definitions": {"a": {}}},
    {"$schema": DRAFTS[7], "properties": {"v": {"$ref": "#/definitions/a", **TEXT}}, "definitions": {"a": {}}},
    {"dependencies": {"v": ["w"]}},
    {"$schema": DRAFTS[4], "properties": {"v": True}},
    {"$schema": DRAFTS[4], "properties": {"v": {"$ref": 5, **TEXT}}},
    {"$schema": DRAFTS[4], "patternProperties": {"(": {}}},
    {"$schema": DRAFTS[4], "definitions": {"a": {"patternProperties": {"(": {}}}}},
    {"$schema": DRAFTS[4], "id": "a b", "definitions": {"a": {"id": "#q"}}, "properties": {"v": {"$ref": "#q"}}},
    {"$ref": "#"},
    {"not": {"$ref": "#"}},
    {"anyOf": [{"$ref": "#"}, True]},
)


@pytest.mark.parametrize("schema", [*ODD_DOCUMENTS, *map(dumped, ODD_SCHEMAS)])
def test_odd_schemas_get_helms_verdict(schema: bytes) -> None:
    for values in ({"v": "x"}, {"v": 7}, {"v": {"w": "x"}}, {"v": "\ufffd"}, {"v": 0.1}, {"v": {"v": {"v": 1}}}):
        assert (brolly_says(schema, values), values) == (helm_says(schema, values), values)


# -- what Brolly adds: places, messages, bounds -----------------------------------------------------------------------


def only(violations: tuple[Violation, ...]) -> Violation:
    assert len(violations) == 1
    return violations[0]


def test_a_violation_leads_to_the_value_and_to_the_keyword() -> None:
    schema = {"properties": {"a": {"$ref": "#/$defs/port"}}, "$defs": {"port": {"anyOf": [{"maximum": 65535}]}}}
    found = only(judge(dumped(schema), {"a": 70000}))
    assert found == Violation(("a",), "must be at most 65535", "maximum", ("$defs", "port", "anyOf", 0, "maximum"))


def test_an_unknown_key_is_the_place_of_its_own_violation() -> None:
    found = judge(dumped({"properties": {"a": {}}, "additionalProperties": False}), {"b": 1, "a": 1, "c": 1})
    assert [(item.route, item.message) for item in found] == [
        (("b",), '"b" is not known here'),
        (("c",), '"c" is not known here'),
    ]


def test_all_violations_come_sorted_by_route_with_indices_as_numbers() -> None:
    schema = {"properties": {"l": {"items": {"type": "string"}}, "a": {"enum": ["x", "y"]}}, "required": ["r", "s"]}
    found = judge(dumped(schema), {"l": [1] * 11, "a": "z"})
    assert [item.route for item in found] == [(), ("a",), *(("l", index) for index in range(11))]
    assert found[0].message == '"r", "s" are required'
    assert found[1].message == 'must be one of "x", "y"'


def test_the_only_alternative_of_the_values_type_is_the_one_that_is_explained() -> None:
    schema = {"anyOf": [{"type": "string"}, {"type": "object", "required": ["name"]}]}
    assert only(judge(dumped({"properties": {"v": schema}}), {"v": {}})).message == '"name" is required'
    assert only(judge(dumped({"properties": {"v": schema}}), {"v": 1})).message == "must be a text or a mapping"


def test_values_stay_out_of_messages() -> None:
    schema = {"additionalProperties": {"anyOf": [{"pattern": "^x"}, {"maxLength": 2}], "not": {"const": "hunter2"}}}
    assert not any("hunter2" in item.message for item in judge(dumped(schema), {"password": "hunter2"}))


@pytest.mark.parametrize(
    ("schema", "route"),
    [
        ({"properties": {"a": {"type": "strin"}}}, ("properties", "a", "type")),
        ({"properties": {"a": {"pattern": "(?=a)"}}}, ("properties", "a", "pattern")),
        ({"properties": {"a": {"$ref": "#/nowhere"}}}, ("properties", "a", "$ref")),
        ({"$schema": "draft"}, ("$schema",)),
        ({"$ref": "#"}, ("$ref",)),
    ],
)
def test_a_fault_of_the_schema_leads_into_the_schema(schema: Any, route: tuple[str, ...]) -> None:
    with pytest.raises(SchemaFault) as caught:
        judge(dumped(schema), {"a": 1})
    assert caught.value.route == route


@pytest.mark.parametrize(
    ("schema", "reference"),
    [
        ({"properties": {"a": {"$ref": "http://127.0.0.1:9/x.json#/a"}}}, "http://127.0.0.1:9/x.json#/a"),
        ({"$ref": "other.json"}, "other.json"),
        ({"$ref": "file:///dev/zero"}, "file:///dev/zero"),
        ({"$ref": "/etc/passwd"}, "/etc/passwd"),
        ({"$schema": "http://json-schema.org/draft-03/schema#"}, "http://json-schema.org/draft-03/schema#"),
        ({"$id": "https://x.y/", "$ref": "z"}, "z"),
    ],
)
def test_what_helm_would_fetch_or_read_is_refused_by_name(schema: Any, reference: str) -> None:
    with pytest.raises(RemoteReference) as caught:
        judge(dumped(schema), {})
    assert caught.value.reference == reference


def test_depth_and_size_are_bounded() -> None:
    chain = {f"d{n}": {"$ref": f"#/$defs/d{n + 1}"} for n in range(3000)}
    deep: Any = True
    for _ in range(400):
        deep = {"not": deep}
    schemas = (
        dumped({"$ref": "#/$defs/d0", "$defs": {**chain, "d3000": {}}}),
        b'{"not":' * 5000 + b"{}" + b"}" * 5000,
        dumped(deep),
        b'{"title": "' + b"x" * (5 << 20) + b'"}',
        b'{"minimum": 1e999999999}',
    )
    for schema in schemas:
        with pytest.raises(SchemaFault):
            judge(schema, {})


def doubling(number: int, keyword: str = "allOf") -> bytes:
    """Write schemas each of which refers twice to the one before."""
    twice = {f"a{n}": {keyword: [{"$ref": f"#/$defs/a{n - 1}"}] * 2} for n in range(1, number + 1)}
    return dumped({"$ref": f"#/$defs/a{number}", "$defs": {"a0": {"type": "object"}, **twice}})


def nesting(keyword: str, number: int) -> bytes:
    schema: dict[str, Any] = {keyword: False, "properties": {"a": True}}
    for _ in range(number):
        schema = {keyword: False, "allOf": [schema]}
    return dumped(schema)


@pytest.mark.parametrize("schema", [doubling(26), doubling(26, "oneOf"), nesting("unevaluatedProperties", 40)])
def test_what_takes_exponential_time_is_given_up_after_so_many_steps(schema: bytes) -> None:
    with pytest.raises(TooMuchWork):
        judge(schema, {"a": 1})


def test_what_multiplies_a_little_is_judged() -> None:
    assert judge(doubling(12), {"a": 1}) == ()
    assert judge(nesting("unevaluatedProperties", 8), {"a": 1}) == ()


def test_many_schemas_take_no_longer_than_many() -> None:
    known = {f"a{n}": {"$id": f"urn:a{n}", "$schema": DRAFTS[7], "type": "string"} for n in range(3000)}
    assert judge(dumped({"$defs": known, "properties": {"v": {"$ref": "urn:a7"}}}), {"v": 1}) != ()


COUNTS: Final = (
    *("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties", "minContains", "maxContains"),
    *("multipleOf", "const"),
)
FAR: Final = ("1e19", "1e30", "1e309", "1e400", "1e-400", "-1e30", "9223372036854775808", "18446744073709551617")


@pytest.mark.parametrize("keyword", COUNTS)
def test_numbers_beyond_every_machines_are_taken_as_helm_takes_them(keyword: str) -> None:
    contains = ', "contains": {"type": "integer"}' if "Contains" in keyword else ""
    for number in FAR:
        schema = f'{{"properties": {{"a": {{"{keyword}": {number}{contains}}}}}}}'.encode()
        for value in ("x", [1, 2], {"b": 1}, 3):
            said = brolly_says(schema, {"a": value})
            assert (number, value, said) == (number, value, helm_says(schema, {"a": value}))


def test_a_number_that_no_decimal_holds_is_a_fault_of_the_schema() -> None:
    with pytest.raises(SchemaFault, match="out of bounds"):
        judge(b'{"minimum": 1e999999999999999999999}', {})


def test_values_that_nest_deeper_than_python_are_a_fault_not_a_crash() -> None:
    values: Any = {}
    for _ in range(5000):
        values = {"a": values}
    with pytest.raises(SchemaFault):
        judge(dumped({"additionalProperties": {"$ref": "#"}}), values)


def test_a_parsed_schema_is_judged_alike() -> None:
    assert only(judge_parsed({"properties": {"a": {"type": "integer"}}}, {"a": "x"})).message == "must be an integer"
    assert judge_parsed({"properties": {"a": {"format": "date"}}}, {"a": "x"}) == ()


PORTABLE: Final = tuple(text for text in (*PATTERNS, *FOREIGN, r"^\D+$", r"[$]", r"\$", "(?m)^a$") if r"\p" not in text)


@pytest.mark.parametrize("text", PORTABLE)
def test_patterns_without_google_re2_agree_with_it(text: str) -> None:
    def matches(compiled: Callable[[str], formats.Pattern]) -> list[bool] | None:
        try:
            return [bool(compiled(text).search(sample)) for sample in TEXTS_TO_MATCH]
        except formats.PatternError:
            return None

    assert matches(formats._without_re2) == matches(formats.pattern)


def test_a_pattern_that_only_google_re2_can_judge_names_the_extra() -> None:
    with pytest.raises(formats.PatternError, match=r"brolly\[re2\]"):
        formats._without_re2(r"\p{L}")
