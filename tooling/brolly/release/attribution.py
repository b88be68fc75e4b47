"""Where the size of a release record comes from, and whether it is too large."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from zlib_ng import zlib_ng

from brolly.limits import RELEASE_RECORD
from brolly.release.packing import pieces
from brolly.release.sizes import without

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from brolly.release.sizes import Record
    from brolly.release.storing import Part

LIMIT: Final = RELEASE_RECORD.bytes
# bytes, and how many such pieces of a group are compressed
_PIECE: Final = 8 << 10
_PIECES: Final = 12
# what makes this part of a share, one of so many, is worth to be named before the rest
_MAKES_IT: Final = 3
_KINDS: Final = {"frame": "files", "schema": "files", "given": "values"}


@dataclass(frozen=True)
class Share:
    """What one source adds to a record; `source` is a dependency's key, "" for the chart itself.

    `manifests`, `hooks`, `values` and `files` count bytes of JSON; `size` is its part of the record's size, estimated,
    and `sizes` tells by what (as a Part does), the largest first.
    """

    source: str
    manifests: int = 0
    hooks: int = 0
    values: int = 0
    files: int = 0
    size: int = 0
    sizes: tuple[tuple[str, int], ...] = ()

    def of(self, *whats: str) -> int:
        """Give the part of the record's size that some of it takes."""
        return sum(size for what, size in self.sizes if what in whats)

    @property
    def split(self) -> dict[str, int]:
        """Its part of the record's size: manifests, hooks, values and files."""
        found = dict.fromkeys(("manifests", "hooks", "values", "files"), 0)
        for what, size in self.sizes:
            found[_KINDS.get(what, what)] += size
        return found


@dataclass(frozen=True)
class Portion:
    """What one template, or one kind of object, adds to a record: bytes of JSON, and its part of the record's size."""

    name: str
    json: int
    size: int


@dataclass(frozen=True)
class Cause:
    """What makes a record large: the largest share, the template that adds most to it, and what it saves to go without.

    `what` is what of it would go: `given` (values), `schema`, or "" for all.
    """

    share: Share
    what: str = ""
    template: str = ""
    saving: int = 0

    @property
    def source(self) -> str:
        """The key of the dependency, "" for the chart itself."""
        return self.share.source


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


def cause(record: Record, attribution: Attribution) -> Cause:
    """Find what makes a record large, and measure what it saves to go without."""
    most = attribution.shares[0]
    # values are rendered too, mostly
    what = next((one for one in ("given", "schema") if most.of(one) * _MAKES_IT >= most.size), "")
    sizes: dict[str, int] = {}
    for part in record.parts:
        if part.source == most.source and part.template:
            sizes[part.template] = sizes.get(part.template, 0) + len(part.json)
    template = max(sizes, key=lambda name: (sizes[name], name), default="")
    return Cause(most, what, template, record.size - without(record, most.source, what).size)


def remedy(found: Cause, release: str = "") -> tuple[str, str]:
    """Say in words what the largest share adds, and what to do about it, with the saving.

    `release` is the key of the dependency that the release is of, "" if it is of a whole umbrella.
    """
    origin = f"its subchart {found.source}" if release and found.source else "here"
    label = f"{_shown(found.share.size)} of it come from {origin}{_mostly(found.share)}"
    return label, _release_remedy(found, release) if release else _umbrella_remedy(found)


def _by_source(record: Record) -> Record:
    return replace(record, parts=tuple(replace(part, template="", kind="") for part in record.parts))


def _costs(record: Record) -> dict[Part, int]:
    """Compress the record source by source and template by template: the part of its size that each takes.

    A group is a part without its text.
    """
    groups: dict[Part, list[bytes]] = {}
    for part in record.parts:
        groups.setdefault(replace(part, json=b""), []).append(part.json)
    packer = zlib_ng.compressobj(3, zlib_ng.DEFLATED, -15, 8)
    lengths = {
        group: _packed(packer, b"".join(groups[group]))
        for group in sorted(groups, key=lambda group: (group.source, group.what, group.template, group.kind))
    }
    return _scaled(lengths, record.size)


def _packed(packer: zlib_ng._Compress, text: bytes) -> int:
    """Estimate what a text adds to what was packed before; of a long one, pieces from all over it tell that."""
    sample = pieces(text, _PIECES, _PIECE)
    length = len(packer.compress(sample)) + len(packer.flush(zlib_ng.Z_BLOCK))
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
            what = _KINDS.get(part.what, part.what)
            lengths[what] = lengths.get(what, 0) + len(part.json)
    sizes: dict[str, int] = {}
    for group, cost in costs.items():
        if group.source == source:
            sizes[group.what] = sizes.get(group.what, 0) + cost
    largest_first = sorted(sizes.items(), key=lambda one: (-one[1], one[0]))
    return Share(source, **lengths, size=sum(sizes.values()), sizes=tuple(largest_first))


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
    kinds = sorted(share.split.items(), key=lambda item: -item[1])
    if kinds[0][1] * 3 > share.size * 2:
        return f", mostly {kinds[0][0]}"
    return ": " + ", ".join(f"{_shown(size)} {kind}" for kind, size in kinds if size * 20 > share.size)


def _umbrella_remedy(found: Cause) -> str:
    saving = _shown(found.saving)
    if found.what == "schema":
        return f"remove `embedSchema: true` (-{saving}): dist/ holds the schema, for people and for editors"
    if found.what == "given":
        return _shorter_values(found.source, saving)
    if not found.source:
        return (
            f"take out what no release needs of the bundle's own templates and files (-{saving} without any): each "
            "record holds them, and of a chart in charts/ only what it renders"
        )
    return f"move {found.source} to a bundle of its own (-{saving}), or set `target: kustomize`: a record per release"


def _release_remedy(found: Cause, release: str) -> str:
    saving = _shown(found.saving)
    if found.what == "given":
        return _shorter_values(found.source or release, saving)
    if not found.source and 2 * found.share.split["files"] > found.share.size:
        return (
            f"leave out of {release} what no release needs, with .helmignore if it is yours: a record holds its files"
        )
    if not found.source:
        return f"switch off by values what nobody uses of {release}, or take a smaller chart: it has its own record now"
    return f"switch {found.source} off in the values of {release} (-{saving}), and make it a dependency of its own"


def _shorter_values(owner: str, saving: str) -> str:
    whose = f"the values of {owner}" if owner else "these values"
    return f"shorten {whose} (-{saving}): what is large belongs into an object that they name, or into an image"


def _shown(size: int) -> str:
    return f"{size / (1 << 20):.2f} MiB" if size >= 1 << 20 else f"{size / 1024:.0f} KiB"
