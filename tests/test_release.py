"""The predicted release record is the one that Helm stores: its engine really installs, into a server on loopback."""

from __future__ import annotations

import base64
import dataclasses
import io
import ipaddress
import json
import random
import re
import shutil
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml

from api_server import MAX_SECRET, ApiServer, Installer, decoded, text_of
from brolly import chart as charts
from brolly import cli, helm, limits, release, values
from brolly.engine import Engine
from brolly.findings import Location
from brolly.rendering import EngineFailure, Hook, Manifest, Rendering
from engine_charts import engine as helm_engine
from engine_charts import package
from measure_records import LARGE, LONG_NAME, LONG_NAMESPACE, kinds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

BUNDLES: Final = Path(__file__).parent.parent / "bundles"
STAMPS: Final = re.compile(rb'"(first_deployed|last_deployed|started_at|completed_at)":"[^"]+"')
WORDS: Final = (
    "plain", "<b>&amp;</b>", "grün ☃ 😀", "line\nbreak\t", 'quo"te\\', "\u2028\u2029", "{{ not a template", "0755", ""
)  # fmt: skip
NUMBERS: Final = (0, -7, 1.5, 0.1, 1e-5, 2.5e-7, 1e21, 1e16, 123456789012, 12345678901234567890, 3.0, True, None)


@dataclasses.dataclass(frozen=True)
class Judge:
    """Helm's engine twice: it renders for the prediction, and it installs."""

    engine: Engine
    installer: Installer

    def predict(self, content: bytes, user: Mapping[str, Any], *, name: str = "shop") -> release.Record:
        rendering = self.render(content, user, name)
        parent = release.parent(charts.read_package(content), content)
        return release.record(parent, rendering, user, name=name, namespace="default")

    def render(self, content: bytes, user: Mapping[str, Any], name: str, *, namespace: str = "default") -> Rendering:
        rendering = self.engine.render(content, user, name=name, namespace=namespace)
        assert not isinstance(rendering, EngineFailure), rendering.message
        return rendering

    def install(
        self, content: bytes, user: Mapping[str, Any], *, name: str = "shop", namespace: str = "default"
    ) -> list[bytes]:
        known = kinds(self.render(content, user, "shop"))
        records, fault = self.installer.install(content, user, name=name, namespace=namespace, kinds=known)
        assert fault == ""
        return records


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    helm_engine()
    with Engine() as engine, ApiServer() as server, Installer(server) as installer:
        yield Judge(engine, installer)


