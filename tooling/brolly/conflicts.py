"""Conflicts: one object that two components of a bundle both want to own.

What Helm 4 does about it, tried with its engine: of two templates it applies both and the last one wins, in a random
order of subcharts (Helm 3, which creates objects instead, would find the second there already). An object in `crds/`
that a template renders too is refused ("exists and cannot be imported into the current release"). Of two in `crds/`
both are applied, too, and the last one wins. A hook is no owner: Helm applies it over what is there, a definition or
not, and refuses neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from brolly.findings import Finding, Rule, Severity, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from brolly.authored import Authored
    from brolly.checks import Release
    from brolly.facts import ReleaseFacts
    from brolly.objects import ObjectFacts

OBJECT: Final = Rule("conflict/object", Severity.ERROR, "two components render the same object")
CRD: Final = Rule("conflict/crd", Severity.ERROR, "two components own the same custom resource definition")
SHARED_CRD: Final = Rule("conflict/shared-crd", Severity.WARNING, "two components bring the same definition")

RULES: Final = (OBJECT, CRD, SHARED_CRD)

_CRD: Final = "CustomResourceDefinition"
# kinds of Kubernetes' own that live in no namespace
_CLUSTER_SCOPED: Final = {
    "APIService", "CSIDriver", "ClusterRole", "ClusterRoleBinding", _CRD, "IngressClass",
    "MutatingWebhookConfiguration", "Namespace", "PersistentVolume", "PodSecurityPolicy", "PriorityClass",
    "RuntimeClass", "StorageClass", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding",
    "ValidatingWebhookConfiguration",
}  # fmt: skip

Identity = tuple[str, str, str, str]
Owner = tuple[str, "ObjectFacts"]


def check(authored: Authored, releases: Sequence[tuple[Release, ReleaseFacts]]) -> Iterator[Finding]:
    """Find what is owned twice, within a release or by two: with the defaults, and what an overlay adds to that."""
    said: set[tuple[object, ...]] = set()
    for overlay in dict.fromkeys(release.overlay and release.overlay.document.path for release, _ in releases):
        together = [one for one in releases if (one[0].overlay and one[0].overlay.document.path) == overlay]
        title = f" with overlay {printable(together[0][0].values_name)}" if overlay else ""
        for what, first, second in _owned_twice(authored, together):
            about = (what, frozenset((first[0], second[0])), _judgement(first[1], second[1]))
            if about not in said:
                said.add(about)
                yield _finding(authored, first, second, title)


def _owned_twice(
    authored: Authored, releases: Iterable[tuple[Release, ReleaseFacts]]
) -> Iterator[tuple[Identity, Owner, Owner]]:
    owners: dict[Identity, Owner] = {}
    for release, facts in releases:
        dependency = authored.bundle.dependency(release.key)
        left_out = ("hook", "crd") if dependency and dependency.skips_crds else ("hook",)
        for one in facts.objects:
            if one.origin in left_out or not one.name:
                continue
            what, mine = _identity(one, release), (release.key or source_key(one.source), one)
            first = owners.setdefault(what, mine)
            if first is not mine:
                yield what, first, mine


def source_key(source: str) -> str:
    """Take the dependency's key out of a template's path, such as `shop/charts/web/templates/x.yaml`."""
    parts = source.split("/")
    return parts[2] if len(parts) > 2 and parts[1] == "charts" else ""


def _identity(one: ObjectFacts, release: Release) -> Identity:
    """Say what makes it one object to Kubernetes; what names no namespace lands in the release's."""
    group = one.api_version.rpartition("/")[0]
    namespace = "" if one.kind in _CLUSTER_SCOPED else one.namespace or release.namespace
    return group, one.kind, namespace, one.name


def _finding(authored: Authored, first: Owner, second: Owner, title: str) -> Finding:
    bundle = authored.bundle
    keys = [dependency.key for dependency in bundle.dependencies]
    first, second = sorted((first, second), key=lambda owner: keys.index(owner[0]) if owner[0] in keys else -1)
    rule, what_happens, hint = _judgement(first[1], second[1])
    dependency = bundle.dependency(second[0]) or bundle.dependency(first[0])
    owners = list(dict.fromkeys(printable(key or bundle.name) for key in (first[0], second[0])))
    who = f"both {owners[0]} and {owners[1]} have" if len(owners) > 1 else f"{owners[0]} has twice"
    return rule.finding(
        f"{who} the {printable(second[1].kind)} {printable(second[1].name)}{title}: {what_happens}",
        authored.definition.location(dependency.route if dependency else ("name",)),
        label=f"the other one is in {printable(first[1].source)}",
        hint=hint,
    )


def _judgement(first: ObjectFacts, second: ObjectFacts) -> tuple[Rule, str, str]:
    origins = {first.origin, second.origin}
    if second.kind == _CRD and origins == {"crd"}:
        if first.digest == second.digest:
            return SHARED_CRD, "Helm applies it twice, and upgrades it never", "keep an eye on it when one is upgraded"
        return CRD, "they differ, Helm applies both, and the last one wins", "take versions whose definitions are equal"
    happens = "Helm refuses to install it" if "crd" in origins else "the one that is applied last wins, or is refused"
    if second.kind == _CRD:
        return CRD, happens, "switch the definitions off in the values of one of them"
    return OBJECT, happens, "switch it off in the values of one of them"
