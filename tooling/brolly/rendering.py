"""Helm's answers as values: manifests and hooks in Helm's order, notes, lint reports and failures.

Source: helm v4.2.3 pkg/release/v1/util (SplitManifests, SortManifests, InstallOrder), pkg/action (renderResources) and
pkg/cmd/template.go; judged by Helm's own engine in tests.
"""

from __future__ import annotations

import re
import sys
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from brolly import document, objects
from brolly.findings import printable
from brolly.objects import ObjectFacts  # noqa: TC001 - msgspec reads the annotations

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

FailureKind = Literal["values-schema", "template", "load", "timeout", "memory", "crash", "other"]
Level = Literal["unknown", "info", "warning", "error"]

# what Helm calls InstallOrder; a kind that is not in it comes after all that are, by its name
INSTALL_ORDER: Final = (
    "PriorityClass", "Namespace", "NetworkPolicy", "ResourceQuota", "LimitRange", "PodSecurityPolicy",
    "PodDisruptionBudget", "ServiceAccount", "Secret", "SecretList", "ConfigMap", "StorageClass", "PersistentVolume",
    "PersistentVolumeClaim", "CustomResourceDefinition", "ClusterRole", "ClusterRoleList", "ClusterRoleBinding",
    "ClusterRoleBindingList", "Role", "RoleList", "RoleBinding", "RoleBindingList", "Service", "DaemonSet", "Pod",
    "ReplicationController", "ReplicaSet", "Deployment", "HorizontalPodAutoscaler", "StatefulSet", "Job", "CronJob",
    "IngressClass", "Ingress", "APIService", "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration",
)  # fmt: skip
HOOK_EVENTS: Final = (
    "pre-install", "post-install", "pre-delete", "post-delete", "pre-upgrade", "post-upgrade", "pre-rollback",
    "post-rollback", "test",
)  # fmt: skip

_RANKS: Final = {kind: rank for rank, kind in enumerate(INSTALL_ORDER)}
# `test-success` is Helm 2's name of the event
_EVENTS: Final = {**{event: event for event in HOOK_EVENTS}, "test-success": "test"}
_NOTES: Final = "NOTES.txt"
# Go's unicode.IsSpace and RE2's \s, which are neither Python's nor each other
_EN_QUAD_TO_HAIR_SPACE: Final = "".join(map(chr, range(0x2000, 0x200B)))
_SPACE: Final = f"\t\n\v\f\r \x85\xa0\u1680{_EN_QUAD_TO_HAIR_SPACE}\u2028\u2029\u202f\u205f\u3000"
# Helm's `(?:^|\s*\n)---\s*`; the lookbehind finds the same places without trying every blank of a long run
_SEPARATOR: Final = re.compile(r"(?:\A|(?<![\t\n\f\r ])[\t\n\f\r ]*\n)---[\t\n\f\r ]*")
_GO_INTEGER: Final = re.compile(r"[+-]?[0-9]+")

_LONGEST_MESSAGE: Final = 4000
_LONGEST_TEXT: Final = 64 << 10
_SCHEMA_SENTENCE: Final = "values don't meet the specifications of the schema(s) in the following chart(s):"
_QUOTED: Final = r"'(?:[^'\\]|\\.)*'"
_VIOLATION: Final = re.compile(rf"- at ({_QUOTED}): (.*)")
_UNEXPECTED: Final = re.compile(rf"(?<=additional properties ){_QUOTED}(?:, {_QUOTED})*(?= not allowed)")
_CHART_LINE: Final = re.compile(r"([A-Za-z0-9._-]+):")
_GO_ESCAPE: Final = re.compile(r"\\(x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8}|.)")
_GO_ESCAPES: Final = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_PLACES: Final = (
    re.compile(r"\A(?:execution|parse) error at \((?P<path>.+?):(?P<line>\d+)(?::(?P<column>\d+))?\): "),
    # the line that follows counts in the rendered document, not in the template
    re.compile(r"\AYAML parse error on (?P<path>.+?): (?P<line>(?!))?(?P<column>(?!))?"),
    re.compile(
        r"^(?:template: )?(?P<path>[^\s:][^:\n]*):(?P<line>\d+):(?P<column>\d+)(?:$|: executing )", re.MULTILINE
    ),
)


