"""The table of a bundle's values: Markdown, for people who configure it. It is metadata and never in the chart."""

from __future__ import annotations

import json
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
        lines += ["## The bundle", *_table(own)]
    for component in components:
        chart = component.chart
        lines += ["", f"## {component.key}", "", f"Chart {chart.name} {chart.version}.", ""]
        lines += _table(_merged(chart.values, written.get(component.key)), prefix=f"{component.key}.")
    return "\n".join(lines) + "\n"


def _merged(defaults: Any, written: Any) -> Any:
    if not isinstance(defaults, dict) or not isinstance(written, dict):
        return defaults if written is None else written
    return {key: _merged(defaults.get(key), written.get(key)) for key in (*defaults, *(set(written) - set(defaults)))}


def _table(values: Mapping[str, Any], prefix: str = "") -> list[str]:
    rows = [f"| `{prefix}{path}` | `{_shown(value)}` |" for path, value in _leaves(values, "")]
    return ["", "| value | default |", "|---|---|", *rows]


def _leaves(values: Mapping[str, Any], prefix: str, depth: int = 0) -> Iterator[tuple[str, Any]]:
    for key, value in sorted(values.items()):
        path = f"{prefix}{key}".replace("|", "\\|").replace("`", "")
        if isinstance(value, dict) and value and depth < _DEPTH:
            yield from _leaves(value, f"{path}.", depth + 1)
        else:
            yield path, value


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, sort_keys=True).replace("|", "\\|").replace("`", "'")
    return text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…"
