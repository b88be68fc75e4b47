"""Brolly's side: its command line in a process of its own, as people start it.

As a program, `index URL NAME` looks one chart up with a cache that is empty, then with one that has the index, and
`publish DESTINATION JOBS` publishes the workspace that it runs in. Both say how long that took without their start-up.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.measure import Measured


def program() -> list[str]:
    """Give the command that starts Brolly: the script beside this Python."""
    script = Path(sys.executable).parent / "brolly"
    return [str(script)] if script.is_file() else [sys.executable, "-m", "brolly"]


def environment(**more: str) -> dict[str, str]:
    """Give this environment without what would change how Brolly works; a crash says where.

    Without bytecode each start compiles what it imports, which is half of it: people's programs have some.
    """
    without = ("BROLLY_", "SOURCE_DATE", "PYTHONDONTWRITEBYTECODE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(without)}
    return {**kept, "PYTHONFAULTHANDLER": "1", **more}


@dataclass(frozen=True)
class Side:
    """A workspace, its cache, and how many bundles are built at once. `good` lists the exit codes to accept."""

    folder: Path
    workers: int
    good: Sequence[int] = (0,)
    environ: Mapping[str, str] = field(default_factory=environment)

    @property
    def workspace(self) -> Path:
        """Where the bundles lie."""
        return self.folder / "workspace"

    def lock(self) -> Measured:
        """Lock all bundles, with a cache that is then thrown away."""
        done = self.run("lock", cache="lock-cache")
        # a lock of local charts needs none
        shutil.rmtree(self.folder / "lock-cache", ignore_errors=True)
        return done

    def build(self, epoch: int = 0) -> Measured:
        """Build all bundles. Another epoch changes the bytes of all that is built."""
        return self.run("build", "--jobs", str(self.workers), epoch=epoch)

    def run(self, *arguments: str, cache: str = "cache", epoch: int = 0) -> Measured:
        """Run a command in the workspace."""
        from bench import measure

        environ = {**self.environ, "BROLLY_CACHE": str(self.folder / cache), "SOURCE_DATE_EPOCH": str(epoch)}
        return measure.run([[*program(), *arguments]], environ=environ, cwd=self.workspace, good=self.good)

    def forget_cache(self) -> None:
        """Empty the cache."""
        shutil.rmtree(self.folder / "cache", ignore_errors=True)

    def forget_dist(self) -> None:
        """Remove what was built."""
        shutil.rmtree(self.workspace / "dist", ignore_errors=True)

    def failed(self) -> list[str]:
        """Name the bundles that the last build could not make."""
        report = json.loads((self.workspace / "dist" / "report.json").read_bytes())
        return [bundle["name"] for bundle in report["bundles"] if bundle["status"] == "failed"]


def index(arguments: Sequence[str]) -> dict[str, Any]:
    """Look one chart up in a repository; seconds without the start of the process."""
    from brolly.cache import Cache
    from brolly.registry.remote import OciRegistry
    from brolly.repositories import Repositories

    url, name = arguments
    seconds, version = [], ""
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(2):
            started = time.perf_counter()
            version = Repositories(Cache(Path(folder)), registry=OciRegistry).find(url, name, ">=1").version
            seconds.append(time.perf_counter() - started)
    return {"seconds": seconds, "version": version}


def publish(arguments: Sequence[str]) -> dict[str, Any]:
    """Publish with all that is needed loaded before; seconds, and the exit code."""
    import brolly.commands.publish
    import brolly.registry.client
    import brolly.registry.remote  # noqa: F401
    from brolly import cli

    destination, jobs = arguments
    started = time.perf_counter()
    code = cli.main(["publish", "--quiet", "--to", destination, "--jobs", jobs])
    return {"seconds": time.perf_counter() - started, "code": code}


if __name__ == "__main__":
    answer = {"index": index, "publish": publish}[sys.argv[1]](sys.argv[2:])
    sys.stdout.write(json.dumps(answer))
    sys.exit(answer.get("code", 0))
