"""What Helm decides about bytes, judged by Helm."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from brolly import helm
from brolly.chart import Requirement, read_package
from brolly.registry import open_registry
from engine_charts import chart_files, engine, package
from registries import docker_registry

if TYPE_CHECKING:
    from pathlib import Path

METADATA: dict[str, Any] = {
    "description": "Says <hello> & goodbye\nin two lines",
    "home": "https://demo.example",
    "sources": ["https://code.example/demo", "https://mirror.example/demo"],
    "keywords": ["demo", "<tag>"],
    "maintainers": [{"name": "Ada", "email": "ada@demo.example"}, {"name": "Bob", "url": "https://bob.example"}],
    "icon": "https://demo.example/icon.svg",
    "appVersion": "1.10",
    "kubeVersion": ">=1.25.0-0",
    "deprecated": True,
    "type": "application",
    "annotations": {"b": "2", "a": "1 & 2", "org.opencontainers.image.created": "2001-02-03T04:05:06Z"},
    "dependencies": [
        {"name": "sub", "version": ">=1.0.0", "repository": "", "alias": "one", "tags": ["x"], "condition": "one.on"},
        {"name": "sub", "version": "1.x", "repository": "", "import-values": ["data", {"parent": "p", "child": "c"}]},
    ],
}


def test_the_artifact_of_a_chart_is_the_one_that_helm_pushes(tmp_path: Path) -> None:
    helm_python = engine()
    files = {**chart_files(**METADATA), **{f"charts/sub/{n}": c for n, c in chart_files("sub").items()}}
    content = package(files)
    path = tmp_path / "demo-1.0.0.tgz"
    path.write_bytes(content)
    ours = helm.chart_artifact(content, read_package(content), "charts/demo", 0)
    with docker_registry() as host:
        with helm_python.RegistryClient(plain_http=True) as client:
            client.push(path, f"oci://{host}/charts", plain_http=True)
        registry, _ = open_registry(f"oci://{host}")
        pushed = registry.manifest("charts/demo", "1.0.0").content
        config = registry.blob("charts/demo", registry_descriptor(pushed), max_size=1 << 20)
    assert json.loads(ours.blobs[0].content) == json.loads(config)
    assert ours.blobs[0].content == config
    assert ours.manifest.content == pushed


def registry_descriptor(manifest: bytes) -> Any:
    import msgspec

    from brolly.oci import Descriptor

    return msgspec.convert(json.loads(manifest)["config"], Descriptor)


def test_the_digest_in_a_chart_lock_is_the_one_that_helm_accepts(tmp_path: Path) -> None:
    helm_python = engine()
    folder = tmp_path / "demo"
    for name, content in chart_files("sub").items():
        write(folder / "parts" / "sub" / name, content)
    dependencies: list[dict[str, Any]] = [
        {"name": "sub", "version": ">=1.0.0 <2", "repository": "file://parts/sub", "alias": "one", "tags": ["a", "b"]},
        {"name": "sub", "version": "1.x", "repository": "file://parts/sub", "condition": "x.y", "alias": "two",
         "import-values": ["data", {"parent": "p", "child": "c<"}]},
    ]  # fmt: skip
    for name, content in chart_files(dependencies=dependencies).items():
        write(folder / name, content)
    helm_python.dependency_update(folder)
    found = yaml.safe_load((folder / "Chart.lock").read_text())
    required = [
        Requirement(
            name=one["name"], version=one["version"], repository=one["repository"], alias=one.get("alias", ""),
            condition=one.get("condition", ""), tags=tuple(one.get("tags", ())),
            import_values=tuple(one.get("import-values", ())),
        )
        for one in dependencies
    ]  # fmt: skip
    locked = [Requirement(one["name"], one["version"], one["repository"]) for one in found["dependencies"]]
    assert helm.lock_digest(required, locked) == found["digest"]


def write(path: Path, content: bytes | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


RULES = st.sampled_from(
    [
        "*.md",
        "docs",
        "docs/",
        "/docs",
        "templates/*.txt",
        "!keep.txt",
        "!*.yaml",
        "a?c.txt",
        "[ab]*.txt",
        "[^ab]*.log",
        "crds/*.yaml",
        ".hidden",
        "#",
        "*/x.txt",
        "docs/a.md",
        "*.txt/",
        "README.*",
    ]
)
PATHS = (
    "README.md", "docs/a.md", "docs/deep/b.md", "abc.txt", "keep.txt", "x.log", "a.log", ".hidden", "templates/x.txt",
    "templates/.swp", "templates/.d", "crds/c.yaml", "sub/x.txt", "files/data.bin", "templates/y.txt", "a.txt/inner",
)  # fmt: skip


@given(st.lists(RULES, max_size=4))
def test_helmignore_leaves_out_what_helm_leaves_out(rules: list[str]) -> None:
    import tempfile
    from pathlib import Path

    helm_python = engine()
    files: dict[str, bytes | str] = {**chart_files(), **dict.fromkeys(PATHS, "x"), ".helmignore": "\n".join(rules)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "demo"
        for path, content in files.items():
            write(folder / path, content)
        try:
            packed = Path(helm_python.package(folder, destination=name)).read_bytes()
        except helm_python.HelmError:
            return  # Chart.yaml itself was ignored
    helms = {entry.name for entry in read_package(packed).files}
    ours = {path: text.encode() if isinstance(text, str) else text for path, text in files.items()}
    assert set(helm.not_ignored(ours)) == helms
