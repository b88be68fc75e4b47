r"""What the documents say is what happens: their commands run, and print what is shown.

In a ```console block a line that begins with `$ ` is a command (a here-document and `\` carry it on), what follows is
all that it prints, `...` stands for any lines, and a last line `# exit N` for another exit code than 0. Digests and
sizes are not compared. ```text blocks need a cluster and are not run.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest
import yaml

from brolly import helm
from brolly.chart import read_package
from brolly.cli import COMMANDS
from brolly.registry import open_registry
from chart_repository import chart_package, chart_repository
from engine_charts import engine
from flux_crds import RELEASES, violations
from registries import docker_registry, peer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT: Final = Path(__file__).parent.parent
PAGES: Final = tuple(
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))
)
HOW_TOS: Final = tuple(page for page in PAGES if page.startswith("docs/how-to/"))
WIDEST: Final = 125
SECONDS: Final = 120


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


class Step(NamedTuple):
    """A command of a document, the lines that it shows after it (None: nothing is shown), and its exit code."""

    line: int
    command: str
    output: tuple[str, ...]
    exit_code: int


def blocks(text: str, language: str) -> Iterator[tuple[int, str]]:
    """Give the fenced blocks of a language, each with the line that it begins at."""
    for found in re.finditer(r"^```(\S*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        if found[1] == language:
            yield text.count("\n", 0, found.start(2)) + 1, found[2]


def steps(text: str) -> tuple[Step, ...]:
    return tuple(step for line, block in blocks(text, "console") for step in _block_steps(line, block))


def _block_steps(first: int, block: str) -> Iterator[Step]:
    parts = re.split(r"^\$ ", block, flags=re.MULTILINE)
    assert parts[0] == "", f"line {first}: a console block begins with a command"
    line = first
    for part in parts[1:]:
        lines = part.splitlines()
        length = _command_length(lines)
        shown = lines[length:]
        code = re.fullmatch(r"# exit (\d+)", shown[-1]) if shown else None
        yield Step(line, "\n".join(lines[:length]), tuple(shown[:-1] if code else shown), int(code[1]) if code else 0)
        line += len(lines)


def _command_length(lines: list[str]) -> int:
    here = re.search(r"<<'(\w+)'", lines[0])
    if here:
        return lines.index(here[1]) + 1
    return 1 + next(index for index, line in enumerate(lines) if not line.endswith("\\"))


class World:
    """A folder with a HOME of its own, and what stands for the hosts that the documents name."""

    def __init__(self, folder: Path, hosts: Mapping[str, str]) -> None:
        self.hosts = hosts
        self.folder = folder / "here"
        self.folder.mkdir()
        self._place = folder / "place"
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self._environ = {"HOME": str(folder), "PATH": path, "LC_ALL": "C.UTF-8"}

    def run(self, command: str) -> tuple[int, tuple[str, ...]]:
        """Run a command where the last one left off; give its exit code and its lines, with the documents' hosts."""
        script = f'{self.real(command)}\ncode=$?\npwd > "{self._place}"\nexit $code'
        done = subprocess.run(
            ["bash", "-c", script], cwd=self.folder, env=self._environ, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True, check=False, timeout=SECONDS,
        )  # fmt: skip
        self.folder = Path(self._place.read_text(encoding="utf-8").strip())
        output = done.stdout
        for said, real in self.hosts.items():
            output = output.replace(real, said)
        return done.returncode, tuple(output.splitlines())

    def real(self, text: str) -> str:
        for said, real in self.hosts.items():
            text = text.replace(said, real)
        return text


def comparable(line: str) -> str:
    line = re.sub(r"sha256:[0-9a-f]{64}", "sha256:...", line.rstrip())
    return re.sub(r"\b\d+(\.\d+)? (B|KiB|MiB)\b", "SIZE", line)


def assert_shown(shown: tuple[str, ...], real: tuple[str, ...], where: str) -> None:
    """Compare what a document shows with what was printed; `...` stands for any lines."""
    pattern = "".join("(?:.*\n)*" if line == "..." else re.escape(comparable(line)) + "\n" for line in shown)
    printed = "".join(comparable(line) + "\n" for line in real)
    assert re.fullmatch(pattern, printed.rstrip("\n") + "\n"), f"{where} shows something else than:\n{printed}"


def run_page(page: str, world: World) -> None:
    for step in steps(text_of(page)):
        where = f"{page}:{step.line}: $ {step.command}"
        code, real = world.run(step.command)
        assert code == step.exit_code, f"{where} gives {code}:\n" + "\n".join(real)
        if step.output:
            assert_shown(step.output, real, where)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


