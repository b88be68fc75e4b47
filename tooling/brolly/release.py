"""The release record that Helm 4 will store: its JSON, its size and an upper bound, and what it is made of.

Helm marshals the release, compresses it, and keeps the base64 of that as `data.release` of a Secret, whose data
Kubernetes limits to 1 MiB (pkg/core/validation, MaxSecretSize). Of a chart it stores the parent's own files; of
subcharts only what they render, and their defaults. Source: helm v4.2.3 pkg/release/v1, pkg/chart/v2,
pkg/storage/driver/util.go; real records judge it in tests.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import math
import re
import tarfile
import zlib
from dataclasses import dataclass, field
from decimal import Decimal
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final, Literal

from brolly import document, helm, values
from brolly.archive import read_tar_gz
from brolly.chart import ChartError
from brolly.findings import Finding, Location, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from brolly.chart import Chart, Requirement
    from brolly.rendering import Hook, Manifest, Rendering

TOO_LARGE: Final = Rule("size/release-too-large", Severity.ERROR, "a release record that Kubernetes refuses")
NEAR_LIMIT: Final = Rule("size/release-near-limit", Severity.WARNING, "a release record near Kubernetes' limit")

RULES: Final = (TOO_LARGE, NEAR_LIMIT)

LIMIT: Final = 1048576
NEAR: Final = 0.8

What = Literal["manifests", "hooks", "values", "files", "frame"]
_ZERO_TIME: Final = "0001-01-01T00:00:00Z"
_BOM: Final = b"\xef\xbb\xbf"
# any time does: what counts is its length, and that its digits hardly compress
_INSTALLED: Final = dt.datetime(2026, 3, 14, 15, 9, 26, tzinfo=dt.UTC)
_GOLDEN: Final = 618033989
_RAW_NUMBER: Final = re.compile(r'"\\u0000([-+.0-9e]+)\\u0000"')


@dataclass(frozen=True)
class Part:
    """A piece of the record's JSON. `source` is the key of the dependency it comes from, "" for the chart itself."""

    json: bytes = field(repr=False)
    what: What = "frame"
    source: str = ""
    template: str = ""


@dataclass(frozen=True)
class Parent:
    """What every record of a chart holds of its own files, serialized once."""

    chart: Chart = field(repr=False)
    before_values: bytes = field(repr=False)
    after_values: bytes = field(repr=False)
    has_values: bool = True


@dataclass(frozen=True)
class Record:
    """A release record. `size` counts the base64 bytes of `data.release`, as predicted for an install.

    `upper_bound` is never below what Helm stores, whatever the release's name and namespace.
    """

    size: int
    upper_bound: int
    parts: tuple[Part, ...] = field(repr=False)

    @property
    def json(self) -> bytes:
        """The JSON that Helm compresses."""
        return b"".join(part.json for part in self.parts)


def parent(chart: Chart, package: bytes) -> Parent:
    """Serialize what Helm stores of a chart's own files; `package` is the .tgz that `chart` was read from."""
    files = _files(package)
    by_name = {file["name"]: file for file in files}
    schema = by_name.get("values.schema.json")
    templates = [_file(file) for file in files if file["name"].startswith("templates/")]
    others = [_file(file) for file in files if _is_other(file["name"], chart)]
    before = {"lock": _lock(by_name), "templates": templates or None}
    after = {
        "schema": _base64(schema["data"]) if schema else None,
        "schemamodtime": schema["modtime"] if schema else _ZERO_TIME,
        "files": others or None,
        "modtime": by_name["Chart.yaml"]["modtime"],
    }
    return Parent(chart, _inside(before), _inside(after), "values.yaml" in by_name)


def record(parent: Parent, rendering: Rendering, user: Mapping[str, Any], *, name: str, namespace: str) -> Record:
    """Predict the record of an installed release; ValuesError where Helm gives up on the values.

    `user` is what is given on top of the chart's defaults, `rendering` Helm's answer to it under this name.
    """
    return _packed(tuple(_parts(parent, rendering, user, name, namespace)))


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
class TemplateShare:
    """What one template renders into a record: bytes of JSON, and its part of the record's size, estimated."""

    template: str
    json: int
    size: int


@dataclass(frozen=True)
class Attribution:
    """What a record is made of, the largest first; the sizes of the shares add up to the record's."""

    shares: tuple[Share, ...]
    templates: tuple[TemplateShare, ...]


