"""A compiled Flux bundle, as kustomize builds it, as Flux edits it, and as an API server takes it."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import yaml

from brolly import chart as charts
from brolly import definition as definitions
from brolly import document, helm, kustomization
from brolly.definition import OciRepository
from brolly.lock import LockedDependency, canonical
from brolly.oci import Digest
from brolly.sources import Component, Settings, Sources
from engine_charts import chart_files, engine
from engine_charts import package as chart_archive
from flux_crds import RELEASES, violations
from registries import peer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from brolly.findings import Finding
    from brolly.kustomization import FluxBundle

FOLDER = "bundles/shop"
MANIFEST = "sha256:" + "a" * 64
SETTINGS = Settings("oci://registry.example/apps", epoch=1_700_000_000)

DEFINITION = """\
apiVersion: brolly/v1alpha1
target: kustomize
name: shop
version: 1.2.3
description: A shop.
home: https://shop.example
sources: [https://git.example/shop]
annotations: {team: blue, org.opencontainers.image.version: mine}
dependencies:
  - {name: greeter, alias: hello-1, version: 1.x, repository: "file://charts/greeter"}
  - name: greeter
    alias: hello-2
    version: 1.x
    repository: file://charts/greeter
    targetNamespace: test
    dependsOn: [hello-1]
  - name: cache
    version: ">=1"
    repository: oci://oci.example/charts
    verify: {matchOIDCIdentity: [{issuer: ^https://issuer$, subject: ^who$}]}
    release: {timeout: 7m, driftDetection: {mode: enabled}}
  - {name: database, version: 1.0.0, repository: "https://charts.example/stable"}
"""
VALUES = """\
global: {audience: world}
hello-1:
  greeting: Hello
  nothing: null
  template: ${NOT_OURS}
  version: "1.10"
"""


class Compiled(NamedTuple):
    bundle: FluxBundle | None
    findings: tuple[Finding, ...]

    @property
    def files(self) -> dict[str, bytes]:
        assert self.bundle, self.findings
        return {entry.name: entry.content or b"" for entry in self.bundle.files}

    @property
    def codes(self) -> list[str]:
        return [finding.code for finding in self.findings]

    def only(self, code: str) -> Finding:
        """Give the one finding that there is."""
        assert self.codes == [code], self.findings
        return self.findings[0]

    def objects(self) -> dict[tuple[str, str], dict[str, Any]]:
        """Give the objects as they are written, by kind and name."""
        texts = [text for name, text in sorted(self.files.items()) if name.startswith("releases/")]
        return by_name(data for text in texts for data in yaml.safe_load_all(text))


def package(name: str, version: str = "1.0.0", values: str = "{}") -> bytes:
    files = {
        "Chart.yaml": f"apiVersion: v2\nname: {name}\nversion: {version}\n".encode(),
        "values.yaml": values.encode(),
    }
    return helm.package_folder(files, name, 0)[0]


def compiled(
    definition: str = DEFINITION,
    values: str = VALUES,
    *,
    files: Mapping[str, str] | None = None,
    packages: Mapping[str, bytes] | None = None,
    settings: Settings = SETTINGS,
    manifest: str = MANIFEST,
) -> Compiled:
    read, faults = document.read(definition.encode(), f"{FOLDER}/bundle.yaml", strict=True)
    assert read, faults
    bundle, faults = definitions.parse(read, folder=FOLDER, repositories={})
    assert bundle, faults
    written, faults = document.read(values.encode(), f"{FOLDER}/values.yaml", strict=False)
    assert written, faults
    components = []
    for dependency in bundle.dependencies:
        content = (packages or {}).get(dependency.key) or package(dependency.name)
        chart = charts.read_package(content)
        locked = LockedDependency(
            digest=Digest.of(content),
            name=dependency.name,
            repository=canonical(dependency.repository),
            version=chart.version,
            alias=dependency.alias,
            manifest=manifest if isinstance(dependency.repository, OciRepository) else "",
        )
        components.append(Component(dependency, locked, content, chart))
    sources = Sources(FOLDER, {name: text.encode() for name, text in (files or {}).items()})
    result = kustomization.compile_bundle(
        bundle, components, sources, read, written, settings, inputs="sha256:in", lock="sha256:lock"
    )
    return Compiled(*result)


def one(fields: str, values: str = "{}", **given: Any) -> Compiled:
    """Compile a bundle of one dependency, api, and another, web, with these fields."""
    definition = (
        "apiVersion: brolly/v1alpha1\ntarget: kustomize\nname: shop\nversion: 1.0.0\ndependencies:\n"
        '- {name: api, version: 1.x, repository: "file://charts/api"}\n'
        f"- {{name: web, version: 1.x, {fields}}}\n"
    )
    return compiled(definition, values, **given)


LOCAL = 'repository: "file://charts/web"'
OCI = 'repository: "oci://oci.example/charts"'


def by_name(objects: Any) -> dict[tuple[str, str], dict[str, Any]]:
    return {(data["kind"], data["metadata"]["name"]): data for data in objects}


@pytest.fixture(params=["kustomize", "kubectl"])
def build(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    program = peer(request.param)
    verb = {"kustomize": "build", "kubectl": "kustomize"}[request.param]

    def built(result: Compiled, **edits: Any) -> dict[tuple[str, str], dict[str, Any]]:
        """Build the folder, after editing its kustomization.yaml as Flux does: names override, patches are appended."""
        for name, content in result.files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        path = tmp_path / "kustomization.yaml"
        data = yaml.safe_load(path.read_bytes())
        data |= edits | {"patches": data.get("patches", []) + edits.get("patches", [])}
        path.write_text(yaml.safe_dump(data))
        done = subprocess.run([program, verb, tmp_path], capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return by_name(yaml.safe_load_all(done.stdout))

    return built


def releases(objects: Mapping[tuple[str, str], dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {name: data for (kind, name), data in objects.items() if kind == "HelmRelease"}


# what is built


def test_kustomize_builds_the_folder_into_the_objects_that_were_written(build: Any) -> None:
    result = compiled()
    assert build(result) == result.objects()


def test_the_operators_placeholders_vanish_from_what_is_built(build: Any) -> None:
    built = build(compiled(), namePrefix="blue-")
    names = {name for kind, name in built if kind in {"ConfigMap", "Secret"}}
    assert names == {f"blue-{key}-bundle-defaults" for key in ("hello-1", "hello-2", "cache", "database")}


@pytest.mark.parametrize("flux", RELEASES)
def test_what_is_built_is_valid_in_every_supported_flux(flux: str) -> None:
    upstream = one('source: upstream, repository: "https://charts.example"')
    for data in (*compiled().objects().values(), *upstream.objects().values()):
        assert data["kind"] == "ConfigMap" or violations(flux, data) == []


def test_every_reference_follows_a_prefix_and_suffix_that_flux_sets(build: Any) -> None:
    result = compiled(
        DEFINITION.replace("timeout: 7m", "serviceAccountName: deployer, kubeConfig: {secretRef: {name: elsewhere}}"),
        files={"resources/account.yaml": "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: deployer}\n"},
    )
    built = build(result, namePrefix="blue-", nameSuffix="-eu", namespace="apps")
    names = set(built)
    for name, release in releases(built).items():
        spec, key = release["spec"], name.removeprefix("blue-").removesuffix("-eu")
        assert spec["chartRef"] == {"kind": "OCIRepository", "name": name}
        assert ("OCIRepository", name) in names
        assert [(entry["kind"], entry["name"]) for entry in spec["valuesFrom"]] == [
            ("ConfigMap", f"blue-{key}-bundle-defaults-eu"),
            ("ConfigMap", "blue-shop-shared-values-eu"),
            ("Secret", "blue-shop-shared-values-eu"),
            ("ConfigMap", f"blue-{key}-values-eu"),
            ("Secret", f"blue-{key}-values-eu"),
        ]
        assert release["metadata"]["namespace"] == "apps"
    assert built["HelmRelease", "blue-hello-2-eu"]["spec"]["dependsOn"] == [{"name": "blue-hello-1-eu"}]
    spec = built["HelmRelease", "blue-cache-eu"]["spec"]
    assert spec["serviceAccountName"] == "blue-deployer-eu"
    assert spec["kubeConfig"] == {"secretRef": {"name": "elsewhere"}}


def test_a_helm_repository_follows_a_prefix(build: Any) -> None:
    built = build(one('source: upstream, repository: "https://charts.example"'), namePrefix="blue-")
    source = built["HelmRelease", "blue-web"]["spec"]["chart"]["spec"]["sourceRef"]
    assert source == {"kind": "HelmRepository", "name": "blue-web"}
    assert built["HelmRepository", "blue-web"]["spec"]["url"] == "https://charts.example"


LABELS_PATCH = {
    "target": {"kind": "HelmRelease"},
    "patch": "- {op: add, path: /metadata/labels/part-of-bundle.name, value: hello}",
}
KUBE_CONFIG_PATCH = {
    "target": {"kind": "HelmRelease"},
    "patch": "- {op: add, path: /spec/kubeConfig, value: {secretRef: {name: cluster-kubeconfig}}}",
}
VALUES_PATCH = {
    "target": {"kind": "HelmRelease"},
    "patch": "- {op: add, path: /spec/valuesFrom/-, value: {kind: ConfigMap, name: bundle-config}}",
}
ONE_VALUES_PATCH = {
    "target": {"kind": "HelmRelease", "name": "hello-1"},
    "patch": "- {op: add, path: /spec/valuesFrom/-, value: {kind: ConfigMap, name: bundle-config-app1}}",
}


@pytest.mark.parametrize("prefix", ["", "blue-"])
def test_the_patches_of_operators_reach_every_release(build: Any, prefix: str) -> None:
    patches = [LABELS_PATCH, KUBE_CONFIG_PATCH, VALUES_PATCH, ONE_VALUES_PATCH]
    built = build(compiled(), patches=patches, **({"namePrefix": prefix} if prefix else {}))
    assert len(releases(built)) == 4
    for name, release in releases(built).items():
        appended = [{"kind": "ConfigMap", "name": "bundle-config"}]
        if name == f"{prefix}hello-1":
            appended.append({"kind": "ConfigMap", "name": "bundle-config-app1"})
        assert release["metadata"]["labels"]["part-of-bundle.name"] == "hello"
        assert release["spec"]["kubeConfig"] == {"secretRef": {"name": "cluster-kubeconfig"}}
        assert release["spec"]["valuesFrom"][5:] == appended
        assert all(violations(version, release) == [] for version in RELEASES[1:])


def test_a_patch_can_select_releases_by_the_bundles_label(build: Any) -> None:
    selected = {"kind": "HelmRelease", "labelSelector": "app.kubernetes.io/part-of=shop"}
    built = build(compiled(), patches=[LABELS_PATCH | {"target": selected}])
    assert all("part-of-bundle.name" in release["metadata"]["labels"] for release in releases(built).values())


# what is in it


def test_the_kustomization_leaves_names_and_namespace_to_flux() -> None:
    data = yaml.safe_load(compiled().files["kustomization.yaml"])
    assert set(data) == {"apiVersion", "kind", "resources", "configurations"}
    assert data["apiVersion"] == "kustomize.config.k8s.io/v1beta1"


def test_every_chart_is_pinned_by_a_digest() -> None:
    result = compiled()
    assert result.bundle
    published = {chart.repository: chart.digest for chart in result.bundle.charts}
    pins = {
        name: (data["spec"]["url"], data["spec"]["ref"])
        for (kind, name), data in result.objects().items()
        if kind == "OCIRepository"
    }
    beside = "oci://registry.example/apps/charts"
    assert pins == {
        "hello-1": (f"{beside}/greeter", {"digest": published["charts/greeter"]}),
        "hello-2": (f"{beside}/greeter", {"digest": published["charts/greeter"]}),
        "cache": ("oci://oci.example/charts/cache", {"digest": MANIFEST}),
        "database": (f"{beside}/database", {"digest": published["charts/database"]}),
    }


def test_charts_from_http_and_file_are_published_byte_for_byte_each_once() -> None:
    result = compiled()
    assert result.bundle
    held = {(chart.repository, chart.version): chart.blobs[-1].content for chart in result.bundle.charts}
    assert held == {
        ("charts/greeter", "1.0.0"): package("greeter"),
        ("charts/database", "1.0.0"): package("database"),
    }
    assert len(result.bundle.charts) == 2


def test_two_versions_of_one_chart_are_both_published() -> None:
    result = compiled(packages={"hello-2": package("greeter", "1.1.0")})
    assert result.bundle
    tags = sorted((chart.repository, chart.tag) for chart in result.bundle.charts)
    assert tags == [("charts/database", "1.0.0"), ("charts/greeter", "1.0.0"), ("charts/greeter", "1.1.0")]


def test_verify_and_release_reach_their_objects() -> None:
    objects = compiled().objects()
    assert objects["OCIRepository", "cache"]["spec"]["verify"] == {
        "provider": "cosign",
        "matchOIDCIdentity": [{"issuer": "^https://issuer$", "subject": "^who$"}],
    }
    spec = objects["HelmRelease", "cache"]["spec"]
    assert (spec["timeout"], spec["driftDetection"]) == ("7m", {"mode": "enabled"})
    assert "driftDetection" not in objects["HelmRelease", "hello-1"]["spec"]


def test_the_defaults_of_a_release_are_its_own_values_and_global() -> None:
    objects = compiled().objects()
    data = objects["ConfigMap", "hello-1-bundle-defaults"]["data"]
    assert list(data) == ["values.yaml"]
    assert document.parse_values(data["values.yaml"].encode()) == {
        "greeting": "Hello",
        "nothing": None,
        "template": "${NOT_OURS}",
        "version": "1.10",
        "global": {"audience": "world"},
    }
    other = objects["ConfigMap", "hello-2-bundle-defaults"]["data"]["values.yaml"]
    assert document.parse_values(other.encode()) == {"global": {"audience": "world"}}


def test_the_bundles_global_wins_over_one_under_a_key_as_in_helm() -> None:
    objects = one(LOCAL, "global: {a: {b: 1}}\nweb: {global: {a: {b: 2, c: 3}, d: 4}}").objects()
    text = objects["ConfigMap", "web-bundle-defaults"]["data"]["values.yaml"]
    assert document.parse_values(text.encode()) == {"global": {"a": {"b": 1, "c": 3}, "d": 4}}


def test_flux_substitutes_nothing_in_the_bundles_values() -> None:
    annotations = compiled().objects()["ConfigMap", "hello-1-bundle-defaults"]["metadata"]["annotations"]
    assert annotations == {"kustomize.toolkit.fluxcd.io/substitute": "disabled"}


def test_every_generated_object_says_what_it_is_part_of() -> None:
    settings = Settings("oci://r.example/a", part_of_label="part-of-bundle.name", extra_labels={"kind": "bundle"})
    for data in compiled(settings=settings).objects().values():
        assert data["metadata"]["labels"] == {
            "app.kubernetes.io/managed-by": "brolly",
            "app.kubernetes.io/version": "1.2.3",
            "part-of-bundle.name": "shop",
            "kind": "bundle",
        }


def test_the_layer_holds_the_folder() -> None:
    result = compiled()
    assert result.bundle
    body = result.bundle.layer
    assert result.bundle.artifact.blobs[-1].content == body
    with tarfile.open(fileobj=io.BytesIO(body)) as tar:
        held = {info.name: stream.read() for info in tar if (stream := tar.extractfile(info))}
    assert held == result.files


def test_the_annotations_say_what_the_artifact_is() -> None:
    result = compiled()
    assert result.bundle
    artifact = result.bundle.artifact
    assert (artifact.repository, artifact.version) == ("shop", "1.2.3")
    assert json.loads(artifact.manifest.content)["annotations"] == {
        "io.brolly.bundle.inputs": "sha256:in",
        "io.brolly.bundle.lock": "sha256:lock",
        "io.brolly.bundle.target": "kustomize",
        "org.opencontainers.image.created": "2023-11-14T22:13:20Z",
        "org.opencontainers.image.description": "A shop.",
        "org.opencontainers.image.revision": f"1.2.3@{Digest.of(result.bundle.layer)}",
        "org.opencontainers.image.source": "https://git.example/shop",
        "org.opencontainers.image.title": "shop",
        "org.opencontainers.image.url": "https://shop.example",
        "org.opencontainers.image.version": "1.2.3",
        "team": "blue",
    }


def test_two_builds_are_byte_identical() -> None:
    first, second = compiled().bundle, compiled().bundle
    assert first
    assert first == second


# what is switched off


def test_what_a_condition_switches_off_is_not_part_of_the_bundle(build: Any) -> None:
    result = one(f"condition: web.enabled, {LOCAL}", "web: {enabled: false}")
    assert result.findings == ()
    assert list(releases(build(result))) == ["api"]
    assert result.bundle
    assert result.bundle.enabled == ("api",)
    assert [chart.repository for chart in result.bundle.charts] == ["charts/api"]


SWITCHES = pytest.mark.parametrize(
    ("fields", "values", "chart_values", "is_on"),
    [
        ("condition: web.enabled", "{}", "{}", True),
        ("condition: web.enabled", "web: {enabled: true}", "enabled: false", True),
        ("condition: web.enabled", "{}", "enabled: false", False),
        ("condition: 'web.enabled,features.web'", "features: {web: false}", "{}", False),
        ("condition: 'web.enabled,features.web'", "features: {web: false}\nweb: {enabled: true}", "{}", True),
        ("condition: web.enabled", "web: {enabled: 'false'}", "{}", True),
        ("tags: [front]", "tags: {front: false}", "{}", False),
        ("tags: [front, all]", "tags: {front: false, all: true}", "{}", True),
        ("tags: [front], condition: web.enabled", "tags: {front: false}\nweb: {enabled: true}", "{}", True),
    ],
)


@SWITCHES
def test_conditions_and_tags_are_read_as_helm_reads_them(
    fields: str, values: str, chart_values: str, *, is_on: bool
) -> None:
    result = one(f"{fields}, {LOCAL}", values, packages={"web": package("web", values=chart_values)})
    assert result.bundle, result.findings
    assert ("web" in result.bundle.enabled) is is_on


@SWITCHES
def test_helms_engine_agrees_about_what_is_switched_off(
    fields: str, values: str, chart_values: str, *, is_on: bool
) -> None:
    dependency = {"name": "web", "version": "1.0.0", "repository": "", **yaml.safe_load(f"{{{fields}}}")}
    parent = chart_files(dependencies=[dependency]) | {"values.yaml": values}
    inner = chart_files("web") | {"values.yaml": chart_values}
    files = parent | {f"charts/web/{name}": content for name, content in inner.items()}
    with engine().Chart.load_archive(chart_archive(files)) as umbrella:
        rendered = umbrella.render({}, name="r", namespace="default")
    assert any("charts/web/" in name for name in rendered) is is_on


def test_a_bundle_with_everything_switched_off_is_an_error() -> None:
    definition = DEFINITION.split("dependencies:", maxsplit=1)[0] + (
        'dependencies: [{name: api, version: 1.x, condition: api.enabled, repository: "file://charts/api"}]\n'
    )
    finding = compiled(definition, "api: {enabled: false}").only("kustomize/all-off")
    assert finding.location is not None
    assert finding.location.path == "bundles/shop/bundle.yaml"


def test_a_release_does_not_wait_for_what_is_switched_off() -> None:
    definition = DEFINITION.replace("alias: hello-1,", "alias: hello-1, condition: hello-1.enabled,")
    result = compiled(definition, "hello-1: {enabled: false}")
    assert "dependsOn" not in result.objects()["HelmRelease", "hello-2"]["spec"]
    finding = result.only("kustomize/waits-for-nothing")
    assert finding.severity == "warning"
    assert str(finding.location) == "bundles/shop/bundle.yaml:16:17"


# what is refused


def test_a_key_that_is_no_dependency_is_refused_where_it_stands() -> None:
    finding = compiled(values="global: {}\nhelo-1: {a: 1}\n").only("kustomize/stray-key")
    assert str(finding.location) == "bundles/shop/values.yaml:2:1"
    assert finding.hint == "did you mean `hello-1`?"


def test_a_value_beside_the_one_that_a_condition_names_is_refused() -> None:
    values = "features:\n  web: true\n  wbe: true\n"
    finding = one(f"condition: features.web, {LOCAL}", values).only("kustomize/stray-key")
    assert str(finding.location) == "bundles/shop/values.yaml:3:3"


@pytest.mark.parametrize("values", ["hello-1: yes\n", "hello-1:\n", "global: [1]\n"])
def test_values_that_are_no_mapping_are_refused(values: str) -> None:
    assert compiled(values=values).only("kustomize/values-shape").severity == "error"


def test_keys_with_empty_values_are_fine() -> None:
    assert compiled(values="hello-1: {}\nglobal:\n").findings == ()


def test_other_bytes_under_one_name_and_version_are_refused() -> None:
    finding = compiled(packages={"hello-2": package("greeter", values="a: 1")}).only("kustomize/ambiguous-chart")
    assert "hello-2 and hello-1 both need greeter 1.0.0" in finding.message


def test_one_chart_beside_the_bundle_and_one_elsewhere_may_share_name_and_version() -> None:
    result = one(f"alias: api-2, {OCI}".replace("name: web", ""), packages={"api-2": package("web", values="a: 1")})
    assert result.findings == ()


def test_a_chart_name_that_no_registry_takes_is_refused() -> None:
    bundle = DEFINITION.replace("name: database", "name: DataBase, alias: database")
    assert compiled(bundle).only("kustomize/chart-name").severity == "error"


def test_a_chart_from_a_registry_without_a_locked_manifest_is_refused() -> None:
    assert compiled(manifest="").only("kustomize/unpinned").hint == "run `brolly lock --upgrade cache`"


def test_an_upstream_chart_is_taken_in_its_exact_version_with_a_warning() -> None:
    result = one('source: upstream, repository: "https://charts.example"', packages={"web": package("web", "1.4.2")})
    assert result.only("kustomize/upstream").severity == "warning"
    assert result.objects()["HelmRelease", "web"]["spec"]["chart"]["spec"] == {
        "chart": "web",
        "version": "1.4.2",
        "sourceRef": {"kind": "HelmRepository", "name": "web"},
    }


@pytest.mark.parametrize(
    ("verify", "said"),
    [
        ("{provider: cosign}", "names nobody"),
        ("{matchOIDCIdentity: [{issuer: a, subject: b}, {issuer: c, subject: d}]}", "names 2 identities"),
    ],
)
def test_a_verify_that_names_not_one_identity_is_refused(verify: str, said: str) -> None:
    assert said in one(f"verify: {verify}, {OCI}").only("kustomize/verify").message


def test_a_verify_with_a_key_needs_no_identity() -> None:
    assert one(f"verify: {{secretRef: {{name: key}}}}, {OCI}").findings == ()


def test_a_field_that_flux_does_not_know_is_a_warning_with_a_guess() -> None:
    finding = one(f"release: {{timout: 1m}}, {LOCAL}").only("kustomize/unknown-field")
    assert (finding.severity, finding.hint) == ("warning", "did you mean `timeout`?")


def test_an_alias_whose_values_would_be_those_of_all_is_refused() -> None:
    assert "all other releases" in one(f"alias: shop-shared, {LOCAL}").only("kustomize/clash").message


# resources/

KUSTOMIZATION = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nmetadata: {name: x}\n"
RESOURCE = "# ours\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: board}\ndata: {a: b}\n"


def test_resources_are_shipped_byte_for_byte_and_built(build: Any) -> None:
    text = f"---\n{RESOURCE}---\n# nothing\n--- # second\n" + RESOURCE.replace("board", "board-2")
    result = compiled(files={"resources/more/boards.yaml": text, "resources/z.json": json_secret()})
    assert result.findings == ()
    assert result.files["resources/more/boards.yaml"] == text.encode()
    built = build(result)
    assert {("ConfigMap", "board"), ("ConfigMap", "board-2"), ("Secret", "s")} <= set(built)


def json_secret() -> str:
    return json.dumps({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}})


@pytest.mark.parametrize(
    ("name", "text", "said", "at"),
    [
        ("a.yaml", "\n\nreplicaCount: 2\n", "no apiVersion", "3:1"),
        ("a.yaml", f"{RESOURCE}---\napiVersion: v1\nkind: Secret\n", "no metadata.name", "7:1"),
        ("kustomization.yaml", KUSTOMIZATION, "a kustomization cannot be", "1:1"),
        ("cloudbuild.yaml", RESOURCE, "Flux drops a file named", "1:1"),
        ("a" * 100 + ".yaml", RESOURCE, "more than 100 bytes", "1:1"),
        ("foo../a.yaml", RESOURCE, "Flux refuses", "1:1"),
    ],
)  # fmt: skip
def test_a_resource_that_flux_would_not_take_is_refused(name: str, text: str, said: str, at: str) -> None:
    finding = compiled(files={f"resources/{name}": text}).only("kustomize/resource")
    assert said in finding.message
    assert str(finding.location) == f"bundles/shop/resources/{name}:{at}"


def test_a_fault_in_the_second_document_stands_in_its_own_line() -> None:
    result = compiled(files={"resources/a.yaml": f"{RESOURCE}---\na: [\n"})
    assert result.bundle is None
    assert [finding.location.line for finding in result.findings if finding.location] == [8]


def test_a_key_twice_is_refused_as_kustomize_refuses_it() -> None:
    finding = compiled(files={"resources/a.yaml": f"{RESOURCE}data: {{}}\n"}).only("yaml/duplicate-key")
    assert finding.severity == "error"
    assert finding.message == "'data' stands in line 5 already; kustomize refuses the file"


@pytest.mark.parametrize(("before", "line"), [("", 1), (RESOURCE, 6)])
def test_a_document_that_begins_behind_the_separator_is_refused(before: str, line: int) -> None:
    text = f"{before}--- {{apiVersion: v1, kind: ConfigMap, metadata: {{name: b}}}}\n"
    finding = compiled(files={"resources/a.yaml": text}).only("kustomize/resource")
    assert str(finding.location) == f"bundles/shop/resources/a.yaml:{line}:4"


def test_an_object_twice_is_refused_in_the_second_file() -> None:
    result = compiled(files={"resources/a.yaml": RESOURCE, "resources/b.yaml": RESOURCE})
    finding = result.only("kustomize/clash")
    assert str(finding.location) == "bundles/shop/resources/b.yaml:2:1"
    assert finding.message == "ConfigMap board stands in bundles/shop/resources/a.yaml:2:1 too"


@pytest.mark.parametrize(
    ("kind", "name"),
    [("ConfigMap", "hello-1-values"), ("Secret", "shop-shared-values"), ("ConfigMap", "cache-bundle-defaults")],
)
def test_an_object_with_a_reserved_name_is_refused(kind: str, name: str) -> None:
    text = RESOURCE.replace("ConfigMap", kind).replace("board", name)
    finding = compiled(files={"resources/a.yaml": text}).only("kustomize/clash")
    assert "Brolly writes" in finding.message


def test_a_file_that_is_no_yaml_is_left_out_with_a_warning() -> None:
    result = compiled(files={"resources/notes.txt": "", "resources/.editorconfig": ""})
    assert result.only("kustomize/left-out").severity == "warning"
    assert not [name for name in result.files if name.startswith("resources/")]


# patches/


OPERATION = "{op: add, path: /spec/suspend, value: true}"
AN_OBJECT = "{apiVersion: helm.toolkit.fluxcd.io/v2, kind: HelmRelease, metadata: {name: NAME}, spec: {suspend: true}}"
BOTH = "target: {kind: HelmRelease, name: hello-.}\n"
SELECTED = "target: {labelSelector: app.kubernetes.io/part-of=shop, kind: HelmRelease, name: hello-.*}\n"
FORMS = {
    "operations as text": f"{BOTH}patch: |-\n  - {OPERATION}\n",
    "operations as YAML": f"{BOTH}patch:\n- {OPERATION}\n",
    "an object for all that a selector finds": f"{SELECTED}patch: {AN_OBJECT}\n",
    "objects": f"{AN_OBJECT.replace('NAME', 'hello-1')}\n---\npatch: {AN_OBJECT.replace('NAME', 'hello-2')}\n",
}


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
def test_patches_of_each_form_change_what_they_name(build: Any, text: str) -> None:
    result = compiled(files={"patches/suspend.yaml": text})
    assert result.findings == ()
    built = build(result, namePrefix="blue-")
    suspended = {name for name, release in releases(built).items() if release["spec"].get("suspend")}
    assert suspended == {"blue-hello-1", "blue-hello-2"}


def test_a_patch_can_change_the_authors_own_objects(build: Any) -> None:
    patch = "target: {kind: ConfigMap, name: board}\npatch: [{op: replace, path: /data/a, value: c}]\n"
    result = compiled(files={"patches/a.yaml": patch, "resources/a.yaml": RESOURCE})
    assert result.findings == ()
    assert build(result)["ConfigMap", "board"]["data"] == {"a": "c"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("target: {kind: HelmRelease}\n", "no patch in this file"),
        ("target: {kind: HelmRelease}\npatch: 3\n", "neither a list of operations nor an object"),
        ("target: {kind: HelmRelease}\npatch: []\n", "neither a list of operations nor an object"),
        ("target: {kind: HelmRelease}\npatch: [{op: ad, path: /a, value: 1}]\n", "no operation of a JSON patch"),
        ("target: {kind: HelmRelease}\npatch: [{op: add, path: a, value: 1}]\n", "no path"),
        ("target: {kind: HelmRelease}\npatch: [{op: add, path: /a}]\n", "has no value"),
        ("target: {kind: HelmRelease}\npatch: {spec: {suspend: true}}\n", "the patch has no apiVersion"),
        ("target: {kind: HelmRelease}\npatch: '- ['\n", "the patch is no YAML"),
        ("target: {kind: HelmRelease}\npath: a.yaml\n", "no field 'path'"),
        ("target: {knd: HelmRelease}\npatch: [{op: remove, path: /a}]\n", "no field 'knd'"),
        ("target: {kind: '('}\npatch: [{op: remove, path: /a}]\n", "no regular expression"),
        ("target: {name: 3}\npatch: [{op: remove, path: /a}]\n", "name is no text"),
        ("target: all\npatch: [{op: remove, path: /a}]\n", "target is no mapping"),
        ("patch: [{op: remove, path: /a}]\n", "needs a target"),
        ("apiVersion: v1\nkind: ConfigMap\n", "no metadata.name"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: nobody}\n", "no object of the bundle is ConfigMap/nobody"),
    ],
)
def test_a_patch_that_kustomize_would_refuse_is_refused(text: str, said: str) -> None:
    assert said in compiled(files={"patches/a.yaml": text}).only("kustomize/patch").message


def test_a_patch_that_reaches_nothing_is_a_warning_with_a_guess() -> None:
    text = "target: {kind: HelmRelease, name: helo-1}\npatch: [{op: remove, path: /a}]\n"
    finding = compiled(files={"patches/a.yaml": text}).only("kustomize/patch-matches-nothing")
    assert finding.severity == "warning"
    assert finding.hint == "did you mean `hello-1`?"
    assert str(finding.location) == "bundles/shop/patches/a.yaml:1:1"


def test_all_faults_are_said_at_once() -> None:
    result = compiled(
        DEFINITION.replace("timeout:", "timout:"),
        "helo: {}\n",
        files={"resources/a.yaml": "a: 1\n", "patches/a.yaml": "target: {}\n"},
        packages={"hello-2": package("greeter", values="a: 1")},
    )
    assert result.bundle is None
    assert sorted(result.codes) == [
        "kustomize/ambiguous-chart",
        "kustomize/patch",
        "kustomize/resource",
        "kustomize/stray-key",
        "kustomize/unknown-field",
    ]


def test_every_rule_has_its_page() -> None:
    from importlib.resources import files

    for rule in kustomization.RULES:
        page = files("brolly") / "explain" / f"{rule.code}.md"
        assert page.read_text().startswith(f"# {rule.code}\n"), rule.code
