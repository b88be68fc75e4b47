"""The command line: what every command promises, whatever it does."""

from __future__ import annotations

import json
import os
import pty
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from brolly import __version__, cli
from chart_repository import HANG, ChartRepository, chart_repository
from workspaces import Workspace, files_below, local, local_chart, processes, seconds_of_work, wait_for

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

COMMANDS = [command.name for command in cli.COMMANDS]


@pytest.fixture
def repository() -> Iterator[ChartRepository]:
    with chart_repository() as served:
        yield served


def typo(space: Workspace, name: str) -> None:
    """Write a bundle with a fault."""
    space.bundle(name, local_chart(), descripton="a typo", dependencies=[local()])


def options(command: str) -> list[argparse.Action]:
    rows = next(action for action in cli._parser({})._actions if action.dest == "command")
    assert isinstance(rows.choices, dict)
    return [action for action in rows.choices[command]._actions if action.option_strings]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_shows_examples_and_exit_codes(command: str, space: Workspace) -> None:
    text = space.good(command, "--help").out
    assert f"  brolly {command}" in text
    assert "130 interrupted" in text
    assert all(action.help for action in options(command))


def test_without_a_command_the_usage_is_shown(space: Workspace) -> None:
    done = space.run()
    assert done.code == 2
    assert "COMMAND" in done.err


