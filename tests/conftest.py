"""What all tests share: Hypothesis' profiles, the flag that rewrites expected files, a workspace to run commands in."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from brolly.engine import Engine
from registries import docker_registry
from workspaces import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

settings.register_profile("tests", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("fidelity", deadline=None, max_examples=1000, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "tests"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite", action="store_true", help="write expected files anew instead of comparing them")


def pytest_report_header() -> str:
    """Say which Pythons the reproducibility test finds beside this one, and which it does not."""
    from test_reproducible import PYTHONS, SUPPORTED, THIS

    missing = [version for version in SUPPORTED if version not in PYTHONS and version != THIS]
    return f"other Pythons: {', '.join(PYTHONS) or 'none'}; not here: {', '.join(missing) or 'none'}"


@pytest.fixture
def rewrite(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--rewrite"))


@pytest.fixture(scope="session")
def shared_engine() -> Iterator[Engine | None]:
    """Helm's engine, started once for all commands that run in this process; None where it is not installed."""
    if not Engine.available():
        yield None
        return
    with Engine() as engine:
        yield engine


@pytest.fixture(scope="session")
def docker() -> Iterator[str]:
    """Run one docker-registry for all tests that keep to repositories of their own; gives its host:port."""
    with docker_registry() as address:
        yield address


@pytest.fixture
def space(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    shared_engine: Engine | None,
) -> Workspace:
    """Make an empty workspace with an address, which no command warns about."""
    made = Workspace(tmp_path / "work", monkeypatch, capsys, shared_engine)
    made.write({"brolly.toml": 'address = "oci://registry.example/bundles"\n'})
    return made


@pytest.fixture
def helm(space: Workspace) -> Workspace:
    """Give the same workspace to a test that is about what Helm's engine says."""
    if space.engine is None:
        pytest.skip("needs Helm's engine: pip install 'brolly[helm]'")
    return space