class RenderingError(ValueError):
    """A rendered document that Helm would refuse; `path` is the template."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"YAML parse error on {path}: {reason}")
        self.path = path


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """One rendered document, as Helm keeps it.

    `source` is the template's path (it begins with the chart's name), `content` the text without its separator. `kind`,
    `name` and the others are "" where it says nothing; `objects` are several where it is a list.
    """

    source: str
    content: str = field(repr=False)
    api_version: str = ""
    kind: str = ""
    name: str = ""
    namespace: str = ""
    objects: tuple[ObjectFacts, ...] = field(default=(), repr=False, compare=False)

    @property
    def data(self) -> Mapping[str, Any] | None:
        """What the text says, read anew each time; None where it is only comments."""
        data: Mapping[str, Any] | None = _read(self.source, self.content)
        return data


@dataclass(frozen=True, kw_only=True)
class Hook(Manifest):
    """A document that Helm applies at `events` and keeps beside the release's manifest."""

    events: tuple[str, ...] = ()
    weight: int = 0
    delete_policies: tuple[str, ...] = ()
    output_log_policies: tuple[str, ...] = ()


@dataclass(frozen=True)
class CrdFile:
    """A file of a chart's `crds/`, which Helm applies but neither renders nor stores in the manifest."""

    source: str
    content: str = field(repr=False)


@dataclass(frozen=True)
class Rendering:
    """What Helm renders: manifests and hooks in install order, CRD files, and the parent chart's notes."""

    manifests: tuple[Manifest, ...] = ()
    hooks: tuple[Hook, ...] = ()
    crds: tuple[CrdFile, ...] = ()
    notes: str = ""


@dataclass(frozen=True)
class LintMessage:
    """One line of `helm lint`; `path` is relative to the chart."""

    level: Level
    path: str
    message: str


@dataclass(frozen=True)
class LintReport:
    """What `helm lint` says. `passes` is its exit code: under `strict` a warning fails too."""

    messages: tuple[LintMessage, ...]
    passes: bool


@dataclass(frozen=True)
class TemplatePlace:
    """A place in a template: path below the chart's name; line and column count from 1 and are 1 where unknown."""

    path: str
    line: int = 1
    column: int = 1


@dataclass(frozen=True)
class SchemaViolation:
    """What a values schema refuses.

    `chart` is the subchart's key (or the chart's name), `pointer` a JSON pointer into its values; it is None where Helm
    cannot use the schema itself.
    """

    chart: str
    pointer: str | None
    message: str


@dataclass(frozen=True)
class EngineFailure:
    """Why Helm's engine gave no answer; `message` is Helm's, bounded and without control characters."""

    kind: FailureKind
    message: str
    place: TemplatePlace | None = None
    violations: tuple[SchemaViolation, ...] = ()


# documents by their template and text; None is a hook that Helm drops
KnownDocuments = MutableMapping[tuple[str, str], Manifest | None]


def from_templates(
    rendered: Mapping[str, str], *, crds: Iterable[CrdFile] = (), known: KnownDocuments | None = None
) -> Rendering:
    """Sort rendered templates (text by path) as `helm install` does; RenderingError where Helm would refuse one.

    `known` are documents of the same release that were read before, with other values; what is new is put there.
    """
    seen: KnownDocuments = {} if known is None else known
    documents = tuple(
        found for path in sorted(rendered) if _is_manifest(path) for found in _documents(path, rendered[path], seen)
    )
    ordered = sorted(documents, key=_install_rank)
    return Rendering(
        manifests=tuple(found for found in ordered if not isinstance(found, Hook)),
        hooks=tuple(found for found in ordered if isinstance(found, Hook)),
        crds=tuple(crds),
        notes=next((text for path, text in rendered.items() if _is_parent_notes(path)), ""),
    )


def stored_manifest(rendering: Rendering) -> str:
    """Give the `manifest` of the release record, byte for byte."""
    return "".join(_source_block(manifest) for manifest in rendering.manifests)


def text(rendering: Rendering, *, include_crds: bool = False, hooks: bool = True) -> str:
    """Give what `helm template` prints."""
    crds = "".join(_source_block(crd) for crd in rendering.crds) if include_crds else ""
    shown = (crds + stored_manifest(rendering)).strip(_SPACE) + "\n"
    return shown + ("".join(_source_block(hook) for hook in rendering.hooks) if hooks else "")


def split_documents(content: str) -> tuple[str, ...]:
    """Split a rendered template into its documents as Helm does, at `---` wherever a line begins with it."""
    text = content.lstrip(_SPACE)
    # most templates hold one document, and a search for four characters is cheap
    parts = _SEPARATOR.split(text) if text.startswith("---") or "\n---" in text else [text]
    return tuple(part.lstrip(_SPACE) for part in parts if part.strip(_SPACE))


