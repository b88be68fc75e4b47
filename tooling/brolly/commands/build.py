"""`brolly build` and `brolly check`: compile, check, and (build) write dist/."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from brolly import dist, workspace
from brolly.commands.run import all_findings, fault_facts, faults_of, open_shop, print_json, show_findings
from brolly.outcome import Status
from brolly.pipeline.building import Built, build_bundles, report_of
from brolly.report.text import counted, size_text

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from brolly.outcome import BundleReport


def run_check(args: argparse.Namespace) -> int:
    """Run all checks; write nothing."""
    return _run(args, "Checking", writes=False)


def run(args: argparse.Namespace) -> int:
    """Compile and check bundles, and write dist/."""
    return _run(args, "Building", writes=True)


def _run(args: argparse.Namespace, title: str, *, writes: bool) -> int:
    with open_shop(args, title, needs_engine=True) as (shop, found):
        declared = workspace.bundle_names(shop.workspace)
        names = workspace.bundle_names(shop.workspace, args.bundles)
        built = build_bundles(shop, names)
        previous = dist.read_report(shop.workspace.dist)
        report = report_of(shop, built, previous, declared)
        # where the world failed, dist/ stays as it was
        if writes and not all(one.draft.faults for one in built):
            whole = declared if names == declared else None
            dist.write(shop.workspace.dist, [one.outcome for one in built], report, declared=whole)
    drafts = [one.draft for one in built]
    code = show_findings(args, drafts, found)
    if args.output == "json":
        mine = [one.outcome.report for one in built]
        failures = fault_facts(faults_of(drafts))
        print_json(
            {
                "address": report.address,
                "bundles": mine,
                "findings": all_findings(drafts, found),
                "failures": failures,
            }
        )
    elif not args.quiet:
        _print(built, "built" if writes else "checked")
    return code


def _print(built: Sequence[Built], verb: str) -> None:
    width = max((len(one.draft.name) for one in built), default=0)
    for one in built:
        bundle = one.outcome.report
        if bundle.status is Status.FAILED:
            print(f"{bundle.name:{width}}  failed", file=sys.stderr)
        else:
            print(f"{bundle.name:{width}}  {bundle.version}  {bundle.target}  {verb}  {_facts(bundle)}")


def _facts(bundle: BundleReport) -> str:
    size = bundle.sizes[0]
    digest = bundle.artifacts[-1].digest
    return f"{counted(len(bundle.dependencies), 'chart')}, {size.name} {size_text(size.bytes)}, {digest}"
