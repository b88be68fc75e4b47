"""What an author adds to a Flux bundle: objects in `resources/`, patches in `patches/`.

Resources are shipped byte for byte. A patch is an item of kustomization.yaml's `patches:` (`target` and `patch`), or an
object that is merged into the one of its kind and name; it is written into kustomization.yaml itself.
Source: kustomize api/types/selector.go and patch.go, api/internal/builtins/PatchTransformer.go (v5).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec

from brolly import document, flux
from brolly.archive import Entry
from brolly.document.rules import DUPLICATE_KEY
from brolly.findings import Finding, Location, Rule, Severity, printable
from brolly.suggestions import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from brolly.document import Document
    from brolly.sources import Sources

RESOURCE: Final = Rule("kustomize/resource", Severity.ERROR, "a file in resources/ that holds no Kubernetes object")
LEFT_OUT: Final = Rule("kustomize/left-out", Severity.WARNING, "a file that is not shipped")
CLASH: Final = Rule("kustomize/clash", Severity.ERROR, "two objects of one kind and name")
PATCH: Final = Rule("kustomize/patch", Severity.ERROR, "a patch that kustomize would refuse")
NO_MATCH: Final = Rule("kustomize/patch-matches-nothing", Severity.WARNING, "a patch that changes nothing")

RULES: Final = (RESOURCE, LEFT_OUT, CLASH, PATCH, NO_MATCH)

_ENDINGS: Final = (".yaml", ".yml", ".json")
_OPERATIONS: Final = ("add", "remove", "replace", "move", "copy", "test")
_ITEM_FIELDS: Final = ("target", "patch", "options")
_TARGET_FIELDS: Final = ("group", "version", "kind", "name", "namespace", "labelSelector", "annotationSelector")
_EQUALS: Final = re.compile(r"\s*([^\s=!,()]+)\s*==?\s*([^\s=!,()]*)\s*")


@dataclass(frozen=True)
class KubeObject:
    """What kustomize knows an object by."""

    api_version: str
    kind: str
    name: str
    namespace: str = ""
    labels: Mapping[str, Any] = field(default_factory=dict)
    annotations: Mapping[str, Any] = field(default_factory=dict)
    at: Location | None = None
    data: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, data: Mapping[str, Any], at: Location | None = None) -> Self:
        """Read an object's identity; ValueError says what is missing."""
        for needed in ("apiVersion", "kind"):
            if not isinstance(data.get(needed), str) or not data[needed]:
                raise ValueError(f"no {needed}")
        metadata = data.get("metadata")
        metadata = metadata if isinstance(metadata, dict) else {}
        name = metadata.get("name") or ""
        is_list = data["kind"].endswith("List") and isinstance(data.get("items"), list)
        if not is_list and (not isinstance(name, str) or not name):
            raise ValueError("no metadata.name")
        labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
        namespace = str(metadata.get("namespace") or "")
        return cls(data["apiVersion"], data["kind"], str(name), namespace, labels, annotations, at, data)

    @property
    def group_version(self) -> tuple[str, str]:
        """The API group ("" for the core) and its version."""
        group, slash, version = self.api_version.rpartition("/")
        return (group, version) if slash else ("", self.api_version)

    @property
    def identity(self) -> tuple[str, str, str, str]:
        """What two objects of one kustomization must not share."""
        return (*self.group_version, self.kind, f"{self.namespace or 'default'}/{self.name}")


@dataclass(frozen=True)
class Resource:
    """A file of `resources/` and the objects in it."""

    entry: Entry
    objects: tuple[KubeObject, ...]


@dataclass(frozen=True)
class Patch:
    """A patch as kustomization.yaml holds it. `merged_into` is set for an object without a target."""

    item: Mapping[str, Any]
    at: Location
    merged_into: KubeObject | None = None


