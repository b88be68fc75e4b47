"""Small charts for the tests, and Helm's engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from brolly.archive import Entry, stored_gzip, write_tar

if TYPE_CHECKING:
    from types import ModuleType


def engine() -> ModuleType:
    """Give Helm's engine, or skip."""
    module: ModuleType = pytest.importorskip("helm_python", reason="needs Helm's engine: pip install 'brolly[helm]'")
    return module


def package(files: dict[str, bytes | str], name: str = "demo") -> bytes:
    """Package files (names relative to the chart) as a chart."""
    entries = [
        Entry(f"{name}/{path}", content.encode() if isinstance(content, str) else content)
        for path, content in files.items()
    ]
    return stored_gzip(write_tar(entries))


def chart_files(name: str = "demo", version: str = "1.0.0", **more: Any) -> dict[str, bytes | str]:
    """Give the files of the smallest chart that lints; `more` are fields of Chart.yaml."""
    metadata = {"apiVersion": "v2", "name": name, "version": version, **more}
    template = (
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}-" + name + "\n"
        "data:\n  values: {{ .Values | toJson | quote }}\n"
    )
    return {"Chart.yaml": yaml.safe_dump(metadata), "values.yaml": "size: 1\n", "templates/config.yaml": template}


def chart_package(name: str = "demo", version: str = "1.0.0", **more: Any) -> bytes:
    """Package the smallest chart."""
    return package(chart_files(name, version, **more), name)
