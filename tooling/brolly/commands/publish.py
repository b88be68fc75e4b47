"""`brolly publish`: copy dist/ to a registry."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from brolly import workspace
from brolly.commands.run import open_shop, print_json
from brolly.pipeline.publishing import publish
from brolly.registry import open_registry
from brolly.report.text import size_text

if TYPE_CHECKING:
    import argparse


def run(args: argparse.Namespace) -> int:
    """Publish what `build` wrote."""
    with open_shop(args, "Publishing") as (shop, _):
        names = workspace.bundle_names(shop.workspace, args.bundles)
        destination = args.to or shop.workspace.config.publish
        root = Path(os.path.relpath(shop.workspace.root))
        registry, prefix = open_registry(destination, root=root, plain_http=args.plain_http)
        done = publish(shop, names, registry, prefix, dry_run=args.dry_run)
    published = [one for publication in done for one in publication.published]
    for publication in done:
        for note in publication.notes:
            print(f"warning: {note}", file=sys.stderr)
    if args.output == "json":
        print_json({"published": published})
    elif not args.quiet:
        for one in published:
            status = f"would be {one.status}" if args.dry_run and one.status == "published" else one.status
            print(f"{status}  {one.url}@{one.digest}  {size_text(one.size)}")
    return int(args.strict and any(publication.notes for publication in done))
