"""Charts in OCI registries: which tags are versions, and where in a manifest the chart package is.

Source: Helm's pkg/registry/client.go (Tags, Pull) and internal/resolver/resolver.go.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from brolly.errors import WorldError
from brolly.findings import printable
from brolly.oci import HELM_CHART, HELM_CONFIG, Descriptor, Digest, Reference
from brolly.versions import Version

if TYPE_CHECKING:
    from collections.abc import Iterable

    from brolly.oci import Blob

_MAX_SIZE: Final = 1 << 62


def chart_reference(repository: str, name: str) -> Reference:
    """Give the place of a chart below a repository (`oci://host/path`); ValueError if that is none."""
    if repository.endswith("/"):
        raise ValueError(f"{repository!r} ends with a slash, which Helm does not take: write {repository.rstrip('/')}")
    return Reference.parse(f"{repository}/{name}")


def versions_of(tags: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Give the versions that Helm sees among tags, each with its tag, the newest first.

    Only strict versions count: `v1.2.0`, `1.2` and `latest` are invisible. `_` stands for the `+` that no tag can have.
    """
    found = []
    for tag in tags:
        version = tag.replace("_", "+")
        try:
            found.append((Version.parse_strict(version), version, tag))
        except ValueError:
            continue
    found.sort(key=lambda item: item[0], reverse=True)
    return tuple((version, tag) for _, version, tag in found)


def chart_layer(manifest: Blob, place: str) -> Descriptor:
    """Find the chart package in a manifest, by its media type: provenance may stand before it; WorldError if none."""
    body = _object(manifest.content, place)
    config = body.get("config")
    config_type = config.get("mediaType") if isinstance(config, dict) else None
    if config_type != HELM_CONFIG:
        kind = printable(str(config_type or manifest.descriptor.media_type))[:120]
        raise WorldError(f"{place} is no Helm chart but {kind}", hint="check the dependency's repository and name")
    layers = body.get("layers")
    charts = [
        layer
        for layer in (layers if isinstance(layers, list) else ())
        if isinstance(layer, dict) and layer.get("mediaType") == HELM_CHART
    ]
    if len(charts) != 1:
        raise WorldError(f"{place} has {len(charts)} chart packages in its manifest, not one")
    return _descriptor(charts[0], place)


def _object(content: bytes, place: str) -> dict[str, Any]:
    try:
        body = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise WorldError(f"{place}: its manifest is no JSON") from error
    if not isinstance(body, dict):
        raise WorldError(f"{place}: its manifest is no JSON object")
    return body


def _descriptor(layer: dict[str, Any], place: str) -> Descriptor:
    size = layer.get("size")
    try:
        digest = Digest.parse(str(layer.get("digest")))
    except ValueError as error:
        raise WorldError(f"{place}: its manifest names a layer by {error}") from error
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < _MAX_SIZE:
        raise WorldError(f"{place}: its manifest names a layer without a size")
    return Descriptor(media_type=HELM_CHART, digest=digest, size=size)
