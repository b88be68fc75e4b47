"""The shape of bundle.yaml: structs that generate `schemas/bundle.schema.json`."""

from __future__ import annotations

import enum
from typing import Annotated, Any, Final, Literal

import msgspec

from brolly.limits import Given
from brolly.shapes import settled

API_VERSION: Final = "brolly/v1alpha1"


def _meta(title: str, description: str, **extra: Any) -> msgspec.Meta:
    return msgspec.Meta(title=title, description=description, **extra)


Text = Annotated[str, _meta("Text", "A text.")]


class Target(enum.StrEnum):
    """What a bundle is compiled into."""

    UMBRELLA = "umbrella"
    KUSTOMIZE = "kustomize"


class Maintainer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A person or a team, as in Chart.yaml."""

    name: Annotated[str, _meta("Name", "The maintainer's name.", min_length=1)]
    email: Annotated[str, _meta("E-mail", "The maintainer's e-mail address.")] = ""
    url: Annotated[str, _meta("URL", "A page about the maintainer.")] = ""


class ImportValue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One `import-values` entry of the long form, as in Chart.yaml."""

    child: Annotated[str, _meta("Child", "The path of the values in the subchart.", min_length=1)]
    parent: Annotated[str, _meta("Parent", "The path that they get in the umbrella's values.", min_length=1)]


class DependencyShape(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel", tag=False
):
    """One chart of the bundle."""

    name: Annotated[str, _meta("Chart", "The chart's name in its repository.", min_length=1)]
    version: Annotated[
        str,
        _meta(
            "Constraint",
            "A range of versions in Helm's grammar (`6.x`, `^1.2`, `>=1.0.0 <2.0.0`); bundle.lock holds the version.",
            min_length=1,
        ),
    ]
    repository: Annotated[
        str,
        _meta(
            "Repository",
            "Where the chart comes from: `oci://host/path`, `https://host/path`, `file://charts/name` (relative to the "
            "bundle), or `@name` of a repository that the workspace declares.",
            min_length=1,
        ),
    ]
    alias: Annotated[
        str,
        _meta(
            "Alias",
            "The instance's name: its key in values.yaml, the subchart's alias, the HelmRelease's name. "
            "Default: the chart's name.",
        ),
    ] = ""
    condition: Annotated[
        str,
        _meta("Condition", "Paths into values, separated by commas; the first that is a boolean switches the chart."),
    ] = ""
    tags: Annotated[
        tuple[Text, ...], _meta("Tags", "Groups of charts that `tags:` in values.yaml switches on or off.")
    ] = ()
    import_values: Annotated[
        tuple[Text | ImportValue, ...],
        _meta("Import values", "Values of the chart that the umbrella takes over. Target umbrella only."),
    ] = msgspec.field(default=(), name="import-values")
    target_namespace: Annotated[
        str,
        _meta(
            "Target namespace",
            "The namespace into which Flux installs the release; it also prefixes its name. Target kustomize only.",
        ),
    ] = ""
    depends_on: Annotated[
        tuple[Text, ...],
        _meta(
            "Depends on",
            "Dependencies of this bundle (alias or name) that must be ready first. Target kustomize only.",
        ),
    ] = ()
    source: Annotated[
        Literal["bundle", "upstream"],
        _meta(
            "Source",
            "`upstream` lets Flux take the chart from its own http(s) repository, without a digest; by default it is "
            "published beside the bundle and pinned. Target kustomize only.",
        ),
    ] = "bundle"
    release: Annotated[
        dict[str, Any],
        _meta(
            "Release",
            "Fields merged into the HelmRelease's spec, such as `timeout` or `driftDetection`. Target kustomize only.",
        ),
    ] = {}
    verify: Annotated[
        dict[str, Any],
        _meta(
            "Verify",
            "Who must have signed the chart: the `verify` of Flux's OCIRepository. Target kustomize and `oci://` only.",
        ),
    ] = {}


class BundleShape(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel", kw_only=True
):
    """A bundle: charts that are locked, checked and published as one unit."""

    api_version: Annotated[Literal["brolly/v1alpha1"], _meta("API version", "The version of this format.")]
    target: Annotated[
        Target,
        _meta(
            "Target",
            "`umbrella`: one Helm chart with embedded subcharts, installed as one release. "
            "`kustomize`: a Flux OCI artifact with one HelmRelease per dependency.",
        ),
    ]
    name: Annotated[str, _meta("Name", "The bundle's name: the folder's name below `bundles/`.", min_length=1)]
    version: Annotated[str, _meta("Version", "The bundle's version: a full semantic version.", min_length=1)]
    description: Annotated[str, _meta("Description", "One sentence about the bundle.")] = ""
    type: Annotated[
        Literal["application"], _meta("Type", "Accepted so that an umbrella's Chart.yaml can be pasted.")
    ] = "application"
    kube_version: Annotated[str, _meta("Kubernetes version", "A range of Kubernetes versions that fit.")] = ""
    app_version: Annotated[str, _meta("App version", "The version of what the bundle installs, in quotes.")] = ""
    keywords: Annotated[tuple[Text, ...], _meta("Keywords", "Words to find the bundle by.")] = ()
    home: Annotated[str, _meta("Home", "The bundle's page.")] = ""
    sources: Annotated[tuple[Text, ...], _meta("Sources", "Addresses of the source code.")] = ()
    icon: Annotated[str, _meta("Icon", "The address of an SVG or PNG image.")] = ""
    maintainers: Annotated[tuple[Maintainer, ...], _meta("Maintainers", "Who to ask.")] = ()
    annotations: Annotated[dict[str, str], _meta("Annotations", "Texts by name, kept in the published artifact.")] = {}
    deprecated: Annotated[bool, _meta("Deprecated", "Says that the bundle should not be used any more.")] = False
    dependencies: Annotated[tuple[DependencyShape, ...], _meta("Dependencies", "The charts.", min_length=1)]
    limits: Annotated[
        dict[str, Given],
        _meta(
            "Limits",
            "Limits by name, such as `release-record: 800Ki`. More than holds otherwise needs a reason: "
            "`{limit: 20Mi, reason: ...}`.",
        ),
    ] = {}
    embed_schema: Annotated[
        bool,
        _meta(
            "Embed the schema",
            "Puts the schema of all charts' values into the umbrella chart, where every release record holds it. "
            "Target umbrella only.",
        ),
    ] = False


settled(BundleShape)


def json_schema() -> dict[str, Any]:
    """Generate the JSON Schema of bundle.yaml (draft 2020-12)."""
    from brolly.shapes import published_schema

    return published_schema(BundleShape, "bundle", "A Brolly bundle")
