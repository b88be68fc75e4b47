"""Files of `crds/` and lists of objects; what Helm's engine installs is the judge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from api_server import ApiServer, Installer
from brolly import document, objects
from brolly.objects import ObjectsError
from engine_charts import chart_files, engine, package
from workspaces import Workspace, local, local_chart

if TYPE_CHECKING:
    from collections.abc import Iterator

CRD: Final = (
    "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: carts.shop.example}\n"
    "spec: {group: shop.example, names: {kind: Cart, plural: carts}, scope: Namespaced, versions: []}\n"
)
OTHER: Final = CRD.replace("carts.shop", "others.shop")
MAP: Final = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"%s"}}\n'
LIST: Final = "apiVersion: v1\nkind: List\nitems:\n- "
KINDS: Final = [("v1", "ConfigMapList"), ("shop.example/v1", "Cart")]

FILES: Final[dict[str, bytes | str]] = {
    "a definition": CRD,
    "two": CRD + "---\n" + OTHER,
    "two and a comment": CRD + "--- # next\n" + OTHER,
    "two in Windows' lines": (CRD + "---\n" + OTHER).replace("\n", "\r\n"),
    "a separator in a text": CRD + "x: |\n  a\n  ---\n  b\n",
    "documents that say nothing": CRD + "---\n---\n# only a comment\n---\nnull\n",
    "a key written twice": CRD + "spec: {}\n",
    "keys that are numbers": CRD + "x: {1: 2, true: 3}\n",
    "a byte order mark": b"\xef\xbb\xbf" + CRD.encode(),
    "any object": MAP % "a",
    "two in JSON": MAP % "a" + MAP % "b",
    "JSON and nothing": MAP % "a" + "null\n",
    "JSON that is not UTF-8": (MAP % "a").encode().replace(b"}}", b'}, "x": "caf\xe9"}'),
    "JSON with half a pair": (MAP % "a").replace("}}", '}, "x": "\\ud800"}'),
    "YAML that begins as JSON": "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\n",
    "JSON and YAML": MAP % "a" + "---\n" + CRD,
    "a list": LIST + CRD.replace("\n", "\n  "),
    "a list of maps": "apiVersion: v1\nkind: ConfigMapList\nitems:\n- metadata: {name: a}\n- metadata: {name: b}\n",
    "a template": "{{- if .Values.x }}\n" + CRD + "{{- end }}\n",
    "no YAML": "kind: [oops\n",
    "no YAML further down": CRD + "---\nkind: [oops\n",
    "a list as a key": CRD + "? [a, b]\n: 1\n",
    "a mapping as a key": CRD + "? {a: b}\n: 1\n",
    "a tab": CRD + "\tx: 1\n",
    "infinity": CRD + "x: .inf\n",
    "an alias to nothing": CRD + "x: *a\n",
    "a control character": CRD.encode() + b"x: a\x01b\n",
    "a directive": "%YAML 1.1\n---\n" + CRD,
    "text behind a separator": CRD + "--- x\n" + OTHER,
    "a comment in Latin-1": CRD.encode() + b"# caf\xe9\n",
    "a value in Latin-1": CRD.encode() + b"x: caf\xe9\n",
    "UTF-16": CRD.encode("utf-16"),
    "nothing": "",
    "a comment": "# nothing\n",
    "null": "null\n",
    "a text": "hello\n",
    "a list of texts": "- a\n",
    "no kind": CRD.replace("kind: Cus", "kin: Cus"),
    "no kind in a list": LIST + "{metadata: {name: a}, kind: 5}\n",
    "an annotation that is a number in a list": LIST + (MAP % "a").replace('"name"', '"annotations":{"a":5},"name"'),
    "no name in a list without a kind": LIST + "{metadata: [a], kind: ConfigMap, apiVersion: v1}\n",
    "a list without a kind": LIST.replace("kind: List\n", "") + CRD.replace("\n", "\n  "),
    "a kind that is a number": CRD.replace("kind: CustomResourceDefinition", "kind: 5"),
    "metadata that is a list": CRD.replace("{name: carts.shop.example}", "[a]"),
    "a name that is a number": CRD.replace("{name: carts.shop.example}", "{name: 5}"),
    "an annotation that is a number": CRD.replace("{name:", "{annotations: {a: 5}, name:"),
    "labels that are a list": CRD.replace("{name:", "{labels: [a], name:"),
    "JSON and a brace too many": MAP.replace("}}", "}}}") % "a",
    "two in JSON and then YAML": MAP % "a" + MAP % "b" + CRD,
}  # fmt: skip
# too deep for a reader in Python; Helm stops at ten thousand levels
TOO_DEEP: Final = {"YAML": "a: " + "[" * 3000 + "]" * 3000, "JSON": '{"kind": ' + '{"a": ' * 3000 + "1" + "}" * 3001}


@pytest.fixture(scope="module")
def installer() -> Iterator[tuple[ApiServer, Installer]]:
    engine()
    with ApiServer() as server, Installer(server) as started:
        yield server, started


def installed(to: tuple[ApiServer, Installer], path: str, content: bytes | str) -> tuple[list[tuple[str, str]], str]:
    """Give the objects that Helm made of a file (kind and name), and why it stopped."""
    server, started = to
    files = {name: text for name, text in chart_files().items() if not name.startswith("templates/")}
    _, fault = started.install(package({**files, path: content}), {}, name="demo", kinds=KINDS)
    found = [(str(one.get("kind")), name) for (_, name), one in server.store.objects.items()]
    return sorted((kind, name) for kind, name in found if kind not in {"Secret", "Namespace"}), fault


def named(found: tuple[Any, ...]) -> list[tuple[str, str]]:
    return sorted((one["kind"], one["metadata"]["name"]) for one in found)


@pytest.mark.parametrize("case", FILES)
def test_a_file_of_crds_holds_what_helm_installs_or_is_refused(
    case: str, installer: tuple[ApiServer, Installer]
) -> None:
    content = FILES[case]
    raw = content if isinstance(content, bytes) else content.encode()
    made, fault = installed(installer, "crds/x.yaml", content)
    found, refusal = read(raw.removeprefix(b"\xef\xbb\xbf"))
    assert named(found) == made
    assert bool(refusal) == fault.startswith("failed to install CRD crds/x.yaml: ")
    assert (refusal == objects.EMPTY) == fault.endswith(objects.EMPTY)


def read(content: bytes) -> tuple[tuple[Any, ...], str]:
    try:
        return objects.read(content), ""
    except ObjectsError as error:
        return (), str(error)


@pytest.mark.parametrize("case", TOO_DEEP)
def test_a_file_nested_thousands_deep_is_refused(case: str) -> None:
    with pytest.raises(ObjectsError, match="nested more than 200 deep"):
        objects.read(TOO_DEEP[case].encode())


def test_a_fault_in_a_file_of_crds_has_its_line_in_the_file() -> None:
    with pytest.raises(ObjectsError) as caught:
        objects.read(f"{CRD}---\n# more\nkind: CustomResourceDefinition\nspec: {{a: [}}\n".encode())
    assert (caught.value.line, caught.value.column) == (8, 12)


LISTS: Final = {
    "a List": LIST + MAP % "a" + "- " + MAP % "b",
    "a ConfigMapList": "apiVersion: v1\nkind: ConfigMapList\nitems:\n- metadata: {name: a}\n- " + MAP % "b",
    "any object with items": "apiVersion: shop.example/v1\nkind: Cart\nmetadata: {name: x}\nitems:\n- " + MAP % "a",
    "an object with empty items": "apiVersion: shop.example/v1\nkind: Cart\nmetadata: {name: x}\nitems: []\n",
    "an object with null for items": "apiVersion: shop.example/v1\nkind: Cart\nmetadata: {name: x}\nitems: null\n",
    "an object without": MAP % "a",
}


@pytest.mark.parametrize("case", LISTS)
def test_a_list_that_a_template_renders_is_taken_apart_as_helm_does(
    case: str, installer: tuple[ApiServer, Installer]
) -> None:
    made, fault = installed(installer, "templates/x.yaml", LISTS[case])
    assert (made, fault) == (named(tuple(objects.flattened(document.parse(LISTS[case].encode())))), "")


def test_the_limits_are_those_of_the_objects_in_a_list(helm: Workspace) -> None:
    each = '{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {}, annotations: {{a: "{}"}}}}, data: {{a: "{}"}}}}\n'
    many = "- ".join(each.format(f"a{number}", "", "x" * 400_000) for number in range(5))
    much = each.format("large", "x" * 270_000, "x" * 1_100_000)
    for name, items in (("many", many), ("much", much)):
        text = f"apiVersion: v1\nkind: ConfigMapList\nmetadata: {{name: all}}\nitems:\n- {items}"
        helm.bundle(name, {**local_chart(), "charts/greeter/templates/x.yaml": text}, dependencies=[local()])
    helm.good("lock")
    assert helm.good("check", "many", "--output", "json").codes == []
    found = helm.run("check", "much", "--output", "json").json["findings"]
    assert [one["code"] for one in found] == ["size/annotations", "size/config-map", "size/object"]
    assert all("ConfigMap large of much" in one["message"] for one in found)
