"""What Flux accepts: objects against its CustomResourceDefinitions, the layer and the manifest against Go's tools."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import subprocess
import tarfile
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brolly import flux
from brolly.archive import ArchiveError, Entry
from brolly.oci import Digest
from brolly.sources import Settings
from flux_crds import RELEASES, crd_schemas, violations
from registries import peer

if TYPE_CHECKING:
    from pathlib import Path

DIGEST = "sha256:" + "1" * 64
SETTINGS = Settings("oci://registry.example/apps")
LABELS = flux.labels("shop", "1.2.3+b", SETTINGS)
FILES = (
    Entry("kustomization.yaml", b"kind: Kustomization\n"),
    Entry("releases/a.yaml", b"a: 1\n"),
    Entry("releases.yaml", b""),
    Entry("resources/deep/er/b.yaml", b"x" * 1500),
)


def release(**given: Any) -> dict[str, Any]:
    source = given.pop("source", flux.chart_reference("api"))
    return flux.helm_release("api", source, LABELS, bundle="shop", **given)


def chart_source(**verify: Any) -> dict[str, Any]:
    url = "oci://registry.example/apps/charts/api"
    return flux.oci_repository("api", url, DIGEST, LABELS, chart="api-1.0.0", verify=verify)


OBJECTS = {
    "a release": release(),
    "a release with everything": release(
        depends_on=("db", "cache"),
        target_namespace="shop",
        release={"timeout": "10m", "driftDetection": {"mode": "enabled"}, "install": {"crds": "CreateReplace"}},
    ),
    "a release from upstream": release(source=flux.chart_template("api", "api", "1.2.3")),
    "an OCIRepository": chart_source(),
    "a verified OCIRepository": chart_source(matchOIDCIdentity=[{"issuer": "^https://i$", "subject": "^s$"}]),
    "a HelmRepository": flux.helm_repository("api", "https://charts.example/stable", LABELS),
}


@pytest.mark.parametrize("version", RELEASES)
@pytest.mark.parametrize("name", OBJECTS)
def test_every_object_is_valid_in_every_supported_flux(version: str, name: str) -> None:
    assert violations(version, OBJECTS[name]) == []


@pytest.mark.parametrize("version", RELEASES)
def test_the_judge_refuses_what_an_api_server_would_refuse(version: str) -> None:
    both = {**flux.chart_reference("api"), **flux.chart_template("api", "api", "1")}
    assert violations(version, release(release={"timout": "1m"}))
    assert violations(version, release(source={}))
    assert violations(version, release(source=both))
    assert violations(version, release(release={"interval": "ten minutes"}))
    assert violations(version, release() | {"apiVersion": "helm.toolkit.fluxcd.io/v2beta1000"})


def test_the_known_fields_are_those_of_the_crds() -> None:
    fields: set[str] = set()
    verify: set[str] = set()
    for version in RELEASES:
        schemas = crd_schemas(version)
        fields |= set(schemas[flux.HELM_API, "HelmRelease"]["properties"]["spec"]["properties"])
        source = schemas[flux.SOURCE_API, "OCIRepository"]["properties"]["spec"]["properties"]
        verify |= set(source["verify"]["properties"])
    assert set(flux.RELEASE_FIELDS) == fields
    assert set(flux.VERIFY_FIELDS) == verify


def test_every_path_of_the_name_references_exists_in_the_crds() -> None:
    schemas = {kind: schema for version in RELEASES for (_, kind), schema in crd_schemas(version).items()}
    for reference in flux.name_references()["nameReference"]:
        for field in reference["fieldSpecs"]:
            node = schemas[field["kind"]]
            for step in field["path"].split("/"):
                node = node.get("items", node)["properties"][step]
            assert node["type"] == "string", field


def test_a_release_reads_the_bundles_values_first_and_the_operators_secret_last() -> None:
    named = [(entry["kind"], entry["name"], entry.get("optional", False)) for entry in release()["spec"]["valuesFrom"]]
    assert named == [
        ("ConfigMap", "api-bundle-defaults", False),
        ("ConfigMap", "shop-shared-values", True),
        ("Secret", "shop-shared-values", True),
        ("ConfigMap", "api-values", True),
        ("Secret", "api-values", True),
    ]


def test_a_release_has_no_values_inline_and_no_name_of_its_own() -> None:
    spec = release(target_namespace="shop")["spec"]
    assert not {"values", "releaseName", "storageNamespace"} & set(spec)


def test_a_namespace_that_the_definition_names_is_created_unless_it_says_otherwise() -> None:
    assert release(target_namespace="shop")["spec"]["install"]["createNamespace"] is True
    assert "createNamespace" not in release()["spec"]["install"]
    own = {"install": {"createNamespace": False}}
    assert release(target_namespace="shop", release=own)["spec"]["install"]["createNamespace"] is False


def test_release_fields_are_merged_as_a_json_merge_patch() -> None:
    spec = release(release={"interval": "1h", "upgrade": {"remediation": None, "force": True}})["spec"]
    assert spec["interval"] == "1h"
    assert spec["upgrade"] == {"force": True}
    assert spec["install"] == {"remediation": {"retries": 3}}


def test_labels_are_what_kubernetes_takes() -> None:
    long = flux.labels("b", "1.0.0-" + "a" * 56 + ".b.c+d", SETTINGS)["app.kubernetes.io/version"]
    assert LABELS["app.kubernetes.io/version"] == "1.2.3_b"
    assert len(long) <= 63
    assert long[-1].isalnum()


def test_label_keys_are_the_workspaces() -> None:
    settings = Settings(
        "oci://r.example/a",
        part_of_label="part-of-bundle.name",
        version_label="part-of-bundle.version",
        extra_labels={"gs.app.kustomization-type": "bundle"},
    )
    assert flux.labels("shop", "1.0.0", settings) == {
        "app.kubernetes.io/managed-by": "brolly",
        "part-of-bundle.name": "shop",
        "part-of-bundle.version": "1.0.0",
        "gs.app.kustomization-type": "bundle",
    }


def test_the_layer_is_walked_as_flux_walks_a_folder() -> None:
    with tarfile.open(fileobj=io.BytesIO(flux.layer(FILES))) as tar:
        members = [(info.name, info.type, info.mode, info.size) for info in tar]
    assert members == [
        (".", tarfile.DIRTYPE, 0o755, 0),
        ("kustomization.yaml", tarfile.REGTYPE, 0o644, 20),
        ("releases", tarfile.DIRTYPE, 0o755, 0),
        ("releases/a.yaml", tarfile.REGTYPE, 0o644, 5),
        ("releases.yaml", tarfile.REGTYPE, 0o644, 0),
        ("resources", tarfile.DIRTYPE, 0o755, 0),
        ("resources/deep", tarfile.DIRTYPE, 0o755, 0),
        ("resources/deep/er", tarfile.DIRTYPE, 0o755, 0),
        ("resources/deep/er/b.yaml", tarfile.REGTYPE, 0o644, 1500),
    ]


NAMES = st.text("abz09-_.", min_size=1, max_size=20).filter(lambda name: name.strip("."))


@given(st.dictionaries(st.lists(NAMES, min_size=1, max_size=3).map("/".join), st.binary(max_size=2000), max_size=8))
def test_what_is_written_into_a_layer_is_read_out_of_it(files: dict[str, bytes]) -> None:
    folders = {name.rsplit("/", depth)[0] for name in files for depth in (1, 2) if name.count("/") >= depth}
    files = {name: content for name, content in files.items() if name not in folders}
    layer = flux.layer(Entry(name, content) for name, content in files.items())
    with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
        read = {info.name: stream.read() for info in tar if (stream := tar.extractfile(info))}
    assert read == files


def test_the_tar_is_the_one_that_go_writes(tmp_path: Path) -> None:
    """Let crane judge: it reads each header and writes it again with Go's archive/tar."""
    crane = peer("crane")
    ours = gzip.decompress(flux.layer(FILES))
    image = image_tarball(ours)
    (tmp_path / "image.tar").write_bytes(image)
    with (tmp_path / "image.tar").open("rb") as stdin:
        exported = subprocess.run([crane, "export", "-", "-"], stdin=stdin, capture_output=True, check=True).stdout
    assert exported == ours


