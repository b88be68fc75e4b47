"""The world at its worst: killed processes, two at once, full and read-only disks, odd clocks, charts that never end.

Commands run in processes of their own. Where the world has to be harder than it is, a small program runs the command
in such a world: Brolly has no hooks for that.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
from typing import TYPE_CHECKING, Any, Final

import pytest

from chart_repository import ChartRepository, chart_package, chart_repository
from workspaces import (
    Run,
    Workspace,
    files_below,
    local,
    local_chart,
    picture,
    processes,
    remote,
    temporary_files,
    wait_for,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

POINTS: Final = 20

# Counts the changes to files below FOLDER, and kills the whole process group AFTER seconds of the change number AT.
DOOMED: Final = """
import os, signal, sys, threading, time
folder, at, after = sys.argv.pop(1), int(sys.argv.pop(1)), float(sys.argv.pop(1))
changes = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.chmod", "os.utime", "tempfile.mkdtemp"}
made = []
def kill():
    time.sleep(after)
    os.killpg(0, signal.SIGKILL)
def watch(event, given):
    if event not in changes and not (event == "open" and given[2] and given[2] & (os.O_WRONLY | os.O_RDWR)):
        return
    if not isinstance(given[0], int) and folder in os.path.abspath(os.fsdecode(given[0])):
        made.append(event)
        if len(made) == at:
            kill() if not after else threading.Thread(target=kill).start()
sys.addaudithook(watch)
from brolly.cli import main
code = main()
print(f"changes {len(made)}", file=sys.stderr)
sys.exit(code)
"""

# No file can grow beyond SIZE bytes: what the kernel says then is what it says of a quota or a full disk.
SMALL: Final = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
del sys.argv[1]
from brolly.cli import main
sys.exit(main())
"""

# Root passes over permission bits, unless it gives that up: CAP_DAC_OVERRIDE is 1, PR_CAPBSET_DROP 24.
PLAIN: Final = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(24, 1, 0, 0, 0)
os.execv(sys.executable, [sys.executable, "-m", "brolly", *sys.argv[1:]])
"""

# It is the first of January 1970, and stays so.
EARLY: Final = """
import sys, time
time.time, time.time_ns = lambda: 0.0, lambda: 0
from brolly.cli import main
sys.exit(main())
"""


@pytest.fixture
def repository() -> Iterator[ChartRepository]:
    with chart_repository() as served:
        served.add("podinfo", "6.1.0")
        yield served


@pytest.fixture
def temporary(space: Workspace) -> Path:
    """Give the folder for temporary files of the commands; its name tells their processes from all others."""
    path = space.root.with_name("temporary")
    path.mkdir()
    space.environ["TMPDIR"] = str(path)
    return path


def three_bundles(space: Workspace, repository: ChartRepository, greeting: str = "hi") -> None:
    values = {"values.yaml": f"greeter: {{greeting: {greeting}}}\n"}
    both = [local(), remote(repository)]
    space.bundle("one", {**local_chart(), **values}, dependencies=both)
    space.bundle("two", {**local_chart(), **values}, target="kustomize", dependencies=both)
    space.bundle("three", {**local_chart(), **values}, dependencies=[local()])


def results(space: Workspace) -> dict[str, str]:
    """Take a picture of what commands make: locks, dist and the registry. The report is compared by what it says."""
    locks = {name: one for name, one in space.state().items() if name.startswith("lock ")}
    made = {**locks, **picture(space.dist), **picture(space.root / "registry")}
    if "dist/report.json" in made:
        made["dist/report.json"] = (space.dist / "report.json").read_text().replace('"unchanged"', '"built"')
    return made


# --- kill -9


def snapshot(space: Workspace) -> Path:
    """Keep the workspace and its cache as they are."""
    kept = space.root.with_name("kept")
    for path in (space.root, space.cache):
        path.mkdir(exist_ok=True)
        shutil.copytree(path, kept / path.name)
    return kept


def restore(space: Workspace, kept: Path) -> None:
    for path in (space.root, space.cache):
        shutil.rmtree(path)
        shutil.copytree(kept / path.name, path)


def doomed(space: Workspace, command: str, at: int = 0, after: float = 0.0) -> Run:
    """Run a command that is killed at a change of files, or a moment later; 0: it is not."""
    place, moment = str(space.root.parent), str(after)
    return space.finish(place, str(at), moment, command, "-j", "2", program=DOOMED, start_new_session=True)


def begin(command: str, space: Workspace, repository: ChartRepository) -> None:
    """Bring the workspace to where a command has most to do."""
    three_bundles(space, repository)
    if command != "lock":
        space.good("lock")
        space.good("build")
    if command == "build":
        three_bundles(space, repository, "ahoy")
        space.good("lock")
        space.forget()


@pytest.mark.parametrize("command", ["lock", "build", "publish"])
def test_kill_9_at_any_moment_leaves_whole_files_and_the_next_run_ends_as_if_nothing_had_been(
    command: str, helm: Workspace, repository: ChartRepository, temporary: Path
) -> None:
    begin(command, helm, repository)
    before, kept = results(helm), snapshot(helm)
    undisturbed = doomed(helm, command)
    assert undisturbed.code == 0, undisturbed.err
    wanted, changes = results(helm), int(undisturbed.err.split()[-1])
    chance = random.Random(command)
    killed = 0
    for turn, at in enumerate(chance.sample(range(1, changes + 1), POINTS)):
        restore(helm, kept)
        # half of them at once, before the change; half a moment later, in the middle of what follows
        done = doomed(helm, command, at, chance.uniform(0.0001, 0.003) if turn % 2 else 0.0)
        killed += done.code == -signal.SIGKILL
        for name, found in results(helm).items():
            is_part = ".tmp" in name or name.endswith(".part")
            assert is_part or found in {before.get(name), wanted.get(name)}, (at, name)
        helm.good(command)
        assert results(helm) == wanted, at
        assert temporary_files(helm.root) == [], at
    assert killed > POINTS * 3 // 4
    wait_for(lambda: not processes(str(temporary)))
    print([*temporary.rglob("*")])
    assert not any(temporary.iterdir())