@pytest.fixture
def offline(tmp_path: Path) -> World:
    engine()
    return World(tmp_path, {})


@pytest.fixture
def workspace(offline: World) -> World:
    """Take this repository's bundles."""
    shutil.copytree(ROOT / "bundles", offline.folder / "bundles")
    shutil.copy(ROOT / "pyproject.toml", offline.folder)
    return offline


@pytest.fixture
def online(stack: ExitStack, tmp_path: Path) -> World:
    """Put a registry and a chart repository in the place of those that the documents name."""
    engine()
    host = stack.enter_context(docker_registry())
    repository = stack.enter_context(chart_repository())
    for version in ("1.4.0", "1.5.2"):
        repository.add("metrics", version)
    for version in ("6.9.0", "6.10.1"):
        push(f"oci://{host}/charts", chart_package("podinfo", version))
        push(f"oci://{host}/stefanprodan/charts", chart_package("podinfo", version))
    hosts = {"registry.example": host, "ghcr.io": host, "https://charts.example": repository.url}
    return World(tmp_path, hosts)


def push(destination: str, package: bytes) -> None:
    registry, prefix = open_registry(destination)
    artifact = helm.chart_artifact(package, read_package(package), prefix, 0)
    repository = f"{prefix}/podinfo"
    for blob in artifact.blobs:
        registry.put_blob(repository, blob)
    registry.put_manifest(repository, artifact.version, artifact.manifest)


# commands


def test_the_tutorial_does_what_it_shows(offline: World) -> None:
    run_page("docs/tutorial.md", offline)


@pytest.mark.parametrize("page", ["docs/how-to/ci.md", "docs/how-to/flux.md", "docs/how-to/local-charts.md"])
def test_a_how_to_does_what_it_shows_on_the_bundles_of_this_repository(page: str, workspace: World) -> None:
    run_page(page, workspace)


def test_the_how_to_for_public_charts_does_what_it_shows(online: World) -> None:
    run_page("docs/how-to/public-charts.md", online)


def test_each_document_with_commands_is_run_by_a_test() -> None:
    ours = Path(__file__).read_text(encoding="utf-8")
    with_commands = {page for page in PAGES if steps(text_of(page))}
    assert {page for page in with_commands if f'"{page}"' not in ours} == set()


# the README, whose commands install Brolly


def readme_block(start: str) -> str:
    return next(block for _, block in blocks(text_of("README.md"), "") if block.startswith(start))


def test_the_commands_that_install_are_those_that_ci_runs() -> None:
    ci, sessions = text_of(".ci/run").replace(" -q ", " "), text_of("noxfile.py")
    pages = text_of("README.md"), text_of("CONTRIBUTING.md")
    commands = [step.command for page in pages for step in steps(page)]
    parts = [part.partition("  #")[0].strip() for command in commands for part in command.split(" && ")]
    named = [name for part in parts if " -s " in part for name in part.partition(" -s ")[2].split()]
    assert {"publish", "tests"} <= set(named)
    assert all(f"def {name}(session" in sessions for name in named)
    for part in parts[:6]:
        assert part in ci
    assert "pip install 'brolly[helm,re2]'" in parts
    assert '".[helm,re2]"' in sessions


def test_the_readme_shows_what_its_publication_prints(workspace: World) -> None:
    shown = re.split(r"^nox > ", readme_block("nox > brolly lock"), flags=re.MULTILINE)[1:]
    assert [part.splitlines()[0] for part in shown] == ["brolly lock --check", "brolly build", "brolly publish"]
    for part in shown:
        command, *lines = part.splitlines()
        code, real = workspace.run(command)
        assert code == 0
        assert_shown(tuple(lines), real, f"README.md: {command}")


def test_the_readmes_bundle_does_what_its_commands_say(online: World) -> None:
    definition = next(block for _, block in blocks(text_of("README.md"), "yaml"))
    path = online.folder / definition.splitlines()[0].removeprefix("# ")
    path.parent.mkdir(parents=True)
    path.write_text(online.real(definition), encoding="utf-8")
    (online.folder / "brolly.toml").touch()
    commands = [step.command for step in steps(text_of("README.md")) if step.command.startswith("brolly ")]
    ran = {command.split()[1]: online.run(command) for command in commands}
    assert list(ran) == ["lock", "check", "build", "render", "publish"]
    assert [code for code, _ in ran.values()] == [0] * 5, ran
    assert (online.folder / "dist/observability-1.0.0.tgz").is_file()

    path.write_text(online.real(definition).replace("description:", "descripton:"), encoding="utf-8")
    code, real = online.run("brolly check")
    assert code == 1
    assert readme_block("error[") in "".join(f"{line}\n" for line in real)


