"""What commands share: the shop of a run, findings on the terminal, and the exit code that they give."""

from __future__ import annotations

import json
import os
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from brolly import console, workspace
from brolly.findings import Severity, has_errors, in_order, printable
from brolly.pipeline.shop import Engines, Shop, settings_of
from brolly.report.text import counted, findings_text, paint

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from brolly.findings import Finding
    from brolly.pipeline.shop import Draft
    from brolly.repositories import Repositories
    from brolly.workspace import Workspace

_Made = TypeVar("_Made")


def find_workspace(args: argparse.Namespace) -> Workspace:
    """Find the workspace of the run: --root, else the current folder's."""
    return workspace.find(Path(args.root).resolve() if args.root else Path.cwd())


@contextmanager
def open_shop(
    args: argparse.Namespace, title: str, *, needs_engine: bool = False
) -> Iterator[tuple[Shop, tuple[Finding, ...]]]:
    """Open what a run needs, and close it: the caches, the engines, the progress display."""
    space = find_workspace(args)
    settings, found = settings_of(space, getattr(args, "address", "") or "", workspace.epoch(os.environ))
    jobs = args.jobs or os.cpu_count() or 1
    repositories = _once(lambda: _repositories(args, space))
    engines = _engines(jobs) if needs_engine else None
    shown = args.output == "text" and not args.quiet
    try:
        with console.progress(title, is_quiet=not shown) as progress:
            yield Shop(space, settings, repositories, engines, jobs, progress), found
    finally:
        if engines:
            engines.close()


def _once(make: Callable[[], _Made]) -> Callable[[], _Made]:
    """Make a thing at the first call, whichever thread that comes from."""
    lock, made = threading.Lock(), list[_Made]()

    def give() -> _Made:
        with lock:
            if not made:
                made.append(make())
            return made[0]

    return give


def _repositories(args: argparse.Namespace, space: Workspace) -> Repositories:
    from brolly.cache import Cache, default_path
    from brolly.registry.remote import OciRegistry
    from brolly.repositories import Repositories
    from brolly.repositories.credentials import from_environ, from_helm

    credentials = from_helm(os.environ) | from_environ(space.config.repositories, os.environ)
    return Repositories(
        Cache(default_path(os.environ)), registry=OciRegistry, credentials=credentials, offline=args.offline
    )


def _engines(jobs: int) -> Engines | None:
    from brolly.engine import Engine

    return Engines(Engine, jobs) if Engine.available() else None


def show_findings(args: argparse.Namespace, drafts: Sequence[Draft], more: Iterable[Finding] = ()) -> int:
    """Show what was found, the world's faults after it, and a last line that counts; give the exit code."""
    found = in_order((*more, *(finding for draft in drafts for finding in draft.findings)))
    texts: dict[str, str] = {}
    for draft in drafts:
        texts |= draft.texts()
    if args.output == "text":
        _print_findings(args, found, texts)
        for draft in drafts:
            if draft.fault:
                print_fault(args, f"{draft.name}: {draft.fault}", draft.fault.hint)
    return exit_code(args, found, drafts)


def exit_code(args: argparse.Namespace, found: Sequence[Finding], drafts: Sequence[Draft]) -> int:
    """Give 0, 1 for an error (under --strict for a warning too), or what a fault of the world asks for."""
    faults = [draft.fault.exit_code for draft in drafts if draft.fault]
    if faults:
        return max(faults)
    return int(has_errors(found) or (args.strict and bool(found)))


def _print_findings(args: argparse.Namespace, found: Sequence[Finding], texts: Mapping[str, str]) -> None:
    if args.quiet:
        found = [finding for finding in found if finding.severity is Severity.ERROR]
    if not found:
        return
    coloured = console.is_coloured(args.color, sys.stderr, os.environ)
    print(findings_text(found, texts, is_coloured=coloured), file=sys.stderr)
    errors = sum(finding.severity is Severity.ERROR for finding in found)
    counts = [counted(errors, "error")] if errors else []
    if len(found) > errors:
        counts.append(counted(len(found) - errors, "warning"))
    print(f"found {' and '.join(counts)}", file=sys.stderr)


def print_fault(args: argparse.Namespace, message: str, hint: str) -> None:
    """Say what the world did, or what was asked wrongly."""
    coloured = console.is_coloured(args.color, sys.stderr, os.environ)
    print(f"{paint('error', '1;31', is_coloured=coloured)}: {printable(message)}", file=sys.stderr)
    if hint:
        print(f"{paint('  = help:', '1;36', is_coloured=coloured)} {printable(hint)}", file=sys.stderr)


def print_json(data: Any) -> None:
    """Print one JSON document on stdout."""
    print(json.dumps(msgspec.to_builtins(data), indent=2, ensure_ascii=False))


def failures(drafts: Sequence[Draft]) -> list[dict[str, str]]:
    """Give the world's faults for a JSON document."""
    return [
        {"bundle": draft.name, "message": str(draft.fault), "hint": draft.fault.hint} for draft in drafts if draft.fault
    ]
