"""`brolly build` and `brolly check`: compile, check, and (build) write dist/."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import msgspec

from brolly import dist, workspace
from brolly.commands.run import fault_facts, faults_of, find_workspace, open_results, print_json, show
from brolly.findings import in_order
from brolly.outcome import BundleReport, Outcome, Status, report_of
from brolly.pipeline.settings import settings_of
from brolly.pipeline.unchanged import kept_outcomes
from brolly.report.text import counted, size_text

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from brolly.findings import Finding
    from brolly.pipeline.building import Built
    from brolly.pipeline.shop import Draft
    from brolly.results import KeptOutcome, Results
    from brolly.sources import Settings
    from brolly.workspace import Workspace


def run_check(args: argparse.Namespace) -> int:
    """Run all checks; write nothing."""
    space, settings, found = _begin(args)
    names = workspace.bundle_names(space, args.bundles)
    results = open_results(args)
    kept = kept_outcomes(space, settings, results, names)
    built = _build(args, [name for name in names if name not in kept], "Checking", results)
    reports = {name: one.report for name, one in kept.items()} | {one.draft.name: one.outcome.report for one in built}
    return _end(args, [reports[name] for name in names], built, found, settings, "checked")


def run(args: argparse.Namespace) -> int:
    """Compile and check bundles, and write dist/."""
    space, settings, found = _begin(args)
    declared = workspace.bundle_names(space)
    names = workspace.bundle_names(space, args.bundles)
    results = open_results(args)
    kept = kept_outcomes(space, settings, results, names)
    # what dist/ does not hold any more comes back from the cache; what is gone from there too is built again
    ready = {name: dist.holds(space.dist, one) for name, one in kept.items()}
    restored = {name: results.whole(one) for name, one in kept.items() if not ready[name]}
    kept = {name: one for name, one in kept.items() if ready[name] or restored[name]}
    built = _build(args, [name for name in names if name not in kept], "Building", results)
    outcomes = {name: _outcome(one, restored.get(name)) for name, one in kept.items()}
    outcomes |= {one.draft.name: one.outcome for one in built}
    # where the world failed, dist/ stays as it was
    if kept or not all(one.draft.faults for one in built):
        previous = dist.read_report(space.dist)
        lost = {one.draft.name for one in built if one.draft.faults}
        report = report_of(settings, [one.report for one in outcomes.values()], previous, declared, lost)
        whole = declared if names == declared else None
        dist.write(space.dist, list(outcomes.values()), report, declared=whole)
    return _end(args, [outcomes[name].report for name in names], built, found, settings, "built")


def _begin(args: argparse.Namespace) -> tuple[Workspace, Settings, tuple[Finding, ...]]:
    space = find_workspace(args)
    settings, found = settings_of(space, args.address or "", workspace.epoch(os.environ))
    return space, settings, found


def _build(args: argparse.Namespace, names: Sequence[str], title: str, results: Results) -> list[Built]:
    if not names:
        return []
    from brolly.commands.shop import open_shop
    from brolly.pipeline.building import build_bundles

    with open_shop(args, title, requests=2 * len(names), results=results) as (shop, _):
        return build_bundles(shop, names)


def _outcome(kept: KeptOutcome, restored: Outcome | None) -> Outcome:
    """Say that nothing was to be done, unless it had to be brought back into dist/."""
    if restored:
        return restored
    status = Status.FAILED if kept.report.status is Status.FAILED else Status.UNCHANGED
    return Outcome(msgspec.structs.replace(kept.report, status=status))


def _end(
    args: argparse.Namespace,
    reports: Sequence[BundleReport],
    built: Sequence[Built],
    found: Sequence[Finding],
    settings: Settings,
    verb: str,
) -> int:
    drafts: list[Draft] = [one.draft for one in built]
    findings = in_order((*found, *(one for report in reports for one in report.findings)))
    code = show(args, findings, faults_of(drafts))
    if args.output == "json":
        print_json(
            {
                "address": settings.address,
                "bundles": list(reports),
                "findings": list(findings),
                "failures": fault_facts(faults_of(drafts)),
            }
        )
    elif not args.quiet:
        _print(reports, verb)
    return code


def _print(reports: Sequence[BundleReport], verb: str) -> None:
    width = max((len(one.name) for one in reports), default=0)
    for one in reports:
        if one.status is Status.FAILED:
            print(f"{one.name:{width}}  failed", file=sys.stderr)
        else:
            word = verb if one.status is Status.BUILT else str(one.status)
            print(f"{one.name:{width}}  {one.version}  {one.target}  {word}  {_facts(one)}")


def _facts(bundle: BundleReport) -> str:
    facts = [counted(len(bundle.dependencies), "chart")]
    facts += [f"{size.name} {size_text(size.bytes)}" for size in bundle.sizes[:1]]
    records = [size for size in bundle.sizes if size.name == "release-record"]
    if records:
        largest = max(records, key=lambda size: size.upper_bound)
        facts.append(f"record {size_text(largest.upper_bound)} of {size_text(largest.limit)}")
    return ", ".join((*facts, bundle.artifacts[-1].digest))
