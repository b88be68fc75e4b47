"""What Helm decides about bytes: Go's JSON, the digest in Chart.lock, a chart as an OCI artifact, .helmignore.

Source: helm v4.2.3 internal/resolver (HashReq), pkg/registry (Push), pkg/ignore; judged by Helm's own engine in tests.
"""

from __future__ import annotations

import datetime as dt
import fnmatch
import hashlib
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import msgspec

from brolly.archive import Entry, stored_gzip, write_tar
from brolly.chart import clean_text
from brolly.oci import HELM_CHART, HELM_CONFIG, IMAGE_MANIFEST, Artifact, Blob

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from brolly.chart import Chart, Requirement

_ESCAPED_BY_GO: Final = tuple((char.encode(), b"\\u%04x" % ord(char)) for char in "<>&\u2028\u2029")
_CREATED: Final = "org.opencontainers.image.created"
# the order of chart.Metadata's fields in Go
METADATA_ORDER: Final = (
    "name", "home", "sources", "version", "description", "keywords", "maintainers", "icon", "apiVersion", "condition",
    "tags", "appVersion", "deprecated", "annotations", "kubeVersion", "dependencies", "type",
)  # fmt: skip
_DEPENDENCY_ORDER: Final = (
    "name", "version", "repository", "condition", "tags", "enabled", "import-values", "alias",
)  # fmt: skip


def go_json(value: Any) -> bytes:
    """Serialize as Go's encoding/json does: compact, and `<`, `>`, `&`, U+2028 and U+2029 escaped."""
    text = _json(value)
    for char, escaped in _ESCAPED_BY_GO:
        text = text.replace(char, escaped)
    return text


def _json(value: Any) -> bytes:
    if isinstance(value, str):
        # a third of the time, and rendered texts are megabytes
        with suppress(UnicodeEncodeError):
            return msgspec.json.encode(value)
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")


