"""The benchmark: its charts are what it says, and a tiny run fills every row. Figures are not asserted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from bench import generate
from bench.__main__ import Plan, run
from brolly.chart import read_package
from engine_charts import engine
from registries import peer

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_the_same_seed_gives_the_same_charts_and_bundles() -> None:
    charts = generate.charts(count=4)
    assert charts == generate.charts(count=4)
    assert {chart.package for chart in charts}.isdisjoint(chart.package for chart in generate.charts(seed=1, count=4))
    assert generate.bundles(charts, 3, size=2) == generate.bundles(charts, 3, size=2)


def test_bundles_differ_in_their_charts_and_values() -> None:
    bundles = generate.bundles(generate.charts(count=8), 6, size=3)
    assert len({tuple(chart.name for chart in bundle.charts) for bundle in bundles}) > 3
    assert len({json.dumps(bundle.values) for bundle in bundles}) == 6


def test_charts_lint_and_render(tmp_path: Path) -> None:
    helm = engine()
    for chart in generate.charts(count=3):
        package = tmp_path / f"{chart.name}.tgz"
        package.write_bytes(chart.package)
        values = generate.bundles([chart], 1)[0].values
        own = {**values.get(chart.name, {}), "global": values["global"]}
        assert helm.lint(str(package), own, strict=True)["errors"] == []
        with helm.Chart.load_archive(chart.package) as loaded:
            assert len(loaded.render(own, name="demo")) >= 12
        assert read_package(chart.package).version == chart.version


def test_a_tiny_run_fills_every_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    engine()
    peer("docker-registry")
    plan = Plan(
        sizes=(2,), repeats=(1,), charts=3, latencies=(0.0,), artifacts=2, large=1000, index=20_000, others=1, starts=1,
        growth=(1, 2), unchanged=1,
    )  # fmt: skip
    run(plan, generate.charts(count=4), tmp_path / "bench.json", "a test")
    groups = {group["title"]: group for group in json.loads((tmp_path / "bench.json").read_bytes())["groups"]}
    works = {title: [row["work"] for row in group["rows"]] for title, group in groups.items()}
    assert works == {
        "start-up": ["--version, least", "--version, median"],
        "2 bundles, 0 ms": [
            "cold", "nothing changed", "warm, no dist/", "one edited", "one edited, 2 overlays", "all changed",
        ],
        "2 bundles and 1": ["cold", "nothing changed", "warm, no dist/"],
        "one chart of a large index": ["downloaded and read", "unchanged on the server"],
        "publish": [
            "2 small artifacts", "2 small artifacts, without start-up", "one of 0 MB", "one of 0 MB, without start-up",
        ],
    }  # fmt: skip
    assert all(row["brolly"]["seconds"] > 0 for group in groups.values() for row in group["rows"])
    assert all(not group["notes"] for group in groups.values())
    shown = capsys.readouterr().out
    assert all(work in shown for rows in works.values() for work in rows)
