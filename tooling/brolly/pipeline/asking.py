"""What Helm's engines say of releases: known from earlier, or asked for side by side."""

from __future__ import annotations

from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import msgspec

from brolly import checks, facts, limits, values
from brolly import release as records
from brolly.engine import lint_request, linted, render_request, rendered
from brolly.facts import ReleaseFacts
from brolly.oci import Digest
from brolly.pipeline.shop import side_by_side
from brolly.rendering import EngineFailure, LintReport
from brolly.results import key_of, tool_identity

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    from brolly.checks import Release
    from brolly.engine_worker import Answer, Request
    from brolly.engines import Engines
    from brolly.pipeline.shop import Shop
    from brolly.rendering import Rendering


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
        groups.setdefault(release.key, []).append(place)
    for places in groups.values():
        new = [place for place in places if place not in found]
        asked = _Questions(shop, shop.engines, [releases[place] for place in new], remedy_from, found.get(places[0]))
        for place, known in zip(new, asked.answers() if new else (), strict=True):
            found[place] = known
            if not known.failure and not known.lint_failure:
                shop.results.keep_facts(keys[place], known)
    return [found[place] for place in range(len(releases))]


class _Questions:
    """What is asked about one package, with several values.

    All renders come first, for they are what there is work to do with. `defaults` is what is known of the package
    without values, if that is not among what is asked.
    """

    def __init__(
        self,
        shop: Shop,
        engines: Engines,
        releases: Sequence[Release],
        remedy_from: int,
        defaults: ReleaseFacts | None,
    ) -> None:
        self._jobs = shop.jobs
        self._engines = engines
        self._releases = releases
        self._remedy_from = remedy_from
        self._defaults = defaults
        self._lints: dict[int, Future[Answer]] = {}

    def answers(self) -> list[ReleaseFacts]:
        """Ask, and draw the facts of each release."""
        requests = [self._request(place, one.package) for place, one in enumerate(self._releases)]
        renders = [self._engines.submit(request) for request in requests]
        for place, one in enumerate(self._releases):
            # Helm's lint coalesces twice, so a default that a null deletes is back
            if one.overlay is None or not one.chart.lints_alike or values.has_null(one.values):
                self._lint(place, renders[place])
        try:
            found = self._facts(renders)
            return [facts.with_lint(known, self._linted(place, known)) for place, known in enumerate(found)]
        finally:
            for asked in (*renders, *self._lints.values()):
                asked.cancel()

    def _request(self, place: int, package: bytes) -> Request:
        one = self._releases[place]
        return render_request(package, one.values, name=one.name, namespace=one.namespace)

    @cached_property
    def _without_remote(self) -> bytes:
        """The package without the schemas for which an engine would have to fetch something: they must hide nothing."""
        return checks.without_remote_schemas(self._releases[0].package)

    def _facts(self, renders: Sequence[Future[Answer]]) -> list[ReleaseFacts]:
        """Read the answers; a second thread helps, for much of it is compression, which needs no interpreter."""
        parent = records.parent(self._releases[0].chart, self._releases[0].package)
        facts.read_ahead(self._releases[0].chart)

        def drawn(place: int) -> ReleaseFacts:
            rendering = rendered(renders[place].result())
            if not isinstance(rendering, EngineFailure):
                return self._drawn(self._releases[place], parent, rendering)
            if rendering.kind != "values-schema" or self._without_remote is self._releases[place].package:
                return ReleaseFacts(failure=rendering)
            again = self._request(place, self._without_remote)
            rendering = rendered(self._engines.submit(again).result())
            if isinstance(rendering, EngineFailure):
                return ReleaseFacts(failure=rendering, skips_remote=True)
            return msgspec.structs.replace(self._drawn(self._releases[place], parent, rendering), skips_remote=True)

        return side_by_side(drawn, range(len(renders)), min(self._jobs, 2))

    def _drawn(self, release: Release, parent: records.Parent, rendering: Rendering) -> ReleaseFacts:
        record = partial(
            facts.record_of,
            rendering,
            parent,
            release.values,
            name=release.name,
            namespace=release.namespace,
            remedy_from=self._remedy_from,
        )
        steps: tuple[Callable[[], Any], ...] = (record, partial(facts.objects_of, rendering, release.chart))
        known, (objects, refused) = side_by_side(lambda step: step(), steps, min(self._jobs, 2))
        return ReleaseFacts(objects=objects, record=known, refused_crds=refused)

    def _lint(self, place: int, rendered: Future[Answer] | None, package: bytes | None = None) -> None:
        one = self._releases[place]
        request = lint_request(package or one.package, one.values, namespace=one.namespace)
        self._lints[place] = self._engines.submit(request, like=rendered)

    def _linted(self, place: int, known: ReleaseFacts) -> LintReport | EngineFailure:
        if known.skips_remote:
            self._lint(place, None, self._without_remote)
        elif place not in self._lints:
            defaults = self._defaults.lint if self._defaults else self._linted_defaults()
            if isinstance(defaults, LintReport) and known.is_accepted:
                return defaults
            self._lint(place, None)
        return linted(self._lints[place].result())

    def _linted_defaults(self) -> LintReport | EngineFailure | None:
        is_asked = self._releases[0].overlay is None
        return linted(self._lints[0].result()) if is_asked else None
