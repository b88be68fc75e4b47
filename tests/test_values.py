"""Values over charts and subcharts, with Helm's own engine as the judge."""

from __future__ import annotations

import io
import json
import random
import tarfile
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brolly.chart import Chart, Requirement
from brolly.values import Instance, Note, ValuesError, effective, for_release, merge, switched_off


def chart(
    name: str,
    values: dict[str, Any],
    *subcharts: Chart,
    requires: tuple[Requirement, ...] | None = None,
    version: str = "1.0.0",
) -> Chart:
    """Declare a chart; by default it requires exactly its subcharts."""
    if requires is None:
        requires = tuple(Requirement(sub.name, sub.version) for sub in subcharts)
    metadata = {"dependencies": []} if requires else {}
    return Chart(name, version, metadata, requires, values, subcharts=subcharts)


def packaged(declared: Chart) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", compresslevel=0) as tar:
        add_chart(tar, declared, declared.name)
    return out.getvalue()


def add_chart(tar: tarfile.TarFile, declared: Chart, folder: str) -> None:
    dependencies = [
        {
            "name": item.name,
            "version": item.version,
            "repository": "",
            "alias": item.alias,
            "condition": item.condition,
            "tags": list(item.tags),
            "import-values": list(item.import_values),
        }
        for item in declared.requirements
    ]
    metadata: dict[str, Any] = {"apiVersion": "v2", "name": declared.name, "version": declared.version}
    if "dependencies" in declared.metadata or dependencies:
        metadata["dependencies"] = dependencies
    files = {
        "Chart.yaml": json.dumps(metadata),
        "values.yaml": json.dumps(declared.values),
        "templates/values.yaml": "{{ .Values | toJson }}",
    }
    for name, text in files.items():
        info = tarfile.TarInfo(f"{folder}/{name}")
        info.size = len(text.encode())
        tar.addfile(info, io.BytesIO(text.encode()))
    for sub in declared.subcharts:
        add_chart(tar, sub, f"{folder}/charts/{sub.name}-{sub.version}")


def helm_says(declared: Chart, user: dict[str, Any]) -> dict[tuple[str, ...], Any] | str:
    """Ask Helm's engine which charts render, and what each sees as its values."""
    engine = pytest.importorskip("helm_python", reason="needs Helm's engine: pip install 'brolly[helm]'")
    with engine.Chart.load_archive(packaged(declared)) as handle:
        try:
            rendered = handle.render(user)
        except engine.HelmError as error:
            return "refused" if "type mismatch" in str(error) else f"unexpected: {error}"
    found = {}
    for path, text in rendered.items():
        inner = path.removesuffix("/templates/values.yaml").split("/charts/")[1:]
        found[tuple(inner)] = json.loads(text)
    return found


def brolly_says(declared: Chart, user: dict[str, Any]) -> dict[tuple[str, ...], Any] | str:
    try:
        root, _ = effective(declared, user)
    except ValuesError:
        return "refused"
    return {instance.path: instance.values for instance in root.walk()}


# -- generated cases --------------------------------------------------------------------------------------------------

KEYS: Final = ("a", "b", "c", "global", "tags", "exports", "enabled", "s1", "s2", "x", "y", "t1")
CONDITIONS: Final = (
    "x.enabled",
    "s1.enabled",
    "y.enabled,a",
    "a",
    "a, b",
    "a.b",
    " s2.enabled",
    "tags.t1",
    "global.a",
    ",b",
    "x.s1.enabled",
)
CHILDREN: Final = ("a", "exports.a", "b", "exports", "global", "s1", "a.b", "s1.a", "none")


class Generator:
    """Trees of charts that share few names, so that they meet."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.nulls = self.random.choice((0.0, 0.05, 0.25))

    def values(self, depth: int = 3) -> dict[str, Any]:
        return {self.random.choice(KEYS): self.value(depth - 1) for _ in range(self.random.randrange(5))}

    def value(self, depth: int) -> Any:
        if self.random.random() < self.nulls:
            return None
        if depth and self.random.random() < 0.55:
            return self.values(depth)
        return self.random.choice((1, 2, "text", True, False, [1, None], {}))

    def tables(self) -> dict[str, Any]:
        """Values in which the keys of subcharts are mostly mappings."""
        out = self.values()
        for key in ("s1", "s2", "x", "y", "global", "tags"):
            if key in out and not isinstance(out[key], dict) and self.random.random() < 0.97:
                out[key] = self.values(2)
        return out

    def chart(self, name: str, depth: int) -> Chart:
        names = self.random.sample(("s1", "s2", "s3"), self.random.randrange(3)) if depth else []
        subcharts = [self.chart(sub, depth - 1) for sub in names]
        requirements = [item for sub in subcharts for item in self.requirements(sub)]
        keys = [item.key for item in requirements]
        unique = [item for at, item in enumerate(requirements) if item.key not in keys[:at]]
        metadata = {"dependencies": []} if unique or self.random.random() < 0.1 else {}
        return Chart(name, "1.0.0", metadata, tuple(unique), self.tables(), subcharts=tuple(subcharts))

    def requirements(self, sub: Chart) -> list[Requirement]:
        return [self.requirement(sub) for _ in range(self.random.choice((0, 1, 1, 1, 1, 2)))]

    def requirement(self, sub: Chart) -> Requirement:
        return Requirement(
            name=sub.name,
            version=self.random.choice(("1.0.0", "1.x", ">=1.0.0", "^1", "1.0.0", "1.0.0", "2.x", "")),
            alias=self.random.choice(("", "", "x", "y", "s1", "a")),
            condition=self.random.choice(("", "", *CONDITIONS)),
            tags=tuple(self.random.sample(("t1", "a", "b"), self.random.choice((0, 0, 1, 2)))),
            import_values=tuple(self.imports() for _ in range(self.random.choice((0, 0, 0, 1, 2)))),
        )

    def imports(self) -> Any:
        if self.random.random() < 0.4:
            return self.random.choice(("a", "b", "x"))
        return {
            "child": self.random.choice(CHILDREN),
            "parent": self.random.choice((".", "a", "a.b", "c", "s1", "global")),
        }


@given(st.integers(0, 2**32))
def test_what_renders_and_with_which_values_is_helms_answer(seed: int) -> None:
    for offset in range(10):
        generator = Generator(seed + offset)
        declared, user = generator.chart("root", 2), generator.tables()
        assert (seed + offset, brolly_says(declared, user)) == (seed + offset, helm_says(declared, user))
