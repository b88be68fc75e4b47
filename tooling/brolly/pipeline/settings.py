"""What is the same for all bundles of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from brolly import __version__, workspace
from brolly.errors import UsageError
from brolly.findings import Finding, Rule, Severity, printable
from brolly.oci import Reference
from brolly.sources import Settings

if TYPE_CHECKING:
    from brolly.workspace import Workspace

NO_ADDRESS: Final = Rule("workspace/no-address", Severity.WARNING, "nothing says where clusters pull from")

RULES: Final = (NO_ADDRESS,)


def settings_of(space: Workspace, address: str, epoch: int) -> tuple[Settings, tuple[Finding, ...]]:
    """Work out what is the same for all bundles; a missing address is a warning."""
    labels = dict(space.config.labels)
    chosen = address or space.config.address
    _require_address(chosen or workspace.DEFAULT_ADDRESS)
    made = Settings(
        address=(chosen or workspace.DEFAULT_ADDRESS).rstrip("/"),
        epoch=epoch,
        part_of_label=labels.pop("part-of", Settings.part_of_label),
        version_label=labels.pop("version", Settings.version_label),
        extra_labels=labels,
        is_configured=not address,
        version=__version__,
    )
    if chosen:
        return made, ()
    missing = NO_ADDRESS.finding(
        f"no address is set, {made.address} stands in for it",
        hint=f'set address = "oci://HOST/PATH" in {space.config_path.name}, or give --address',
    )
    return made, (missing,)


def _require_address(address: str) -> None:
    try:
        reference = Reference.parse(f"{address.rstrip('/')}/any")
    except ValueError as error:
        raise UsageError(f"the address cannot be used: {error}", hint="write oci://HOST/PATH") from error
    if not address.startswith("oci://") or reference.digest:
        raise UsageError(f"the address cannot be used: {printable(address)!r}", hint="write oci://HOST/PATH")


def policy_of(space: Workspace) -> str:
    """Write down what else of the workspace decides an outcome: named repositories and limits."""
    return msgspec.json.encode([space.config.repositories, space.config.limits], order="sorted").decode()