# the objects that operators apply


def objects(page: str) -> list[dict[str, Any]]:
    return [data for _, block in blocks(text_of(page), "yaml") for data in yaml.safe_load_all(block)]


@pytest.mark.parametrize("release", RELEASES)
def test_the_objects_for_operators_are_valid_in_every_supported_flux(release: str) -> None:
    of_flux = [data for data in objects("docs/how-to/flux.md") if "fluxcd.io" in data["apiVersion"]]
    assert len(of_flux) == 5
    assert [fault for data in of_flux for fault in violations(release, data)] == []


def test_the_operators_kustomization_reaches_what_its_comments_say(workspace: World) -> None:
    program = peer("kustomize")
    assert workspace.run("brolly build hello-world")[0] == 0
    folder = workspace.folder / "dist/hello-world-0.0.8"
    wanted = next(data for data in objects("docs/how-to/flux.md") if "namePrefix" in data.get("spec", {}))["spec"]
    path = folder / "kustomization.yaml"
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    # as Flux edits it: names override, patches are appended
    data |= {"namePrefix": wanted["namePrefix"], "namespace": wanted["targetNamespace"]}
    data["patches"] = [*data.get("patches", ()), *wanted["patches"]]
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    done = subprocess.run([program, "build", folder], capture_output=True, check=True)
    built = {(one["kind"], one["metadata"]["name"]): one.get("spec") for one in yaml.safe_load_all(done.stdout)}
    first, second = built["HelmRelease", "blue-hello-1"], built["HelmRelease", "blue-hello-2"]
    assert first["kubeConfig"] == second["kubeConfig"] == {"secretRef": {"name": "blue-cluster"}}
    assert first["valuesFrom"][-1] == {"kind": "ConfigMap", "name": "hello-1-extra"}
    named = [source["name"] for source in second["valuesFrom"]]
    assert "blue-hello-world-shared-values" in named
    assert "blue-hello-2-values" in named
    sources = [spec for (kind, _), spec in built.items() if kind == "OCIRepository"]
    assert [spec["secretRef"] for spec in sources] == [{"name": "registry-login"}] * 2


def test_the_hooks_for_pre_commit_exist() -> None:
    there = {hook["id"] for hook in yaml.safe_load(text_of(".pre-commit-hooks.yaml"))}
    (config,) = objects("docs/how-to/ci.md")
    assert {hook["id"] for repo in config["repos"] for hook in repo["hooks"]} == there


# all documents


@pytest.mark.parametrize("page", PAGES)
def test_links_between_documents_resolve(page: str) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", text_of(page))
    local = [link for link in links if "://" not in link]
    broken = [link for link in local if not _resolves((ROOT / page).parent, link, page)]
    assert broken == []


def _resolves(folder: Path, link: str, page: str) -> bool:
    path, _, anchor = link.partition("#")
    target = folder / path if path else ROOT / page
    if not target.exists() or not anchor:
        return target.exists()
    headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
    return anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_no_line_is_wider_than_a_screen(page: str) -> None:
    assert [line for line in text_of(page).splitlines() if len(line) > WIDEST] == []


@pytest.mark.parametrize("page", PAGES)
def test_documents_name_no_host_that_could_be_somebodys(page: str) -> None:
    hosts = set(re.findall(r"(?:oci|https?)://(\w[\w.-]*)", text_of(page)))
    stands_for_any, of_the_design = {"host", "HOST"}, {"ghcr.io"}
    assert {host for host in hosts if not host.endswith(".example")} <= stands_for_any | of_the_design


def test_the_commands_in_documents_exist() -> None:
    known = {command.name for command in COMMANDS}
    texts = [text_of(page) for page in PAGES]
    typed = {name for text in texts for name in re.findall(r"(?:`|^\$ |&& )brolly ([a-z][a-z-]*)", text, re.MULTILINE)}
    assert typed <= known


def test_every_dependency_has_its_reason_in_a_decision() -> None:
    import tomllib

    project = tomllib.loads(text_of("pyproject.toml"))
    extras = project["project"]["optional-dependencies"]
    asked = [
        *project["project"]["dependencies"],
        *(one for name, extra in extras.items() if name != "all" for one in extra),
        *(one for group in project["dependency-groups"].values() for one in group if isinstance(one, str)),
    ]
    names = {re.split(r"[<>=\[]", one)[0] for one in asked}
    reasons = "\n".join(text_of(page) for page in PAGES if page.startswith("docs/decisions/"))
    assert {name for name in names if f"`{name}`" not in reasons} == set()
