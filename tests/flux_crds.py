"""The judge of Flux's objects: what the API servers of its releases refuse."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

RELEASES = ("2.6", "2.7", "2.8", "2.9")


def crd_folder() -> Path:
    beside = Path(__file__).resolve().parents[2] / "shared/data/flux-crds"
    folder = Path(os.environ.get("BROLLY_FLUX_CRDS") or beside)
    if not folder.is_dir():
        pytest.skip(
            "needs Flux's CRDs: put config/crd/bases of the controllers of Flux 2.6 to 2.9 (github.com/fluxcd) into "
            "DIR/2.6 ... DIR/2.9, and name DIR in BROLLY_FLUX_CRDS"
        )
    return folder


@functools.cache
def crd_schemas(release: str) -> dict[tuple[str, str], dict[str, Any]]:
    """Give the schemas that a release's API server holds, by apiVersion and kind."""
    found = {}
    for path in sorted((crd_folder() / release).glob("*.yaml")):
        spec = yaml.load(path.read_bytes(), yaml.CSafeLoader)["spec"]
        for version in spec["versions"]:
            if version["served"]:
                schema = version["schema"]["openAPIV3Schema"]
                found[f"{spec['group']}/{version['name']}", spec["names"]["kind"]] = schema
    return found


def closed(schema: Any) -> Any:
    """Forbid fields that the schema does not name, as strict field validation does."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: closed(value) for key, value in schema.items()}
    is_open = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    if schema.get("type") == "object" and "properties" in schema and not is_open:
        result["additionalProperties"] = False
    return result


def violations(release: str, data: dict[str, Any]) -> list[str]:
    """Say what the API server of a Flux release would refuse: the schema, unknown fields, and the CEL rules."""
    import jsonschema

    served = crd_schemas(release).get((data["apiVersion"], data["kind"]))
    if served is None:
        return [f"{data['apiVersion']} {data['kind']} is not served"]
    schema = closed(served)
    schema["properties"]["metadata"] = {"type": "object"}
    validator = jsonschema.Draft202012Validator(schema)
    found = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(data)]
    return found + [rule for rule, holds in cel_rules(data["kind"], data["spec"]).items() if not holds]


def cel_rules(kind: str, spec: dict[str, Any]) -> dict[str, bool]:
    """Judge x-kubernetes-validations of the CRDs, in Python."""
    if kind != "HelmRelease":
        return {}
    kube = spec.get("kubeConfig", {"secretRef": {}})
    install, upgrade = (spec.get(name, {}).get("strategy", {}) for name in ("install", "upgrade"))
    return {
        "either chart or chartRef must be set": ("chart" in spec) != ("chartRef" in spec),
        "exactly one of configMapRef or secretRef": ("configMapRef" in kube) != ("secretRef" in kube),
        "install retryInterval": "retryInterval" not in install or install["name"] != "RemediateOnFailure",
        "upgrade retryInterval": "retryInterval" not in upgrade or upgrade["name"] == "RetryOnFailure",
    }
