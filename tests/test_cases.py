"""Whole reports: each folder of `cases/` is a small workspace, and `expected.txt` all that `brolly check` says of it.

`pytest tests/test_cases.py --rewrite` writes the expected texts anew. A case without locks is locked first, unless it
is about locks (a file `no-lock` says so).
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from workspaces import Workspace

CASES = Path(__file__).parent / "cases"


@pytest.mark.parametrize("case", sorted(path.name for path in CASES.iterdir()))
def test_a_case_gives_the_expected_report(case: str, helm: Workspace, rewrite: bool) -> None:  # noqa: FBT001
    shutil.copytree(CASES / case, helm.root, dirs_exist_ok=True)
    if not list(helm.root.glob("bundles/*/bundle.lock")) and not (helm.root / "no-lock").exists():
        helm.run("lock")
    done = helm.run("check")
    text = re.sub("sha256:[0-9a-f]{64}", "sha256:...", f"{done.err}{done.out}# exit {done.code}\n")
    expected = CASES / case / "expected.txt"
    if rewrite:
        expected.write_text(text)
    assert text == expected.read_text()
