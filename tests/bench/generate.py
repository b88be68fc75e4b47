"""Charts as large as public ones, and bundles of them; the same seed gives the same bytes.

Twelve of the forty together have about 1.4 MB packed, 650 templates and 3 MB of rendered objects, which is what
kube-prometheus-stack, argo-cd and ten charts of their kind have.
"""

from __future__ import annotations

import functools
import gzip
import json
import random
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from brolly.archive import Entry, write_tar

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

CHARTS: Final = 40
BUNDLE_CHARTS: Final = 12
_HERE: Final = Path(__file__).parent
_COMPONENTS_PER_CHART: Final = 4.5
# the largest chart has 25 times the components of the smallest
_SPREAD: Final = 25.0
_DASHBOARD_PANELS: Final = 76
_RULES: Final = 22
_README_WORDS: Final = 1650
_CRD_FIELDS: Final = 150
_COLOURS: Final = ("amber", "azure", "coral", "ivory", "olive", "ochre", "ruby", "sepia", "slate", "umber")
_THINGS: Final = ("broker", "ledger", "mirror", "relay", "router", "vault", "beacon", "forge")
_PARTS: Final = (
    "gateway", "worker", "scheduler", "exporter", "controller", "webhook", "archiver", "indexer", "proxy", "reporter",
    "janitor", "queue", "cache", "frontend", "importer", "resolver", "sampler", "auditor", "planner", "notifier",
)  # fmt: skip
_SYLLABLES: Final = (
    "ba", "ce", "di", "fo", "gu", "la", "me", "ni", "po", "ru", "sa", "te", "vi", "zo",
    "bri", "cla", "dre", "flo", "gra", "ple", "qua", "sto", "tri", "wen",
)  # fmt: skip


@dataclass(frozen=True)
class Chart:
    """A chart package, and the keys of its values that a bundle may change: each holds a component."""

    name: str
    version: str
    package: bytes = field(repr=False)
    components: tuple[str, ...] = ()


@dataclass(frozen=True)
class Bundle:
    """A bundle: its charts, and its own values."""

    name: str
    charts: tuple[Chart, ...]
    values: Mapping[str, Any] = field(repr=False)


@functools.cache
def _words() -> tuple[str, ...]:
    rng = random.Random("words")
    return tuple("".join(rng.choices(_SYLLABLES, k=rng.choice((2, 3, 3, 4)))) for _ in range(4000))


def _prose(rng: random.Random, count: int) -> str:
    return " ".join(rng.choices(_words(), k=count))


def charts(seed: int = 0, count: int = CHARTS) -> tuple[Chart, ...]:
    """Generate charts: many small ones, a few large ones, as in the world."""
    weights = [_SPREAD ** (place / max(count - 1, 1)) for place in range(count)]
    scale = _COMPONENTS_PER_CHART * count / sum(weights)
    names = [f"{colour}-{thing}" for thing in _THINGS for colour in _COLOURS]
    return tuple(
        _chart(random.Random(f"{seed} {name}"), name, max(1, round(weight * scale)))
        for name, weight in zip(names, weights, strict=False)
    )


def _chart(rng: random.Random, name: str, size: int) -> Chart:
    version = f"{rng.randint(1, 9)}.{rng.randint(0, 30)}.{rng.randint(0, 9)}"
    components = tuple(_PARTS[:size])
    files = dict(_chart_files(rng, name, version, components))
    entries = [Entry(f"{name}/{path}", content.encode()) for path, content in files.items()]
    return Chart(name, version, gzip.compress(write_tar(entries), mtime=0), components)


def _chart_files(rng: random.Random, name: str, version: str, components: Sequence[str]) -> Iterator[tuple[str, str]]:
    yield "Chart.yaml", _yaml(_metadata(rng, name, version))
    values = {component: _component_values(rng, name, component) for component in components}
    yield "values.yaml", "".join(_commented(rng, key, section) for key, section in values.items())
    if rng.random() < 0.5:
        yield "values.schema.json", json.dumps(_schema(rng, values), indent=2)
    yield "README.md", _readme(rng, name, len(components))
    for component in components:
        yield f"crds/{component}.yaml", _yaml(_crd(rng, name, component))
    yield "templates/_helpers.tpl", (_HERE / "helpers.tpl").read_text().replace("CHART", name)
    for component in components:
        for kind, template in _templates().items():
            yield f"templates/{component}/{kind}.yaml", _filled(rng, template, name, component)