def image_tarball(layer: bytes) -> bytes:
    """Wrap a layer as `docker save` does."""
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]},
        }
    ).encode()
    manifest = json.dumps([{"Config": "config.json", "RepoTags": ["a/b:c"], "Layers": ["layer.tar"]}]).encode()
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in {"config.json": config, "layer.tar": layer, "manifest.json": manifest}.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def test_a_name_that_does_not_fit_a_header_is_refused() -> None:
    with pytest.raises(ArchiveError, match="longer than 100 bytes"):
        flux.layer([Entry("é" * 51, b"")])


@pytest.mark.parametrize("name", ["resources/.sops.yaml", "resources/ci/cloudbuild.yaml", "resources/.github/a.yaml"])
def test_names_that_flux_drops_are_known(name: str) -> None:
    assert flux.is_dropped(name)
    assert not flux.is_dropped(name.replace("/", "/x"))


def test_the_manifest_is_the_one_of_flux_push() -> None:
    layer = flux.layer(FILES)
    artifact = flux.artifact("shop", "1.0.0", layer, {"z": "1", "a": "<&>"})
    manifest = json.loads(artifact.manifest.content)
    assert list(manifest) == ["schemaVersion", "mediaType", "config", "layers", "annotations"]
    assert list(manifest["config"]) == ["mediaType", "size", "digest"]
    assert manifest["config"] == {
        "mediaType": "application/vnd.cncf.flux.config.v1+json",
        "size": 115,
        "digest": "sha256:5b943e2b943f6c81dbbd4e2eca5121f4fcc39139e3d1219d6d89bd925b77d9fe",
    }
    assert manifest["layers"] == [
        {
            "mediaType": "application/vnd.cncf.flux.content.v1.tar+gzip",
            "size": len(layer),
            "digest": Digest.of(layer),
        }
    ]
    assert list(manifest["annotations"]) == ["a", "org.opencontainers.image.revision", "z"]
    assert manifest["annotations"]["org.opencontainers.image.revision"] == f"1.0.0@{Digest.of(layer)}"
    assert b'"\\u003c\\u0026\\u003e"' in artifact.manifest.content


def test_the_artifact_holds_the_blobs_that_its_manifest_names() -> None:
    artifact = flux.artifact("shop", "1.0.0", flux.layer(FILES), {})
    manifest = json.loads(artifact.manifest.content)
    named = [manifest["config"]["digest"], *(layer["digest"] for layer in manifest["layers"])]
    assert [Digest.of(blob.content) for blob in artifact.blobs] == named