@pytest.fixture(scope="module")
def storefront(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Build the repository's umbrella as `dist/` would have it."""
    helm_engine()
    root = tmp_path_factory.mktemp("workspace")
    shutil.copytree(BUNDLES / "storefront", root / "bundles" / "storefront")
    (root / "brolly.toml").write_text('address = "oci://registry.example/brolly"\n')
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("XDG_CACHE_HOME", str(root / "cache"))
        assert cli.main(["build", "storefront", "--quiet"]) == 0
    return (root / "dist" / "storefront-0.1.0.tgz").read_bytes()


@pytest.fixture(scope="module")
def greeter() -> bytes:
    folder = BUNDLES / "hello-world" / "charts" / "greeter"
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return helm.package_folder(files, "greeter", 86400)[0]


def without_times(text: bytes) -> bytes:
    return STAMPS.sub(rb'"\1":""', text)


def assert_same(predicted: release.Record, stored: bytes) -> None:
    """Compare byte by byte; on a difference show the fields."""
    mine, helms = without_times(predicted.json), without_times(text_of(stored))
    if mine != helms:
        assert json.loads(mine) == json.loads(helms)
    assert mine == helms


# -- generated umbrellas ----------------------------------------------------------------------------------------------


class Generator:
    """Umbrellas in which everything occurs that a record treats in its own way."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def chance(self, share: float = 0.5) -> bool:
        return self.random.random() < share

    def value(self, depth: int = 2) -> Any:
        pick = self.random.random()
        if depth and pick < 0.25:
            return self.values(depth - 1)
        if depth and pick < 0.35:
            return [self.value(depth - 1) for _ in range(self.random.randrange(3))]
        return self.random.choice(WORDS if pick < 0.7 else NUMBERS)

    def values(self, depth: int = 2) -> dict[str, Any]:
        return {self.random.choice("abcdefg<é"): self.value(depth) for _ in range(self.random.randrange(5))}

    def subchart(self, name: str) -> dict[str, bytes | str]:
        given = self.values() | {"exports": {"out": self.values(1)}, "service": {"port": 80}}
        if self.chance():
            given["global"] = self.values(1)
        files = self.files(name, given)
        files["templates/NOTES.txt"] = "Never stored.\n"
        return files

    def files(self, name: str, given: Mapping[str, Any], **metadata: Any) -> dict[str, bytes | str]:
        about = {"apiVersion": "v2", "name": name, "version": "1.2.3", "description": self.random.choice(WORDS)}
        files: dict[str, bytes | str] = {
            "Chart.yaml": yaml.safe_dump(about | metadata),
            "values.yaml": json.dumps(given, ensure_ascii=False),
            "templates/_helpers.tpl": '{{ define "x" }}<&>{{ end }}',
            "templates/config.yaml": config_map(name),
            "README.md": self.random.choice(WORDS),
        }
        extra: dict[str, bytes | str] = {
            "templates/hook.yaml": hook(name, self.random.choice(("pre-install", "post-install,test", "post-delete"))),
            "templates/tests/job.yaml": hook(f"{name}-test", "test").replace("weight", "output-log-policy"),
            "templates/empty.yaml": "",
            "crds/thing.yaml": definition(name),
            "files/binary.bin": self.random.randbytes(300),
            "files/empty": "",
            ".helmignore": "*.orig\n",
            "values.schema.json": "﻿" + json.dumps({"type": "object", "description": "<&>"}),
            "LICENSE": "MIT & more\n",
        }
        return files | {path: text for path, text in extra.items() if self.chance(0.6)}

    def umbrella(self) -> tuple[bytes, dict[str, Any]]:
        names = ["one", "two", "three"][: self.random.randrange(4)]
        files: dict[str, bytes | str] = {}
        needs, keys = [], []
        for name in names:
            files |= {f"charts/{name}/{path}": text for path, text in self.subchart(name).items()}
            for alias in self.random.choice((("",), ("", "other"), ("x", "y"))):
                key = f"{name}-{alias}" if alias else ""
                needs.append(self.need(name, key))
                keys.append(key or name)
        given = self.values() | {key: self.values() for key in keys if self.chance()}
        metadata: dict[str, Any] = {"dependencies": needs} if needs or self.chance(0.2) else {}
        if self.chance():
            metadata |= {"maintainers": [{"name": "A & B", "email": "a@b.example"}], "keywords": ["<x>"], "icon": "i"}
            metadata |= {"annotations": {"b": "2", "a": "<1>"}, "deprecated": self.chance(), "appVersion": 1.10}
        files |= self.files("parent", given, **metadata)
        if self.chance():
            files["templates/NOTES.txt"] = "Thanks, {{ .Release.Name }} & all <b>!\n"
        if self.chance():
            files["Chart.lock"] = self.lock(needs)
        if self.chance(0.2):
            del files["values.yaml"]
        return package(files, "parent"), self.overlay(keys)

    def need(self, name: str, alias: str) -> dict[str, Any]:
        need: dict[str, Any] = {"name": name, "version": "^1.0.0", "repository": "https://charts.example/<a>&b"}
        optional = {
            "condition": f"{alias or name}.enabled,switches.{name}",
            "tags": ["web", "<tag>"],
            "import-values": self.random.choice((["out"], [{"child": "service", "parent": "imported.deep"}, "none"])),
        }
        return need | ({"alias": alias} if alias else {}) | {k: v for k, v in optional.items() if self.chance()}

    def lock(self, needs: list[dict[str, Any]]) -> str:
        generated = self.random.choice(("2024-05-06T07:08:09.120300000+02:00", "2024-05-06T07:08:09Z"))
        locked = [{"name": need["name"], "repository": need["repository"], "version": "1.2.3"} for need in needs]
        return yaml.safe_dump({"dependencies": locked, "digest": "sha256:<x>", "generated": generated, "extra": 1})

    def overlay(self, keys: list[str]) -> dict[str, Any]:
        given: dict[str, Any] = {key: self.values() | {"enabled": self.chance()} for key in keys if self.chance()}
        if self.chance():
            given["tags"] = {"web": self.chance()}
        return given | (self.values() if self.chance() else {})


def config_map(name: str) -> str:
    return (
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}-{{ .Chart.Name }}-" + name + "\n"
        "data:\n  values: {{ .Values | toJson | quote }}\n"
        "---\napiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {{ .Release.Name }}-{{ .Chart.Name }}\n"
    )


def hook(name: str, events: str) -> str:
    return (
        "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: {{ .Release.Name }}-{{ .Chart.Name }}-" + name + "\n"
        f"  annotations:\n    helm.sh/hook: {events}\n"
        '    helm.sh/hook-weight: "-5"\n    helm.sh/hook-delete-policy: hook-succeeded\n'
    )


def definition(name: str) -> str:
    about = {"name": f"{name}s.x.example"}
    return yaml.safe_dump(
        {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": about}
    )


@pytest.mark.parametrize("seed", range(30))
def test_the_json_of_a_generated_umbrella_is_what_helm_stores_byte_by_byte(judge: Judge, seed: int) -> None:
    content, overlay = Generator(seed).umbrella()
    for user in ({}, overlay):
        try:
            values.stored_defaults(charts.read_package(content), user)
        except values.ValuesError:
            continue
        predicted, records = judge.predict(content, user), judge.install(content, user)
        assert_same(predicted, records[-1])
        assert max(map(len, records)) <= predicted.upper_bound


def test_the_record_of_the_storefront_is_what_helm_stores_with_each_overlay(judge: Judge, storefront: bytes) -> None:
    overlays = sorted((BUNDLES / "storefront" / "overlays").glob("*.yaml"))
    assert overlays
    for user in ({}, *(yaml.safe_load(path.read_text()) for path in overlays)):
        predicted, records = judge.predict(storefront, user), judge.install(storefront, user)
        assert_same(predicted, records[-1])
        assert max(map(len, records)) <= predicted.upper_bound
        assert abs(predicted.size / len(records[-1]) - 1) < 0.02


def test_the_bound_of_the_storefront_holds_for_the_longest_names(judge: Judge, storefront: bytes) -> None:
    long = judge.install(storefront, {}, name=LONG_NAME, namespace=LONG_NAMESPACE)
    assert max(map(len, long)) <= judge.predict(storefront, {}).upper_bound


def test_the_bound_of_the_storefront_holds_for_upgrades(judge: Judge, storefront: bytes) -> None:
    known = kinds(judge.render(storefront, {}, "shop"))
    records, fault = judge.installer.install(storefront, {}, name="shop", kinds=known, upgrades=2)
    assert (fault, max(decoded(one)["version"] for one in records)) == ("", 3)
    assert max(map(len, records)) <= judge.predict(storefront, {}).upper_bound


def test_the_record_of_a_single_chart_is_what_helm_stores(judge: Judge, greeter: bytes) -> None:
    user = {"global": {"audience": "<Hallo> & grüezi"}, "serviceAccount": {"annotations": {"a": "1"}}}
    predicted, records = judge.predict(greeter, user, name="hello-1"), judge.install(greeter, user, name="hello-1")
    assert_same(predicted, records[-1])
    assert max(map(len, records)) <= predicted.upper_bound


def test_files_keep_the_times_of_the_package_to_the_nanosecond(judge: Judge) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", format=tarfile.PAX_FORMAT) as tar:
        for place, (name, text) in enumerate(
            {
                "demo/Chart.yaml": "apiVersion: v1\nname: demo\nversion: 1.0.0\n",
                "demo/values.schema.json": "{}",
                "demo/requirements.yaml": "# none\n",
                "demo/templates/a.yaml": config_map("a"),
                "demo/docs/b.md": "b",
                "demo/charts/sub.tgz.prov": "signed",
            }.items()
        ):
            info = tarfile.TarInfo(name)
            info.size = len(text)
            info.pax_headers = {"mtime": f"17000000{place:02}.{place}2034"}
            tar.addfile(info, io.BytesIO(text.encode()))
    assert_same(judge.predict(out.getvalue(), {}), judge.install(out.getvalue(), {})[-1])


# -- sizes ------------------------------------------------------------------------------------------------------------


def large(seed: int, *, objects: int, words: int, own: int) -> bytes:
    """Make an umbrella of a subchart's objects, with so many words each, and of so many KiB of own files."""
    chosen = random.Random(seed)
    vocabulary = ["".join(chosen.choices("abcdefghijklmnopqrstuvwxyz", k=chosen.randint(3, 11))) for _ in range(2000)]

    def prose(count: int) -> str:
        return " ".join(chosen.choices(vocabulary, k=count))

    template = "\n---\n".join(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}-sub-" + str(place) + "\n"
        "  namespace: {{ .Release.Namespace }}\n  labels:\n    app.kubernetes.io/instance: {{ .Release.Name }}\n"
        "    app.kubernetes.io/name: sub\n    app.kubernetes.io/managed-by: {{ .Release.Service }}\n"
        "data:\n  host: sub.{{ .Release.Namespace }}.svc.cluster.local\n  text: " + prose(words)
        for place in range(objects)
    )
    files: dict[str, bytes | str] = {
        "Chart.yaml": "apiVersion: v2\nname: big\nversion: 1.0.0\n"
        "dependencies:\n- {name: sub, version: 1.0.0, repository: ''}\n",
        "values.yaml": "sub: {}\n",
        "charts/sub/Chart.yaml": "apiVersion: v2\nname: sub\nversion: 1.0.0\n",
        "charts/sub/values.yaml": json.dumps({f"key{place}": prose(8) for place in range(50)}),
        "charts/sub/templates/all.yaml": template,
        "docs/text.md": prose(own * 150),
    }
    return package(files, "big")