def attribute(record: Record) -> Attribution:
    """Say where a record's size comes from, in one pass: what is like something else in it costs little."""
    costs = _costs(record)
    shares = (_share(source, record.parts, costs) for source in {part.source for part in record.parts})
    templates = (
        TemplateShare(template, _length(part for part in record.parts if part.template == template), cost)
        for template, cost in _summed(costs, lambda group: group[2]).items()
        if template
    )
    return Attribution(
        tuple(sorted(shares, key=lambda share: (-share.size, share.source))),
        tuple(sorted(templates, key=lambda share: (-share.size, share.template))),
    )


def without(record: Record, source: str) -> Record:
    """Predict the record without one dependency, to say what a remedy saves."""
    return _packed(tuple(part for part in record.parts if part.source != source))


def check(
    record: Record,
    attribution: Attribution,
    title: str,
    place: Callable[[str], Location],
    *,
    limit: int = LIMIT,
    near: float = NEAR,
) -> Iterator[Finding]:
    """Judge a record by its upper bound. `title` names the release; `place` gives where a source is declared."""
    bound = record.upper_bound
    if bound <= limit * near:
        return
    rule = TOO_LARGE if bound > limit else NEAR_LIMIT
    largest = next((share for share in attribution.shares if share.source), attribution.shares[0])
    yield rule.finding(
        f"release record of {title} is at most {_shown(bound)}, the limit is {_shown(limit)}",
        place(largest.source),
        label=f"{_shown(largest.size)} of it come from here" + _mostly(largest),
        hint=_remedy(record, largest),
    )


def _packed(parts: tuple[Part, ...]) -> Record:
    packed = len(_gzip(part.json for part in parts))
    return Record(_base64_length(packed), _bound(packed), parts)


def _bound(packed: int) -> int:
    return packed


# -- the JSON ---------------------------------------------------------------------------------------------------------


def _parts(parent: Parent, rendering: Rendering, user: Mapping[str, Any], name: str, namespace: str) -> Iterator[Part]:
    defaults, needs = values.stored_defaults(parent.chart, user)
    metadata = _metadata(parent.chart, needs)
    yield Part(b'{"name":%s,"info":%s' % (_json(name), _json(_info(rendering))))
    yield Part(b',"chart":{"metadata":%s,' % _json(metadata))
    yield Part(parent.before_values, "files")
    yield Part(b',"values":')
    yield from _values(parent, defaults, needs)
    yield Part(b"," + parent.after_values + b"}", "files")
    if user:
        yield Part(b',"config":' + _json(_go(user)), "values")
    if rendering.manifests:
        yield Part(b',"manifest":"')
        yield from (_manifest(manifest) for manifest in rendering.manifests)
        yield Part(b'"')
    yield from _hooks(rendering.hooks)
    yield Part(b',"version":1,"namespace":%s,"apply_method":"ssa"}' % _json(namespace))


def _info(rendering: Rendering) -> dict[str, str]:
    installed = _stamp(0)
    about = {"first_deployed": installed, "last_deployed": installed, "description": "Install complete"}
    return about | {"status": "deployed"} | ({"notes": rendering.notes} if rendering.notes else {})


def _metadata(chart: Chart, needs: Iterable[Requirement] | None) -> dict[str, Any]:
    fields = helm._go_metadata(chart) | {"apiVersion": chart.metadata.get("apiVersion") or "v1"}  # noqa: SLF001
    fields["dependencies"] = [_dependency(need) for need in needs or ()]
    return {name: fields[name] for name in helm._METADATA_ORDER if fields.get(name)}  # noqa: SLF001


def _dependency(need: Requirement) -> dict[str, Any]:
    """Write a dependency as Helm leaves it once it is processed: under its alias, enabled, imports spelt out."""
    fields: dict[str, Any] = {
        "name": need.key,
        "version": need.version,
        "repository": need.repository,
        "condition": need.condition,
        "tags": list(need.tags),
        "enabled": True,
        "import-values": [{"child": child, "parent": to} for child, to in values.imports(need)],
        "alias": need.alias,
    }
    return {name: value for name, value in fields.items() if value or name in {"name", "repository"}}


