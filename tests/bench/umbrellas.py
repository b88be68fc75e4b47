"""The same bundles, written twice: as a workspace of Brolly's, and as umbrella charts for Helm."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING, Any

import yaml

from brolly.chart import Requirement
from brolly.helm import lock_digest

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from bench.generate import Bundle

# twelve public charts make a record that Helm cannot store, which is what the limit is for; here nothing is installed
_SETTINGS = """\
address = "oci://registry.example/bench"

[limits.release-record]
limit = "8Mi"
reason = "the benchmark installs nothing"
"""
_NOTES = "{{ .Chart.Name }} is installed as {{ .Release.Name }}.\n"


def write_workspace(folder: Path, bundles: Iterable[Bundle], url: str) -> None:
    """Write a workspace whose bundles have charts from the repository at `url`."""
    (folder / "bundles").mkdir(parents=True)
    (folder / "brolly.toml").write_text(_SETTINGS)
    for bundle in bundles:
        place = folder / "bundles" / bundle.name
        place.mkdir()
        definition = {
            "apiVersion": "brolly/v1alpha1",
            "target": "umbrella",
            "name": bundle.name,
            "version": "1.0.0",
            "description": f"{len(bundle.charts)} charts of the benchmark",
            "icon": "https://bench.example/icon.svg",
            "dependencies": _dependencies(bundle, url),
        }
        (place / "bundle.yaml").write_text(_yaml(definition))
        (place / "values.yaml").write_text(_yaml(bundle.values))


def write_umbrellas(folder: Path, bundles: Iterable[Bundle], url: str) -> None:
    """Write one chart per bundle, with the Chart.lock that `helm dependency update` would write."""
    for bundle in bundles:
        place = folder / bundle.name
        (place / "templates").mkdir(parents=True)
        dependencies = _dependencies(bundle, url)
        metadata = {
            "apiVersion": "v2",
            "name": bundle.name,
            "version": "1.0.0",
            "description": f"{len(bundle.charts)} charts of the benchmark",
            "icon": "https://bench.example/icon.svg",
            "dependencies": dependencies,
        }
        required = [Requirement(chart.name, chart.version, url) for chart in bundle.charts]
        lock = {
            "dependencies": dependencies,
            "digest": lock_digest(required, required),
            "generated": "2026-01-02T03:04:05Z",
        }
        (place / "Chart.yaml").write_text(_yaml(metadata))
        (place / "Chart.lock").write_text(_yaml(lock))
        (place / "values.yaml").write_text(_yaml(bundle.values))
        (place / "templates" / "NOTES.txt").write_text(_NOTES)


def _dependencies(bundle: Bundle, url: str) -> list[dict[str, str]]:
    return [{"name": chart.name, "version": chart.version, "repository": url} for chart in bundle.charts]


def _yaml(data: Any) -> str:
    # no aliases: a definition may not have any
    dumper = type("Dumper", (yaml.CSafeDumper,), {"ignore_aliases": lambda *_: True})
    return yaml.dump(data, Dumper=dumper, sort_keys=False)


def edit(workspace: Path, name: str, edition: object) -> None:
    """Change a value of a bundle, one that reaches all its charts."""
    path = workspace / "bundles" / name / "values.yaml"
    text, count = re.subn(r"(?m)^  edition: .*$", f"  edition: '{edition}'", path.read_text(), count=1)
    if not count:
        raise ValueError(f"{path} has no edition to change")
    path.write_text(text)


def add_overlays(workspace: Path, name: str, count: int) -> None:
    """Add overlays to a bundle, each with values of its own."""
    folder = workspace / "bundles" / name / "overlays"
    folder.mkdir(exist_ok=True)
    for number in range(count):
        (folder / f"site-{number}.yaml").write_text(_yaml({"global": {"edition": f"site {number}"}}))


def remove_overlays(workspace: Path, name: str) -> None:
    """Remove a bundle's overlays again."""
    shutil.rmtree(workspace / "bundles" / name / "overlays")
