"""`brolly build` and `brolly check`: compile, check, and (build) write dist/."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import msgspec

from brolly import dist, workspace
from brolly.commands.run import fault_facts, find_workspace, jobs_of, open_results, print_json, show
from brolly.findings import in_order, printable
from brolly.outcome import Status, report_of
from brolly.pipeline.settings import settings_of
from brolly.pipeline.unchanged import each, recall
from brolly.report.text import counted, size_text

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from brolly.findings import Finding
    from brolly.outcome import BundleReport, Outcome
    from brolly.pipeline.building import Ended
    from brolly.results import KeptOutcome, Results
    from brolly.sources import Settings
    from brolly.workspace import Workspace

# of malloc.h
_M_ARENA_MAX: Final = -8


def run_check(args: argparse.Namespace) -> int:
    """Run all checks; write nothing."""
    space, settings, found = _begin(args)
    names = workspace.bundle_names(space, args.bundles)
    results = open_results(args)
    kept = each(recall(space, settings, results), names, jobs_of(args))
    built = _build(args, [name for name in names if name not in kept], "Checking", results, _nowhere)
    reports = {name: one.report for name, one in kept.items()} | {one.name: one.report for one in built}
    return _end(args, [reports[name] for name in names], built, found, settings, "checked")


def run(args: argparse.Namespace) -> int:
    """Compile and check bundles, and write dist/."""
    space, settings, found = _begin(args)
    declared = workspace.bundle_names(space)
    names = workspace.bundle_names(space, args.bundles)
    results = open_results(args)
    kept = recall(space, settings, results)
    with dist.Staging(space.dist) as staging:
        reports = each(lambda name: _ready(kept(name), results, staging), names, jobs_of(args))
        built = _build(args, [name for name in names if name not in reports], "Building", results, staging.put)
        reports |= {one.name: one.report for one in built}
        lost = {one.name for one in built if one.faults}
        # where the world failed, dist/ stays as it was
        if len(lost) < len(reports):
            previous = dist.read_report(space.dist)
            report = report_of(settings, reports.values(), previous, declared, lost)
            dist.write(staging, report, declared=declared if names == declared else None)
    return _end(args, [reports[name] for name in names], built, found, settings, "built")


def _nowhere(_: Outcome) -> None:
    """Write nothing."""


def _ready(kept: KeptOutcome | None, results: Results, staging: dist.Staging) -> BundleReport | None:
    """Give the report of a bundle that need not be built: dist/ holds it, or gets it back from the cache."""
    if kept is None:
        return None
    if dist.holds(staging.dist, kept):
        status = Status.FAILED if kept.report.status is Status.FAILED else Status.UNCHANGED
        return msgspec.structs.replace(kept.report, status=status)
    return kept.report if staging.restore(kept, results.lend) else None


def _begin(args: argparse.Namespace) -> tuple[Workspace, Settings, tuple[Finding, ...]]:
    space = find_workspace(args)
    settings, found = settings_of(space, args.address or "", workspace.epoch(os.environ))
    return space, settings, found


def _build(
    args: argparse.Namespace, names: Sequence[str], title: str, results: Results, put: Callable[[Outcome], None]
) -> list[Ended]:
    if not names:
        return []
    from brolly.commands.shop import open_shop
    from brolly.pipeline.building import build_bundles

    _share_one_heap()
    with open_shop(args, title, requests=2 * len(names), results=results) as (shop, _):
        return build_bundles(shop, names, put)


def _share_one_heap() -> None:
    """Keep glibc from giving every thread a heap of its own, each of which keeps what its largest bundle needed.

    Measured for 24 bundles: 112 MiB instead of 128, in the same time; Python lets one thread allocate at a time anyway.
    Other C libraries have no such heaps, and no such function.
    """
    import ctypes

    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def _end(
    args: argparse.Namespace,
    reports: Sequence[BundleReport],
    built: Sequence[Ended],
    found: Sequence[Finding],
    settings: Settings,
    verb: str,
) -> int:
    faults = [(one.name, fault) for one in built for fault in one.faults]
    findings = in_order((*found, *(one for report in reports for one in report.findings)))
    code = show(args, findings, faults)
    if args.output == "json":
        print_json(
            {
                "address": settings.address,
                "bundles": list(reports),
                "findings": list(findings),
                "failures": fault_facts(faults),
            }
        )
    elif not args.quiet:
        _print(reports, verb)
    return code


def _print(reports: Sequence[BundleReport], verb: str) -> None:
    names = [printable(one.name) for one in reports]
    width = max(map(len, names), default=0)
    for name, one in zip(names, reports, strict=True):
        if one.status is Status.FAILED:
            print(f"{name:{width}}  failed", file=sys.stderr)
        else:
            word = verb if one.status is Status.BUILT else str(one.status)
            print(f"{name:{width}}  {one.version}  {one.target}  {word}  {_facts(one)}")


def _facts(bundle: BundleReport) -> str:
    facts = [counted(len(bundle.dependencies), "chart")]
    facts += [f"{size.name} {size_text(size.bytes)}" for size in bundle.sizes[:1]]
    records = [size for size in bundle.sizes if size.name == "release-record"]
    if records:
        largest = max(records, key=lambda size: size.upper_bound)
        schema = f" ({size_text(largest.schema)} are the schema)" if largest.schema else ""
        facts.append(f"record {size_text(largest.upper_bound)} of {size_text(largest.limit)}{schema}")
    return ", ".join((*facts, bundle.artifacts[-1].digest))