def _source_block(document: Manifest | CrdFile) -> str:
    return f"---\n# Source: {document.source}\n{document.content}\n"


def _is_manifest(path: str) -> bool:
    return not path.rsplit("/", 1)[-1].startswith("_") and not path.endswith(_NOTES)


def _is_parent_notes(path: str) -> bool:
    return path.split("/")[1:] == ["templates", _NOTES]


def _install_rank(manifest: Manifest) -> tuple[int, str]:
    rank = _RANKS.get(manifest.kind)
    return (len(_RANKS), manifest.kind) if rank is None else (rank, "")


def _documents(path: str, content: str, seen: KnownDocuments) -> Iterator[Manifest]:
    for part in split_documents(content):
        if (path, part) not in seen:
            seen[path, part] = _manifest(path, part)
        manifest = seen[path, part]
        if manifest is not None:
            yield manifest


def _manifest(path: str, content: str) -> Manifest | None:
    """Read one document's head, as Helm's SimpleHead; a hook with an event that Helm does not know is dropped."""
    data = _read(path, content)
    head = _mapping(path, "the document", data)
    metadata = _mapping(path, "metadata", *_fields(head, "metadata"))
    annotations = _texts(path, *_fields(metadata, "annotations"))
    about: dict[str, Any] = {
        "source": path,
        "content": content,
        "api_version": _text(path, head, "apiVersion"),
        "kind": _text(path, head, "kind"),
        "name": _text(path, metadata, "name"),
        "namespace": str(metadata.get("namespace") or ""),
    }
    if "helm.sh/hook" in annotations:
        return _hook(about | {"objects": tuple(objects.described(data or {}, path, "hook"))}, annotations)
    return Manifest(**about, objects=tuple(objects.described(data or {}, path)))


def _read(path: str, content: str) -> Any:
    try:
        return document.parse(content.encode("utf-8", "surrogatepass"))
    except ValueError as error:
        raise RenderingError(path, str(error)) from error


def _hook(about: Mapping[str, Any], annotations: Mapping[str, str]) -> Hook | None:
    events = [_EVENTS.get(event) for event in _words(annotations, "helm.sh/hook")]
    if None in events:
        return None
    return Hook(
        **about,
        events=tuple(event for event in events if event),
        weight=_weight(annotations.get("helm.sh/hook-weight", "")),
        delete_policies=_words(annotations, "helm.sh/hook-delete-policy"),
        output_log_policies=_words(annotations, "helm.sh/hook-output-log-policy"),
    )


def _words(annotations: Mapping[str, str], key: str) -> tuple[str, ...]:
    if key not in annotations:
        return ()
    return tuple(word.strip(_SPACE).lower() for word in annotations[key].split(","))


def _weight(written: str) -> int:
    """Read a weight as Go's strconv.Atoi; what it cannot read is 0."""
    weight = int(written[:40]) if _GO_INTEGER.fullmatch(written) and len(written) <= 40 else 0
    return weight if -(1 << 63) <= weight < 1 << 63 else 0


def _fields(data: Mapping[str, Any], name: str) -> list[Any]:
    """Find a field as Go's encoding/json does: whatever the letters' case; nulls are left out, the last one wins."""
    return [data[key] for key in sorted(data) if key.lower() == name.lower() and data[key] is not None]


def _mapping(path: str, what: str, *found: Any) -> Mapping[str, Any]:
    merged: dict[str, Any] = {}
    for data in found:
        if data is not None and not isinstance(data, dict):
            raise RenderingError(path, f"{what} is not a mapping")
        merged |= data or {}
    return merged


def _texts(path: str, *found: Any) -> dict[str, str]:
    annotations = _mapping(path, "metadata.annotations", *found)
    return {key: _coerced(path, f"metadata.annotations[{key}]", value) for key, value in annotations.items()}


def _text(path: str, data: Mapping[str, Any], name: str) -> str:
    return [_coerced(path, name, value) for value in _fields(data, name)][-1:][0] if _fields(data, name) else ""


