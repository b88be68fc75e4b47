"""Conflicts: one object that two components of a bundle both want to own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from brolly.definition import Target
from brolly.findings import Finding, Rule, Severity, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from brolly.authored import Authored
    from brolly.checks import Release
    from brolly.facts import ObjectFacts, ReleaseFacts

OBJECT: Final = Rule("conflict/object", Severity.ERROR, "two components render the same object")

RULES: Final = (OBJECT,)


def check(authored: Authored, releases: Sequence[tuple[Release, ReleaseFacts]]) -> Iterator[Finding]:
    """Find objects that are rendered twice with the bundle's defaults: within a release, or by two releases."""
    owners: dict[tuple[str, str, str, str], tuple[str, ObjectFacts]] = {}
    said: set[tuple[str, str, str, str]] = set()
    for release, facts in releases:
        for one in facts.objects:
            if one.is_hook or not one.name or release.overlay:
                continue
            # what names no namespace lands in the release's; what has none anywhere makes no difference
            identity = (*one.identity[:2], one.namespace or release.namespace, one.name)
            first = owners.setdefault(identity, (_key(release, one), one))
            if first[1] is not one and identity not in said:
                said.add(identity)
                yield _finding(authored, first, (_key(release, one), one))


def _key(release: Release, one: ObjectFacts) -> str:
    parts = one.source.split("/")
    return release.key or (parts[2] if len(parts) > 2 and parts[1] == "charts" else "")


def _finding(authored: Authored, first: tuple[str, ObjectFacts], second: tuple[str, ObjectFacts]) -> Finding:
    one = second[1]
    bundle = authored.bundle
    dependency = bundle.dependency(second[0]) or bundle.dependency(first[0])
    outcome = (
        "Helm refuses to install it" if bundle.target is Target.UMBRELLA else "the second release cannot take it over"
    )
    owners = " and ".join(dict.fromkeys(printable(key or bundle.name) for key in (first[0], second[0])))
    what = f"{one.kind} {printable(one.name)}" + (f" in namespace {one.namespace}" if one.namespace else "")
    both = f"both {owners} render" if " and " in owners else f"{owners} renders twice"
    return OBJECT.finding(
        f"{both} {what}: {outcome}",
        authored.definition.location(dependency.route if dependency else ("name",)),
        label=f"the other is {printable(first[1].source)}",
        hint="switch it off in the values of one of them",
    )
