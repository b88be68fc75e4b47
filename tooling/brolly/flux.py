"""What Flux decides: the shapes and names of its objects, and the OCI artifact that it pulls.

Every object is one that the API servers of Flux 2.6 to 2.9 accept. References carry no namespace, and no name of a
release is set: Flux writes both (`spec.targetNamespace`, `spec.namePrefix` of its Kustomization).
Source: fluxcd/pkg tar/tar.go and oci/push.go; source-controller api/v1; helm-controller api/v2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from brolly.archive import ArchiveError, stored_gzip
from brolly.helm import go_json
from brolly.oci import FLUX_CONFIG, FLUX_CONTENT, HELM_CHART, IMAGE_MANIFEST, Artifact, Blob, Digest, tag_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from brolly.archive import Entry
    from brolly.sources import Settings

SOURCE_API: Final = "source.toolkit.fluxcd.io/v1"
HELM_API: Final = "helm.toolkit.fluxcd.io/v2"
KUSTOMIZATION: Final = "kustomization.yaml"
INTERVAL: Final = "10m"
MAX_NAME: Final = 100
_RETRIES: Final = 3

# the fields of a HelmRelease's spec, of all releases from Flux 2.6 to 2.9
RELEASE_FIELDS: Final = (
    "chart", "chartRef", "commonMetadata", "dependsOn", "driftDetection", "healthCheckExprs", "install", "interval",
    "kubeConfig", "maxHistory", "persistentClient", "postRenderStrategy", "postRenderers", "releaseName", "rollback",
    "serviceAccountName", "storageNamespace", "suspend", "targetNamespace", "test", "timeout", "uninstall", "upgrade",
    "values", "valuesFrom", "waitStrategy",
)  # fmt: skip
VERIFY_FIELDS: Final = ("provider", "secretRef", "trustedRootSecretRef", "matchOIDCIdentity")

# Flux's source-controller drops these from an artifact (pkg/sourceignore, without a .sourceignore)
_DROPPED: Final = frozenset({
    ".git", ".gitignore", ".gitmodules", ".gitattributes", ".github", ".circleci", ".travis.yml", ".gitlab-ci.yml",
    "appveyor.yml", ".drone.yml", "cloudbuild.yaml", "codeship-services.yml", "codeship-steps.yml", ".goreleaser.yml",
    ".goreleaser.yaml", ".sops.yaml", ".flux.yaml",
})  # fmt: skip

# kustomize follows Kubernetes' own references, but none of Flux's
_GROUPS: Final = {
    **dict.fromkeys(
        ("Bucket", "GitRepository", "HelmChart", "HelmRepository", "OCIRepository"), "source.toolkit.fluxcd.io"
    ),
    "HelmRelease": "helm.toolkit.fluxcd.io",
    "Kustomization": "kustomize.toolkit.fluxcd.io",
}
_SOURCE_REF: Final = {"HelmRelease": ("spec/chart/spec/sourceRef/name",), "HelmChart": ("spec/sourceRef/name",)}
_KUSTOMIZATION_REF: Final = {"Kustomization": ("spec/sourceRef/name",)}
# what is referred to, by whom, at which paths
_REFERENCES: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "OCIRepository": {"HelmRelease": ("spec/chartRef/name",), **_KUSTOMIZATION_REF},
    "HelmChart": {"HelmRelease": ("spec/chartRef/name",)},
    "HelmRepository": _SOURCE_REF,
    "GitRepository": {**_SOURCE_REF, **_KUSTOMIZATION_REF},
    "Bucket": {**_SOURCE_REF, **_KUSTOMIZATION_REF},
    "HelmRelease": {"HelmRelease": ("spec/dependsOn/name",), "Kustomization": ("spec/healthChecks/name",)},
    "Kustomization": {"Kustomization": ("spec/dependsOn/name",)},
    "ConfigMap": {
        "HelmRelease": ("spec/valuesFrom/name", "spec/kubeConfig/configMapRef/name"),
        "Kustomization": ("spec/postBuild/substituteFrom/name", "spec/kubeConfig/configMapRef/name"),
    },
    "Secret": {
        "HelmRelease": ("spec/valuesFrom/name", "spec/kubeConfig/secretRef/name"),
        "OCIRepository": (
            "spec/secretRef/name",
            "spec/certSecretRef/name",
            "spec/proxySecretRef/name",
            "spec/verify/secretRef/name",
            "spec/verify/trustedRootSecretRef/name",
        ),
        "HelmRepository": ("spec/secretRef/name", "spec/certSecretRef/name"),
        "Kustomization": (
            "spec/postBuild/substituteFrom/name",
            "spec/kubeConfig/secretRef/name",
            "spec/decryption/secretRef/name",
        ),
    },
    "ServiceAccount": dict.fromkeys(("HelmRelease", "OCIRepository", "Kustomization"), ("spec/serviceAccountName",)),
}


def defaults_name(key: str) -> str:
    """Name the ConfigMap that holds the bundle's own values of a release."""
    return f"{key}-bundle-defaults"