def _coerced(path: str, name: str, value: Any) -> str:
    """Read a scalar into a text field: sigs.k8s.io/yaml writes numbers and booleans out."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case str() | int() | float():
            return str(value)
        case _:
            raise RenderingError(path, f"{name} is not a text")


def lint_report(messages: Iterable[tuple[int, str, str]], errors: Sequence[str]) -> LintReport:
    """Read Helm's lint result: messages (severity 0-3, path, text), and the texts that make the lint fail."""
    levels: tuple[Level, ...] = ("unknown", "info", "warning", "error")
    said = tuple(LintMessage(levels[severity], printable(path), settled(text)) for severity, path, text in messages)
    texts = {message.message for message in said}
    # what keeps Helm from linting at all is no message
    rest = tuple(LintMessage("error", "", error) for error in map(settled, errors) if error not in texts)
    return LintReport(messages=said + rest, passes=not errors)


def failure(kind: FailureKind, message: str) -> EngineFailure:
    """Read Helm's text of an error: the place in a template, or what a values schema refuses."""
    message = message[:_LONGEST_TEXT]
    if message.startswith(_SCHEMA_SENTENCE):
        return EngineFailure("values-schema", settled(message), violations=_violations(message))
    return EngineFailure(kind, settled(message), place=_place(message))


def settled(message: str) -> str:
    """Bound Helm's text, strip control characters, and put what Helm says in random order into one order."""
    message = message[:_LONGEST_TEXT]
    if message.startswith(_SCHEMA_SENTENCE):
        message = "\n".join((_SCHEMA_SENTENCE, *_violation_lines(_violations(message))))
    elif message.startswith("- at "):
        message = "\n".join(_in_order(message.rstrip("\n").split("\n")))
    shown = printable(message).strip()
    return shown if len(shown) <= _LONGEST_MESSAGE else shown[: _LONGEST_MESSAGE - 1] + "…"


def _violation_lines(violations: Iterable[SchemaViolation]) -> Iterator[str]:
    chart = None
    for violation in violations:
        if violation.chart != chart:
            chart = violation.chart
            yield f"{chart}:"
        at = "" if violation.pointer is None else f"- at '{violation.pointer}': "
        yield at + violation.message


def _violations(message: str) -> tuple[SchemaViolation, ...]:
    """Read Helm's list of refused values: a chart's name and a colon, then what is wrong with its values."""
    chart, blocks = "", list[tuple[str, list[str]]]()
    about_schema = False
    for line in message.rstrip("\n").split("\n")[1:]:
        if named := _CHART_LINE.fullmatch(line):
            chart, about_schema = named[1], False
        elif blocks and (line.startswith("  ") or about_schema):
            blocks[-1][1].append(line)
        else:
            # the pointers that follow point into the schema
            about_schema = "is not valid against metaschema" in line
            blocks.append((chart, [line]))
    return tuple(
        sorted(
            (_violation(*block) for block in blocks),
            key=lambda found: (found.chart, found.pointer or "", found.message),
        )
    )


def _violation(chart: str, lines: list[str]) -> SchemaViolation:
    first, *causes = _in_order(lines)
    found = _VIOLATION.fullmatch(first)
    pointer, said = (printable(_unquoted(found[1])), found[2]) if found else (None, first)
    return SchemaViolation(chart, pointer, printable("\n".join((said, *causes))))


def _in_order(lines: Sequence[str]) -> list[str]:
    """Sort lines that are indented under one another; Go's maps gave them in random order."""
    blocks: list[list[str]] = []
    for line in lines:
        if line.startswith("  ") and blocks:
            blocks[-1].append(line[2:])
        else:
            blocks.append([_UNEXPECTED.sub(_sorted_names, line)])
    ordered = sorted([head, *("  " + line for line in _in_order(rest))] for head, *rest in blocks)
    return [line for block in ordered for line in block]


def _sorted_names(found: re.Match[str]) -> str:
    return ", ".join(sorted(re.findall(_QUOTED, found[0])))


def _unquoted(quoted: str) -> str:
    return _GO_ESCAPE.sub(_unescaped, quoted[1:-1])


def _unescaped(found: re.Match[str]) -> str:
    code = found[1]
    return chr(min(int(code[1:], 16), sys.maxunicode)) if len(code) > 1 else _GO_ESCAPES.get(code, code)


def _place(message: str) -> TemplatePlace | None:
    """Find the innermost place that Helm names; Go counts a template's columns from 0."""
    for pattern in _PLACES:
        found = list(pattern.finditer(message))
        if found:
            path, line, column = found[-1].group("path", "line", "column")
            return TemplatePlace(printable(path), int(line or 1), int(column) + 1 if column else 1)
    return None
