"""What commands share: the shop of a run, findings on the terminal, and the exit code that they give."""

from __future__ import annotations

import json
import os
import sys
import threading
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from brolly import console, workspace
from brolly.errors import UsageError
from brolly.findings import Severity, has_errors, in_order, printable
from brolly.pipeline.shop import Engines, Shop, settings_of
from brolly.report.text import counted, findings_text, paint

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from brolly.errors import BrollyError
    from brolly.findings import Finding
    from brolly.pipeline.shop import Draft
    from brolly.registry import Patience
    from brolly.repositories import Repositories
    from brolly.workspace import Workspace

_Made = TypeVar("_Made")


def find_workspace(args: argparse.Namespace) -> Workspace:
    """Find the workspace of the run: --root, else the current folder's."""
    if args.root and not Path(args.root).is_dir():
        raise UsageError(f"--root: there is no folder {printable(args.root)}")
    return workspace.find(Path(args.root).resolve() if args.root else Path.cwd())


@contextmanager
def open_shop(
    args: argparse.Namespace, title: str, *, needs_engine: bool = False
) -> Iterator[tuple[Shop, tuple[Finding, ...]]]:
    """Open what a run needs, and close it: the caches, the engines, the progress display."""
    space = find_workspace(args)
    settings, found = settings_of(space, getattr(args, "address", "") or "", workspace.epoch(os.environ))
    jobs = args.jobs or os.cpu_count() or 1
    engines = _engines(jobs) if needs_engine else None
    shown = args.output == "text" and not args.quiet
    with (
        closing(engines) if engines else nullcontext(),
        console.progress(title, is_quiet=not shown) as progress,
    ):
        repositories = _once(lambda: _repositories(args, space, progress))
        yield Shop(space, settings, repositories, engines, jobs, progress), found


def _once(make: Callable[[], _Made]) -> Callable[[], _Made]:
    """Make a thing at the first call, whichever thread that comes from."""
    lock, made = threading.Lock(), list[_Made]()

    def give() -> _Made:
        with lock:
            if not made:
                made.append(make())
            return made[0]

    return give


def patience(args: argparse.Namespace) -> Patience:
    """Give how long servers are waited for, and how often they are asked: --timeout and --retries."""
    from brolly.registry import Patience

    usual = Patience()
    read = args.timeout if args.timeout is not None else usual.read
    tries = usual.tries if args.retries is None else args.retries + 1
    return Patience(connect=min(read, usual.connect), read=read, tries=tries)


def _repositories(args: argparse.Namespace, space: Workspace, progress: Callable[[str, str], None]) -> Repositories:
    from brolly.cache import Cache, default_path
    from brolly.registry.remote import OciRegistry
    from brolly.repositories import Repositories
    from brolly.repositories.credentials import from_environ, from_helm

    credentials = from_helm(os.environ) | from_environ(space.config.repositories, os.environ)
    plain = True if args.plain_http else None  # None: for this machine only
    return Repositories(
        Cache(default_path(os.environ)),
        registry=lambda host: OciRegistry(host, plain_http=plain, patience=patience(args)),
        credentials=credentials,
        offline=args.offline,
        patience=patience(args),
        progress=lambda text: progress("", text),
    )


def _engines(jobs: int) -> Engines | None:
    from brolly.engine import Engine

    return Engines(Engine, jobs) if Engine.available() else None


def show_findings(
    args: argparse.Namespace,
    drafts: Sequence[Draft],
    more: Iterable[Finding] = (),
    given: Mapping[str, str] | None = None,
) -> int:
    """Show what was found, the world's faults after it, and a last line that counts; give the exit code.

    `given` holds the texts of files that belong to no bundle, by path.
    """
    found = all_findings(drafts, more)
    faults = faults_of(drafts)
    if args.output == "text":
        _print_findings(args, found, drafts, given or {})
        print_faults(args, faults)
    if faults:
        return max(fault.exit_code for _, fault in faults)
    return int(has_errors(found) or (args.strict and bool(found)))


def all_findings(drafts: Sequence[Draft], more: Iterable[Finding] = ()) -> tuple[Finding, ...]:
    """Give the findings of all bundles, in order."""
    return in_order((*more, *(finding for draft in drafts for finding in draft.findings)))


def faults_of(drafts: Sequence[Draft]) -> list[tuple[str, BrollyError]]:
    """Give the world's faults with the names of the bundles that met them."""
    return [(draft.name, fault) for draft in drafts for fault in draft.faults]


def _print_findings(
    args: argparse.Namespace, found: Sequence[Finding], drafts: Sequence[Draft], given: Mapping[str, str]
) -> None:
    if args.quiet and not args.strict:
        found = [finding for finding in found if finding.severity is Severity.ERROR]
    if not found:
        return
    paths = {finding.location.path for finding in found if finding.location}
    texts = dict(given)
    for draft in drafts:
        texts |= draft.texts(paths)
    coloured = console.is_coloured(args.color, sys.stderr, os.environ)
    print(findings_text(found, texts, is_coloured=coloured), file=sys.stderr)
    errors = sum(finding.severity is Severity.ERROR for finding in found)
    counts = [counted(errors, "error")] if errors else []
    if len(found) > errors:
        counts.append(counted(len(found) - errors, "warning"))
    print(f"found {' and '.join(counts)}", file=sys.stderr)


def print_faults(args: argparse.Namespace, faults: Iterable[tuple[str, BrollyError]]) -> None:
    """Say what the world did, by bundle; to JSON it belongs to the document."""
    for name, fault in faults if args.output == "text" else ():
        print_fault(args, f"{name}: {fault}", fault.hint)


def print_fault(args: argparse.Namespace, message: str, hint: str) -> None:
    """Say what the world did, or what was asked wrongly."""
    coloured = console.is_coloured(args.color, sys.stderr, os.environ)
    print(f"{paint('error', '1;31', is_coloured=coloured)}: {printable(message)}", file=sys.stderr)
    if hint:
        print(f"{paint('  = help:', '1;36', is_coloured=coloured)} {printable(hint)}", file=sys.stderr)


def print_json(data: Any) -> None:
    """Print one JSON document on stdout."""
    print(json.dumps(msgspec.to_builtins(data), indent=2, ensure_ascii=False))


def fault_facts(faults: Iterable[tuple[str, BrollyError]]) -> list[dict[str, str]]:
    """Give the world's faults for a JSON document."""
    return [{"bundle": name, "message": str(fault), "hint": fault.hint} for name, fault in faults]