@pytest.mark.parametrize(
    ("objects", "words", "own"),
    [
        pytest.param(60, 700, 0, id="prose"),
        pytest.param(20, 90, 140, id="base64"),
        pytest.param(50, 400, 70, id="both"),
    ],
)
def test_the_bound_of_a_large_record_holds_for_the_longest_names_and_is_near(
    judge: Judge, objects: int, words: int, own: int
) -> None:
    content = large(7, objects=objects, words=words, own=own)
    predicted, records = judge.predict(content, {}), judge.install(content, {})
    long = judge.install(content, {}, name=LONG_NAME, namespace=LONG_NAMESPACE)
    real = len(records[-1])
    assert real > LARGE
    assert max(map(len, records + long)) <= predicted.upper_bound <= 1.04 * real
    assert abs(predicted.size / real - 1) < 0.015


def test_the_bound_holds_where_names_weigh_most(judge: Judge) -> None:
    content = large(8, objects=250, words=60, own=0)
    predicted = judge.predict(content, {})
    long = judge.install(content, {}, name=LONG_NAME, namespace=LONG_NAMESPACE)
    assert len(long[-1]) > 1.04 * predicted.size
    assert max(map(len, long)) <= predicted.upper_bound <= 1.04 * len(long[-1])


def config_maps(count: int, text: str) -> bytes:
    """Make a chart of a loop over objects: `$i` is the place, `$` the root."""
    loop = "{{- range $i := until %d }}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n%s\n{{- end }}\n"
    about = "apiVersion: v2\nname: shop\nversion: 1.0.0\n"
    return package({"Chart.yaml": about, "templates/all.yaml": loop % (count, text)}, "shop")


