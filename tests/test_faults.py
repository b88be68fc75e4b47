"""The world at its worst: killed processes, two at once, full and read-only disks, odd clocks, charts that never end.

Commands run in processes of their own. Where the world has to be harder than it is, a small program runs the command
in such a world: Brolly has no hooks for that.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Any, Final

import pytest

from brolly import workspace
from brolly.engine import Engine
from brolly.errors import WorldError
from chart_repository import ChartRepository, chart_package, chart_repository
from workspaces import (
    Run,
    Workspace,
    digest,
    files_below,
    local,
    local_chart,
    picture,
    processes,
    remote,
    seconds_of_work,
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
changes = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.chmod", "os.utime", "subprocess.Popen"}
made = []
def kill():
    time.sleep(after)
    os.killpg(0, signal.SIGKILL)
def watch(event, given):
    if event not in changes and not (event == "open" and given[2] and given[2] & (os.O_WRONLY | os.O_RDWR)):
        return
    is_here = not isinstance(given[0], int) and folder in os.path.abspath(os.fsdecode(given[0]))
    if is_here or event == "subprocess.Popen":
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

# Says at last how much memory it took, and how much its largest child: KiB. Its own `ru_maxrss` would begin with that
# of the process that forked it.
MEASURED: Final = """
import pathlib, re, resource, sys
from brolly.cli import main
code = main()
mine = re.search(r"VmHWM:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1]
print(mine, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(code)
"""

# It is the first of January 1970, and stays so.
EARLY: Final = """
import sys, time
time.time, time.time_ns = lambda: 0.0, lambda: 0
from brolly.cli import main
sys.exit(main())
"""


# A start of Helm's engine is waited for no longer than a request.
HURRIED: Final = """
import sys
from brolly import cli, engine
engine._START_SECONDS = (1.0, 60.0)
sys.exit(cli.main())
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


def broken_layouts(space: Workspace) -> list[str]:
    """List the OCI layouts whose index names a manifest that is not there, or not whole."""
    broken = []
    for index in space.root.rglob("index.json"):
        digests = [entry["digest"] for entry in json.loads(index.read_bytes())["manifests"]]
        contents = [index.parent / "blobs/sha256" / one.removeprefix("sha256:") for one in digests]
        broken += [str(path) for path in contents if not path.is_file() or digest(path) != path.name]
    return broken


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
            if not (".tmp" in name or name.endswith((".part", "/index.json"))):
                assert found in {before.get(name), wanted.get(name)}, (at, name)
        assert broken_layouts(helm) == [], at
        helm.good(command)
        assert results(helm) == wanted, at
        assert temporary_files(helm.root) == [], at
    assert killed > POINTS * 3 // 4
    wait_for(lambda: not processes(str(temporary)))
    assert [*temporary.rglob("*")] == []


# --- two at once


def at_once(*processes: Any) -> list[Run]:
    """Let processes end side by side."""
    return [Run(process.returncode, *said) for process in processes if (said := process.communicate(timeout=120))]


def undisturbed(helm: Workspace, repository: ChartRepository) -> Any:
    """Build three bundles alone, give what came of it, and forget it all."""
    three_bundles(helm, repository)
    helm.good("lock")
    helm.good("build")
    wanted = results(helm)
    shutil.rmtree(helm.dist)
    helm.forget()
    return wanted


def test_two_builds_at_once_end_as_one_does(helm: Workspace, repository: ChartRepository) -> None:
    wanted = undisturbed(helm, repository)
    for done in at_once(helm.start("build"), helm.start("build", "--no-cache")):
        assert done.code == 0, done.err
    assert results(helm) == wanted
    assert temporary_files(helm.root, helm.cache) == []


def test_two_locks_at_once_end_as_one_does(space: Workspace, repository: ChartRepository) -> None:
    three_bundles(space, repository)
    space.good("lock")
    wanted = results(space)
    for path in space.root.glob("bundles/*/bundle.lock"):
        path.unlink()
    for done in at_once(*(space.start("lock", "--no-cache") for _ in range(3))):
        assert done.code == 0, done.err
    assert results(space) == wanted
    assert temporary_files(space.root) == []


def test_a_publication_beside_a_build_that_changes_nothing_is_whole(
    helm: Workspace, repository: ChartRepository
) -> None:
    three_bundles(helm, repository)
    helm.good("lock")
    helm.good("build")
    helm.good("publish")
    wanted = results(helm)
    shutil.rmtree(helm.root / "registry")
    for done in at_once(helm.start("build", "--no-cache"), helm.start("publish"), helm.start("publish")):
        assert done.code == 0, done.err
    assert results(helm) == wanted
    assert broken_layouts(helm) == []


def test_a_publication_beside_a_build_that_changes_everything_is_whole_or_says_to_build(
    helm: Workspace, repository: ChartRepository
) -> None:
    three_bundles(helm, repository)
    helm.good("lock")
    helm.good("build")
    three_bundles(helm, repository, "ahoy")
    built, *published = at_once(helm.start("build"), *(helm.start("publish") for _ in range(3)))
    assert built.code == 0, built.err
    for done in published:
        assert done.code == 0 or (done.code == 1 and "run `brolly build`" in done.err), done.err
    helm.good("publish")
    assert broken_layouts(helm) == []


def test_two_workspaces_share_a_cache_at_once(helm: Workspace, repository: ChartRepository) -> None:
    wanted = undisturbed(helm, repository)
    shutil.copytree(helm.root, other := helm.root.with_name("other"))
    commands = [helm.start("build"), helm.start("build", "--root", str(other))]
    for done in at_once(*commands):
        assert done.code == 0, done.err
    assert results(helm) == wanted
    theirs = picture(other / "dist")
    assert {**theirs, "dist/report.json": ""} == {**picture(helm.dist), "dist/report.json": ""}


def test_where_a_folder_cannot_be_locked_nothing_of_others_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = tmp_path / ".bundle.lock.0123456789ab.tmp"
    foreign = tmp_path / ".bundle.lock.mine.tmp"

    def refuse(_handle: int, _kind: int) -> None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    for path in (left, foreign):
        path.write_text("half")
    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", refuse)
        assert workspace.write_alone(tmp_path / "bundle.lock", b"new")
    assert left.exists()
    assert not workspace.write_alone(tmp_path / "bundle.lock", b"new")
    assert sorted(tmp_path.iterdir()) == [foreign, tmp_path / "bundle.lock"]


# --- a full disk


def one_error(done: Run) -> str:
    """Give the one error that a command said."""
    errors = [line for line in done.err.splitlines() if line.startswith("error")]
    assert len(errors) == 1, done.err
    assert "Traceback" not in done.err
    return errors[0]


def noise(size: int) -> str:
    """Give text that does not compress below three quarters."""
    return random.Random(size).randbytes(size // 2).hex()


def full(space: Workspace, size: int, *arguments: str) -> Run:
    """Run a command on a disk that takes no file larger than `size`."""
    return space.finish(str(size), *arguments, program=SMALL)


def test_a_disk_that_is_full_for_the_lock_leaves_the_old_one(space: Workspace) -> None:
    space.bundle("app", local_chart(), dependencies=[local()])
    space.good("lock")
    space.bundle("app", local_chart(version="1.2.0"), dependencies=[local(), local(alias="again")])
    before = space.state()
    done = full(space, 100, "lock")
    assert done.code == 3
    assert one_error(done) == f"error: app: writing {space.root}/bundles/app/bundle.lock: File too large"
    assert space.state() == before
    assert temporary_files(space.root) == []
    space.good("lock")
    assert "1.2.0" in space.lock_text("app")


def test_a_disk_that_is_full_for_the_cache_stops_a_download(space: Workspace, repository: ChartRepository) -> None:
    repository.add("podinfo", "6.2.0", chart_package("podinfo", "6.2.0", {"files/noise": noise(400_000)}))
    space.bundle("app", dependencies=[remote(repository)])
    space.bundle("small", local_chart(), dependencies=[local()])
    done = full(space, 200_000, "lock")
    assert done.code == 3
    assert f"error: app: writing to the cache, {space.cache}/sha256/" in one_error(done)
    assert "BROLLY_CACHE" in done.err
    assert not (space.root / "bundles/app/bundle.lock").exists()
    assert (space.root / "bundles/small/bundle.lock").exists()
    assert temporary_files(space.root, space.cache) == []
    space.good("lock")


def large(space: Workspace, **values: str) -> None:
    files = local_chart(**{"files/noise": noise(400_000)})
    space.bundle("large", {**files, "values.yaml": json.dumps({"greeter": values})}, dependencies=[local()])


def test_a_disk_that_is_full_for_dist_leaves_the_old_build(helm: Workspace) -> None:
    large(helm, greeting="hi")
    helm.bundle("small", local_chart(), target="kustomize", dependencies=[local()])
    helm.good("lock")
    helm.good("build")
    before = results(helm)
    large(helm, greeting="ahoy")
    helm.good("check")  # so that Helm has no file to write
    for kept in helm.cache.rglob("sha256/*/*"):
        kept.unlink()  # nor the cache anything to lend
    done = full(helm, 200_000, "build")
    assert done.code == 3
    assert f"error: writing {helm.dist}/oci/blobs/sha256/" in one_error(done)
    after = results(helm)
    assert {name: after[name] for name in before} == before
    assert temporary_files(helm.root, helm.cache) == []
    helm.good("build")
    assert results(helm) != before
    assert broken_layouts(helm) == []


def test_a_disk_that_is_full_for_helm_is_a_fault_of_the_world(helm: Workspace, temporary: Path) -> None:
    large(helm)
    helm.bundle("small", local_chart(), dependencies=[local()])
    helm.good("lock")
    done = full(helm, 200_000, "build")
    assert done.code == 3
    assert f"error: large: writing {temporary}/brolly-engine-" in one_error(done)
    assert "TMPDIR" in done.err
    assert "small  1.0.0  umbrella  built" in done.out
    assert list(temporary.iterdir()) == []


# --- read-only


@pytest.fixture
def built(helm: Workspace, repository: ChartRepository) -> Workspace:
    """Give a workspace with bundles that were locked and built."""
    three_bundles(helm, repository)
    helm.good("lock")
    helm.good("build")
    return helm


def set_modes(root: Path, folders: int, files: int) -> None:
    for path in (root, *root.rglob("*")):
        path.chmod(folders if path.is_dir() else files)


def test_a_dist_that_is_read_only_is_said_and_stays_as_it_was(built: Workspace, repository: ChartRepository) -> None:
    before = results(built)
    set_modes(built.dist, 0o555, 0o444)
    try:
        three_bundles(built, repository, "ahoy")
        done = built.finish("build", program=PLAIN)
        assert done.code == 3
        assert one_error(done) == f"error: writing {built.dist}/.lock: Permission denied"
        assert results(built) == before
    finally:
        set_modes(built.dist, 0o755, 0o644)
    built.good("build")
    assert results(built) != before


def test_a_cache_that_is_read_only_costs_a_warning_and_no_more(built: Workspace, repository: ChartRepository) -> None:
    three_bundles(built, repository, "ahoy")
    repository.requests.clear()
    cache = picture(built.cache)
    set_modes(built.cache, 0o555, 0o444)
    try:
        done = built.finish("build", program=PLAIN)
        assert done.code == 0, done.err
        assert done.err.count("warning: no result is kept: writing to the cache, ") == 1
        assert done.err.count("\n") == 1
    finally:
        set_modes(built.cache, 0o755, 0o644)
    assert picture(built.cache) == cache
    assert repository.requests == []
    first = results(built)
    built.good("build", "--no-cache")
    assert results(built) == first


def test_a_cache_that_cannot_be_is_needed_for_downloads_only(built: Workspace) -> None:
    nowhere = built.root / "brolly.toml" / "cache"
    built.environ["BROLLY_CACHE"] = str(nowhere)
    done = built.run("build", "three")
    assert done.code == 0
    assert done.err == f"warning: no result is kept: reading the cache, {nowhere}" + done.err.partition(str(nowhere))[2]
    assert done.err.count("\n") == 1
    assert built.good("build", "three", "--quiet").err == ""
    done = built.run("build", "one")
    assert done.code == 3
    assert "BROLLY_CACHE" in done.err


# --- time


def test_a_clock_and_files_of_1970_change_nothing(built: Workspace, repository: ChartRepository) -> None:
    built.good("publish")
    wanted, caches = results(built), [name for name in picture(built.cache) if "outcome" in name]
    shutil.rmtree(built.dist)
    shutil.rmtree(built.root / "registry")
    for path in (*files_below(built.root), *files_below(built.cache)):
        os.utime(path, (0, 0))
    for command in ("lock", "build", "publish"):
        done = built.finish(command, program=EARLY)
        assert done.code == 0, done.err
    assert results(built) == wanted
    assert [name for name in picture(built.cache) if "outcome" in name] == caches
    repository.requests.clear()
    shutil.rmtree(built.dist)
    assert built.finish("build", "--no-cache", program=EARLY).code == 0
    assert {name: one for name, one in results(built).items() if "dist" in name} == {
        name: one for name, one in wanted.items() if "dist" in name
    }


def test_what_was_written_in_the_future_is_not_pruned(built: Workspace) -> None:
    before = picture(built.cache)
    done = built.finish("cache", "prune", "--days", "0", program=EARLY)
    assert (done.code, "removed 0 files" in done.out) == (0, True), done
    assert picture(built.cache) == before


# --- charts that do not end

AGAIN: Final = '{{- define "again" -}}{{ tpl "{{ include \\"again\\" . }}" . }}{{- end -}}\n{{ include "again" . }}\n'
HOSTILE: Final = {
    "recursing": AGAIN,
    "looping": "{{ range until 1000000 }}{{ range until 1000000 }}{{ end }}{{ end }}\n",
    "allocating": "a: {{ repeat 1000000000 .Release.Name | upper | trim | quote }}\n",
    "growing": '{{ range until 100000 }}{{ repeat 100000 "x" }}{{ end }}\n',
}


def test_charts_that_never_end_or_eat_memory_fail_alone_and_within_the_limits(helm: Workspace, temporary: Path) -> None:
    for name, template in HOSTILE.items():
        helm.bundle(name, local_chart(**{"templates/hostile.yaml": template}), dependencies=[local()])
    helm.bundle("umbrella", local_chart(), dependencies=[local()])
    helm.bundle("flux", local_chart(), target="kustomize", dependencies=[local()])
    helm.good("lock")
    helm.environ |= {"BROLLY_ENGINE_TIMEOUT": "4", "BROLLY_ENGINE_MEMORY": "2Gi"}
    done = helm.finish("build", "-j", "2", "--output", "json", program=MEASURED)
    assert done.code == 1
    mine, workers = map(int, done.err.split())
    assert mine < 400 << 10
    assert workers < 2 << 20
    made = done.json
    assert {bundle["name"]: bundle["status"] for bundle in made["bundles"]} == {
        **dict.fromkeys(HOSTILE, "failed"), "umbrella": "built", "flux": "built",
    }  # fmt: skip
    said = {one["bundle"]: one for one in made["findings"]}
    assert set(said) == set(HOSTILE)
    assert len(said) == len(made["findings"])
    for name, one in said.items():
        assert one["code"] in {"helm/engine", "helm/render"}, one
        assert one["location"]["path"].startswith(f"bundles/{name}/")
        assert one["location"]["line"] > 0
    assert "within 4 s" in said["looping"]["message"]
    assert processes(str(temporary)) == []
    assert list(temporary.iterdir()) == []


def test_a_worker_that_is_killed_fails_its_bundle_alone(helm: Workspace, temporary: Path) -> None:
    helm.bundle("slow", local_chart(**{"templates/slow.yaml": HOSTILE["looping"]}), dependencies=[local()])
    helm.bundle("a", local_chart(), dependencies=[local()])
    helm.bundle("z", local_chart(), dependencies=[local()])
    helm.good("lock")
    process = helm.start("build", "-j", "1", "--output", "json")
    wait_for(lambda: any(seconds_of_work(one) > 2 for one in processes(str(temporary))))
    worker = next(pid for pid in processes(str(temporary)) if int(pid) != process.pid)
    os.kill(int(worker), signal.SIGKILL)
    out, err = process.communicate(timeout=60)
    made = json.loads(out)
    assert [(bundle["name"], bundle["status"]) for bundle in made["bundles"]] == [
        ("a", "built"), ("slow", "failed"), ("z", "built"),
    ]  # fmt: skip
    assert [(one["code"], one["location"]["path"]) for one in made["findings"]] == [
        ("helm/engine", "bundles/slow/bundle.yaml")
    ], err


def test_an_engine_without_room_to_start_says_how_to_give_it_some(helm: Workspace) -> None:
    helm.bundle("app", local_chart(), dependencies=[local()])
    helm.good("lock")
    done = helm.finish("check", "--engine-memory", "64Mi")
    assert done.code == 2
    assert "Helm's engine does not " in one_error(done)
    assert "--engine-memory" in done.err


@pytest.mark.parametrize(
    ("start", "said"),
    [("os.kill(os.getpid(), 9)", "was killed (signal 9)"), ("time.sleep(99)", "no answer within 3 s")],
)
def test_engines_that_are_killed_or_hang_as_they_start_end_the_run_soon(start: str, said: str, helm: Workspace) -> None:
    helm.write({"library/helm_python.py": f"import os, time\n{start}"})
    for number in range(6):
        helm.bundle(f"app-{number}", local_chart(), dependencies=[local()])
    helm.good("lock")
    helm.environ |= {"PYTHONPATH": str(helm.root / "library"), "BROLLY_ENGINE_TIMEOUT": "3"}
    begun = time.monotonic()
    done = helm.finish("check", "-j", "2", program=HURRIED)
    assert time.monotonic() - begun < 10
    assert done.code == 3
    assert one_error(done).startswith("error: app-0, app-1, app-2 and 3 more: starting Helm's engine: Helm's engine ")
    assert said in one_error(done)
    assert "--jobs 1" in done.err


def test_more_jobs_than_bundles_cost_nothing(helm: Workspace) -> None:
    helm.bundle("app", local_chart(), dependencies=[local()])
    helm.bundle("flux", local_chart(), target="kustomize", dependencies=[local()])
    helm.good("lock")
    begun = time.monotonic()
    for arguments in (("check", "--no-cache"), ("build",), ("build",), ("publish", "--to", "oci-layout:registry")):
        done = helm.finish(*arguments, "-j", "100000000", program=MEASURED)
        assert done.code == 0, done.err
        assert int(done.err.split()[0]) < 200 << 10
    assert time.monotonic() - begun < 20


def test_a_folder_that_cannot_be_made_for_helm_is_a_fault_of_the_world(
    helm: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert helm.engine
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with Engine() as engine, pytest.raises(WorldError, match=r"engine: making .*/gone/brolly-engine-.*: No such file"):
        engine.render(chart_package("podinfo", "6.1.0"), {}, name="rel")


def test_a_process_that_cannot_be_started_for_helm_is_a_fault_of_the_world(
    helm: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert helm.engine
    monkeypatch.setattr(sys, "executable", "/gone")
    with Engine() as engine, pytest.raises(WorldError, match="starting Helm's engine, /gone: No such file"):
        engine.render(chart_package("podinfo", "6.1.0"), {}, name="rel")