def read_resources(sources: Sources) -> tuple[tuple[Resource, ...], tuple[Finding, ...]]:
    """Read `resources/`: its files, and everything that kustomize would refuse in them."""
    found: list[Finding] = []
    resources = []
    for name, content in _yaml_files(sources, "resources/", found):
        problem = _unfit_name(name)
        if problem:
            found.append(RESOURCE.finding(problem, Location(sources.path(name)), hint="rename the file"))
            continue
        documents, faults = _documents(content, sources.path(name))
        found += faults
        objects = tuple(_objects(documents, found))
        resources.append(Resource(Entry(name, content), objects))
    return tuple(resources), tuple(found)


def _yaml_files(sources: Sources, prefix: str, found: list[Finding]) -> Iterator[tuple[str, bytes]]:
    for name, content in sorted(sources.below(prefix).items()):
        if name.endswith(_ENDINGS):
            yield name, content
        elif not name.rsplit("/", 1)[-1].startswith("."):
            found.append(
                LEFT_OUT.finding(
                    f"{printable(name)} is no YAML file: it is not shipped",
                    Location(sources.path(name)),
                    hint="name it *.yaml, or move it out of the folder",
                )
            )


def _unfit_name(name: str) -> str:
    if flux.is_dropped(name):
        return f"Flux drops a file named {printable(name)} from an artifact"
    if len(name.encode()) > flux.MAX_NAME:
        return f"the file's name has more than {flux.MAX_NAME} bytes"
    if any(part.endswith("..") for part in name.split("/")) or "\\" in name:
        return f"Flux refuses an artifact with a file named {printable(name)}"
    return ""


def _documents(content: bytes, path: str) -> tuple[tuple[Document, ...], tuple[Finding, ...]]:
    """Read the documents of a file. Lines above each are kept as empty ones, so that its places are the file's."""
    documents: list[Document] = []
    found: list[Finding] = []
    above = 0
    for place, part in enumerate(re.split(rb"(?m)^---(?=[ \t\r\n]|\Z)", content.removeprefix(b"\xef\xbb\xbf"))):
        if place and not _is_blank(part.partition(b"\n")[0]):
            at = Location(path, above + 1, 4, above + 1, 5)
            hint = "begin the document in the next line"
            found.append(RESOURCE.finding("kustomize takes nothing but a comment behind ---", at, hint=hint))
        elif not all(map(_is_blank, part.splitlines())):
            read, faults = document.read(b"\n" * above + part, path, strict=False)
            found += map(_as_kustomize, faults)
            documents += [read] if read is not None else []
        above += part.count(b"\n")
    return tuple(documents), tuple(found)


def _is_blank(line: bytes) -> bool:
    return not line.strip() or line.lstrip().startswith(b"#")


def _as_kustomize(finding: Finding) -> Finding:
    """Helm keeps the last of two equal keys; kustomize refuses the file."""
    if finding.code != DUPLICATE_KEY.code:
        return finding
    message = finding.message.replace("Helm keeps the last", "kustomize refuses the file")
    return msgspec.structs.replace(finding, severity=Severity.ERROR, message=message)


def _objects(documents: Iterable[Document], found: list[Finding]) -> Iterator[KubeObject]:
    for one in documents:
        first = next(iter(one.data), None)
        at = one.location((first,), key=True) if first is not None else Location(one.path)
        try:
            described = KubeObject.of(one.data, at)
        except ValueError as error:
            hint = "an object has apiVersion, kind and metadata.name"
            found.append(RESOURCE.finding(f"this is no Kubernetes object: {error}", at, hint=hint))
            continue
        if described.group_version[0] == "kustomize.config.k8s.io":
            hint = "remove it: every file of resources/ is listed by itself"
            found.append(RESOURCE.finding("a kustomization cannot be one of its own resources", at, hint=hint))
            continue
        yield described


