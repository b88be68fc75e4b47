"""Kubernetes objects in a text or in a list, as Helm reads them before it sends them.

Source: k8s.io/apimachinery pkg/util/yaml (YAMLOrJSONDecoder), pkg/apis/meta/v1/unstructured (lists, and what names an
object), k8s.io/cli-runtime pkg/resource (FlattenListVisitor); judged by installs with Helm's engine in tests.
"""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn

import msgspec

from brolly import document
from brolly.document import DocumentError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Origin = Literal["manifest", "hook", "crd"]

EMPTY: Final = "resources are empty"
_JSON_SPACE: Final = re.compile(r"[ \t\r\n]*")


class ObjectFacts(msgspec.Struct, frozen=True, array_like=True):
    """One rendered object: what it is, the template that made it, and its sizes in bytes of JSON.

    `data` counts the values of a ConfigMap or a Secret (decoded), `annotations` keys and values of annotations.
    `origin` says how Helm treats it; `digest` is that of its content.
    """

    api_version: str
    kind: str
    name: str
    namespace: str
    source: str
    size: int = 0
    data: int = 0
    annotations: int = 0
    origin: Origin = "manifest"
    digest: str = ""

    @property
    def identity(self) -> tuple[str, str, str, str]:
        """What makes it one object to Kubernetes: group, kind, namespace and name."""
        return self.api_version.rpartition("/")[0], self.kind, self.namespace, self.name


class ObjectsError(ValueError):
    """A text in which Helm finds no objects; `line` and `column` count from 1."""

    def __init__(self, message: str, line: int = 1, column: int = 1) -> None:
        super().__init__(message)
        self.line = line
        self.column = column


def read(content: bytes) -> tuple[Mapping[str, Any], ...]:
    """Read the objects of a file of `crds/`, lists taken apart; ObjectsError where Helm refuses to install it."""
    found = tuple(one for line, data in _documents(content) for one in _objects(data, line))
    if not found:
        raise ObjectsError(EMPTY)
    return found


