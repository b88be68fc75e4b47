"""The table of a bundle's values: Markdown, for people who configure it. It is metadata and never in the chart."""

from __future__ import annotations

import json
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from brolly.definition import Bundle
    from brolly.document import Document
    from brolly.sources import Component

_WIDTH = 80
_DEPTH = 6


def values_table(bundle: Bundle, components: Sequence[Component], values: Document | None) -> str:
    """List every value with its default: the bundle's own first, then the defaults of each chart under its key."""
    written: Mapping[str, Any] = values.data if values else {}
    lines = [f"# Values of {bundle.name} {bundle.version}", ""]
    keys = {component.key for component in components}
    own = {key: value for key, value in written.items() if key not in keys}
    if own:
        lines += ["## The bundle", "", *_table(own)]
    for component in components:
        chart = component.chart
        lines += ["", f"## {component.key}", "", f"Chart {chart.name} {chart.version}.", ""]
        lines += _table(_merged(chart.values, written.get(component.key, {})), prefix=f"{component.key}.")
    return "\n".join(lines) + "\n"


def _merged(defaults: Any, written: Any) -> Any:
    """Put what was written over a chart's defaults; a null deletes the default."""
    if not isinstance(defaults, dict) or not isinstance(written, dict):
        return written
    kept = {key: value for key, value in written.items() if value is not None}
    left = {key: value for key, value in defaults.items() if key not in written}
    return {**left, **{key: _merged(defaults.get(key), value) for key, value in kept.items()}}


def _table(values: Any, prefix: str = "") -> list[str]:
    # values of another shape have a finding of their own
    rows = _leaves(values, "") if isinstance(values, dict) else ()
    return ["| value | default |", "|---|---|", *(f"| `{prefix}{path}` | `{_shown(value)}` |" for path, value in rows)]


def _leaves(values: Mapping[str, Any], prefix: str, depth: int = 0) -> Iterator[tuple[str, Any]]:
    for key, value in sorted(values.items()):
        path = prefix + " ".join(key.split()).replace("|", "\\|").replace("`", "'")
        if isinstance(value, dict) and value and depth < _DEPTH:
            yield from _leaves(value, f"{path}.", depth + 1)
        else:
            yield path, value


def _shown(value: Any) -> str:
    # most values are texts, and json.dumps makes an encoder for each
    text = encode_basestring(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
    text = text.replace("|", "\\|").replace("`", "'")
    return text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…"
