"""Workspaces for tests of the command line: written into a folder, and commands run in them.

A workspace has a cache and a home of its own, so that nothing outside the test's folder is read or written.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from brolly import cli
from brolly.engines import Engines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import pytest

    from brolly.engine import Engine
    from chart_repository import ChartRepository

_TEMPLATE = """apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}-{{ .Chart.Name }}
data:
  greeting: {{ .Values.greeting | quote }}
"""


class Run(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document on stdout."""
        return json.loads(self.out)

    @property
    def codes(self) -> list[str]:
        """The codes of the findings in the JSON document."""
        return [finding["code"] for finding in self.json["findings"]]


class _Kept:
    """An engine that outlives the command that closes it."""

    def __init__(self, engine: Engine) -> None:
        self.ask = engine.ask

    def close(self) -> None:
        """Leave it running."""


@dataclass
class Workspace:
    """A workspace in a folder. `environ` is what commands see beside the test's own environment."""

    root: Path
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]
    engine: Engine | None = None
    environ: dict[str, str] = field(default_factory=dict)

    def write(self, files: Mapping[str, bytes | str]) -> None:
        """Write files by their path in the workspace."""
        write_files(self.root, files)

    def bundle(self, name: str, files: Mapping[str, bytes | str] | None = None, **fields: Any) -> None:
        """Write a bundle: `fields` are those of bundle.yaml, `files` the rest by their path in the bundle."""
        text = bundle_yaml(name, **fields)
        self.write(
            {f"bundles/{name}/{path}": content for path, content in {"bundle.yaml": text, **(files or {})}.items()}
        )

    def run(self, *arguments: str) -> Run:
        """Run a command in this process."""
        with self.monkeypatch.context() as patch:
            patch.chdir(self.root)
            # one worker for the whole session: each takes half a second to start
            patch.setattr("brolly.commands.shop._engines", lambda *_: self._lent())
            for name, value in self.environment.items():
                patch.setenv(name, value)
            self.capsys.readouterr()
            try:
                code = cli.main(list(arguments))
            except SystemExit as end:  # argparse
                code = int(end.code or 0)
        out, err = self.capsys.readouterr()
        return Run(code, out, err)

    def _lent(self) -> Engines | None:
        engine = self.engine
        return Engines(lambda: cast("Engine", _Kept(engine)), 1) if engine else None

    def good(self, *arguments: str) -> Run:
        """Run a command that has to succeed."""
        done = self.run(*arguments)
        assert done.code == 0, done.err + done.out
        return done

    def start(self, *arguments: str, program: str = "", **options: Any) -> subprocess.Popen[str]:
        """Start a command in a process of its own; `program` is Python that runs it in a harder world."""
        return subprocess.Popen(
            [sys.executable, *(("-c", program) if program else ("-m", "brolly")), *arguments],
            cwd=self.root,
            env={**os.environ, **self.environment},
            text=True,
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
        )

    def finish(self, *arguments: str, program: str = "", **options: Any) -> Run:
        """Run a command in a process of its own to its end."""
        process = self.start(*arguments, program=program, **options)
        out, err = process.communicate(timeout=120)
        return Run(process.returncode, out, err)

    @property
    def environment(self) -> dict[str, str]:
        """What commands see of this workspace: a home, a cache, and little patience."""
        own = {"HOME": str(self.home), "BROLLY_CACHE": str(self.cache), "BROLLY_RETRIES": "0"}
        return {**own, "XDG_CONFIG_HOME": str(self.home / ".config"), "BROLLY_TIMEOUT": "20", **self.environ}

    @property
    def home(self) -> Path:
        """The home directory of commands."""
        return self.root.with_name(self.root.name + "-home")

    @property
    def cache(self) -> Path:
        """The cache of commands."""
        return self.root.with_name(self.root.name + "-cache")

    @property
    def dist(self) -> Path:
        """What `build` writes."""
        return self.root / "dist"

    def forget(self) -> None:
        """Empty the cache."""
        for path in [path for path in self.cache.rglob("*") if path.is_file()]:
            path.unlink()

    def lock_text(self, name: str) -> str:
        """Read a bundle's lock."""
        return (self.root / "bundles" / name / "bundle.lock").read_text()

    def state(self) -> dict[str, str]:
        """Take a picture of all that a failed command must leave as it was: cache, locks and dist."""
        locks = {f"lock {path.parent.name}": digest(path) for path in self.root.glob("bundles/*/bundle.lock")}
        return {**locks, **picture(self.cache), **picture(self.dist)}