def clashes(generated: Iterable[KubeObject], resources: Sequence[Resource]) -> Iterator[Finding]:
    """Find objects that kustomize would refuse to have twice."""
    seen = {described.identity: described for described in generated}
    for described in (described for resource in resources for described in resource.objects if described.name):
        first = seen.setdefault(described.identity, described)
        if first is described:
            continue
        who = f"stands in {first.at} too" if first.at else "is what Brolly writes itself"
        hint = "give one of them another name" if first.at else _reserved_hint(described)
        message = f"{described.kind} {printable(described.name)} {who}"
        yield CLASH.finding(message, described.at, hint=hint)


def _reserved_hint(described: KubeObject) -> str:
    if described.kind in {"ConfigMap", "Secret"}:
        return "write values into values.yaml: the objects of this name are the operators'"
    return "give it another name, or change the generated object with a file in patches/"


def read_patches(sources: Sources) -> tuple[tuple[Patch, ...], tuple[Finding, ...]]:
    """Read `patches/`: every document of every file is one patch."""
    found: list[Finding] = []
    patches: list[Patch] = []
    for name, content in _yaml_files(sources, "patches/", found):
        documents, faults = _documents(content, sources.path(name))
        found += faults
        for one in documents:
            try:
                patches.append(_patch(one))
            except _PatchError as error:
                at = one.location(error.route) if one.has(error.route) else Location(one.path)
                found.append(PATCH.finding(str(error), at, hint=error.hint))
    return tuple(patches), tuple(found)


class _PatchError(ValueError):
    def __init__(self, message: str, route: tuple[str | int, ...] = (), hint: str = "") -> None:
        super().__init__(printable(message))
        self.route = route
        self.hint = hint


def _patch(one: Document) -> Patch:
    data = one.data
    if "kind" in data and "apiVersion" in data:
        return Patch({"patch": document.emit(data)}, one.location(("kind",), key=True), _identified(data, ()))
    _only(data, _ITEM_FIELDS, ())
    if "patch" not in data:
        hint = "write `target:` and `patch:`, or an object with apiVersion, kind and metadata.name"
        raise _PatchError("there is no patch in this file", hint=hint)
    target = data.get("target")
    content = _parsed(data["patch"])
    merged_into = _patch_content(content)
    item = {name: data[name] for name in ("target", "options") if data.get(name)}
    item["patch"] = data["patch"] if isinstance(data["patch"], str) else document.emit(data["patch"])
    if target:
        _check_target(target)
        return Patch(item, one.location(("target",), key=True))
    if merged_into is None:
        hint = "add `target:` with the kind and name of the objects to change"
        raise _PatchError("a list of operations needs a target", ("patch",), hint)
    return Patch(item, one.location(("patch",), key=True), merged_into)


def _only(data: Mapping[str, Any], known: Sequence[str], route: tuple[str | int, ...]) -> None:
    for name in data:
        if name not in known:
            hint = did_you_mean(str(name), known) or f"known here: {', '.join(known)}"
            if name == "path":
                hint = "write the patch itself under `patch:`"
            raise _PatchError(f"kustomize knows no field {name!r} in a patch", (*route, name), hint)


def _parsed(content: Any) -> Any:
    if not isinstance(content, str):
        return content
    try:
        return document.parse(content.encode())
    except ValueError as error:
        raise _PatchError(f"the patch is no YAML: {error}", ("patch",)) from error


def _patch_content(content: Any) -> KubeObject | None:
    if isinstance(content, dict):
        return _identified(content, ("patch",))
    if not isinstance(content, list) or not content:
        hint = "write a list of operations (op, path, value), or an object"
        raise _PatchError("the patch is neither a list of operations nor an object", ("patch",), hint)
    for index, step in enumerate(content):
        _check_operation(step, ("patch", index))
    return None


def _identified(content: Mapping[str, Any], route: tuple[str | int, ...]) -> KubeObject:
    try:
        return KubeObject.of(content)
    except ValueError as error:
        hint = "kustomize wants them even where a `target:` decides what is changed"
        raise _PatchError(f"the patch has {error}", route, hint) from error


