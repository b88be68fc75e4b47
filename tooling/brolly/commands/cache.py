"""`brolly cache`: what the cache holds, and making room."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from brolly.cache import Cache, default_path
from brolly.commands.run import print_json
from brolly.report.text import counted, size_text

if TYPE_CHECKING:
    import argparse

    from brolly.cache import Usage


def run(args: argparse.Namespace) -> int:
    """Say what the cache holds, or remove what was not of use for so many days."""
    cache = Cache(default_path(os.environ))
    if args.action == "prune":
        removed = cache.prune(now=time.time(), unused_for=args.days * 86400)
        return _show(args, cache, removed, "removed")
    return _show(args, cache, cache.usage(), "holds")


def _show(args: argparse.Namespace, cache: Cache, usage: Usage, verb: str) -> int:
    if args.output == "json":
        print_json({"path": str(cache.root), "files": usage.files, "bytes": usage.size})
    elif not args.quiet:
        print(f"{cache.root} {verb} {counted(usage.files, 'file')}, {size_text(usage.size)}")
    return 0
