"""`brolly publish`: copy dist/ to a registry."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from brolly import workspace
from brolly.commands.run import fault_facts, find_workspace, from_here, jobs_of, print_faults, print_json
from brolly.findings import printable
from brolly.pipeline.proving import listed_in
from brolly.registry import parse_destination
from brolly.report.text import size_text

if TYPE_CHECKING:
    import argparse


def run(args: argparse.Namespace) -> int:
    """Publish what `build` wrote."""
    space = find_workspace(args)
    names = workspace.bundle_names(space, args.bundles)
    destination = parse_destination(args.to or space.config.publish, root=from_here(space.root))
    with listed_in(space.dist, names, jobs_of(args)) as listed:
        # loaded while dist/ is hashed
        from brolly.commands.shop import open_shop, patience
        from brolly.pipeline.publishing import publish

        with open_shop(args, "Publishing") as (shop, _):
            registry = destination.open(plain_http=args.plain_http, patience=patience(args))
            done = publish(shop, listed, registry, destination.prefix, dry_run=args.dry_run)
    published = [one for publication in done for one in publication.published]
    notes = [note for publication in done for note in publication.notes]
    faults = [(one.bundle, one.fault) for one in done if one.fault]
    if args.output == "json":
        found = {"failures": fault_facts(faults)} if faults else {}
        print_json({"published": published, **found})
    elif not args.quiet:
        for one in published:
            status = f"would be {one.status}" if args.dry_run and one.status == "published" else one.status
            print(f"{status}  {one.url}@{one.digest}  {size_text(one.size)}")
    if not args.quiet or args.strict:
        for note in notes:
            print(f"warning: {printable(note)}", file=sys.stderr)
    print_faults(args, faults)
    return max((fault.exit_code for _, fault in faults), default=int(args.strict and bool(notes)))
