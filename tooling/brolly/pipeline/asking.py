"""What Helm's engines say of releases: known from earlier, or asked for side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brolly import facts, limits
from brolly import release as records
from brolly.engine import lint_request, linted, render_request
from brolly.facts import ReleaseFacts
from brolly.oci import Digest
from brolly.results import key_of, tool_identity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from brolly.checks import Release
    from brolly.engines import Engines
    from brolly.pipeline.shop import Shop


def release_facts(shop: Shop, releases: Sequence[Release], policy: limits.Policy) -> list[ReleaseFacts]:
    """Know what Helm's engine says of releases: from the result cache, or once per package with all its values."""
    if shop.engines is None:
        return [ReleaseFacts()] * len(releases)
    packages = {release.key: str(Digest.of(release.package)) for release in releases}
    remedy_from = int(policy.limit_of(limits.RELEASE_RECORD) * limits.WARN_FROM)
    shared = (tool_identity(), str(remedy_from))
    keys = [
        key_of(packages[release.key], dict(release.values), release.name, release.namespace, *shared)
        for release in releases
    ]
    found = {place: known for place, key in enumerate(keys) if (known := shop.results.facts(key))}
    groups: dict[str, list[int]] = {}
    for place, release in enumerate(releases):
        if place not in found:
            groups.setdefault(release.key, []).append(place)
    for places in groups.values():
        asked = _asked(shop.engines, [releases[place] for place in places], remedy_from)
        for place, known in zip(places, asked, strict=True):
            found[place] = known
            if not known.failure and not known.lint_failure:
                shop.results.keep_facts(keys[place], known)
    return [found[place] for place in range(len(releases))]


def _asked(engines: Engines, releases: Sequence[Release], remedy_from: int) -> list[ReleaseFacts]:
    """Ask about one package with several values: all renders first, for they are what there is work to do with."""
    first, seen = releases[0], dict[tuple[str, str], Any]()
    package, namespace = first.package, first.namespace
    requests = [render_request(package, one.values, name=first.name, namespace=namespace) for one in releases]
    renders = [engines.submit(request) for request in requests]
    lints = [
        engines.submit(lint_request(package, one.values, namespace=namespace), like=rendered)
        for one, rendered in zip(releases, renders, strict=True)
    ]
    parent = records.parent(first.chart, package)
    try:
        found = [
            facts.of_release(
                engines.rendering(request, rendered.result(), seen),
                parent,
                release.values,
                name=release.name,
                namespace=release.namespace,
                remedy_from=remedy_from,
            )
            for release, request, rendered in zip(releases, requests, renders, strict=True)
        ]
        return [facts.with_lint(known, linted(lint.result())) for known, lint in zip(found, lints, strict=True)]
    finally:
        for asked in (*renders, *lints):
            asked.cancel()