def timestamp(epoch: int) -> str:
    """Write a time as RFC 3339 in UTC."""
    return dt.datetime.fromtimestamp(epoch, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def lock_digest(required: Sequence[Requirement], locked: Sequence[Requirement]) -> str:
    """Hash a Chart.yaml's dependencies with those of its Chart.lock (name, version and repository), as Helm does."""
    both = [[_go_requirement(requirement) for requirement in side] for side in (required, locked)]
    return "sha256:" + hashlib.sha256(go_json(both)).hexdigest()


def _go_requirement(requirement: Requirement) -> dict[str, Any]:
    # Helm hashes what it has read and cleaned
    fields: dict[str, Any] = {
        "name": clean_text(requirement.name),
        "version": clean_text(requirement.version),
        "repository": clean_text(requirement.repository),
        "condition": clean_text(requirement.condition),
        "tags": [clean_text(tag) for tag in requirement.tags],
        "import-values": requirement.import_values,
        "alias": requirement.alias,
    }
    return _go_fields(fields, _DEPENDENCY_ORDER)


def _sorted(value: Any) -> Any:
    """Sort the keys of a map, as Go serializes one."""
    match value:
        case dict():
            return {key: _sorted(item) for key, item in sorted(value.items())}
        case list() | tuple():
            return [_sorted(item) for item in value]
        case _:
            return value


def chart_artifact(package: bytes, chart: Chart, repository: str, epoch: int) -> Artifact:
    """Make the artifact that `helm push` makes of a chart package: the same manifest, byte for byte.

    `repository` is the path below the address. Helm takes the creation time from the file; ours is `epoch`, unless
    Chart.yaml has the annotation.
    """
    config = Blob.of(HELM_CONFIG, go_json(go_metadata(chart)))
    layer = Blob.of(HELM_CHART, package)
    manifest = {
        "schemaVersion": 2,
        "config": _go_descriptor(config),
        "layers": [_go_descriptor(layer)],
        "annotations": _annotations(chart, epoch),
    }
    return Artifact(repository, chart.version, Blob.of(IMAGE_MANIFEST, go_json(manifest)), (config, layer))


def _go_descriptor(blob: Blob) -> dict[str, Any]:
    descriptor = blob.descriptor
    return {"mediaType": descriptor.media_type, "digest": descriptor.digest, "size": descriptor.size}


def go_metadata(chart: Chart) -> dict[str, Any]:
    """Give Chart.yaml as Go serializes chart.Metadata: its fields in their order, empty ones left out."""
    fields = dict(chart.metadata)
    fields["dependencies"] = [_go_fields(one, _DEPENDENCY_ORDER) for one in fields.get("dependencies") or ()]
    fields["maintainers"] = [_go_fields(one, ("name", "email", "url")) for one in fields.get("maintainers") or ()]
    fields["annotations"] = _sorted(fields.get("annotations") or {})
    return {name: fields[name] for name in METADATA_ORDER if fields.get(name)}


def _go_fields(fields: Mapping[str, Any], order: Sequence[str]) -> dict[str, Any]:
    """Order fields as Go does, without those that omitempty leaves out; a dependency always has name and repository."""
    always = ("name", "repository") if order is _DEPENDENCY_ORDER else ()
    return {name: _sorted(fields.get(name, "")) for name in order if fields.get(name) or name in always}


def _annotations(chart: Chart, epoch: int) -> dict[str, str]:
    fields = go_metadata(chart)
    authors = ", ".join(
        person.get("name", "") + (f" ({person['email']})" if person.get("email") else "")
        for person in fields.get("maintainers", ())
    )
    own = {"org.opencontainers.image.title": chart.name, "org.opencontainers.image.version": chart.version}
    found = {
        "org.opencontainers.image.description": fields.get("description", ""),
        "org.opencontainers.image.url": fields.get("home", ""),
        "org.opencontainers.image.source": next(iter(fields.get("sources", ())), ""),
        "org.opencontainers.image.authors": authors,
        _CREATED: timestamp(epoch),
    }
    # Helm leaves out its own that are empty, and keeps what the chart says
    found = {name: text for name, text in found.items() if text.strip()}
    return dict(sorted({**found, **fields.get("annotations", {}), **own}.items()))


def package_folder(files: Mapping[str, bytes], name: str, epoch: int) -> tuple[bytes, bytes]:
    """Package a chart's folder: the .tgz and its uncompressed tar.

    Files keep their bytes; `.helmignore` is applied; the order is Helm's: Chart.yaml, Chart.lock, values, schema,
    templates, the rest.
    """
    kept = not_ignored(files)
    tar = write_tar((Entry(f"{name}/{path}", files[path]) for path in sorted(kept, key=_package_order)), mtime=epoch)
    return stored_gzip(tar), tar


def _package_order(path: str) -> tuple[int, str]:
    first = ("Chart.yaml", "Chart.lock", "values.yaml", "values.schema.json")
    if path in first:
        return first.index(path), path
    return (4 if path.startswith("templates/") else 6 if path.startswith("charts/") else 5), path


def not_ignored(files: Iterable[str]) -> tuple[str, ...]:
    """Leave out what `.helmignore` names, if it is among the files (a mapping), and Helm's own `templates/.?*`."""
    rules = ["templates/.?*"]
    if isinstance(files, dict) and ".helmignore" in files:
        rules += files[".helmignore"].decode("utf-8", "replace").splitlines()
    patterns = [rule.strip() for rule in rules if rule.strip() and not rule.strip().startswith("#")]
    return tuple(path for path in files if not _is_ignored(path, patterns))


def _is_ignored(path: str, patterns: Sequence[str]) -> bool:
    parts = path.split("/")
    folders = ["/".join(parts[:depth]) for depth in range(1, len(parts))]
    # Helm walks the tree and skips a folder that matches, with all that is below it
    return any(_matches(folder, patterns, is_folder=True) for folder in folders) or _matches(
        path, patterns, is_folder=False
    )


def _matches(path: str, patterns: Sequence[str], *, is_folder: bool) -> bool:
    for pattern in patterns:
        rule = pattern.removeprefix("!")
        must_be_folder = rule.endswith("/") and rule != "/"
        rule = rule.rstrip("/") if must_be_folder else rule
        subject = path if rule.startswith("/") or "/" in rule else path.rsplit("/", 1)[-1]
        hit = _glob(subject, rule.removeprefix("/"))
        if pattern.startswith("!"):
            # Helm's meaning, unlike git's: what does not match is ignored
            if must_be_folder and not is_folder:
                return True
            if not hit:
                return True
        elif hit and (is_folder or not must_be_folder):
            return True
    return False


def _glob(path: str, pattern: str) -> bool:
    """Match as Go's filepath.Match: `*` and `?` stop at slashes."""
    parts, wanted = path.split("/"), pattern.split("/")
    return len(parts) == len(wanted) and all(
        fnmatch.fnmatchcase(part, rule.replace("[^", "[!")) for part, rule in zip(parts, wanted, strict=True)
    )