def test_the_version_is_told(space: Workspace) -> None:
    assert space.good("--version").out == f"brolly {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "--outptu", "json"), ("check", "--out", "json"), ("check", "--jobs", "0"), ("check", "-j", "x"),
        ("check", "--timeout", "0"), ("check", "--retries", "-1"), ("nothing",), ("schema", "nothing"),
        ("lock", "--check", "--upgrade"), ("explain", "lock/stail"), ("check", "--root", "nowhere"),
        ("check", "good", "bda"), ("check", "--address", "ghcr.io/x"), ("check", "--address", "oci://"),
        ("publish", "--to", "registry"), ("lock", "--upgrade", "nothing"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_what_is_asked_wrongly_is_exit_code_2_and_one_error(arguments: tuple[str, ...], space: Workspace) -> None:
    space.bundle("good", local_chart(), dependencies=[local()])
    done = space.run(*arguments)
    assert done.code == 2
    assert done.err.count("error: ") == 1
    assert done.out == ""


def test_a_misspelt_name_of_a_bundle_gets_a_suggestion(space: Workspace) -> None:
    space.bundle("storefront", dependencies=[])
    done = space.run("check", "store-front")
    assert done.err == "error: there is no bundle 'store-front'\n  = help: did you mean `storefront`?\n"


def test_outside_a_workspace_the_error_says_how_to_make_one(space: Workspace) -> None:
    (space.root / "brolly.toml").unlink()
    done = space.run("check")
    assert done.code == 2
    assert "put an empty brolly.toml" in done.err


@pytest.mark.parametrize(
    ("text", "said"),
    [("adress = ''", "did you mean `address`"), ("address = 1", "Expected `str`"), ("=", "cannot be read"),
     ("address = 'ghcr.io/x'", "address"), ("[labels]\na = 1", "labels")],
)  # fmt: skip
def test_a_faulty_configuration_is_named(text: str, said: str, space: Workspace) -> None:
    space.write({"brolly.toml": text})
    space.bundle("good", dependencies=[])
    done = space.run("check")
    assert done.code == 2
    assert said in done.err
    assert str(space.root / "brolly.toml") in done.err


def test_a_pyproject_without_our_table_is_no_workspace(space: Workspace) -> None:
    (space.root / "brolly.toml").unlink()
    space.write({"pyproject.toml": "tool = 1\n"})
    assert space.run("check").code == 2


def test_a_workspace_is_found_from_a_folder_in_it_and_by_root(space: Workspace, tmp_path: Path) -> None:
    space.bundle("good", local_chart(), dependencies=[local()])
    assert "good" in space.good("lock", "--root", str(space.root)).out
    space.environ["BROLLY_ROOT"] = str(space.root)
    space.root, kept = tmp_path, space.root
    assert "good" in space.good("lock").out
    del space.environ["BROLLY_ROOT"]
    space.root = kept / "bundles" / "good"
    assert "good" in space.good("lock", "bundles/good").out


def test_every_option_has_an_environment_variable() -> None:
    """Each value is one that shows: the parsed arguments are those of the typed option."""
    values = {
        "--output": "json", "--color": "always", "--jobs": "3", "--timeout": "2.5", "--retries": "1", "--root": "x",
        "--days": "9", "--address": "oci://a/b", "--to": "oci://a/b", "--output-dir": "x", "--values": "x.yaml",
        "--upgrade": "a", "--engine-timeout": "7.5", "--engine-memory": "5Gi",
    }  # fmt: skip
    for command in COMMANDS:
        tail = {"schema": ["bundle"], "cache": ["prune"]}.get(command, [])
        for action in options(command):
            name = action.option_strings[-1]
            if name == "--help":
                continue
            typed = [name] if action.nargs == 0 else [name, values[name]]
            environ = {f"BROLLY_{name[2:].upper().replace('-', '_')}": values.get(name, "1")}
            wanted = vars(cli._parser({}, command).parse_args([command, *tail, *typed]))
            found = vars(cli._parser(environ, command).parse_args([command, *tail]))
            assert {key: list(value) if isinstance(value, tuple) else value for key, value in found.items()} == wanted


def test_what_is_typed_wins_over_the_environment() -> None:
    environ = {"BROLLY_VALUES": "theirs.yaml", "BROLLY_OUTPUT": "json", "BROLLY_STRICT": "0"}
    found = cli._parser(environ, "render").parse_args(["render", "-f", "a.yaml", "-f", "b.yaml", "--output", "text"])
    assert (found.values, found.output, found.strict) == (["a.yaml", "b.yaml"], "text", False)


def test_a_faulty_environment_is_named_and_only_matters_where_it_is_used(space: Workspace) -> None:
    space.environ["BROLLY_JOBS"] = "0"
    assert "--jobs: it must be at least 1" in space.run("check").err
    assert space.run("explain", "lock/stale").code == 0
    space.environ["BROLLY_JOBS"], space.environ["BROLLY_COLOR"] = "1", "blue"
    assert "--color: 'blue' is none of auto, always, never" in space.run("check").err


def test_findings_of_all_bundles_come_at_once_and_sorted(space: Workspace) -> None:
    for name in ("zebra", "ant"):
        typo(space, name)
    files = {**local_chart(), "values.yaml": "a: 1\na: 2\n", "vaules.yaml": ""}
    space.bundle("cat", files, nmae="x", dependencies=[local()])
    done = space.run("check")
    lines = [line.strip() for line in done.err.splitlines() if "-->" in line]
    assert done.code == 1
    assert lines == [
        "--> bundles/ant/bundle.yaml:5:1",
        "--> bundles/cat/bundle.yaml:5:1",
        "--> bundles/cat/values.yaml:2:1",
        "--> bundles/cat/vaules.yaml:1:1",
        "--> bundles/zebra/bundle.yaml:5:1",
    ]
    assert done.err.splitlines()[-4] == "found 3 errors and 2 warnings"


def test_json_is_one_document_with_the_same_findings(space: Workspace) -> None:
    typo(space, "ant")
    space.bundle("bee", dependencies=[])
    done = space.run("check", "--output", "json")
    assert done.code == 1
    assert done.err == ""
    first = done.json["findings"][0]
    assert first["code"] == "definition/unknown-field"
    assert first["bundle"] == "ant"
    assert first["location"] == {
        "path": "bundles/ant/bundle.yaml", "line": 5, "column": 1, "endLine": 5, "endColumn": 11
    }  # fmt: skip
    assert [bundle["status"] for bundle in done.json["bundles"]] == ["failed", "failed"]


@pytest.mark.parametrize("command", ["lock", "check", "build", "render", "publish"])
def test_json_is_one_document_on_any_failure(command: str, space: Workspace) -> None:
    done = space.run(command, "--output", "json")  # there are no bundles
    assert done.code == 2
    assert "bundles" in done.json["failures"][0]["message"]


@pytest.mark.parametrize(
    "wrong", ["check --bogus --output json", "check --output=json --jobs x", "check --output json --root"]
)
def test_json_is_one_document_where_the_command_line_is_wrong(wrong: str, space: Workspace) -> None:
    done = space.run(*wrong.split())
    assert done.code == 2
    assert done.err.endswith(f"error: {done.json['failures'][0]['message']}\n")


def test_json_that_the_environment_wants_is_one_document_where_the_environment_is_wrong(space: Workspace) -> None:
    space.environ |= {"BROLLY_OUTPUT": "json", "BROLLY_JOBS": "9" * 5000}
    assert "--jobs" in space.run("check").json["failures"][0]["message"]


def test_a_warning_is_exit_code_0_and_under_strict_1(space: Workspace) -> None:
    space.bundle("good", {**local_chart(), "vaules.yaml": "a: 1\n"}, dependencies=[local()])
    space.good("lock")
    done = space.good("check")
    assert "warning[bundle/unknown-file]" in done.err
    assert "found 1 warning" in done.err
    assert space.run("check", "--strict").code == 1


def test_quiet_says_errors_only_and_under_strict_what_fails(space: Workspace) -> None:
    space.bundle("good", {**local_chart(), "vaules.yaml": "a: 1\n"}, dependencies=[local()])
    space.good("lock", "-q")
    assert space.good("check", "-q")[1:] == ("", "")
    assert "warning[bundle/unknown-file]" in space.run("check", "-q", "--strict").err
    typo(space, "bad")
    assert space.run("check", "--quiet").err.endswith("found 1 error\n")


def test_colours_are_for_terminals_and_for_who_asks(space: Workspace) -> None:
    typo(space, "bad")
    assert "\x1b[" not in space.run("check").err
    assert "\x1b[1;31merror[" in space.run("check", "--color", "always").err
    space.environ["NO_COLOR"] = "1"
    assert "\x1b[" in space.run("check", "--color", "always").err


def in_terminal(space: Workspace, *arguments: str, **environ: str) -> tuple[int, str, str]:
    """Run a command with a terminal as its stderr: the exit code, stdout, and what the terminal got."""
    ours, theirs = pty.openpty()
    space.environ |= {"TERM": "xterm", **environ}
    process = space.start(*arguments, stderr=theirs)
    os.close(theirs)
    shown = all_shown(ours)
    out, _ = process.communicate(timeout=60)
    return process.returncode, out, shown


def all_shown(terminal: int) -> str:
    """Read what a terminal gets until nobody writes any more."""
    shown = b""
    while True:
        try:
            chunk = os.read(terminal, 65536)
        except OSError:  # Linux says EIO where others say nothing: the other end is closed
            break
        if not chunk:
            break
        shown += chunk
    os.close(terminal)
    return shown.decode()


def test_a_terminal_gets_progress_and_colours_and_a_pipe_does_not(space: Workspace) -> None:
    space.bundle("good", local_chart(), dependencies=[local()])
    typo(space, "bad")
    space.good("lock", "good")
    code, out, shown = in_terminal(space, "check")
    assert code == 1
    assert "Checking" in shown
    assert "\x1b[1;31merror[" in shown
    assert "Checking" not in out
    code, out, shown = in_terminal(space, "check", NO_COLOR="1")
    assert "\x1b[1;31m" not in shown
    code, out, shown = in_terminal(space, "check", "--output", "json")
    assert shown == ""
    assert json.loads(out)["bundles"]


@pytest.mark.parametrize("arguments", ["explain", "check", "check --output json", "--help"])
def test_a_reader_that_goes_away_is_told_nothing_and_sees_what_a_shell_sees_of_sigpipe(
    arguments: str, space: Workspace
) -> None:
    """As git and grep do: under pipefail a step of CI with `| head` is not green where errors were found."""
    space.environ["PYTHONUNBUFFERED"] = ""
    fields = {f"field-{number}": number for number in range(600)}
    space.bundle("bad", local_chart(), dependencies=[local()], **fields)
    process = space.start(*arguments.split(), stderr=subprocess.STDOUT)
    assert process.stdout
    process.stdout.close()
    assert process.wait() == 141


RUDE = "\x1b[31mred\x07"


@pytest.mark.parametrize("command", ["lock", "lock --check", "check", "build", "render"])
def test_a_terminal_gets_no_control_characters_from_the_name_of_a_folder(command: str, space: Workspace) -> None:
    space.bundle("good", local_chart(), dependencies=[local()])
    space.write({f"bundles/{RUDE}/bundle.yaml": "name: x", "bundles/good/\x1b[32m.yaml": ""})
    code, out, shown = in_terminal(space, *command.split(), NO_COLOR="1")
    assert code != 0
    assert "\ufffd[31mred\ufffd" in shown
    # what the progress display itself does is to move the cursor, hide it, show it and delete lines
    assert "[31m" not in (out + shown).replace("\ufffd[31m", "")
    assert "[32m" not in (out + shown).replace("\ufffd[32m", "")
    assert "\x07" not in out + shown


def test_a_reader_of_findings_that_goes_away_leaves_the_document_to_another(space: Workspace) -> None:
    typo(space, "bad")
    ours, theirs = os.pipe()
    os.close(ours)
    process = space.start("check", stderr=theirs)
    os.close(theirs)
    out, _ = process.communicate()
    assert (process.returncode, out) == (141, "")


def test_an_output_that_is_full_or_closed_is_no_bug(space: Workspace) -> None:
    with Path("/dev/full").open("w") as full:
        process = space.start("explain", stdout=full)
        _, err = process.communicate()
    assert (process.returncode, err) == (3, "error: writing the output: No space left on device\n")
    shell = f"exec {shlex.quote(sys.executable)} -m brolly explain >&-"
    done = subprocess.run(["sh", "-c", shell], cwd=space.root, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_output_is_utf8_whatever_the_locale_is(space: Workspace) -> None:
    space.bundle("good", {**local_chart(**{"values.yaml": "greeting: grüezi →\n"})}, dependencies=[local()])
    space.good("lock")
    space.environ["PYTHONIOENCODING"] = "latin-1"
    process = space.start("render", stdout=subprocess.PIPE)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert "grüezi →" in out


@pytest.mark.parametrize("command", ["lock", "check", "build", "publish", "render", "check --root ."])
def test_a_current_folder_that_is_gone_is_said(command: str, space: Workspace) -> None:
    space.bundle("good", local_chart(), dependencies=[local()])
    shell = f"mkdir gone && cd gone && rmdir ../gone && exec {shlex.quote(sys.executable)} -m brolly {command}"
    done = subprocess.run(
        ["sh", "-c", shell], cwd=space.root, env={**os.environ, **space.environment}, text=True, capture_output=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("error: the current folder is gone\n  = help: "), done.stderr


def test_with_a_root_a_current_folder_that_is_gone_does_not_matter(space: Workspace) -> None:
    space.bundle("good", local_chart(), dependencies=[local()])
    root, python = shlex.quote(str(space.root)), shlex.quote(sys.executable)
    run = " && ".join(f"{python} -m brolly {name} --root {root}" for name in ("lock", "build", "publish --dry-run"))
    done = subprocess.run(
        ["sh", "-c", f"mkdir gone && cd gone && rmdir ../gone && {run}"], cwd=space.root, text=True,
        env={**os.environ, **space.environment, "BROLLY_TO": "oci-layout:registry"}, capture_output=True, check=False,
    )  # fmt: skip
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr


@pytest.mark.parametrize("closed", ["2>&-", ">&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_a_build_whose_output_is_closed_builds_and_is_silent(closed: str, space: Workspace) -> None:
    space.bundle("good", {**local_chart(), "vaules.yaml": ""}, dependencies=[local()])
    space.good("lock")
    for expected, arguments in ((0, "build"), (1, "build --strict --no-cache"), (2, "build bad")):
        done = subprocess.run(
            ["sh", "-c", f"exec {shlex.quote(sys.executable)} -m brolly {arguments} {closed}"], cwd=space.root,
            env={**os.environ, **space.environment}, text=True, capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == expected
        assert done.stderr == ("" if "2>" in closed else done.stderr)
        assert "warning" not in done.stdout
    assert (space.dist / "good-1.0.0.tgz").is_file()


def test_a_bug_shows_its_traceback(space: Workspace) -> None:
    typo(space, "bad")
    space.monkeypatch.setattr("brolly.pipeline.building._build", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        space.run("check")


# --- Ctrl-C, SIGTERM, SIGHUP

ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def interrupt(
    process: subprocess.Popen[str], asked: list[object], number: int = signal.SIGINT
) -> tuple[int, str, float]:
    """Press Ctrl-C twice, as many do, once the repository was asked; give the exit code, stderr, how long it took."""
    wait_for(lambda: bool(asked))
    start = time.monotonic()
    process.send_signal(number)
    time.sleep(0.03)
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    return process.returncode, err, time.monotonic() - start


def leftovers(space: Workspace) -> list[str]:
    return [str(path) for root in (space.root, space.cache) for path in files_below(root) if ".tmp" in str(path)]


@pytest.mark.parametrize("jobs", ["1", "4"])
def test_ctrl_c_while_a_repository_hangs_ends_lock_at_once(
    jobs: str, space: Workspace, repository: ChartRepository
) -> None:
    repository.add("podinfo", "1.0.0")
    repository.faults["/charts/podinfo-1.0.0.tgz"] = HANG
    for name in ("one", "two"):
        space.bundle(name, dependencies=[{"name": "podinfo", "version": "1.x", "repository": repository.url}])
    before = space.state()
    process = space.start("lock", "--jobs", jobs)
    asked: list[object] = repository.requests  # type: ignore[assignment]
    code, err, took = interrupt(process, asked)
    assert (code, err) == (130, "interrupted\n")
    assert took < 5
    assert leftovers(space) == []
    assert {name for name in space.state() if not name.startswith("work-cache")} == set(before)


@pytest.mark.parametrize("number", ENDINGS)
def test_a_signal_in_a_build_leaves_dist_as_it_was_and_no_process(
    number: int, space: Workspace, repository: ChartRepository, tmp_path: Path
) -> None:
    repository.add("podinfo", "1.0.0")
    for name in ("local-0", "local-1", "local-2"):
        space.bundle(name, local_chart(), dependencies=[local()])
    space.bundle("remote", dependencies=[{"name": "podinfo", "version": "1.x", "repository": repository.url}])
    space.good("lock")
    space.good("build")
    for path in space.cache.rglob("sha256/*/*"):
        path.unlink()
    space.write({"bundles/local-1/values.yaml": "greeter: {greeting: ahoy}\n"})
    repository.faults["/charts/podinfo-1.0.0.tgz"] = HANG
    repository.requests.clear()
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    space.environ["TMPDIR"] = str(temporary)
    before = space.state()
    process = space.start("build", "-j", "4", "--no-cache")
    code, err, took = interrupt(process, repository.requests, number)  # type: ignore[arg-type]
    assert (code, err) == (128 + number, "interrupted\n")
    assert took < 5
    assert {name: one for name, one in space.state().items() if "work-cache" not in name} == {
        name: one for name, one in before.items() if "work-cache" not in name
    }
    assert leftovers(space) == []
    wait_for(lambda: not processes(str(temporary)) and not any(temporary.iterdir()))


SLOW = "{{ range until 100000 }}{{ range until 100000 }}{{ . }}{{ end }}{{ end }}\n"


@pytest.mark.parametrize("count", [1, 2])
def test_ctrl_c_while_helm_renders_ends_its_processes(count: int, space: Workspace, tmp_path: Path) -> None:
    if space.engine is None:
        pytest.skip("needs Helm's engine: pip install 'brolly[helm]'")
    for number in range(count):
        space.bundle(f"slow-{number}", local_chart(**{"templates/slow.yaml": SLOW}), dependencies=[local()])
    space.good("lock")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    space.environ["TMPDIR"] = str(temporary)
    process = space.start("check", "-j", str(count))
    wait_for(
        lambda: sum(seconds_of_work(one) > 1 for one in processes(str(temporary)) if one != str(process.pid)) == count
    )
    start = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, "interrupted\n")
    assert time.monotonic() - start < 5
    wait_for(lambda: not processes(str(temporary)) and not any(temporary.iterdir()))


@pytest.mark.parametrize("number", ENDINGS)
def test_a_signal_gives_the_cursor_of_a_terminal_back(
    number: int, space: Workspace, repository: ChartRepository
) -> None:
    repository.add("podinfo", "1.0.0")
    repository.faults["/charts/podinfo-1.0.0.tgz"] = HANG
    space.bundle("one", dependencies=[{"name": "podinfo", "version": "1.x", "repository": repository.url}])
    ours, theirs = pty.openpty()
    space.environ["TERM"] = "xterm"
    process = space.start("lock", stderr=theirs)
    os.close(theirs)
    wait_for(lambda: bool(repository.requests))
    process.send_signal(number)
    shown = all_shown(ours)
    process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert "\x1b[?25h" in shown.rpartition("\x1b[?25l")[2]


def test_a_signal_that_was_ignored_before_stays_so(space: Workspace, repository: ChartRepository) -> None:
    """As under nohup, or in the background of a shell."""
    repository.add("podinfo", "1.0.0")
    repository.faults["/charts/podinfo-1.0.0.tgz"] = HANG
    space.bundle("one", dependencies=[{"name": "podinfo", "version": "1.x", "repository": repository.url}])
    program = f"import os, signal\nfor each in (1, 2): signal.signal(each, signal.SIG_IGN)\n{EXEC}"
    process = space.start("lock", program=program)
    wait_for(lambda: bool(repository.requests))
    for number in (signal.SIGHUP, signal.SIGINT):
        process.send_signal(number)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (143, "interrupted\n")


EXEC = 'import sys; os.execv(sys.executable, [sys.executable, "-m", "brolly", *sys.argv[1:]])'
# Presses Ctrl-C as a module is imported.
IMPORTING = """
import os, runpy, signal, sys
wanted = sys.argv.pop(1)
sys.addaudithook(lambda event, given: event == "import" and given[0] == wanted and os.kill(os.getpid(), signal.SIGINT))
runpy.run_module("brolly", run_name="__main__", alter_sys=True)
"""
# Presses Ctrl-C as Python ends.
ENDING = """
import atexit, os, runpy, signal, sys
atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT))
runpy.run_module("brolly", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize("module", ["brolly.cli", "argparse", "brolly.interrupts", "msgspec", "brolly.dist", "yaml"])
def test_ctrl_c_while_modules_are_loaded_shows_no_traceback(module: str, space: Workspace) -> None:
    space.bundle("good", local_chart(), dependencies=[local()])
    done = space.finish(module, "check", program=IMPORTING)
    # it is heeded once nothing is being loaded: this run may just have had the time to say what it found
    assert (done.code, done.err.rpartition("interrupted\n")[1:]) in {
        (-signal.SIGINT, ("", "")),
        (130, ("interrupted\n", "")),
    }
    assert "Traceback" not in done.err


@pytest.mark.parametrize("arguments", ["explain", "--help", "check", "nothing"])
def test_ctrl_c_at_the_very_end_shows_no_traceback(arguments: str, space: Workspace) -> None:
    space.bundle("good", local_chart(), dependencies=[local()])
    done = space.finish(arguments, program=ENDING)
    assert done.code == -signal.SIGINT
    assert "Traceback" not in done.err


# Takes long to unwind; the signal is swallowed first where nothing can be raised.
UNWINDING = """
import sys, time
from brolly import interrupts
interrupts._UNDISTURBED = 1.0
class Slow:
    def __del__(self):
        print("deaf", flush=True)
        time.sleep(30)
interruption = interrupts.Interruption()
interruption.watch()
try:
    Slow()
    time.sleep(30)
except KeyboardInterrupt:
    print("unwinding", interruption.exit_code, flush=True)
    time.sleep(0.5)
    print("still", flush=True)
    time.sleep(30)
"""


def test_further_signals_leave_the_unwinding_alone_for_a_while_and_end_it_then(space: Workspace) -> None:
    process = space.start(program=UNWINDING)
    assert process.stdout
    assert process.stdout.readline() == "deaf\n"
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "unwinding 143\n"
    for number in ENDINGS:
        process.send_signal(number)
    assert process.stdout.readline() == "still\n"
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert (process.returncode, err) == (143, "")


# --- explain, schema


def test_explain_lists_rules_and_shows_pages(space: Workspace) -> None:
    assert "lock/stale" in space.good("explain").out
    assert space.good("explain", "lock/stale").out.startswith("# lock/stale\n")
    assert "did you mean `lock/stale`?" in space.run("explain", "lock/stal").err
    assert space.good("explain", "lock/stale", "--output", "json").json["severity"] == "error"
    assert {"code", "severity", "title"} == set(space.good("explain", "--output", "json").json["rules"][0])


@pytest.mark.parametrize("name", ["bundle", "lock", "workspace", "report"])
def test_schema_prints_a_schema_and_nothing_else(name: str, space: Workspace) -> None:
    assert space.good("schema", name).json["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_a_run_on_local_charts_loads_neither_registry_nor_http(space: Workspace) -> None:
    space.bundle("good", local_chart(), dependencies=[local()])
    script = "import sys; from brolly import cli; cli.main(['lock']); print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=space.root, env={**os.environ, **space.environment}, text=True,
        capture_output=True, check=True,
    )  # fmt: skip
    assert {"oras", "requests", "rich", "helm_python"} & set(done.stdout.split()) == set()