def write_files(root: Path, files: Mapping[str, bytes | str]) -> None:
    """Write files below a folder."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def temporary_files(*roots: Path) -> list[str]:
    """List what was being written below folders."""
    paths = (path for root in roots for path in root.rglob("*"))
    return sorted(str(path) for path in paths if path.name.endswith((".tmp", ".part")) or ".tmp-" in path.name)


def processes(text: str) -> list[str]:
    """List the processes that have a text in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if text.encode() in (folder / "environ").read_bytes():
                found.append(folder.name)
    return found


def seconds_of_work(process: str) -> float:
    """Give the processor time that a process has had."""
    with contextlib.suppress(OSError):
        user, system = Path("/proc", process, "stat").read_text().rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
    return 0.0


def wait_for(is_so: Callable[[], bool]) -> None:
    """Wait for something that another process does."""
    until = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.01)


def bundle_yaml(name: str, target: str = "umbrella", version: str = "1.0.0", **fields: Any) -> str:
    """Write a definition. JSON is YAML; each field has a line of its own."""
    known = {"apiVersion": "brolly/v1alpha1", "target": target, "name": name, "version": version}
    lines = [f"{key}: {json.dumps(value)}" for key, value in {**known, **fields}.items() if key != "dependencies"]
    items = [f"  - {json.dumps(item)}" for item in fields.get("dependencies", ())]
    return "\n".join([*lines, "dependencies:", *items] if items else [*lines, "dependencies: []"]) + "\n"


def chart_files(name: str = "greeter", version: str = "1.0.0", **more: bytes | str) -> dict[str, bytes | str]:
    """Give the files of a small chart that lints, by their path in the chart."""
    header = {"apiVersion": "v2", "name": name, "version": version, "icon": "https://greetings.example/icon.svg"}
    return {
        "Chart.yaml": json.dumps(header),
        "values.yaml": "greeting: hello\n",
        "templates/configmap.yaml": _TEMPLATE,
        **more,
    }


def local_chart(name: str = "greeter", version: str = "1.0.0", **more: bytes | str) -> dict[str, bytes | str]:
    """Give the files of a local chart, by their path in the bundle."""
    return {f"charts/{name}/{path}": content for path, content in chart_files(name, version, **more).items()}


def local(name: str = "greeter", **more: Any) -> dict[str, Any]:
    """Give the dependency on a local chart."""
    return {"name": name, "version": "1.x", "repository": f"file://charts/{name}", **more}


def files_below(root: Path) -> Iterator[Path]:
    """List all files below a folder, links and temporary files included."""
    return (path for path in sorted(root.rglob("*")) if path.is_symlink() or not path.is_dir())


def picture(root: Path) -> dict[str, str]:
    """Give the digests of all files below a folder."""
    return {str(path.relative_to(root.parent)): digest(path) for path in files_below(root)}


def times(root: Path) -> dict[str, int]:
    """Give the times at which all files below a folder were written."""
    return {str(path.relative_to(root)): path.stat().st_mtime_ns for path in files_below(root)}


def digest(path: Path) -> str:
    """Hash a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def remote(served: ChartRepository, **more: Any) -> dict[str, Any]:
    """Give the dependency on podinfo 6.x of a chart repository."""
    return {"name": "podinfo", "version": "6.x", "repository": served.url, **more}


def push(address: str, name: str, version: str, content: bytes) -> str:
    """Publish a chart as Helm does; give the manifest's digest."""
    from brolly import helm
    from brolly.chart import read_package
    from brolly.registry.remote import OciRegistry

    artifact = helm.chart_artifact(content, read_package(content), name, 0)
    to = OciRegistry(address)
    for blob in artifact.blobs:
        to.put_blob(name, blob)
    to.put_manifest(name, version.replace("+", "_"), artifact.manifest)
    return artifact.digest