def test_the_bound_holds_where_names_are_in_base64_in_any_kind(judge: Judge) -> None:
    text = '  name: x{{ $i }}\ndata:\n  h: {{ printf "%d-%s-%s" $i $.Release.Name $.Release.Namespace | b64enc }}'
    content = config_maps(300, text)
    long = judge.install(content, {}, name=LONG_NAME, namespace=LONG_NAMESPACE)
    assert max(map(len, long)) <= judge.predict(content, {}).upper_bound


def test_the_bound_is_near_the_record_of_the_longest_names_where_the_chart_has_the_release_s_name(judge: Judge) -> None:
    content = config_maps(
        2600,
        "  name: {{ $.Release.Name }}-{{ $i }}\n  namespace: {{ $.Release.Namespace }}\n"
        "  labels: {app.kubernetes.io/instance: {{ $.Release.Name }}}\n"
        'data:\n  h: {{ printf "%d" $i | sha256sum | trunc 12 }}\n'
        "  host: {{ $.Release.Name }}-{{ $i }}.{{ $.Release.Namespace }}.svc.cluster.local",
    )
    rendering = judge.render(content, {}, LONG_NAME, namespace=LONG_NAMESPACE)
    parent = release.parent(charts.read_package(content), content)
    # so many objects take long to install: this prediction is within 1 % of the record
    longest = release.record(parent, rendering, {}, name=LONG_NAME, namespace=LONG_NAMESPACE)
    assert longest.size > LARGE
    assert longest.size < judge.predict(content, {}).upper_bound < 1.05 * longest.size


