"""The direction of the house: a module imports only what stands above it, and only the shell does I/O."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "tooling" / "brolly"

CORE = [
    "errors",
    "findings",
    "versions",
    "document",
    "objects",
    "oci",
    "archive",
    "schemas",
    "suggestions",
    "limits",
    "shapes",
    "definition",
    "lock",
    "chart",
    "values",
    "sources",
    "helm",
    "rendering",
    "release",
    "values_table",
    "composite",
    "umbrella",
    "flux",
    "additions",
    "kustomization",
    "authored",
    "facts",
    "checks",
    "conflicts",
    "outcome",
    "sizes",
    "report",
]
SHELL = [
    "workspace",
    "dist",
    "registry",
    "cache",
    "results",
    "repositories",
    "engine_worker",
    "engine",
    "engines",
    "pipeline",
    "rulebook",
    "console",
    "interrupts",
    "commands",
    "cli",
]
ORDER = {name: place for place, name in enumerate(("__init__", *CORE, *SHELL, "__main__"))}

# what reaches out of the process; `lock` and others may hash and format, that is no I/O
OUTSIDE = {
    "asyncio", "http", "io.open", "logging", "multiprocessing", "os", "pathlib", "queue", "random", "requests", "rich",
    "select", "shutil", "signal", "socket", "ssl", "subprocess", "tempfile", "threading", "time", "tomllib", "urllib3",
    "urllib.request", "oras", "helm_python",
}  # fmt: skip
# heavy: imported inside the functions that need them, so that start-up and a build with nothing to do stay cheap
HEAVY = {"jsonschema", "oras", "referencing", "re2", "requests", "rich", "urllib3", "helm_python"}


def room(path: Path) -> str:
    """Name the room a file belongs to: a module, or the sub-package with its face."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def files() -> list[Path]:
    """List the package's modules."""
    return sorted(PACKAGE.rglob("*.py"))


def imports(tree: ast.Module, *, at_top: bool) -> list[tuple[str, int]]:
    """List imported modules with their lines; `at_top` leaves out those inside functions and for types only."""
    found: list[tuple[str, int]] = []

    def visit(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if at_top and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                continue
            if isinstance(child, ast.Import):
                found.extend((alias.name, child.lineno) for alias in child.names)
            elif isinstance(child, ast.ImportFrom) and child.module:
                names = [f"{child.module}.{alias.name}" for alias in child.names]
                found.extend((name, child.lineno) for name in (child.module, *names))
            visit(child)

    visit(tree)
    return found


def test_every_module_has_a_room() -> None:
    assert sorted({room(path) for path in files()} - set(ORDER)) == []


@pytest.mark.parametrize("path", files(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_module_imports_only_what_stands_above_it(path: Path) -> None:
    mine = room(path)
    upward = [
        f"line {line}: {name}"
        for name, line in imports(ast.parse(path.read_text()), at_top=False)
        if name.startswith("brolly.")
        # `cli` imports a command's module when it runs it, by name: the one argued exception
        and ORDER.get(name.split(".")[1], -1) > ORDER[mine]
    ]
    assert upward == []


@pytest.mark.parametrize(
    "path", [path for path in files() if room(path) in CORE], ids=lambda path: path.relative_to(PACKAGE).as_posix()
)
def test_the_core_does_no_io(path: Path) -> None:
    tree = ast.parse(path.read_text())
    reached = [f"line {line}: {name}" for name, line in imports(tree, at_top=False) if name in OUTSIDE]
    calls = [
        f"line {node.lineno}: {node.func.id}()"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"open", "print", "input"}
    ]
    assert reached + calls == []


@pytest.mark.parametrize("path", files(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_heavy_modules_are_imported_where_they_are_used(path: Path) -> None:
    if room(path) in {"registry", "repositories", "engine_worker"} and path.name != "__init__.py":
        return  # rooms that are entered only when a registry, a repository or the engine is needed
    top = imports(ast.parse(path.read_text()), at_top=True)
    assert [f"line {line}: {name}" for name, line in top if name.split(".")[0] in HEAVY] == []


def test_start_up_loads_nothing_heavy() -> None:
    script = "import sys, json; from brolly import cli; cli._parser({}); print(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout)
    assert {name.split(".")[0] for name in loaded} & (HEAVY | {"msgspec", "yaml", "semver"}) == set()
