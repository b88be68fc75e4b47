"""What commands share: the workspace, the result cache, findings on the terminal, and the exit code that they give."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from brolly import console, workspace
from brolly.errors import UsageError
from brolly.findings import Severity, has_errors, in_order, printable
from brolly.limits import CHART_FILE
from brolly.report.text import counted, findings_text, listed, paint

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Mapping, Sequence

    from brolly.errors import BrollyError, WorldError
    from brolly.findings import Finding
    from brolly.pipeline.shop import Draft
    from brolly.results import Results
    from brolly.workspace import Workspace


def find_workspace(args: argparse.Namespace) -> Workspace:
    """Find the workspace of the run: --root, else the current folder's."""
    start = Path(args.root or ".")
    if not start.is_absolute():
        start = _current_folder() / start
    if args.root and not start.is_dir():
        raise UsageError(f"--root: there is no folder {printable(args.root)}")
    return workspace.find(start.resolve())


def _current_folder() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise UsageError("the current folder is gone", hint="change to one that is there: cd") from None


def from_here(path: Path) -> Path:
    """Give the shorter name of a path, which begins at the current folder; if that is gone, the path."""
    try:
        return Path(os.path.relpath(path))
    except FileNotFoundError:
        return path


def jobs_of(args: argparse.Namespace) -> int:
    """Say how many bundles are worked on at once: --jobs, else one per processor."""
    return args.jobs or os.cpu_count() or 1


def open_results(args: argparse.Namespace) -> Results:
    """Open the result cache; with --no-cache one that remembers nothing. That it cannot be used is a warning."""
    from brolly.cache import Cache, default_path
    from brolly.results import Results

    def warn(fault: WorldError) -> None:
        if not args.quiet:
            print(f"warning: no result is kept: {printable(str(fault))}", file=sys.stderr)

    return Results(Cache(default_path(os.environ)), is_used=not args.no_cache, warn=warn)


def show(
    args: argparse.Namespace,
    found: Sequence[Finding],
    faults: Sequence[tuple[str, BrollyError]],
    given: Mapping[str, str] | None = None,
) -> int:
    """Show what was found, the world's faults after it, and a last line that counts; give the exit code.

    `given` holds the texts of files that belong to no bundle, by path.
    """
    if args.output == "text":
        _print_findings(args, found, given or {})
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


def _print_findings(args: argparse.Namespace, found: Sequence[Finding], given: Mapping[str, str]) -> None:
    if args.quiet and not args.strict:
        found = [finding for finding in found if finding.severity is Severity.ERROR]
    if not found:
        return
    root = find_workspace(args).root
    paths = {finding.location.path for finding in found if finding.location}
    texts = {path: given[path] if path in given else _text(root / path) for path in paths}
    coloured = console.is_coloured(args.color, sys.stderr, os.environ)
    print(findings_text(found, texts, is_coloured=coloured), file=sys.stderr)
    errors = sum(finding.severity is Severity.ERROR for finding in found)
    counts = [counted(errors, "error")] if errors else []
    if len(found) > errors:
        counts.append(counted(len(found) - errors, "warning"))
    print(f"found {' and '.join(counts)}", file=sys.stderr)


def _text(path: Path) -> str:
    """Read a file for a code frame; what cannot be read, or is no text, gives none."""
    try:
        is_readable = path.is_file() and path.stat().st_size <= CHART_FILE.bytes
        return path.read_bytes().decode("utf-8", "replace") if is_readable else ""
    except OSError:
        return ""


def print_faults(args: argparse.Namespace, faults: Iterable[tuple[str, BrollyError]]) -> None:
    """Say what the world did, once for all bundles that it did it to; to JSON it belongs to the document."""
    met: dict[tuple[str, str], dict[str, None]] = {}
    for name, fault in faults if args.output == "text" else ():
        met.setdefault((str(fault), fault.hint), {})[name] = None
    for (message, hint), names in met.items():
        print_fault(args, f"{listed(list(names))}: {message}", hint)


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