def numbers(kind: str) -> str:
    """Make 120 KB of lines that consist of numbers."""
    chosen = random.Random(11)
    lines: dict[str, Callable[[], str]] = {
        "digits": lambda: "".join(chosen.choices("0123456789", k=100)),
        "hexadecimal": lambda: chosen.randbytes(32).hex(),
        "decimals": lambda: f"- [{chosen.uniform(-180, 180):.4f}, {chosen.uniform(-90, 90):.4f}]",
        "addresses": lambda: f"- ipBlock: {{cidr: {ipaddress.IPv4Address(chosen.randbytes(4))}/32}}",
        "ipv6": lambda: f"- {ipaddress.IPv6Address(chosen.randbytes(16))}/64",
        "csv": lambda: f"{chosen.randrange(10**9)},{chosen.randrange(10**6)},{chosen.random():.3f}",
        "binary": lambda: base64.b64encode(chosen.randbytes(48)).decode(),
        "mixed": lambda: chosen.choice(WORDS[:1] * 9 + ("".join(chosen.choices("0123456789", k=60)),)),
    }
    found, size = [], 0
    while size < 120_000:
        found.append(lines[kind]())
        size += len(found[-1]) + 5
    return "".join(f"    {line}\n" for line in found)


@pytest.mark.parametrize("kind", ["digits", "hexadecimal", "decimals", "addresses", "ipv6", "csv", "binary", "mixed"])
def test_the_bound_of_numbers_holds_and_is_near(judge: Judge, kind: str) -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  x: |\n" + numbers(kind)
    files: dict[str, bytes | str] = {
        "Chart.yaml": "apiVersion: v2\nname: top\nversion: 1.0.0\n"
        "dependencies:\n- {name: sub, version: 1.0.0, repository: ''}\n",
        "charts/sub/Chart.yaml": "apiVersion: v2\nname: sub\nversion: 1.0.0\n",
        "charts/sub/templates/x.yaml": text,
    }
    content = package(files, "top")
    predicted, records = judge.predict(content, {}), judge.install(content, {})
    assert len(records[-1]) <= predicted.upper_bound <= 1.045 * len(records[-1])


