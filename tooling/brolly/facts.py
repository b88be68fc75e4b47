"""What is known of a release once Helm's engine has answered: small enough to be kept, enough for every check."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import msgspec

from brolly import objects, release
from brolly.objects import ObjectFacts, ObjectsError
from brolly.rendering import EngineFailure, LintReport, Rendering
from brolly.shapes import settled

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from brolly.chart import Chart
    from brolly.rendering import CrdFile


_REPLACED: Final = "\ufffd"
# bytes that are no UTF-8, as Python's `surrogateescape` keeps them
_BROKEN: Final = re.compile("[\udc80-\udcff]")


class RefusedCrd(msgspec.Struct, frozen=True, array_like=True):
    """A file of `crds/` that Helm refuses to install: its path as Helm writes it, and where in it is what."""

    source: str
    reason: str
    line: int = 1
    column: int = 1


class RecordFacts(msgspec.Struct, frozen=True, array_like=True):
    """A release record: its size and upper bound, what every dependency adds, and why it is large, if it is.

    `shares` are the largest first.
    """

    size: int
    upper_bound: int
    shares: tuple[release.Share, ...]
    cause: release.Cause | None = None

    @property
    def schema(self) -> int:
        """What the schema of the chart itself adds."""
        return sum(share.of("schema") for share in self.shares)


class ReleaseFacts(msgspec.Struct, frozen=True, array_like=True):
    """What Helm's engine says of a release with one set of values; nothing where it was not asked.

    `skips_remote` where it was asked without the schemas that Helm would have to fetch.
    """

    lint: LintReport | None = None
    lint_failure: EngineFailure | None = None
    failure: EngineFailure | None = None
    objects: tuple[ObjectFacts, ...] = ()
    record: RecordFacts | None = None
    refused_crds: tuple[RefusedCrd, ...] = ()
    skips_remote: bool = False

    @property
    def is_accepted(self) -> bool:
        """Whether Helm took the values and rendered the release: no schema of its charts refuses anything."""
        return self.record is not None and not self.skips_remote


settled(ReleaseFacts)


def with_lint(facts: ReleaseFacts, lint: LintReport | EngineFailure) -> ReleaseFacts:
    """Add what Helm's lint said."""
    if isinstance(lint, LintReport):
        return msgspec.structs.replace(facts, lint=lint)
    return msgspec.structs.replace(facts, lint_failure=lint)


def record_of(
    rendering: Rendering,
    parent: release.Parent,
    given: Mapping[str, Any],
    *,
    name: str,
    namespace: str,
    remedy_from: int,
) -> RecordFacts:
    """Predict the record of what Helm rendered; `given` is set on top of the chart's defaults, `parent` is the chart.

    A record of fewer bytes than `remedy_from` needs no cause, and to measure one costs another compression.
    """
    record = release.record(parent, rendering, given, name=name, namespace=namespace)
    attribution = release.attribute(record, by_object=False)
    cause = release.cause(record, attribution) if record.upper_bound >= remedy_from else None
    return RecordFacts(record.size, record.upper_bound, attribution.shares, cause)


def objects_of(rendering: Rendering, chart: Chart) -> tuple[tuple[ObjectFacts, ...], tuple[RefusedCrd, ...]]:
    """Describe each object that Helm rendered, or has in a CRD file, and the CRD files that it refuses."""
    rendered = (*rendering.manifests, *rendering.hooks)
    found, refused = [one for manifest in rendered for one in manifest.objects], list[RefusedCrd]()
    for file in rendering.crds:
        read = _crds(_content(file, chart))
        if isinstance(read, RefusedCrd):
            refused.append(msgspec.structs.replace(read, source=file.source))
        else:
            found += (msgspec.structs.replace(one, source=file.source) for one in read)
    return tuple(found), tuple(refused)


def read_ahead(chart: Chart) -> None:
    """Read the files of `crds/` of a chart and of all in it while Helm renders it: `objects_of` finds them read."""
    for content in _crd_contents(chart):
        _crds(content)


@lru_cache(maxsize=256)
def _crds(content: bytes) -> tuple[ObjectFacts, ...] | RefusedCrd:
    """Read a file of `crds/`: the same one comes with every bundle that has the chart, and may be large."""
    try:
        return tuple(objects.facts(data, "", "crd") for data in objects.read(content))
    except ObjectsError as error:
        return RefusedCrd("", str(error), error.line, error.column)


def _content(file: CrdFile, chart: Chart) -> bytes:
    """Give the bytes of a CRD file: the engine gives a text, in which U+FFFD stands for whatever is no UTF-8."""
    if _REPLACED in file.content:
        for content in _crd_contents(chart):
            if _BROKEN.sub(_REPLACED, content.decode("utf-8", "surrogateescape")) == file.content:
                return content
    return file.content.encode()


def _crd_contents(chart: Chart) -> Iterator[bytes]:
    yield from (entry.content or b"" for entry in chart.crds)
    for subchart in chart.subcharts:
        yield from _crd_contents(subchart)