def _lock(by_name: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    """Read Chart.lock into Helm's fields, which drop what they do not know."""
    file = by_name.get("Chart.lock") or by_name.get("requirements.lock")
    data = document.parse(file["data"]) if file else None
    if not isinstance(data, dict):
        return None
    locked = data.get("dependencies")
    return {
        "generated": _go_time(str(data.get("generated") or _ZERO_TIME)),
        "digest": str(data.get("digest") or ""),
        "dependencies": None if locked is None else [_locked(item) for item in locked],
    }


def _locked(item: Mapping[str, Any]) -> dict[str, str]:
    version = {"version": str(item["version"])} if item.get("version") else {}
    return {"name": str(item.get("name") or ""), **version, "repository": str(item.get("repository") or "")}


def _values(parent: Parent, defaults: Mapping[str, Any], needs: Iterable[Requirement] | None) -> Iterator[Part]:
    if not parent.has_values and needs is None:
        yield Part(b"null")
        return
    keys = {need.key for need in needs or ()} | {subchart.name for subchart in parent.chart.subcharts}
    comma = b"{"
    for key in sorted(defaults):
        yield Part(comma + _json(key) + b":" + _json(_go(defaults[key])), "values", key if key in keys else "")
        comma = b","
    yield Part(b"}" if defaults else b"{}")


def _manifest(manifest: Manifest) -> Part:
    text = f"---\n# Source: {manifest.source}\n{manifest.content}\n"
    return Part(_json(text)[1:-1], "manifests", _source(manifest), manifest.source)


def _source(manifest: Manifest) -> str:
    """Give the key of the subchart that a template belongs to: Helm's paths have aliases."""
    folders = manifest.source.split("/")
    return folders[2] if len(folders) > 3 and folders[1] == "charts" else ""


def _hooks(hooks: Iterable[Hook]) -> Iterator[Part]:
    opening = b',"hooks":['
    for place, hook in enumerate(hooks, 1):
        yield Part(opening + _json(_hook(hook, place)), "hooks", _source(hook), hook.source)
        opening = b","
    if opening == b",":
        yield Part(b"]")


def _hook(hook: Hook, place: int) -> dict[str, Any]:
    runs = bool({"pre-install", "post-install"} & set(hook.events))
    last_run = {"started_at": _stamp(2 * place), "completed_at": _stamp(2 * place + 1), "phase": "Succeeded"}
    fields: dict[str, Any] = {
        "name": hook.name,
        "kind": hook.kind,
        "path": hook.source,
        "manifest": hook.content,
        "events": list(hook.events),
        "last_run": last_run if runs else {"phase": ""},
        "weight": hook.weight,
        # Helm adds the default policy when it runs the hook
        "delete_policies": list(hook.delete_policies) or (["before-hook-creation"] if runs else []),
        "output_log_policies": list(hook.output_log_policies),
    }
    return {key: value for key, value in fields.items() if value}


# -- the chart's own files --------------------------------------------------------------------------------------------


def _files(package: bytes) -> list[dict[str, Any]]:
    """Read a package's files in its order, `charts/` left out but for provenance, as Helm's loader does."""
    times = _times(package)
    found = []
    for entry in read_tar_gz(package):
        _, _, name = entry.name.partition("/")
        if name.startswith("charts/") and not name.endswith(".prov"):
            continue
        data = (entry.content or b"").removeprefix(_BOM)
        found.append({"name": name, "data": data, "modtime": times.get(entry.name, _ZERO_TIME)})
    return found


def _times(package: bytes) -> dict[str, str]:
    """Give the modification times of a package's files by name, as Go writes them."""
    with tarfile.open(fileobj=BytesIO(zlib.decompress(package, wbits=31)), mode="r|", encoding="utf-8") as tar:
        return {info.name.removeprefix("./"): _written(info) for info in tar}


def _written(info: tarfile.TarInfo) -> str:
    seconds, _, fraction = str(info.pax_headers.get("mtime") or int(info.mtime)).partition(".")
    return helm.timestamp(int(seconds))[:-1] + _fraction(fraction) + "Z"


def _fraction(digits: str) -> str:
    digits = digits[:9].rstrip("0")
    return f".{digits}" if digits else ""


def _file(file: Mapping[str, Any]) -> dict[str, str]:
    return {"name": file["name"], "data": _base64(file["data"]), "modtime": file["modtime"]}


def _is_other(name: str, chart: Chart) -> bool:
    """Say whether Helm keeps a file among the chart's `files`."""
    if name in {"requirements.yaml", "requirements.lock"}:
        return (chart.metadata.get("apiVersion") or "v1") == "v1"
    known = {"Chart.yaml", "Chart.lock", "values.yaml", "values.schema.json"}
    return name not in known and not name.startswith("templates/")


# -- Go's JSON --------------------------------------------------------------------------------------------------------


def _json(value: Any) -> bytes:
    text = helm.go_json(value)
    return _RAW_NUMBER.sub(r"\1", text.decode("utf-8", "surrogatepass")).encode() if b'"\\u0000' in text else text


def _inside(value: Mapping[str, Any]) -> bytes:
    return _json(value)[1:-1]


def _go(value: Any) -> Any:
    """Bring values into the order and the numbers of Go: keys sorted, all numbers float64."""
    match value:
        case dict():
            return {key: _go(value[key]) for key in sorted(value)}
        case list() | tuple():
            return [_go(item) for item in value]
        case bool() | str() | None:
            return value
        case int() if -(1 << 53) <= value <= 1 << 53:
            return value
        case int() | float():
            return _go_number(float(value))
        case _:
            return value


def _go_number(number: float) -> Any:
    """Write a float64 as encoding/json does: digits up to 1e21 and down to 1e-6, an exponent beyond."""
    size = abs(number)
    if number and 1e-4 <= size < 1e16 and not number.is_integer():
        return number  # as Python writes it
    if number == 0 or not math.isfinite(number):
        return "\0-0\0" if math.copysign(1, number) < 0 else 0
    if 1e-6 <= size < 1e21:
        text = format(Decimal(repr(number)), "f")
        return f"\0{text.removesuffix('.0')}\0"
    mantissa, _, exponent = repr(number).partition("e")
    return f"\0{mantissa}e{exponent[0]}{exponent[1:].lstrip('0')}\0"


def _go_time(text: str) -> str:
    """Rewrite a time as Go does after reading it; ChartError if it is none."""
    found = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:[.,](\d+))?(Z|[-+]\d\d:\d\d)", text)
    if not found:
        raise ChartError(f"Chart.lock: no time: {text[:40]!r}")
    zone = "Z" if found[3] in {"+00:00", "-00:00"} else found[3]
    return found[1] + _fraction(found[2] or "") + zone