def _yaml(data: Any) -> str:
    return yaml.dump(data, Dumper=yaml.CSafeDumper, sort_keys=False, width=100)


def _metadata(rng: random.Random, name: str, version: str) -> dict[str, Any]:
    return {
        "apiVersion": "v2",
        "name": name,
        "version": version,
        "appVersion": f"{rng.randint(1, 4)}.{rng.randint(0, 20)}.0",
        "type": "application",
        "description": _prose(rng, 12).capitalize() + ".",
        "home": f"https://{name}.example",
        "icon": f"https://{name}.example/icon.svg",
        "sources": [f"https://git.example/{name}"],
        "keywords": rng.choices(_words(), k=4),
        "maintainers": [{"name": word, "email": f"{word}@{name}.example"} for word in rng.choices(_words(), k=3)],
    }


def _component_values(rng: random.Random, name: str, component: str) -> dict[str, Any]:
    probe = {"port": "http", "initialDelaySeconds": 5, "periodSeconds": 10, "timeoutSeconds": 3, "failureThreshold": 4}
    host = component + ".{{ .Release.Name }}.example"
    return {
        "enabled": True,
        "replicas": rng.randint(1, 5),
        "image": {
            "registry": "registry.example",
            "repository": f"{name}/{component}",
            "tag": f"{rng.randint(1, 9)}.{rng.randint(0, 20)}.{rng.randint(0, 9)}",
            "digest": f"sha256:{rng.randbytes(32).hex()}" if rng.random() < 0.3 else "",
            "pullPolicy": "IfNotPresent",
        },
        "imagePullSecrets": [],
        "annotations": {},
        "podAnnotations": {"example.com/part-of": "{{ .Release.Name }}", "example.com/team": rng.choice(_words())},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "podSecurityContext": {"runAsNonRoot": True, "fsGroup": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
        "securityContext": {"readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}},
        "serviceAccount": {"create": True, "name": "", "automount": False},
        "service": {"type": "ClusterIP", "annotations": {}},
        "ports": {"http": 8080, "metrics": 9090},
        "ingress": {"enabled": rng.random() < 0.3, "className": "", "hosts": [host]},
        "autoscaling": {"enabled": rng.random() < 0.5, "minReplicas": 2, "maxReplicas": 9, "cpu": 80, "memory": None},
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
        "flags": {word: rng.randint(1, 9999) for word in rng.choices(_words(), k=8)},
        "env": {word: _prose(rng, 2) for word in rng.choices(_words(), k=8)},
        "config": {f"{word}.conf": _prose(rng, 60) for word in rng.choices(_words(), k=3)},
        "access": {"core": ["configmaps", "pods"], "apps": ["deployments"]},
        "probes": {kind: {"path": f"/{kind}", **probe} for kind in ("liveness", "readiness", "startup")},
        "nodeSelector": {},
        "tolerations": [],
        "affinity": {},
    }  # fmt: skip


def _commented(rng: random.Random, key: str, section: Mapping[str, Any]) -> str:
    """Write one key of values.yaml as public charts do: a comment before each setting."""
    lines = [f"# -- {_prose(rng, 10)}", f"{key}:"]
    for name, value in section.items():
        lines.append(f"  # -- {_prose(rng, 14)}")
        lines.append(textwrap.indent(_yaml({name: value}).rstrip("\n"), "  "))
    return "\n".join(lines) + "\n"


def _schema(rng: random.Random, values: Mapping[str, Any]) -> dict[str, Any]:
    properties = {key: _schema_of(rng, value) for key, value in values.items()}
    return {"$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "properties": properties}


def _schema_of(rng: random.Random, value: Any) -> dict[str, Any]:
    match value:
        case dict():
            properties = {key: _schema_of(rng, item) for key, item in value.items() if item is not None}
            return {"type": "object", "description": _prose(rng, 8), "properties": properties}
        case list():
            return {"type": "array"}
        case bool():
            return {"type": "boolean"}
        case int():
            return {"type": "integer", "minimum": 0}
        case _:
            return {"type": "string", "description": _prose(rng, 6)}


def _readme(rng: random.Random, name: str, size: int) -> str:
    words = _README_WORDS * size
    paragraphs = "\n\n".join(textwrap.fill(_prose(rng, 80), 110) for _ in range(words // 80))
    return f"# {name}\n\n{paragraphs}\n"


def _crd(rng: random.Random, name: str, component: str) -> dict[str, Any]:
    group, kind = f"{name}.example", component.capitalize()
    fields = {word: {"type": "string", "description": _prose(rng, 12)} for word in rng.choices(_words(), k=_CRD_FIELDS)}
    spec = {"type": "object", "properties": {"spec": {"type": "object", "properties": fields}}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{component}s.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": f"{component}s", "singular": component, "listKind": f"{kind}List"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": spec}}],
        },
    }


@functools.cache
def _templates() -> dict[str, str]:
    return {path.stem: path.read_text() for path in sorted((_HERE / "component").glob("*.yaml"))}


def _filled(rng: random.Random, template: str, name: str, component: str) -> str:
    """Put names into a template, and what is written out in it: public charts ship rules and dashboards verbatim."""
    if "@RULES@" in template:
        template = template.replace("@RULES@", textwrap.indent(_yaml(_rules(rng)), " " * 8).strip())
    if "@DASHBOARD@" in template:
        template = template.replace("@DASHBOARD@", textwrap.indent(_dashboard(rng), " " * 4).strip())
    return template.replace("CHART", name).replace("COMPONENT", component)


def _rules(rng: random.Random) -> list[dict[str, Any]]:
    return [
        {
            "alert": "".join(word.capitalize() for word in rng.choices(_words(), k=3)),
            "expr": f"sum by (pod) ({_rate(rng)}) > {rng.randint(1, 99)}",
            "for": f"{rng.randint(1, 30)}m",
            "labels": {"severity": rng.choice(("info", "warning", "critical"))},
            "annotations": {"summary": _prose(rng, 8), "description": _prose(rng, 25)},
        }
        for _ in range(_RULES)
    ]


def _rate(rng: random.Random) -> str:
    return f"rate({'_'.join(rng.choices(_words(), k=3))}_total[5m])"


def _dashboard(rng: random.Random) -> str:
    panels = [
        {
            "id": number,
            "type": rng.choice(("graph", "stat", "table", "timeseries")),
            "title": _prose(rng, 4),
            "description": _prose(rng, 10),
            "gridPos": {"h": 8, "w": 12, "x": number % 2 * 12, "y": number // 2 * 8},
            "targets": [{"expr": _rate(rng), "refId": "A"}],
        }
        for number in range(_DASHBOARD_PANELS)
    ]
    return json.dumps({"uid": rng.randbytes(8).hex(), "title": _prose(rng, 3), "panels": panels}, indent=1)


def bundles(pool: Sequence[Chart], count: int, seed: int = 0, size: int = BUNDLE_CHARTS) -> tuple[Bundle, ...]:
    """Generate different bundles: some charts of the pool each, in an order and with values of its own."""
    return tuple(
        _bundle(random.Random(f"{seed} {number}"), f"bundle-{number:04}", pool, size) for number in range(count)
    )


def _bundle(rng: random.Random, name: str, pool: Sequence[Chart], size: int) -> Bundle:
    chosen = tuple(rng.sample(list(pool), min(size, len(pool))))
    values: dict[str, Any] = {"global": {"edition": "0"}}
    for chart in chosen:
        changed = rng.sample(chart.components, (len(chart.components) + 1) // 2)
        if changed:
            values[chart.name] = {component: _own_values(rng) for component in sorted(changed)}
    return Bundle(name, chosen, values)


def _own_values(rng: random.Random) -> dict[str, Any]:
    return {
        "replicas": rng.randint(2, 9),
        "image": {"tag": f"{rng.randint(1, 9)}.{rng.randint(0, 30)}.{rng.randint(0, 9)}"},
        "env": {word: _prose(rng, 2) for word in rng.choices(_words(), k=3)},
        "resources": {"requests": {"cpu": f"{rng.randint(1, 20) * 50}m", "memory": f"{rng.randint(1, 16) * 64}Mi"}},
        "nodeSelector": {"example.com/pool": rng.choice(_words())},
    }