def values_name(key: str) -> str:
    """Name the ConfigMap and the Secret with which operators configure one release."""
    return f"{key}-values"


def shared_values_name(bundle: str) -> str:
    """Name the ConfigMap and the Secret with which operators configure all releases of a bundle."""
    return f"{bundle}-shared-values"


def labels(bundle: str, version: str, settings: Settings) -> dict[str, str]:
    """Give the labels of every generated object. They stand in its own metadata, so that a patch can select by them."""
    return {
        "app.kubernetes.io/managed-by": "brolly",
        settings.part_of_label: _label_value(bundle),
        settings.version_label: _label_value(version),
        **settings.extra_labels,
    }


def _label_value(text: str) -> str:
    """Fit a name or a version into a label: at most 63 characters, no `+`."""
    return tag_of(text)[:63].rstrip("-_.")


def oci_repository(
    name: str, url: str, digest: str, labels: Mapping[str, str], *, chart: str, verify: Mapping[str, Any]
) -> dict[str, Any]:
    """Give the source of one chart, pinned by the digest of its manifest. `chart` is for readers: name and version."""
    spec: dict[str, Any] = {
        "interval": INTERVAL,
        "url": url,
        "ref": {"digest": digest},
        # without it the chart would be unpacked and packed again
        "layerSelector": {"mediaType": HELM_CHART, "operation": "copy"},
    }
    if verify:
        spec["verify"] = {"provider": "cosign", **verify}
    annotations = {"helm.sh/chart": chart}
    return _object(SOURCE_API, "OCIRepository", name, labels, annotations) | {"spec": spec}


def helm_repository(name: str, url: str, labels: Mapping[str, str]) -> dict[str, Any]:
    """Give a classic chart repository, from which Flux takes a chart without a digest."""
    return _object(SOURCE_API, "HelmRepository", name, labels) | {"spec": {"interval": INTERVAL, "url": url}}


def chart_reference(name: str) -> dict[str, Any]:
    """Point a release at its OCIRepository."""
    return {"chartRef": {"kind": "OCIRepository", "name": name}}


def chart_template(name: str, chart: str, version: str) -> dict[str, Any]:
    """Point a release at a chart of its HelmRepository, in one exact version."""
    return {
        "chart": {"spec": {"chart": chart, "version": version, "sourceRef": {"kind": "HelmRepository", "name": name}}}
    }


def helm_release(
    name: str,
    source: Mapping[str, Any],
    labels: Mapping[str, str],
    *,
    bundle: str,
    depends_on: Sequence[str] = (),
    target_namespace: str = "",
    release: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Give the release of one chart.

    A bundle's releases retry by themselves: `strategy: RetryOnFailure` would be better, but Flux 2.6 does not know it.
    A namespace that the definition names is created. `release` is merged over both.
    """
    install: dict[str, Any] = {"remediation": {"retries": _RETRIES}}
    if target_namespace:
        install = {"createNamespace": True, **install}
    ours: dict[str, Any] = {"interval": INTERVAL, **source}
    if target_namespace:
        ours["targetNamespace"] = target_namespace
    if depends_on:
        ours["dependsOn"] = [{"name": other} for other in depends_on]
    ours |= {"install": install, "upgrade": {"remediation": {"retries": _RETRIES}}}
    spec = merged(ours, release or {})
    # always there and last, so that operators can append to it with a JSON patch (`add /spec/valuesFrom/-`)
    spec["valuesFrom"] = values_from(bundle, name)
    return _object(HELM_API, "HelmRelease", name, labels) | {"spec": spec}


def values_from(bundle: str, key: str) -> list[dict[str, Any]]:
    """List where a release's values come from. What comes later wins: one release over all, a Secret over a ConfigMap.

    The bundle's own values are the first of them and not `spec.values`, which would beat every operator.
    """
    shared, own = shared_values_name(bundle), values_name(key)
    return [
        {"kind": "ConfigMap", "name": defaults_name(key)},
        {"kind": "ConfigMap", "name": shared, "optional": True},
        {"kind": "Secret", "name": shared, "optional": True},
        {"kind": "ConfigMap", "name": own, "optional": True},
        {"kind": "Secret", "name": own, "optional": True},
    ]


def defaults_config_map(key: str, values: str, labels: Mapping[str, str]) -> dict[str, Any]:
    """Give the bundle's own values of a release. Flux leaves a `${...}` in them alone: it is the chart's."""
    annotations = {"kustomize.toolkit.fluxcd.io/substitute": "disabled"}
    return _object("v1", "ConfigMap", defaults_name(key), labels, annotations) | {"data": {"values.yaml": values}}


def placeholders(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Stand in for an operator's ConfigMap and Secret: kustomize follows their names and drops both at the end."""
    annotations = {"config.kubernetes.io/local-config": "true"}
    return _object("v1", "ConfigMap", name, {}, annotations), _object("v1", "Secret", name, {}, annotations)


def _object(
    api_version: str, kind: str, name: str, labels: Mapping[str, str], annotations: Mapping[str, str] | None = None
) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name}
    if labels:
        metadata["labels"] = dict(sorted(labels.items()))
    if annotations:
        metadata["annotations"] = dict(sorted(annotations.items()))
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata}


