"""Registries: the port, a registry in a folder, and the way to one over HTTP.

`brolly.registry.remote` holds the client for OCI registries; it loads oras and urllib3, so `open_registry` imports it
only for an `oci://` destination.
"""

from __future__ import annotations

from pathlib import Path

from brolly.errors import UsageError
from brolly.oci import Reference
from brolly.registry.layout import LayoutRegistry
from brolly.registry.port import (
    MAX_MANIFEST,
    NotFound,
    Patience,
    Registry,
    RegistryMisbehaved,
    RegistryRefused,
    RegistryUnavailable,
    Unauthorized,
)

__all__ = [
    "MAX_MANIFEST",
    "LayoutRegistry",
    "NotFound",
    "Patience",
    "Registry",
    "RegistryMisbehaved",
    "RegistryRefused",
    "RegistryUnavailable",
    "Unauthorized",
    "open_registry",
]


def open_registry(
    destination: str,
    *,
    root: Path | None = None,
    plain_http: bool = False,
    ca_file: Path | None = None,
    patience: Patience | None = None,
) -> tuple[Registry, str]:
    """Open `oci://HOST[/PREFIX]` or `oci-layout:PATH`; UsageError for anything else.

    Gives the registry and the prefix under which repositories live ("" for none). A relative PATH starts at `root`
    (default: the current directory). Nothing is asked of the registry yet.
    """
    kind, colon, rest = destination.partition(":")
    if kind == "oci-layout" and colon:
        return _open_layout(rest, root or Path()), ""
    if not destination.startswith("oci://"):
        hint = f"write oci-layout:{destination}, or oci://HOST/PREFIX for a registry on the network"
        raise UsageError(f"not a registry: {destination!r}", hint=hint)
    host, prefix = _host_and_prefix(destination)
    from brolly.registry.remote import OciRegistry

    # None: plain HTTP for loopback only
    plain = True if plain_http else None
    return OciRegistry(host, plain_http=plain, ca_file=ca_file, patience=patience or Patience()), prefix


def _open_layout(path: str, root: Path) -> LayoutRegistry:
    if not path:
        raise UsageError("oci-layout: needs a folder", hint="write oci-layout:PATH, such as oci-layout:registry")
    return LayoutRegistry(root / Path(path).expanduser())


def _host_and_prefix(destination: str) -> tuple[str, str]:
    text = destination.removesuffix("/")
    bare = "/" not in text.removeprefix("oci://")
    try:
        reference = Reference.parse(f"{text}/any" if bare else text)
    except ValueError as error:
        raise UsageError(str(error), hint="write oci://HOST/PREFIX, such as oci://registry.example") from error
    if reference.tag or reference.digest:
        hint = f"write oci://{reference.host}/{reference.repository}"
        raise UsageError(f"a destination has no tag and no digest: {destination!r}", hint=hint)
    return reference.host, "" if bare else reference.repository
