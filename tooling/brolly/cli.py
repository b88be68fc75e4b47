"""The command line: a table of commands, and the three doors for errors (expected, interrupted, bug)."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from brolly import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_COMMON_ENVIRONMENT: Final = """\
Every option can be given as an environment variable: BROLLY_ and its name, such as BROLLY_OFFLINE=1.
Exit codes: 0 good, 1 at least one error, 2 usage or configuration, 3 the world failed, 130 interrupted."""


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


def _lock(parser: argparse.ArgumentParser) -> None:
    _bundles(parser)
    parser.add_argument("--check", action="store_true", help="fail if a lock would change; no network, nothing written")
    parser.add_argument(
        "--upgrade", nargs="?", action="append", const="", metavar="DEP",
        help="move within the constraint: all dependencies, or this one (repeatable)",
    )  # fmt: skip


def _build(parser: argparse.ArgumentParser) -> None:
    _bundles(parser)
    parser.add_argument("--address", metavar="URL", help="where clusters pull from (oci://HOST/PATH)")


def _publish(parser: argparse.ArgumentParser) -> None:
    _bundles(parser)
    parser.add_argument("--to", metavar="DEST", help="oci-layout:FOLDER or oci://HOST/PATH (default: the workspace's)")
    parser.add_argument("--dry-run", action="store_true", help="show what would be published")
    parser.add_argument(
        "--plain-http", action="store_true", help="speak HTTP to a registry that is not on this machine"
    )


def _render(parser: argparse.ArgumentParser) -> None:
    _bundles(parser)
    parser.add_argument("-f", "--values", action="append", metavar="FILE", help="an operator's values (repeatable)")
    parser.add_argument("--include-crds", action="store_true", help="print the CRDs of crds/ folders too")
    parser.add_argument("--output-dir", metavar="DIR", help="write one file per release instead of printing")


def _explain(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "code", nargs="?", metavar="CODE", help="a rule's code, such as lock/stale (default: list them)"
    )


def _schema(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", choices=("bundle", "lock", "workspace", "report"), help="which schema")


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
        "brolly build\nbrolly build storefront --address oci://ghcr.io/my-org/bundles", _build,
    ),
    Command(
        "render", "render", "run", "print the final objects, as `helm template` does",
        "brolly render storefront\nbrolly render storefront -f eu.yaml --output-dir out", _render,
    ),
    Command(
        "publish", "publish", "run", "copy dist/ to a registry",
        "brolly publish\nbrolly publish --to oci://ghcr.io/my-org/bundles --dry-run", _publish,
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
    """Run a command; the exit code is the result."""
    args = _parser(os.environ).parse_args(argv)
    try:
        code = _run(args)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # the reader went away, as `| head` does; nothing may complain at exit either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


def _run(args: argparse.Namespace) -> int:
    from brolly.errors import BrollyError

    module = importlib.import_module(f"brolly.commands.{args.module}")
    try:
        code: int = getattr(module, args.function)(args)
    except BrollyError as error:
        from brolly.commands.run import print_fault

        print_fault(args, str(error), error.hint)
        return error.exit_code
    return code


def _parser(environ: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="brolly",
        description="Compile bundles of Helm charts into umbrella charts and Flux bundles, check and publish them.",
        epilog=f"examples:\n  brolly lock && brolly build && brolly publish\n\n{_COMMON_ENVIRONMENT}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
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
        )
        command.arguments(row)
        _add_common(row)
        row.set_defaults(module=command.module, function=command.function)
        _take_environment(row, environ)
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    common = parser.add_argument_group("common options")
    common.add_argument("--root", metavar="DIR", help="the workspace (default: the current folder's)")
    common.add_argument("--output", choices=("text", "json"), default="text", help="json: one document on stdout")
    common.add_argument("--offline", action="store_true", help="use only what is in the cache")
    common.add_argument("--strict", action="store_true", help="warnings fail too")
    common.add_argument(
        "-j", "--jobs", type=_positive, metavar="N", help="how many bundles at once (default: all cores)"
    )
    common.add_argument("-q", "--quiet", action="store_true", help="errors only")
    common.add_argument("--color", choices=("auto", "always", "never"), default="auto", help="default: in a terminal")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


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
        return text.lower() not in {"0", "false", "no", ""}
    try:
        value = action.type(text) if callable(action.type) else text
    except ValueError:
        value = None
    if value is None or (action.choices and value not in action.choices):
        parser.error(f"the environment's value for {option} cannot be used: {text!r}")
    return [value] if isinstance(action, argparse._AppendAction) else value  # noqa: SLF001
