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

from brolly import formats, schemas
from brolly.schemas import RemoteReference, SchemaFault, judge, judge_parsed

if TYPE_CHECKING:
    from collections.abc import Iterator

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
        pools = [self.plain, self.plain, self.reference]
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

    def plain(self, _depth: int) -> dict[str, Any]:
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

    def reference(self, _depth: int) -> dict[str, Any]:
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


FORMAT_CASES: Final = {
    "date": ("2024-02-29", "2023-02-29", "2024-2-9", "0000-02-29", "2024-13-01", "٢٠٢٤-01-01", "1900-02-29", "2000-02-29"),
    "time": ("10:00:00Z", "1:00:00Z", "24:00:00Z", "23:59:60Z", "00:59:60+01:00", "10:00:00.Z", "10:00:00.1z", "+1:00:00Z", "10:00:00+1:00"),
    "date-time": ("2024-01-01T10:00:00Z", "2024-01-01 10:00:00Z", "2024-01-01t23:59:60z", "2024-01-01T10:00:00+24:00"),
    "duration": ("P", "PT", "P1D", "P1DT", "P1W", "P1W1D", "P1Y1D", "P1D1Y", "PT1H1S", "PT1S1H", "P1H", "P1DT1HT1M", "1D", "P1", "P1.5D"),
    "period": ("P1D/2024-01-01T10:00:00Z", "2024-01-01T10:00:00Z/P1D", "2024-01-01T10:00:00Z/2024-01-01T10:00:00Z", "P1D/P1D", "x"),
    "ipv4": ("1.2.3.4", "01.2.3.4", "+1.2.3.4", "-0.2.3.4", "256.1.1.1", "1.2.3", "1.2.3.4.", "٣.1.1.1", "1.2.3.4 "),
    "ipv6": ("::", "::1", "1::2::3", "::ffff:1.2.3.4", "::ffff:01.2.3.4", "fe80::1%eth0", "1:2:3:4:5:6:7:8", "12345::", "1:2:3:4:5:6:7::", "1.2.3.4"),
    "hostname": ("a", "a.b", "a.b.", "-a", "a-", "a_b", "", ".", "é", "a" * 63, "a" * 64, ".".join(["a" * 49] * 5), ".".join(["a" * 51] * 5)),
    "email": ("a@b", "@b", "a@", "a", ".a@b", "a.@b", "a..b@c", '"a b"@c', '"a"b"@c', '"ab@c', 'é@b', '"é"@b', "a@[1.2.3.4]", "a@[IPv6:::1]", "a@[::1]", "a b@c", "a@b@c", "a" * 65 + "@b"),
    "uri": ("http://a", "a", "a:", "urn:a", "http://a:x", "http://a:1", "http://[::1]", "http://[::1", "http://[x]", "http://a b", "http://a/ b", "http://a/%z", "http://é", "1a:b", ":a", "http://u:p@a", "http://u p@a", "http://a\\b", "http://a?%zz", "http://a#%zz", "a\nb:c", "http://::1/", "http://a|b", "http://%41", "mailto:a b", "http:///a", "http://a:1:2"),
    "uri-reference": ("", "a", "a:b", "/a", "//a", "//a b", "///a", "a b", "a\\b", "%zz", "a%20b", "?%zz", "#%zz", "1:2", "./1:2", "{a}", "*", "\x7f"),
    "uri-template": ("", "{a}", "{a", "a}", "{{a}}", "a/{b}/c", "{a}{b}", "%7Ba", "%7B{", "http://a/{b", "http://a/?{b", "http://{a}/", "a:{b"),
    "json-pointer": ("", "/", "a", "/a~0", "/a~1", "/a~2", "/a~", "/a//b", "/\n", "/\x7f", "/~"),
    "relative-json-pointer": ("0", "00", "1#", "1/a", "a", "01", "1a", "", "#", "0~"),
    "uuid": ("123e4567-e89b-12d3-a456-426614174000", "123E4567-E89B-12D3-A456-426614174000", "123e4567e89b12d3a456426614174000", "g23e4567-e89b-12d3-a456-426614174000", ""),
    "semver": ("1.2.3", "01.2.3", "1.2", "1.2.3-", "1.2.3-a", "1.2.3-01", "1.2.3-0a", "1.2.3+", "1.2.3+01", "1.2.3-a+b", "1.2.3+a+b", "v1.2.3", "1.2.3-a..b", "1.2.3-é"),
    "regex": (*PATTERNS, *FOREIGN, "[a", "a{2,1}", "(?i", "[[:alpha:]]", "[[:x:]]", r"\pX", r"\Q.\E", "a{,2}", r"\xZZ", "(a|b)+?", r"\_", "é*"),
    "iri": ("http://é/é", "é"),
    "idn-email": ("x",),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(FORMAT_CASES))
@pytest.mark.parametrize("draft", [7, 2019])
def test_formats_are_asserted_as_helm_asserts_them(name: str, draft: int) -> None:
    schema = dumped({"$schema": DRAFTS[draft], "additionalProperties": {"format": name}})
    for text in FORMAT_CASES[name]:
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


