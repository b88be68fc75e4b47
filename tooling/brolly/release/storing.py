"""What Helm stores of a release, as the JSON that Go writes."""

from __future__ import annotations

import base64
import datetime as dt
import re
import tarfile
import zlib
from dataclasses import dataclass, field
from decimal import Decimal
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final, Literal

from brolly import document, helm, values
from brolly.archive import read_tar_gz

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from brolly.chart import Chart, Requirement
    from brolly.rendering import Hook, Manifest, Rendering

# `given` are values on top of the chart's own, `schema` is the parent's
What = Literal["manifests", "hooks", "values", "given", "files", "schema", "frame"]
_ZERO_TIME: Final = "0001-01-01T00:00:00Z"
_BOM: Final = b"\xef\xbb\xbf"
# any time does: what counts is its length, and that its digits hardly compress
_INSTALLED: Final = dt.datetime(2026, 3, 14, 15, 9, 26, tzinfo=dt.UTC)
_GOLDEN: Final = 618033989
_TIME_END: Final = re.compile(r"(?:\.(\d+))?(Z|[-+]\d\d:\d\d)$")
_RAW_NUMBER: Final = re.compile(rb'"\\u0000([-+.0-9e]+)\\u0000"')


@dataclass(frozen=True)
class Part:
    """A piece of the record's JSON. `source` is the key of the dependency it comes from, "" for the chart itself.

    `later` is a hook that no install runs, once it has run: in an upgrade, a rollback, a test.
    """

    json: bytes = field(repr=False)
    what: What = "frame"
    source: str = ""
    template: str = ""
    kind: str = ""
    later: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class Parent:
    """What every record of a chart holds of its own files, serialized once."""

    chart: Chart = field(repr=False)
    before_values: bytes = field(repr=False)
    schema: bytes = field(repr=False)
    after_values: bytes = field(repr=False)
    has_values: bool = True


def parent(chart: Chart, package: bytes) -> Parent:
    """Serialize what Helm stores of a chart's own files; `package` is the .tgz that `chart` was read from."""
    files = _files(package)
    by_name = {file["name"]: file for file in files}
    schema = by_name.get("values.schema.json")
    templates = [_file(file) for file in files if file["name"].startswith("templates/")]
    others = [_file(file) for file in files if _is_other(file["name"], chart)]
    before = {"lock": _lock(by_name), "templates": templates or None}
    after = {
        "schemamodtime": schema["modtime"] if schema else _ZERO_TIME,
        "files": others or None,
        "modtime": by_name["Chart.yaml"]["modtime"],
    }
    encoded = _json(_base64(schema["data"]) if schema else None)
    return Parent(chart, _inside(before), encoded, _inside(after), "values.yaml" in by_name)


def parts(parent: Parent, rendering: Rendering, user: Mapping[str, Any], name: str, namespace: str) -> Iterator[Part]:
    """Give the record's JSON, piece by piece; ValuesError where Helm gives up on the values."""
    defaults, needs = values.stored_defaults(parent.chart, user)
    metadata = _metadata(parent.chart, needs)
    yield Part(b'{"name":%s,"info":%s' % (_json(name), _json(_info(rendering))))
    yield Part(b',"chart":{"metadata":%s,' % _json(metadata))
    yield Part(parent.before_values, "files")
    yield Part(b',"values":')
    yield from _values(parent, defaults, needs)
    yield Part(b',"schema":' + parent.schema, "schema")
    yield Part(b"," + parent.after_values + b"}", "files")
    if user:
        yield Part(b',"config":')
        yield from _by_key(user, "given", _keys(parent, needs))
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
    fields = helm.go_metadata(chart) | {"apiVersion": chart.metadata.get("apiVersion") or "v1"}
    fields["dependencies"] = [_dependency(need) for need in needs or ()]
    return {name: fields[name] for name in helm.METADATA_ORDER if fields.get(name)}


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
    yield from _by_key(defaults, "values", _keys(parent, needs))


def _by_key(table: Mapping[str, Any], what: What, keys: Collection[str]) -> Iterator[Part]:
    comma = b"{"
    for key in sorted(table):
        yield Part(comma + _json(key) + b":" + _json(_go(table[key])), what, key if key in keys else "")
        comma = b","
    yield Part(b"}" if table else b"{}")


def _keys(parent: Parent, needs: Iterable[Requirement] | None) -> set[str]:
    return {need.key for need in needs or ()} | {subchart.name for subchart in parent.chart.subcharts}


def _manifest(manifest: Manifest) -> Part:
    text = f"---\n# Source: {manifest.source}\n{manifest.content}\n"
    return Part(_json(text)[1:-1], "manifests", _source(manifest), manifest.source, manifest.kind)


def _source(manifest: Manifest) -> str:
    """Give the key of the subchart that a template belongs to: Helm's paths have aliases."""
    folders = manifest.source.split("/")
    return folders[2] if len(folders) > 3 and folders[1] == "charts" else ""


def _hooks(hooks: Iterable[Hook]) -> Iterator[Part]:
    opening = b',"hooks":['
    for place, hook in enumerate(hooks, 1):
        runs = bool({"pre-install", "post-install"} & set(hook.events))
        # a rollback keeps what the hooks of the earlier release say, so all may have run
        later = b"" if runs else opening + _json(_hook(hook, place, runs=True))
        text = opening + _json(_hook(hook, place, runs=runs))
        yield Part(text, "hooks", _source(hook), hook.source, hook.kind, later)
        opening = b","
    if opening == b",":
        yield Part(b"]")


def _hook(hook: Hook, place: int, *, runs: bool) -> dict[str, Any]:
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
    entries, times = read_tar_gz(package), _times(package)
    found = []
    for entry in entries:
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
    return _RAW_NUMBER.sub(rb"\1", text) if b'"\\u0000' in text else text


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
        case _:
            return _go_number(float(value))


def _go_number(number: float) -> Any:
    """Write a float64 as encoding/json does: digits up to 1e21 and down to 1e-6, an exponent beyond."""
    size = abs(number)
    if 1e-4 <= size < 1e16 and not number.is_integer():
        return number  # as Python writes it
    if 1e-6 <= size < 1e21 or not number:
        text = format(Decimal(repr(number)), "f")
        return f"\0{text.removesuffix('.0')}\0"
    mantissa, _, exponent = repr(number).partition("e")
    return f"\0{mantissa}e{exponent[0]}{exponent[1:].lstrip('0')}\0"


def _go_time(text: str) -> str:
    """Rewrite a time (RFC 3339) as Go does once it has read it."""
    return _TIME_END.sub(lambda end: _fraction(end[1] or "") + ("Z" if end[2][1:] == "00:00" else end[2]), text)


def _stamp(place: int) -> str:
    """Invent a moment during the install, to the nanosecond."""
    at = _INSTALLED + dt.timedelta(seconds=place)
    return f"{at:%Y-%m-%dT%H:%M:%S}" + _fraction(f"{(place + 1) * _GOLDEN % 10**9:09}") + "Z"


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
