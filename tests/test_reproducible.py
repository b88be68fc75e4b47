"""The same input gives the same bytes: in another folder, time zone, umask, locale, hash seed, and Python."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SUPPORTED = ("3.11", "3.12", "3.13", "3.14")
THIS = f"{sys.version_info.major}.{sys.version_info.minor}"


def pythons() -> dict[str, str]:
    """Find other Pythons that are here and run: version to program."""
    found = {}
    for version in SUPPORTED:
        program = shutil.which(f"python{version}")
        if program and version != THIS:
            works = subprocess.run([program, "-c", "import sys; print(sys.version)"], capture_output=True, check=False)
            if works.returncode == 0:
                found[version] = program
    return found


PYTHONS = pythons()


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".brolly" not in path.parts
    }


def build(python: str, folder: Path, *, umask: int = 0o022, **environ: str) -> dict[str, str]:
    """Copy the bundles of this repository into a folder, build and publish them there; give the digests of it all."""
    shutil.copytree(ROOT / "bundles", folder / "bundles")
    (folder / "brolly.toml").write_text('address = "oci://registry.example/brolly"\n')
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder / "home"),
        "BROLLY_CACHE": str(folder / "cache"),
        **{name: text for name, text in os.environ.items() if name.startswith("PYENV_")},
        **environ,
    }
    for command in ("build", "publish"):
        done = subprocess.run(
            [python, "-m", "brolly", command],
            cwd=folder,
            env=env,
            capture_output=True,
            text=True,
            check=False,
            umask=umask,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    return {
        **{f"dist/{name}": digest for name, digest in digests(folder / "dist").items()},
        **{f"registry/{name}": digest for name, digest in digests(folder / "registry").items()},
    }


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return build(sys.executable, tmp_path_factory.mktemp("reference"))


def test_a_build_does_not_depend_on_where_and_how_it_runs(reference: dict[str, str], tmp_path: Path) -> None:
    strange = tmp_path / "a folder with spaces" / "ünï"
    strange.mkdir(parents=True)
    built = build(
        sys.executable, strange, umask=0o077, TZ="Pacific/Kiritimati", LC_ALL="C", PYTHONHASHSEED="7", PYTHONUTF8="0"
    )  # fmt: skip
    assert built == reference
    assert any(name.startswith("registry/storefront/") for name in built)


def test_the_epoch_moves_the_bytes(reference: dict[str, str], tmp_path: Path) -> None:
    built = build(sys.executable, tmp_path, SOURCE_DATE_EPOCH="1700000000")
    assert built.keys() != reference.keys()


@pytest.mark.parametrize("version", sorted(PYTHONS) or ["none"])
def test_a_build_does_not_depend_on_the_python(reference: dict[str, str], tmp_path: Path, version: str) -> None:
    if version == "none":
        pytest.skip("needs another Python of 3.11 to 3.14 on PATH, such as python3.12 (apt-get install python3.12)")
    venv = tmp_path / "venv"
    uv = [sys.executable, "-m", "uv", "--quiet"]
    subprocess.run([*uv, "venv", "--python", PYTHONS[version], str(venv)], check=True, cwd=tmp_path)
    python = str(venv / "bin" / "python")
    subprocess.run([*uv, "pip", "install", "--python", python, f"{ROOT}[helm,re2]"], check=True, cwd=tmp_path)
    (tmp_path / "work").mkdir()
    assert build(python, tmp_path / "work") == reference
