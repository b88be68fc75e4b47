"""`brolly render`: the final objects, as `helm template` prints them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from brolly import rendering, workspace
from brolly.commands.run import all_findings, fault_facts, faults_of, print_json, show
from brolly.commands.shop import open_shop
from brolly.errors import UsageError
from brolly.findings import printable
from brolly.pipeline.rendering import Rendered, render_bundle

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from brolly.pipeline.shop import Draft


def run(args: argparse.Namespace) -> int:
    """Render bundles."""
    value_files = [(path, _read(path)) for path in args.values or ()]
    with open_shop(args, "Rendering", requests=1) as (shop, _):
        names = workspace.bundle_names(shop.workspace, args.bundles)
        if value_files and len(names) > 1:
            raise UsageError("--values are for one bundle", hint=f"name it: brolly render {names[0]} --values FILE")
        results = [render_bundle(shop, name, value_files) for name in names]
    drafts = [draft for draft, _ in results]
    given = {path: content.decode("utf-8", "replace") for path, content in value_files}
    code = show(args, all_findings(drafts), faults_of(drafts), given)
    written = _write(Path(args.output_dir), results, include_crds=args.include_crds) if args.output_dir else []
    if args.output == "json":
        releases = [_facts(draft.name, one) for draft, found in results for one in found]
        failures = fault_facts(faults_of(drafts))
        found = {"findings": all_findings(drafts), "failures": failures, **({"files": written} if written else {})}
        print_json({"releases": releases, **found})
    elif args.output_dir:
        if not args.quiet:
            print("\n".join(written))
    else:
        _print(results, include_crds=args.include_crds)
    return code


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"reading {path}: {error.strerror}") from error


def _print(results: Sequence[tuple[Draft, Sequence[Rendered]]], *, include_crds: bool) -> None:
    several = sum(len(found) for _, found in results) > 1
    for draft, found in results:
        for one in found:
            if several:
                release = f"release: {one.release.name}, namespace: {one.release.namespace}"
                print(f"# Bundle: {printable(draft.name)}, {release}")
            print(rendering.text(one.rendering, include_crds=include_crds), end="")


def _write(folder: Path, results: Sequence[tuple[Draft, Sequence[Rendered]]], *, include_crds: bool) -> list[str]:
    written = []
    for draft, found in results:
        for one in found:
            path = folder / draft.name / f"{one.release.name}.yaml"
            workspace.write_file(path, rendering.text(one.rendering, include_crds=include_crds).encode())
            written.append(str(path))
    return written


def _facts(bundle: str, one: Rendered) -> dict[str, Any]:
    return {
        "bundle": bundle,
        "release": one.release.name,
        "namespace": one.release.namespace,
        "values": dict(one.release.values),
        "objects": [_object(manifest) for manifest in one.rendering.manifests],
        "hooks": [_object(hook) for hook in one.rendering.hooks],
        "notes": one.rendering.notes,
    }


def _object(manifest: rendering.Manifest) -> dict[str, Any]:
    return {"source": manifest.source, "object": manifest.data}
