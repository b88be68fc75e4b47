"""What a CI job does with Helm, for each umbrella chart: dependency build, package, lint, render.

A program of its own, since Helm's engine is measured in a process of its own:
`jobs FOLDER...` | `index URL NAME` | `usable PACKAGE...`; one JSON document on stdout.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PHASES = ("dependencies", "package", "lint", "render")


def jobs(folders: Sequence[str]) -> dict[str, Any]:
    """Do the whole job for each umbrella chart: seconds by phase, what was rendered, what failed."""
    import helm_python as helm

    seconds = dict.fromkeys(PHASES, 0.0)
    rendered, templates, failed = 0, 0, []

    @contextmanager
    def timed(phase: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            seconds[phase] += time.perf_counter() - started

    for folder in folders:
        shutil.rmtree(Path(folder, "charts"), ignore_errors=True)
        with tempfile.TemporaryDirectory() as out:
            with timed("dependencies"):
                helm.dependency_build(folder)
            with timed("package"):
                package = helm.package(folder, destination=out)
            with timed("lint"):
                errors = helm.lint(folder, {}, strict=True)["errors"]
            try:
                with timed("render"):
                    objects = _render(Path(package).read_bytes())
            except helm.HelmError as error:
                objects, errors = {}, [*errors, str(error)]
        if errors:
            failed.append(f"{folder}: {errors[0]}")
        rendered += sum(map(len, objects.values()))
        templates += len(objects)
    return {"seconds": seconds, "rendered": rendered, "templates": templates, "failed": failed}


def _render(package: bytes) -> dict[str, str]:
    import helm_python as helm

    with helm.Chart.load_archive(package) as chart:
        objects: dict[str, str] = chart.render({}, name="bench")
    return objects


def index(arguments: Sequence[str]) -> dict[str, Any]:
    """Read the index of a repository; seconds without the start of the process."""
    import helm_python as helm

    url, name = arguments
    started = time.perf_counter()
    entries = helm.repo_index(url)["entries"][name]
    return {"seconds": time.perf_counter() - started, "version": entries[0]["version"]}


def usable(packages: Sequence[str]) -> list[str]:
    """List the chart packages that lint and render with their defaults: only with those can both sides do something."""
    import helm_python as helm

    found = []
    for package in packages:
        try:
            _render(Path(package).read_bytes())
            if not helm.lint(package, {"global": {"edition": "0"}}, strict=True)["errors"]:
                found.append(package)
        except helm.HelmError:
            continue
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps({"jobs": jobs, "index": index, "usable": usable}[sys.argv[1]](sys.argv[2:])))