@pytest.mark.parametrize(
    "schema",
    [
        b"",
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
        b'{"$schema": "https://json-schema.org/schema", "items": [{}]}',
        b'{"$schema": "urn:x", "items": [{}]}',
        b'{"$schema": "ftp://x/y"}',
        b'{"$schema": ""}',
        b'{"$schema": 1}',
        b'{"$schema": "http://json-schema.org/draft-07/schema#x"}',
        b'{"$schema": "https://json-schema.org/draft-07/schema", "exclusiveMinimum": true}',
        b'{"$id": "urn:x", "properties": {"v": {"$ref": "urn:x#/$defs/a"}}, "$defs": {"a": {"type": "string"}}}',
        b'{"$id": "urn:x", "properties": {"v": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"type": "string"}}}',
        b'{"$id": "https://x.y/a/b", "properties": {"v": {"$ref": "c"}}, "$defs": {"a": {"$id": "/a/c", "type": "string"}}}',
        b'{"properties": {"v": {"$ref": "urn:x#/a"}}}',
        b'{"properties": {"v": {"$ref": "urn:x#a"}}}',
        b'{"properties": {"v": {"$ref": "urn:x#"}}}',
        b'{"properties": {"v": {"$ref": "#/x%2Dy"}}, "x-y": {"type": "string"}}',
        b'{"properties": {"v": {"$ref": "#/x%zz"}}}',
        b'{"properties": {"v": {"$ref": "#/x~2"}}}',
        b'{"properties": {"v": {"$ref": "#/x~1y"}}, "x/y": {"type": "string"}}',
        b'{"properties": {"v": {"$ref": "#/allOf/0"}}, "allOf": [{"minProperties": 0}]}',
        b'{"properties": {"v": {"$ref": "#/allOf/9"}}, "allOf": [{"minProperties": 0}]}',
        b'{"properties": {"v": {"$ref": "#/x"}}, "x": {"type": "strin"}}',
        b'{"properties": {"v": {"$ref": "#/x"}}, "x": 1}',
        b'{"$defs": {"a": {"$id": "urn:a"}, "b": {"$id": "urn:a"}}}',
        b'{"$defs": {"a": {"$anchor": "a"}, "b": {"$anchor": "a"}}}',
        b'{"$defs": {"a": {"$ref": "http://never.example/x"}}}',
        b'{"properties": {"v": {"$ref": "https://json-schema.org/draft/2020-12/schema"}}}',
        b'{"properties": {"v": {"$ref": "http://json-schema.org/draft-07/schema#/definitions/nonNegativeInteger"}}}',
        b'{"$dynamicAnchor": "n", "type": "object", "additionalProperties": {"anyOf": [{"$dynamicRef": "#n"}, {"type": "string"}]}}',
        b'{"$schema": "https://json-schema.org/draft/2019-09/schema", "$recursiveAnchor": true, "type": "object",'
        b' "additionalProperties": {"anyOf": [{"$recursiveRef": "#"}, {"type": "string"}]}}',
        b'{"$id": "urn:r", "$ref": "urn:t", "$defs": {"s": {"$dynamicAnchor": "n", "type": "string"}, "t": {"$id": "urn:t",'
        b' "additionalProperties": {"$dynamicRef": "#n"}, "$defs": {"d": {"$dynamicAnchor": "n"}}}}}',
        b'{"$schema": "http://json-schema.org/draft-07/schema#", "properties": {"v": {"$ref": "#/definitions/a", "const": 7}}, "definitions": {"a": {}}}',
        b'{"$schema": "http://json-schema.org/draft-07/schema#", "properties": {"v": {"$ref": "#/definitions/a", "type": "null"}}, "definitions": {"a": {}}}',
        b'{"dependencies": {"v": ["w"]}}',
        b'{"$schema": "http://json-schema.org/draft-04/schema#", "properties": {"v": true}}',
        b'{"$schema": "http://json-schema.org/draft-04/schema#", "properties": {"v": {"$ref": 5, "type": "string"}}}',
        b'{"$schema": "http://json-schema.org/draft-04/schema#", "patternProperties": {"(": {}}}',
        b'{"$schema": "http://json-schema.org/draft-04/schema#", "definitions": {"a": {"patternProperties": {"(": {}}}}}',
        b'{"$schema": "http://json-schema.org/draft-04/schema#", "id": "foo bar", "definitions": {"a": {"id": "#q"}}, "properties": {"v": {"$ref": "#q"}}}',
    ],
)  # fmt: skip
def test_odd_schemas_get_helms_verdict(schema: bytes) -> None:
    for values in ({"v": "x"}, {"v": 7}, {"v": {"w": "x"}}, {"v": "\ufffd"}, {"v": 0.1}, {"v": {"v": {"v": 1}}}):
        assert (brolly_says(schema, values), values) == (helm_says(schema, values), values)
