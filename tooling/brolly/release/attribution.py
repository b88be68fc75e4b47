"""Where the size of a release record comes from, and whether it is too large."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from brolly.limits import RELEASE_RECORD, Measure
from brolly.release.packing import pieces
from brolly.release.sizes import without

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from brolly.findings import Location
    from brolly.release.sizes import Record
    from brolly.release.storing import Part

LIMIT: Final = RELEASE_RECORD.bytes
# bytes, and how many such pieces of a group are compressed
_PIECE: Final = 8 << 10
_PIECES: Final = 12


@dataclass(frozen=True)
class Share:
    """What one source adds to a record; `source` is a dependency's key, "" for the chart itself.

    `manifests`, `hooks`, `values` and `files` count bytes of JSON; `size` is its part of the record's size, estimated.
    """

    source: str
    manifests: int = 0
    hooks: int = 0
    values: int = 0
    files: int = 0
    size: int = 0


@dataclass(frozen=True)
class Portion:
    """What one template, or one kind of object, adds to a record: bytes of JSON, and its part of the record's size."""

    name: str
    json: int
    size: int


@dataclass(frozen=True)
class Attribution:
    """What a record is made of, the largest first; the sizes of `shares` add up to the record's."""

    shares: tuple[Share, ...]
    templates: tuple[Portion, ...]
    kinds: tuple[Portion, ...]


def attribute(record: Record, *, by_object: bool = True) -> Attribution:
    """Say where a record's size comes from, in one pass: what is like something else in it costs little.

    `by_object` takes three times as long; without it there are only the shares.
    """
    costs = _costs(record if by_object else _by_source(record))
    shares = (_share(source, record.parts, costs) for source in {part.source for part in record.parts})
    return Attribution(
        shares=tuple(sorted(shares, key=lambda share: (-share.size, share.source))),
        templates=_portions(record, costs, lambda group: group.template),
        kinds=_portions(record, costs, lambda group: group.kind),
    )


def measure(record: Record, attribution: Attribution, title: str, place: Callable[[str], Location]) -> Measure:
    """Measure a record by its upper bound. `title` names the release; `place` gives where a source is declared."""
    label, hint = remedy(record, attribution)
    what = f"the release record of {title}, at most,"
    return Measure(RELEASE_RECORD, record.upper_bound, what, place(largest(attribution).source), label, hint)


def largest(attribution: Attribution) -> Share:
    """Give the dependency that adds most; the chart itself if there is none."""
    return next((share for share in attribution.shares if share.source), attribution.shares[0])


def remedy(record: Record, attribution: Attribution) -> tuple[str, str]:
    """Say in words what the largest dependency adds, and what to do about it, with the saving measured."""
    most = largest(attribution)
    return f"{_shown(most.size)} of it come from here{_mostly(most)}", _remedy(record, most)


def _by_source(record: Record) -> Record:
    return replace(record, parts=tuple(replace(part, template="", kind="") for part in record.parts))


def _costs(record: Record) -> dict[Part, int]:
    """Compress the record source by source and template by template: the part of its size that each takes.

    A group is a part without its text.
    """
    groups: dict[Part, list[bytes]] = {}
    for part in record.parts:
        groups.setdefault(replace(part, json=b""), []).append(part.json)
    packer = zlib.compressobj(1, zlib.DEFLATED, -15, 8)
    lengths = {
        group: _packed(packer, b"".join(groups[group]))
        for group in sorted(groups, key=lambda group: (group.source, group.what, group.template, group.kind))
    }
    return _scaled(lengths, record.size)


def _packed(packer: zlib._Compress, text: bytes) -> int:
    """Estimate what a text adds to what was packed before; of a long one, pieces from all over it tell that."""
    sample = pieces(text, _PIECES, _PIECE)
    length = len(packer.compress(sample)) + len(packer.flush(zlib.Z_BLOCK))
    return length * len(text) // (len(sample) or 1)


def _scaled(lengths: Mapping[Part, int], size: int) -> dict[Part, int]:
    """Bring lengths to a sum, without a rest."""
    total, seen, given = sum(lengths.values()), 0, 0
    scaled = {}
    for group, length in lengths.items():
        seen += length
        scaled[group] = seen * size // total - given
        given += scaled[group]
    return scaled


def _share(source: str, parts: Iterable[Part], costs: Mapping[Part, int]) -> Share:
    lengths: dict[str, int] = {}
    for part in parts:
        if part.source == source:
            what = "files" if part.what == "frame" else part.what
            lengths[what] = lengths.get(what, 0) + len(part.json)
    return Share(source, **lengths, size=sum(cost for group, cost in costs.items() if group.source == source))


def _portions(record: Record, costs: Mapping[Part, int], by: Callable[[Part], str]) -> tuple[Portion, ...]:
    lengths: dict[str, int] = {}
    sizes: dict[str, int] = {}
    for part in record.parts:
        lengths[by(part)] = lengths.get(by(part), 0) + len(part.json)
    for group, cost in costs.items():
        sizes[by(group)] = sizes.get(by(group), 0) + cost
    portions = (Portion(name, lengths[name], size) for name, size in sizes.items() if name)
    return tuple(sorted(portions, key=lambda portion: (-portion.size, portion.name)))


def _mostly(share: Share) -> str:
    kinds = {"manifests": share.manifests, "hooks": share.hooks, "values": share.values, "files": share.files}
    kind, most = max(kinds.items(), key=lambda item: item[1])
    return f", mostly {kind}" if most * 3 > sum(kinds.values()) * 2 else ""


def _remedy(record: Record, largest: Share) -> str:
    if not largest.source:
        return "take out what no release needs of the bundle's own templates and files: each record holds them"
    saving = _shown(record.size - without(record, largest.source).size)
    return f"move {largest.source} to a bundle of its own (-{saving}), or set `target: kustomize`: a record per release"


def _shown(size: int) -> str:
    return f"{size / (1 << 20):.2f} MiB" if size >= 1 << 20 else f"{size / 1024:.0f} KiB"