def _check_operation(step: Any, route: tuple[str | int, ...]) -> None:
    if not isinstance(step, dict) or step.get("op") not in _OPERATIONS:
        word = str(step.get("op", "")) if isinstance(step, dict) else ""
        hint = did_you_mean(word, _OPERATIONS) or f"`op:` is one of: {', '.join(_OPERATIONS)}"
        raise _PatchError("this is no operation of a JSON patch", route, hint)
    path = step.get("path")
    if not isinstance(path, str) or (path and not path.startswith("/")):
        raise _PatchError(
            "the operation has no path", route, "write `path: /spec/...`; `~1` stands for a slash in a key"
        )
    needed = {"add": "value", "replace": "value", "test": "value", "move": "from", "copy": "from"}.get(step["op"])
    if needed and needed not in step:
        raise _PatchError(f"the operation {step['op']!r} has no {needed}", route, f"add `{needed}:`")


def _check_target(target: Any) -> None:
    if not isinstance(target, dict):
        raise _PatchError("target is no mapping", ("target",), "write `target: {kind: HelmRelease}`")
    _only(target, _TARGET_FIELDS, ("target",))
    for name, pattern in target.items():
        try:
            re.compile(_text(pattern, name))
        except re.error as error:
            if not name.endswith("Selector"):
                raise _PatchError(f"{name} is no regular expression: {error}", ("target", name)) from error


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise _PatchError(f"{name} is no text", ("target", name), 'put it in quotes: "..."')
    return value


def without_match(patches: Iterable[Patch], objects: Sequence[KubeObject]) -> Iterator[Finding]:
    """Find patches that reach no object. kustomize passes over a target in silence, and refuses an object."""
    known = tuple(dict.fromkeys(f"{described.kind}/{described.name}" for described in objects))
    for patch in patches:
        target = patch.item.get("target")
        if target is not None:
            if not any(_is_hit(target, described) for described in objects):
                yield NO_MATCH.finding(
                    f"no object of the bundle is {_shown(target)}: the patch changes nothing",
                    patch.at,
                    hint=_nearest(target, objects) or f"objects here: {', '.join(known[:8])}",
                )
        elif patch.merged_into and patch.merged_into.identity not in {described.identity for described in objects}:
            wanted = f"{patch.merged_into.kind}/{patch.merged_into.name}"
            hint = did_you_mean(wanted, known) or f"objects here: {', '.join(known[:8])}"
            yield PATCH.finding(f"no object of the bundle is {printable(wanted)}", patch.at, hint=hint)


def _shown(target: Mapping[str, str]) -> str:
    return printable(", ".join(f"{name} {text!r}" for name, text in target.items()))


def _nearest(target: Mapping[str, str], objects: Sequence[KubeObject]) -> str:
    if "name" in target:
        names = [described.name for described in objects if _is_hit({**target, "name": ""}, described)]
        if names:
            return did_you_mean(target["name"], names) or f"names here: {', '.join(names[:8])}"
    return did_you_mean(target.get("kind", ""), [described.kind for described in objects])


def _is_hit(target: Mapping[str, str], described: KubeObject) -> bool:
    """Match as kustomize does: anchored patterns, an empty one matches all, `default` is no namespace at all."""
    group, version = described.group_version
    actual = {
        "group": group, "version": version, "kind": described.kind, "name": described.name,
        "namespace": described.namespace or "default",
    }  # fmt: skip
    return (
        all(not target.get(name) or re.fullmatch(target[name], text) for name, text in actual.items())
        and _is_selected(target.get("labelSelector", ""), described.labels)
        and _is_selected(target.get("annotationSelector", ""), described.annotations)
    )


def _is_selected(selector: str, texts: Mapping[str, Any]) -> bool:
    """Judge plain equalities; whatever else a selector says is taken for true."""
    if "(" in selector:
        return True
    terms = (_EQUALS.fullmatch(term) for term in selector.split(","))
    return all(texts.get(term[1]) == term[2] for term in terms if term)