def _stamp(place: int) -> str:
    """Invent a moment during the install, to the nanosecond."""
    at = _INSTALLED + dt.timedelta(seconds=place)
    return f"{at:%Y-%m-%dT%H:%M:%S}" + _fraction(f"{(place + 1) * _GOLDEN % 10**9:09}") + "Z"


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


# -- compression ------------------------------------------------------------------------------------------------------


def _gzip(chunks: Iterable[bytes]) -> bytes:
    # Go flushes a block after 16384 symbols, as zlib does with this amount of memory
    packer = zlib.compressobj(9, zlib.DEFLATED, -15, 8)
    body = b"".join([packer.compress(chunk) for chunk in chunks])
    # a header of 10 bytes, a checksum and a length
    return bytes(10) + body + packer.flush() + bytes(8)


def _base64_length(size: int) -> int:
    return (size + 2) // 3 * 4


# -- attribution ------------------------------------------------------------------------------------------------------

_Group = tuple[str, What, str]


def _costs(record: Record) -> dict[_Group, int]:
    """Compress the record source by source and template by template: the part of its size that each takes."""
    groups: dict[_Group, list[bytes]] = {}
    for part in record.parts:
        groups.setdefault((part.source, part.what, part.template), []).append(part.json)
    packer = zlib.compressobj(6, zlib.DEFLATED, -15, 8)
    lengths = {
        group: sum(len(packer.compress(chunk)) for chunk in groups[group]) + len(packer.flush(zlib.Z_BLOCK))
        for group in sorted(groups)
    }
    return _scaled(lengths, record.size)


def _scaled(lengths: Mapping[_Group, int], size: int) -> dict[_Group, int]:
    """Bring lengths to a sum, without a rest."""
    total, seen, given = sum(lengths.values()), 0, 0
    scaled = {}
    for group, length in lengths.items():
        seen += length
        scaled[group] = seen * size // total - given
        given += scaled[group]
    return scaled


def _summed(costs: Mapping[_Group, int], by: Callable[[_Group], str]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for group, cost in costs.items():
        sums[by(group)] = sums.get(by(group), 0) + cost
    return sums


def _share(source: str, parts: Iterable[Part], costs: Mapping[_Group, int]) -> Share:
    lengths: dict[str, int] = {}
    for part in parts:
        if part.source == source:
            what = "files" if part.what == "frame" else part.what
            lengths[what] = lengths.get(what, 0) + len(part.json)
    return Share(source, **lengths, size=_summed(costs, lambda group: group[0])[source])


def _length(parts: Iterable[Part]) -> int:
    return sum(len(part.json) for part in parts)


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
