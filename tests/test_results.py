"""What the result cache goes by."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys

import pytest

from brolly import results


@pytest.mark.parametrize("name", [*results._DECIDERS, "pytest", "brolly-is-not-called-so"])
def test_versions_are_those_of_the_installed_distributions(name: str) -> None:
    try:
        wanted = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        wanted = "-"
    assert results._version(name) == wanted


def test_the_identity_names_the_code_and_all_that_decides() -> None:
    named = results.tool_identity().split("; ")
    assert named[0].startswith("brolly ")
    assert [one.split()[0] for one in named[1:]] == [*results._DECIDERS]


def test_another_engine_is_another_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HELM_C_LIB", "/elsewhere/libhelm.so")
    assert results.tool_identity.__wrapped__().endswith("; /elsewhere/libhelm.so")


def test_the_identity_is_found_without_loading_what_reads_metadata() -> None:
    script = (
        "import sys; from brolly.results import tool_identity; "
        "assert ' -' not in tool_identity(), 'an extra is missing'; print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    if "an extra is missing" in done.stderr:
        pytest.skip("needs all that decides: pip install 'brolly[helm,re2]'")
    assert "importlib.metadata" not in done.stdout.split()