@pytest.mark.parametrize("events", ["pre-upgrade", "post-upgrade,pre-rollback", "test", "pre-delete"])
def test_the_bound_holds_once_all_hooks_have_run(judge: Judge, events: str) -> None:
    hooks = "".join(
        "---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: {{ .Release.Name }}"
        f'-h{place}\n  annotations: {{"helm.sh/hook": "{events}"}}\n'
        for place in range(24)
    )
    files: dict[str, bytes | str] = {
        "Chart.yaml": "apiVersion: v2\nname: demo\nversion: 1.0.0\n",
        "templates/hooks.yaml": hooks,
    }
    content = package(files, "demo")
    known = kinds(judge.render(content, {}, "shop"))
    records, fault = judge.installer.install(content, {}, name="shop", kinds=known, upgrades=1, rolls_back=True)
    assert fault == ""
    assert max(map(len, records)) <= judge.predict(content, {}).upper_bound


def test_kubernetes_refuses_a_record_over_the_limit_and_the_bound_knows(judge: Judge) -> None:
    noise = random.Random(5).randbytes(800_000)
    files: dict[str, bytes | str] = {"Chart.yaml": "apiVersion: v2\nname: demo\nversion: 1.0.0\n"}

    def with_noise(size: int) -> bytes:
        return package({**files, "noise.bin": noise[:size]}, "demo")

    fits, too_large = with_noise(570_000), with_noise(800_000)
    assert len(judge.install(fits, {})[-1]) <= judge.predict(fits, {}).upper_bound <= MAX_SECRET == release.LIMIT
    records, fault = judge.installer.install(too_large, {}, name="shop")
    assert records == []
    assert "data: Too long: may not be more than 1048576 bytes" in fault
    assert judge.predict(too_large, {}).size > release.LIMIT


# -- attribution ------------------------------------------------------------------------------------------------------


def config(source: str, content: str) -> Manifest:
    return Manifest(source=source, content=content, api_version="v1", kind="ConfigMap", name="x")


def example(objects: int = 40, user: Mapping[str, Any] | None = None) -> release.Record:
    noise = random.Random(3)
    content = package(
        {
            "Chart.yaml": "apiVersion: v2\nname: top\nversion: 1.0.0\n"
            "dependencies:\n- {name: sub, version: 1.0.0, repository: '', alias: big}\n"
            "- {name: sub, version: 1.0.0, repository: '', alias: small}\n",
            "values.yaml": "big: {a: 1}\nown: 2\n",
            "README.md": "read me",
            "charts/sub/Chart.yaml": "apiVersion: v2\nname: sub\nversion: 1.0.0\n",
            "charts/sub/values.yaml": "b: 2\n",
        },
        "top",
    )
    manifests = [
        config("top/charts/big/templates/a.yaml", f"a: {noise.randbytes(200).hex()}\n") for _ in range(objects)
    ]
    manifests.append(config("top/charts/small/templates/b.yaml", "b: 1\n"))
    manifests.append(config("top/templates/c.yaml", "c: 1\n"))
    hooks = (Hook(source="top/charts/small/templates/h.yaml", content="h: 1\n", kind="Job", events=("test",)),)
    parent = release.parent(charts.read_package(content), content)
    rendering = Rendering(manifests=tuple(manifests), hooks=hooks)
    return release.record(parent, rendering, user or {}, name="shop", namespace="default")


