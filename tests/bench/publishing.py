"""Measure publishing against a plain client, with docker-registry as the other end."""

from __future__ import annotations

import hashlib
import json
import random
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bench import measure
from bench.brolly_side import Side, environment
from bench.measure import Measured
from bench.table import Group, Row, side
from registries import docker_registry

if TYPE_CHECKING:
    from collections.abc import Callable

_TESTS: Final = Path(__file__).resolve().parents[1]
_TEMPLATE: Final = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}\ndata:\n  note: NOTE\n"


def measure_publishing(
    artifacts: int, large: int, repeats: int, workers: int, *, progress: Callable[[str], None]
) -> Group:
    """Measure so many small artifacts, and one with a layer of so many bytes."""
    progress("publishing")
    rows: list[Row] = []
    facts: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="brolly-bench-") as folder:
        small = _built(Path(folder, "small"), artifacts, workers)
        rows += _rows(f"{artifacts} small artifacts", small, repeats, facts)
        huge = _built(Path(folder, "large"), 1, workers)
        _enlarge(huge.workspace / "dist", large)
        rows += _rows(f"one of {large / 1e6:.0f} MB", huge, repeats, facts)
    return Group("publish", ("requests", f"{workers} threads"), tuple(rows), facts)


def _built(folder: Path, count: int, workers: int) -> Side:
    """Build bundles of one local chart each, of a few kilobytes."""
    made = Side(folder, workers)
    for number in range(count):
        _write_bundle(made.workspace / "bundles" / f"small-{number:03}", number)
    (made.workspace / "brolly.toml").write_text('address = "oci://registry.example/bench"\n')
    made.lock()
    made.build()
    return made


def _write_bundle(folder: Path, number: int) -> None:
    chart = folder / "charts" / "note"
    (chart / "templates").mkdir(parents=True)
    note = random.Random(number).randbytes(1500).hex()
    (chart / "Chart.yaml").write_text(f"apiVersion: v2\nname: note\nversion: 1.0.{number}\n")
    (chart / "values.yaml").write_text("size: 1\n")
    (chart / "templates" / "note.yaml").write_text(_TEMPLATE.replace("NOTE", note))
    (folder / "bundle.yaml").write_text(
        f"apiVersion: brolly/v1alpha1\ntarget: umbrella\nname: {folder.name}\nversion: 1.0.0\n"
        "dependencies:\n  - {name: note, version: 1.x, repository: 'file://charts/note'}\n"
    )


def _enlarge(dist: Path, size: int) -> None:
    """Put a large layer into the one artifact that was built: no chart may be as large as that."""
    layout = dist / "oci"
    report = json.loads((dist / "report.json").read_bytes())
    artifact = report["bundles"][0]["artifacts"][0]
    manifest = json.loads(_blob(layout, artifact["digest"]).read_bytes())
    layer = random.Random(0).randbytes(size)
    manifest["layers"][0] |= {"digest": _write_blob(layout, layer), "size": size}
    content = json.dumps(manifest, separators=(",", ":")).encode()
    digest = _write_blob(layout, content)
    artifact |= {"digest": digest, "size": len(content) + size + manifest["config"]["size"]}
    (dist / "report.json").write_text(json.dumps(report))
    index: dict[str, Any] = json.loads((layout / "index.json").read_bytes())
    index["manifests"][0] |= {"digest": digest, "size": len(content)}
    (layout / "index.json").write_text(json.dumps(index))


def _blob(layout: Path, digest: str) -> Path:
    return layout / "blobs" / "sha256" / digest.removeprefix("sha256:")


def _write_blob(layout: Path, content: bytes) -> str:
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    _blob(layout, digest).write_bytes(content)
    return digest


def _rows(work: str, built: Side, repeats: int, facts: dict[str, float]) -> tuple[Row, Row]:
    """Measure with the start-up of the processes, and without."""
    brolly, begun = list[Measured](), list[Measured]()
    peers: dict[tuple[str, ...], list[Measured]] = {("1",): [], (str(built.workers),): [], ("1", "--verify"): []}
    for _ in range(repeats):
        # an empty registry each time: what is there already is not uploaded again
        with docker_registry() as host:
            brolly.append(built.run("publish", "--to", f"oci://{host}/bench", "--jobs", str(built.workers)))
        with docker_registry() as host:
            begun.append(_begun(built, host))
        for options, runs in peers.items():
            with docker_registry() as host:
                runs.append(_plain(built, host, *options))
    one, several, verifying = peers.values()
    whole = Row(work, side(brolly), (side(one), side(several)))
    without = f"{work}, without start-up"
    inside = Row(without, side(_inside(begun)), (side(_inside(one)), side(_inside(several))))
    facts[f"{work}, x requests that verify digests"] = side(verifying).seconds / whole.brolly.seconds
    facts[f"{without}, x requests that verify digests"] = side(_inside(verifying)).seconds / inside.brolly.seconds
    return whole, inside


def _inside(runs: list[Measured]) -> list[Measured]:
    """Take the seconds that the programs counted themselves."""
    return [replace(run, seconds=json.loads(run.outputs[0])["seconds"]) for run in runs]


def _begun(built: Side, host: str) -> Measured:
    command = [sys.executable, "-m", "bench.brolly_side", "publish", f"oci://{host}/bench", str(built.workers)]
    environ = {**built.environ, "PYTHONPATH": str(_TESTS), "BROLLY_CACHE": str(built.folder / "cache")}
    return measure.run([command], environ={**environ, "SOURCE_DATE_EPOCH": "0"}, cwd=built.workspace)


def _plain(built: Side, host: str, *options: str) -> Measured:
    layout = str(built.workspace / "dist" / "oci")
    command = [sys.executable, "-m", "bench.plain_client", layout, host, "bench", *options]
    return measure.run([command], environ=environment(), cwd=_TESTS)
