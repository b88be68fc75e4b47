"""What is known of a release once Helm's engine has answered: small enough to be kept, enough for every check."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from brolly import document, release
from brolly.rendering import EngineFailure, LintReport, Rendering, split_documents
from brolly.shapes import settled

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


Origin = Literal["manifest", "hook", "crd"]


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


class RecordFacts(msgspec.Struct, frozen=True, array_like=True):
    """A release record: its size and upper bound, what every dependency adds ("" is the chart itself), a remedy."""

    size: int
    upper_bound: int
    shares: tuple[tuple[str, int], ...]
    label: str = ""
    hint: str = ""


class ReleaseFacts(msgspec.Struct, frozen=True, array_like=True):
    """What Helm's engine says of a release with one set of values; nothing where it was not asked.

    `skips_remote` where it was asked without the schemas that Helm would have to fetch.
    """

    lint: LintReport | None = None
    lint_failure: EngineFailure | None = None
    failure: EngineFailure | None = None
    objects: tuple[ObjectFacts, ...] = ()
    record: RecordFacts | None = None
    skips_remote: bool = False

    @property
    def is_accepted(self) -> bool:
        """Whether Helm took the values and rendered the release: no schema of its charts refuses anything."""
        return self.record is not None and not self.skips_remote


settled(ReleaseFacts)


def with_lint(facts: ReleaseFacts, lint: LintReport | EngineFailure) -> ReleaseFacts:
    """Add what Helm's lint said."""
    if isinstance(lint, LintReport):
        return msgspec.structs.replace(facts, lint=lint)
    return msgspec.structs.replace(facts, lint_failure=lint)


def record_of(
    rendering: Rendering,
    parent: release.Parent,
    given: Mapping[str, Any],
    *,
    name: str,
    namespace: str,
    remedy_from: int,
) -> RecordFacts:
    """Predict the record of what Helm rendered; `given` is set on top of the chart's defaults, `parent` is the chart.

    A record of fewer bytes than `remedy_from` needs no remedy, and to measure one costs another compression.
    """
    record = release.record(parent, rendering, given, name=name, namespace=namespace)
    attribution = release.attribute(record, by_object=False)
    shares = tuple((share.source, share.size) for share in attribution.shares)
    if record.upper_bound < remedy_from:
        return RecordFacts(record.size, record.upper_bound, shares)
    label, hint = release.remedy(record, attribution)
    return RecordFacts(record.size, record.upper_bound, shares, label, hint)


def objects_of(rendering: Rendering) -> tuple[ObjectFacts, ...]:
    """Describe each object that Helm rendered, or has in a CRD file."""
    return tuple(_objects(rendering))


def _objects(rendering: Rendering) -> Iterator[ObjectFacts]:
    for manifest in rendering.manifests:
        yield _object(manifest.data or {}, manifest.source, "manifest")
    for hook in rendering.hooks:
        yield _object(hook.data or {}, hook.source, "hook")
    for file in rendering.crds:
        for found in _crds(file.content):
            yield msgspec.structs.replace(found, source=file.source)


@lru_cache(maxsize=256)
def _crds(content: str) -> tuple[ObjectFacts, ...]:
    """Read a file of `crds/`: the same one comes with every bundle that has the chart, and may be large."""
    read = (document.parse(text.encode()) for text in split_documents(content))
    return tuple(_object(data, "", "crd") for data in read if isinstance(data, dict))


def _object(data: Mapping[str, Any], source: str, origin: Origin) -> ObjectFacts:
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