def test_a_record_is_attributed_without_a_rest_to_dependencies_and_the_chart_itself() -> None:
    record = example()
    found = release.attribute(record)
    assert found.shares[0].source == "big"
    assert {share.source for share in found.shares} == {"big", "small", ""}
    assert sum(share.size for share in found.shares) == record.size
    lengths = [share.manifests + share.hooks + share.values + share.files for share in found.shares]
    assert sum(lengths) == len(record.json)
    assert all(sum(share.split.values()) == share.size for share in found.shares)
    assert found.templates[0].name == "top/charts/big/templates/a.yaml"
    assert {portion.name for portion in found.kinds} == {"ConfigMap", "Job"}


def test_hooks_values_and_files_are_told_apart() -> None:
    shares = {share.source: share for share in release.attribute(example()).shares}
    assert shares["small"].hooks > 0 == shares["big"].hooks
    assert shares["big"].values == len('{"big":{"a":1,"b":2,"global":{}}')
    assert shares[""].files > 0 == shares["big"].files


def test_values_that_are_given_belong_to_the_dependency_that_they_are_for() -> None:
    text = random.Random(4).randbytes(4000).hex()
    plain, given = example(), example(user={"small": {"big": text}, "other": text[:100]})
    before, after = ({share.source: share for share in release.attribute(one).shares} for one in (plain, given))
    assert given.json.count(text.encode()) == 1
    assert after["small"].values - before["small"].values == len(f',"small":{{"big":"{text}"}}')
    assert after["small"].of("given") > 0 == before["small"].of("given")
    assert after["small"].size == pytest.approx(given.size - release.without(given, "small").size, rel=0.1)


def test_a_record_without_its_largest_dependency_is_as_much_smaller_as_was_attributed() -> None:
    record = example()
    largest = release.attribute(record).shares[0]
    saved = record.size - release.without(record, largest.source).size
    assert saved == pytest.approx(largest.size, rel=0.05)


def measure_of(record: release.Record, place: Callable[[str], Location]) -> limits.Measure:
    """Measure a record as the sizes of a bundle do, at the place of what makes it large."""
    cause = release.cause(record, release.attribute(record))
    what = "the release record of top, at most,"
    return limits.Measure(limits.RELEASE_RECORD, record.upper_bound, what, place(cause.source), *release.remedy(cause))


def test_a_record_over_the_limit_is_measured_at_its_largest_dependency_with_what_a_remedy_saves() -> None:
    record = example(4000)
    place = Location("bundles/top/bundle.yaml", 7, 5)
    measure = measure_of(record, {"big": place}.__getitem__)
    (finding,) = limits.check([measure], limits.policy({}, {}))
    assert (finding.code, finding.severity, finding.location) == ("size/release-too-large", "error", place)
    assert finding.message.startswith(f"the release record of top, at most, is {record.upper_bound / 2**20:.2f} MiB")
    assert re.fullmatch(r"1\.0\d MiB of it come from here, mostly manifests", finding.label)
    assert re.search(r"move big to a bundle of its own \(-1\.0\d MiB\)", finding.hint)


def test_a_record_near_the_limit_is_a_warning_and_a_small_one_is_nothing() -> None:
    record = example(3400)
    found = [list(limits.check([measure_of(one, Location)], limits.policy({}, {}))) for one in (record, example())]
    assert [[finding.code for finding in findings] for findings in found] == [["size/release-near-limit"], []]


def test_what_the_chart_itself_brings_has_a_remedy_too() -> None:
    content = package({"Chart.yaml": "apiVersion: v2\nname: top\nversion: 1.0.0\n", "a.bin": bytes(9)}, "top")
    parent = release.parent(charts.read_package(content), content)
    record = release.record(parent, Rendering(), {}, name="x", namespace="default")
    measure = measure_of(record, lambda key: Location(key or "top"))
    assert measure.location == Location("top")
    assert measure.hint.startswith("take out what no release needs")


def test_a_record_is_decoded_as_kubectl_and_helm_would(judge: Judge, greeter: bytes) -> None:
    stored = decoded(judge.install(greeter, {}, name="hello")[-1])
    assert stored["info"]["status"] == "deployed"
    assert list(stored)[:3] == ["name", "info", "chart"]
