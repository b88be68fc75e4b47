"""What a person sees while a command runs: progress on stderr, in a terminal only. Results go to stdout."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from brolly.findings import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


def is_coloured(choice: str, stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Decide on colours: `always`, `never`, or `auto` (a terminal, and NO_COLOR is not set)."""
    if choice != "auto":
        return choice == "always"
    return not environ.get("NO_COLOR") and environ.get("TERM") != "dumb" and stream.isatty()


@contextmanager
def progress(title: str, *, is_quiet: bool) -> Iterator[Callable[[str, str], None]]:
    """Show what every bundle is at, while the block runs; silent where stderr is no terminal."""
    if is_quiet or not sys.stderr.isatty():
        yield lambda _name, _stage: None
        return
    from rich.console import Console
    from rich.markup import escape

    stages: dict[str, str] = {}
    console = Console(stderr=True)
    with console.status(title) as status:

        def show(name: str, stage: str) -> None:
            stages.pop(name, None)  # the latest stand last
            stages[name] = stage
            running = ", ".join(f"{bundle} {step}".strip() for bundle, step in list(stages.items())[-3:])
            status.update(f"{title}: {escape(printable(running))}")

        yield show
