"""`brolly cache`: what the cache holds, and making room."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from brolly.cache import Cache, NotRemoved, default_path
from brolly.commands.run import fault_facts, print_fault, print_json
from brolly.report.text import counted, size_text

if TYPE_CHECKING:
    import argparse

    from brolly.cache import Usage


def run(args: argparse.Namespace) -> int:
    """Say what the cache holds, or remove what was not of use for so many days."""
    cache = Cache(default_path(os.environ))
    if args.action != "prune":
        return _show(args, cache, cache.usage(), "holds")
    try:
        removed = cache.prune(now=time.time(), unused_for=args.days * 86400)
    except NotRemoved as fault:
        _show(args, cache, fault.removed, "removed", fault)
        print_fault(args, str(fault), fault.hint)
        return fault.exit_code
    return _show(args, cache, removed, "removed")


def _show(args: argparse.Namespace, cache: Cache, usage: Usage, verb: str, fault: NotRemoved | None = None) -> int:
    if args.output == "json":
        failures = {"failures": fault_facts([("", fault)])} if fault else {}
        print_json({"path": str(cache.root), "files": usage.files, "bytes": usage.size, **failures})
    elif not args.quiet:
        print(f"{cache.root} {verb} {counted(usage.files, 'file')}, {size_text(usage.size)}")
    return 0