def flattened(data: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Take a list apart: whatever has `items` is one, of any kind. Anything else is given back.

    Not so a list in a list, which Helm refuses.
    """
    items = data.get("items", ())
    if not isinstance(items, list | None):
        yield data
        return
    # the items of a ConfigMapList need not say what they are
    implied = {"kind": str(data.get("kind") or "").removesuffix("List"), "apiVersion": data.get("apiVersion")}
    for one in items or ():
        if isinstance(one, dict):
            yield one if one.get("kind") and one.get("apiVersion") else {**one, **implied}


def described(data: Mapping[str, Any], source: str = "", origin: Origin = "manifest") -> Iterator[ObjectFacts]:
    """Describe an object, or each of a list: Helm and kustomize take it apart. `source` is the template."""
    return (facts(one, source, origin) for one in flattened(data))


def facts(data: Mapping[str, Any], source: str, origin: Origin) -> ObjectFacts:
    """Describe an object; `source` is the template."""
    metadata, content = _table(data.get("metadata")), msgspec.json.encode(data)
    kind = str(data.get("kind") or "")
    return ObjectFacts(
        str(data.get("apiVersion") or ""),
        kind,
        str(metadata.get("name") or ""),
        str(metadata.get("namespace") or ""),
        source,
        len(content),
        _data_size(data) if kind in {"ConfigMap", "Secret"} else 0,
        _annotations_size(data),
        origin,
        hashlib.sha256(content).hexdigest()[:16],
    )


def _data_size(data: Mapping[str, Any]) -> int:
    """Count what Kubernetes counts: decoded bytes of a Secret's data, characters of texts."""
    texts = {**_table(data.get("data")), **_table(data.get("stringData"))}
    encoded = {**_table(data.get("binaryData")), **(_table(data.get("data")) if data.get("kind") == "Secret" else {})}
    plain = sum(len(str(text).encode()) for key, text in texts.items() if key not in encoded)
    return plain + sum(len(str(text)) * 3 // 4 for text in encoded.values())


def _annotations_size(data: Mapping[str, Any]) -> int:
    annotations = _table(_table(data.get("metadata")).get("annotations"))
    return sum(len(str(key).encode()) + len(str(text).encode()) for key, text in annotations.items())


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _objects(data: Any, line: int) -> tuple[Mapping[str, Any], ...]:
    if not isinstance(data, dict):
        raise ObjectsError("unable to decode: it is no mapping", line)
    found = tuple(flattened(data))
    fault = _fault(data) or _texts_fault(data) or next(filter(None, map(_fault, found)), "")
    if fault:
        raise ObjectsError(f"unable to decode: {fault}", line)
    return found


def _fault(data: Mapping[str, Any]) -> str:
    """Say what keeps Go from reading the head of an object, "" if nothing does: here nothing is made a text."""
    if not data.get("kind") or not isinstance(data["kind"], str):
        return "Object 'Kind' is missing"
    return "" if isinstance(data.get("metadata"), dict | None) else "metadata is no mapping"


def _texts_fault(data: Mapping[str, Any]) -> str:
    """Say what Go misses in an object's metadata; in those of a list it does not look."""
    metadata = data.get("metadata") or {}
    for name in ("name", "namespace", "generateName"):
        if not isinstance(metadata.get(name), str | None):
            return f"metadata.{name} is no text"
    for name in ("labels", "annotations"):
        texts = metadata.get(name)
        if not isinstance(texts, dict | None):
            return f"metadata.{name} is no mapping"
        if wrong := [key for key, text in (texts or {}).items() if not isinstance(text, str | None)]:
            return f"metadata.{name}.{wrong[0]} is no text"
    return ""


def _documents(content: bytes) -> Iterator[tuple[int, Any]]:
    """Give what a stream of JSON or YAML says, each with its first line; nothing for a document that says nothing."""
    found, rest = _json(content) if content.lstrip().startswith(b"{") else ([], content)
    yield from (one for one in found if one[1] is not None)
    above = content[: len(content) - len(rest)].count(b"\n")
    if len(found) > 1 and rest:
        raise ObjectsError("error parsing: JSON is expected", above + 1)
    # what is no JSON, or only begins so, may be YAML
    for before, piece in _pieces(rest, above):
        if (data := _parsed(piece, above + before)) is not None:
            yield above + before + 1, data


def _pieces(content: bytes, above: int) -> Iterator[tuple[int, bytes]]:
    try:
        yield from document.documents(content)
    except DocumentError as error:
        raise _unparsed(error, above) from error


def _parsed(piece: bytes, above: int) -> Any:
    try:
        return document.parse(piece)
    except DocumentError as error:
        raise _unparsed(error, above) from error


def _unparsed(error: DocumentError, above: int) -> ObjectsError:
    return ObjectsError(f"error parsing: {error.args[0]}", above + (error.line or 1), error.column or 1)


def _json(content: bytes) -> tuple[list[tuple[int, Any]], bytes]:
    """Read JSON values one after the other, as far as there are any: what they say, and what stands behind them.

    Bytes that are no UTF-8 are no fault to Go's reader of JSON.
    """
    text, at, line, found = content.decode("utf-8", "surrogateescape"), 0, 1, list[tuple[int, Any]]()
    reader = json.JSONDecoder(parse_constant=_no_number)
    with suppress(ValueError, RecursionError):
        while (start := _behind_space(text, at)) < len(text):
            data, end = reader.raw_decode(text, start)
            line, at = line + text.count("\n", at, start), start
            found.append((line, _whole(data)))
            line, at = line + text.count("\n", at, end), end
    return found, text[_behind_space(text, at) :].encode("utf-8", "surrogateescape")


def _behind_space(text: str, at: int) -> int:
    found = _JSON_SPACE.match(text, at)
    return found.end() if found else at


def _whole(data: Any) -> Any:
    """Replace what is no character, as Go does: halves of a pair too."""
    text = json.dumps(data, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.loads(text.encode("utf-8", "replace"))
    return data


def _no_number(constant: str) -> NoReturn:
    raise ValueError(constant)