def merged(base: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Merge as a JSON merge patch does (RFC 7396): mappings key by key, null removes, all else replaces."""
    result = dict(base)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            inner = result.get(key)
            result[key] = merged(inner if isinstance(inner, dict) else {}, value)
        else:
            result[key] = value
    return result


def kustomization(
    resources: Sequence[str], configurations: Sequence[str], patches: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Give the kustomization. Flux edits this file, so it has no prefix and no namespace that Flux would override."""
    data: dict[str, Any] = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": list(resources),
        "configurations": list(configurations),
    }
    if patches:
        data["patches"] = [dict(patch) for patch in patches]
    return data


def name_references() -> dict[str, Any]:
    """Give the kustomize configuration that lets Flux's references follow a prefix or suffix of names."""
    return {
        "nameReference": [
            {
                **_identity(referred),
                "fieldSpecs": [
                    {**_identity(kind), "path": path} for kind, paths in referring.items() for path in paths
                ],
            }
            for referred, referring in _REFERENCES.items()
        ]
    }


def _identity(kind: str) -> dict[str, str]:
    return {"group": _GROUPS[kind], "kind": kind} if kind in _GROUPS else {"version": "v1", "kind": kind}


def is_dropped(name: str) -> bool:
    """Say whether Flux's source-controller would leave this file out of what it hands on."""
    return not _DROPPED.isdisjoint(name.split("/"))


def layer(files: Iterable[Entry]) -> bytes:
    """Write the layer as `flux push artifact` does: the same tar byte for byte, in a gzip of stored blocks.

    Depth first and sorted by name within each folder, from the root `.`; no `./`, no slash behind a folder.
    """
    contents = {tuple(entry.name.split("/")): entry.content or b"" for entry in files}
    folders = {path[:depth] for path in contents for depth in range(1, len(path))}
    parts = [_header(".", None)]
    for path in sorted({*contents, *folders}):
        content = contents.get(path)
        parts.append(_header("/".join(path), content))
        if content is not None:
            parts += [content, bytes(-len(content) % 512)]
    return stored_gzip(b"".join(parts) + bytes(1024))


def _header(name: str, content: bytes | None) -> bytes:
    """Write a USTAR header as Go does; Python's tarfile puts a slash behind a folder and leaves the devices empty."""
    encoded = name.encode()
    if len(encoded) > MAX_NAME:
        raise ArchiveError(f"{name[:80]!r}... is longer than {MAX_NAME} bytes")
    fields = (
        encoded.ljust(100, b"\0"),
        b"0000755\0" if content is None else b"0000644\0",
        b"0000000\0" * 2,  # owner and group
        b"%011o\0" % len(content or b""),
        b"%011o\0" % 0,  # time
        b" " * 8,  # the checksum counts as spaces
        b"5" if content is None else b"0",
        bytes(100),  # link
        b"ustar\x0000",
        bytes(64),  # names of owner and group
        b"0000000\0" * 2,  # device
        bytes(155 + 12),
    )
    block = b"".join(fields)
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


# what go-containerregistry makes of Flux's empty image (CLI 2.9): Flux never reads it, but registries show it
_CONFIG: Final = (
    b'{"architecture":"","created":"0001-01-01T00:00:00Z","os":"",'
    b'"rootfs":{"type":"layers","diff_ids":null},"config":{}}'
)


def artifact(name: str, version: str, layer: bytes, annotations: Mapping[str, str]) -> Artifact:
    """Make the artifact that Flux's OCIRepository pulls: the manifest of `flux push artifact`, byte for byte.

    The revision is `<version>@sha256:<layer digest>`: a commit would change the digest with every merge.
    """
    config, content = Blob.of(FLUX_CONFIG, _CONFIG), Blob.of(FLUX_CONTENT, layer)
    noted = {**annotations, "org.opencontainers.image.revision": f"{version}@{Digest.of(layer)}"}
    manifest = {
        "schemaVersion": 2,
        "mediaType": IMAGE_MANIFEST,
        "config": _descriptor(config),
        "layers": [_descriptor(content)],
        "annotations": dict(sorted(noted.items())),
    }
    return Artifact(name, version, Blob.of(IMAGE_MANIFEST, go_json(manifest)), (config, content))


def _descriptor(blob: Blob) -> dict[str, Any]:
    described = blob.descriptor
    return {"mediaType": described.media_type, "size": described.size, "digest": described.digest}
