"""The faults that are not findings: what the world did, and what was asked wrongly.

A fault in a file that an author can edit is a value (`findings.Finding`). What is left are these two; everything else
that is raised is a bug and shows its traceback.
"""

from __future__ import annotations


class BrollyError(Exception):
    """A fault that a person can act on; `hint` says what to type."""

    exit_code = 3

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(BrollyError):
    """The command or the workspace's configuration is wrong (exit code 2)."""

    exit_code = 2


class WorldError(BrollyError):
    """The world failed: a registry, the network, a disk (exit code 3). The message names what was being done."""

    exit_code = 3
