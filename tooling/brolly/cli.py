"""The command line: a table of commands, and the three doors for errors (expected, interrupted, bug)."""

from __future__ import annotations

import argparse
import errno
import gc
import importlib
import io
import os
import sys
import threading
import time
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

from brolly import __version__
from brolly.errors import BrollyError, UsageError
from brolly.interrupts import Interruption

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_COMMON_ENVIRONMENT: Final = """\
Every option can be given as an environment variable: BROLLY_ and its name, such as BROLLY_OFFLINE=1.
Exit codes: 0 good, 1 at least one error, 2 usage or configuration, 3 the world failed, 130 interrupted,
141 nobody reads the output."""

# the reader went away, as `| head` does: what a shell sees of programs that SIGPIPE ends (128 + 13). The command's own
# code may not be known yet, and must not be taken for success
_NO_READER: Final = 141
# seconds that threads get to finish what they are writing
_LAST_MOMENT: Final = 0.5


class Command(NamedTuple):
    """A row of the table: the module is imported when the command runs, so that start-up costs little."""

    name: str
    module: str
    function: str
    summary: str
    examples: str
    arguments: Callable[[argparse.ArgumentParser], None]


def _bundles(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundles", nargs="*", metavar="BUNDLE", help="names of bundles (default: all)")
    run = parser.add_argument_group("options of a run")
    run.add_argument("--root", metavar="DIR", help="the workspace (default: the current folder's)")
    run.add_argument("--strict", action="store_true", help="warnings fail too")
    run.add_argument("-j", "--jobs", type=_positive, metavar="N", help="how many bundles at once (default: all cores)")
    run.add_argument("--offline", action="store_true", help="use only what is in the cache")
    run.add_argument("--no-cache", action="store_true", help="find everything out anew: no earlier result is used")
    run.add_argument("--plain-http", action="store_true", help="speak HTTP to registries that are not on this machine")
    run.add_argument("--timeout", type=_seconds, metavar="SECONDS", help="how long to wait for a server (default: 60)")
    run.add_argument("--retries", type=_count, metavar="N", help="how often to ask again (default: 4)")
    run.add_argument(
        "--engine-timeout", type=_seconds, metavar="SECONDS", help="how long one lint or render by Helm may take (60)"
    )
    run.add_argument(
        "--engine-memory",
        type=_memory,
        metavar="SIZE",
        help="the address space of Helm's engine (6Gi; no less than 4Gi)",
    )


def _lock(parser: argparse.ArgumentParser) -> None:
    _bundles(parser)
    parser.add_argument("--check", action="store_true", help="fail if a lock would change; no network, nothing written")
    parser.add_argument(
        "--upgrade", nargs="?", action=_Repeated, const="", metavar="DEP",
        help="move within the constraint: all dependencies, or this one (repeatable)",
    )  # fmt: skip


def _build(parser: argparse.ArgumentParser) -> None:
    _bundles(parser)
    parser.add_argument("--address", metavar="URL", help="where clusters pull from (oci://HOST/PATH)")


def _publish(parser: argparse.ArgumentParser) -> None:
    _bundles(parser)
    parser.add_argument("--to", metavar="DEST", help="oci-layout:FOLDER or oci://HOST/PATH (default: the workspace's)")
    parser.add_argument("--dry-run", action="store_true", help="show what would be published")


def _render(parser: argparse.ArgumentParser) -> None:
    _bundles(parser)
    parser.add_argument("-f", "--values", action=_Repeated, metavar="FILE", help="an operator's values (repeatable)")
    parser.add_argument("--include-crds", action="store_true", help="print the CRDs of crds/ folders too")
    parser.add_argument("--output-dir", metavar="DIR", help="write one file per release instead of printing")


def _explain(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "code", nargs="?", metavar="CODE", help="a rule's code, such as lock/stale (default: list them)"
    )


def _schema(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", choices=("bundle", "lock", "workspace", "report"), help="which schema")


def _cache(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("info", "prune"), help="info: say what it holds; prune: make room")
    parser.add_argument(
        "--days", type=_count, default=30, metavar="N", help="what was not of use for N days goes (default: 30)"
    )


COMMANDS: Final = (
    Command(
        "lock", "lock", "run", "resolve dependencies and write bundle.lock",
        "brolly lock\nbrolly lock storefront --upgrade\nbrolly lock --check", _lock,
    ),
    Command(
        "check", "build", "run_check", "run all checks, write nothing",
        "brolly check\nbrolly check storefront --output json", _build,
    ),
    Command(
        "build", "build", "run", "compile, check, and write dist/",
        "brolly build\nbrolly build storefront --address oci://registry.example/bundles", _build,
    ),
    Command(
        "render", "render", "run", "print the final objects, as `helm template` does",
        "brolly render storefront\nbrolly render storefront -f eu.yaml --output-dir out", _render,
    ),
    Command(
        "publish", "publish", "run", "copy dist/ to a registry",
        "brolly publish\nbrolly publish --to oci://registry.example/bundles --dry-run", _publish,
    ),
    Command(
        "cache", "cache", "run", "show what the cache holds, or make room",
        "brolly cache info\nbrolly cache prune --days 7", _cache,
    ),
    Command(
        "explain", "explain", "run", "explain a rule",
        "brolly explain\nbrolly explain lock/stale", _explain,
    ),
    Command(
        "schema", "explain", "run_schema", "print a JSON Schema",
        "brolly schema bundle > bundle.schema.json", _schema,
    ),
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit code is the result. Without arguments it is the program, which signals end in order."""
    if argv is not None:
        return _guarded(argv)
    interruption = Interruption()
    try:
        _open_streams()
        interruption.watch()
        _speak_utf8()
        code = _guarded(sys.argv[1:])
        interruption.rest()
    except BaseException:
        # not always as what was raised: some places make another exception of it
        if interruption.exit_code:
            _leave(interruption.exit_code)
        raise
    gc.freeze()  # nor is there any reason to look for garbage at the end
    return code


def _guarded(words: Sequence[str]) -> int:
    """Run a command; what becomes of its output is no bug."""
    command = next((word for word in words if not word.startswith("-")), "")
    try:
        try:
            code = _run(_parser(os.environ, command).parse_args(words))
        except SystemExit as end:  # argparse's
            if isinstance(end, _Refusal) and _wants_json(words, os.environ):
                _print_failure(UsageError(end.message))
            code = int(end.code or 0)
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_output()
        return _NO_READER
    except OSError as error:
        if error.errno != errno.ENOSPC or error.filename:
            raise
        _drop_output()
        print(f"error: writing the output: {error.strerror}", file=sys.stderr)
        return 3
    return code


def _drop_output() -> None:
    """Keep Python from writing, at its exit, what it could not write."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _open_streams() -> None:
    """Give what was closed by who started us to nobody: else the next file that is opened would be in its place.

    Python has None for such a stream, and prints to stdout what is meant for a stderr that is None.
    """
    while (handle := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(handle, True)  # noqa: FBT003 - positional only
    os.close(handle)
    sys.stdin, sys.stdout, sys.stderr = (
        stream or open(place, mode, encoding="utf-8")  # noqa: PTH123, SIM115 - a descriptor, for the whole run
        for place, (stream, mode) in enumerate(((sys.stdin, "r"), (sys.stdout, "w"), (sys.stderr, "w")))
    )


def _speak_utf8() -> None:
    """Write UTF-8 whatever the locale is: what is printed is read by Helm, kubectl and jq."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")


def _leave(code: int) -> NoReturn:
    """End at once: threads that wait for a server would keep the process for as long as they wait.

    What is being written gets a moment, so that no temporary file stays behind.
    """
    with suppress(OSError):  # Ctrl-C ends who reads it, too
        print("interrupted", file=sys.stderr)
    until = time.monotonic() + _LAST_MOMENT
    for thread in threading.enumerate():
        # one that was about to start is listed, too
        if thread is not threading.current_thread() and not thread.daemon and thread.is_alive():
            thread.join(max(0.0, until - time.monotonic()))
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(code)


def _run(args: argparse.Namespace) -> int:
    # what is imported stays: to look through it for garbage takes a tenth of the time that a start takes
    gc.disable()
    module = importlib.import_module(f"brolly.commands.{args.module}")
    gc.enable()
    try:
        code: int = getattr(module, args.function)(args)
    except BrollyError as error:
        from brolly.commands.run import print_fault

        if args.output == "json":
            _print_failure(error)
        print_fault(args, str(error), error.hint)
        return error.exit_code
    return code


def _print_failure(error: BrollyError) -> None:
    from brolly.commands.run import fault_facts, print_json

    print_json({"failures": fault_facts([("", error)])})


def _wants_json(words: Sequence[str], environ: Mapping[str, str]) -> bool:
    """Say whether a command line asks for JSON that may be faulty elsewhere."""
    given = [word.removeprefix("--output=") for word in words if word.startswith("--output=")]
    given += [after for word, after in pairwise(words) if word == "--output"]
    return "json" in (given or [environ.get("BROLLY_OUTPUT", "")])


class _Refusal(SystemExit):
    """The command line is wrong, which has been said on stderr."""

    def __init__(self, message: str) -> None:
        super().__init__(2)
        self.message = message


class _Parser(argparse.ArgumentParser):
    """A parser that tells us, too, what is wrong."""

    def error(self, message: str) -> NoReturn:
        """Say it, and end with exit code 2."""
        try:
            super().error(message)
        except SystemExit:
            raise _Refusal(message) from None


def _parser(environ: Mapping[str, str], chosen: str = "") -> argparse.ArgumentParser:
    """Make the parser of all commands; the environment speaks to the chosen one."""
    parser = _Parser(
        prog="brolly",
        description="Compile bundles of Helm charts into umbrella charts and Flux bundles, check and publish them.",
        epilog=f"examples:\n  brolly lock && brolly build && brolly publish\n\n{_COMMON_ENVIRONMENT}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"brolly {__version__}")
    rows = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in COMMANDS:
        examples = "\n".join(f"  {line}" for line in command.examples.splitlines())
        row = rows.add_parser(
            command.name,
            help=command.summary,
            description=f"{command.summary[0].upper()}{command.summary[1:]}.",
            epilog=f"examples:\n{examples}\n\n{_COMMON_ENVIRONMENT}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        command.arguments(row)
        _add_common(row)
        row.set_defaults(module=command.module, function=command.function)
        if command.name == chosen:
            _take_environment(row, environ)
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    common = parser.add_argument_group("common options")
    common.add_argument("--output", choices=("text", "json"), default="text", help="json: one document on stdout")
    common.add_argument("-q", "--quiet", action="store_true", help="errors only")
    common.add_argument("--color", choices=("auto", "always", "never"), default="auto", help="default: in a terminal")


def _count(text: str) -> int:
    if not text.isdecimal() or not text.isascii() or len(text) > 9:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no number such as 4")
    return int(text)


def _positive(text: str) -> int:
    if not (number := _count(text)):
        raise argparse.ArgumentTypeError("it must be at least 1")
    return number


def _seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return number


def _memory(text: str) -> int:
    from brolly.limits import quantity

    try:
        return quantity(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no size such as 6Gi") from None


def _take_environment(parser: argparse.ArgumentParser, environ: Mapping[str, str]) -> None:
    """Let BROLLY_NAME stand for --name; what is typed wins."""
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way to list them
        name = next((option[2:] for option in action.option_strings if option.startswith("--")), "")
        text = environ.get(f"BROLLY_{name.upper().replace('-', '_')}") if name and name != "help" else None
        if text:
            parser.set_defaults(**{action.dest: _from_environment(parser, action, text)})


def _from_environment(parser: argparse.ArgumentParser, action: argparse.Action, text: str) -> Any:
    option = action.option_strings[-1]
    if action.nargs == 0:
        return text.lower() not in {"0", "false", "no"}
    try:
        value = action.type(text) if callable(action.type) else text
    except argparse.ArgumentTypeError as error:
        parser.error(f"the environment's value for {option}: {error}")
    if action.choices and value not in action.choices:
        parser.error(f"the environment's value for {option}: {text!r} is none of {', '.join(action.choices)}")
    # a tuple: what is typed takes its place instead of being added
    return (value,) if isinstance(action, _Repeated) else value


class _Repeated(argparse.Action):
    """An option that may be given several times; what the environment says holds only if it is not given at all."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,  # noqa: ARG002 - argparse's signature
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,  # noqa: ARG002
    ) -> None:
        """Add one more."""
        before = getattr(namespace, self.dest)
        setattr(namespace, self.dest, [*(before if isinstance(before, list) else ()), values])
