"""`brolly lock`: resolve, and write bundle.lock."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from brolly import workspace
from brolly.commands.run import all_findings, fault_facts, faults_of, print_json, show
from brolly.commands.shop import open_shop
from brolly.errors import UsageError
from brolly.findings import printable
from brolly.pipeline.locking import Locking, check_locks, lock_bundles

if TYPE_CHECKING:
    import argparse


def run(args: argparse.Namespace) -> int:
    """Lock bundles, or check that their locks are good."""
    if args.check and args.upgrade is not None:
        raise UsageError("--check changes nothing, --upgrade does", hint="leave one of them out")
    with open_shop(args, "Locking") as (shop, _):
        names = workspace.bundle_names(shop.workspace, args.bundles)
        if args.check:
            drafts = check_locks(shop, names)
            locked = []
        else:
            upgrade = frozenset(filter(None, args.upgrade)) if args.upgrade is not None else None
            locked = lock_bundles(shop, names, upgrade=upgrade)
            drafts = [one.draft for one in locked]
    code = show(args, all_findings(drafts), faults_of(drafts))
    if args.output == "json":
        failures = fault_facts(faults_of(drafts))
        print_json({"locks": [_facts(one) for one in locked], "findings": all_findings(drafts), "failures": failures})
    elif not args.quiet:
        for one in locked:
            _print(one)
        if args.check and not code:
            print(f"locks are current: {printable(', '.join(names))}")
    return code


def _facts(one: Locking) -> dict[str, object]:
    return {
        "bundle": one.draft.name,
        "changed": one.is_changed,
        "moves": list(one.moves),
        "dependencies": list(one.lock.dependencies) if one.lock else [],
    }


def _print(one: Locking) -> None:
    name = printable(one.draft.name)
    if one.lock is None:
        print(f"{name}: not locked", file=sys.stderr)
        return
    state = "locked" if one.is_changed else "unchanged"
    count = len(one.lock.dependencies)
    print(f"{name}: {state} ({count} {'dependency' if count == 1 else 'dependencies'})")
    for move in one.moves:
        print(f"  {printable(str(move))}")
