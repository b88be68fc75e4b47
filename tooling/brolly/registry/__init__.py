"""Registries: the port, a registry in a folder, and the way to one over HTTP.

`brolly.registry.remote` holds the client for OCI registries; it loads urllib3, and later oras' provider, so it
is imported only where an `oci://` destination is opened.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

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
    TagTaken,
    Unauthorized,
)

__all__ = [
    "MAX_MANIFEST",
    "Destination",
    "LayoutRegistry",
    "NotFound",
    "Patience",
    "Registry",
    "RegistryMisbehaved",
    "RegistryRefused",
    "RegistryUnavailable",
    "TagTaken",
    "Unauthorized",
    "open_registry",
    "parse_destination",
]

# it has a port or a dot, and no path begins with one
_HOST: Final = re.compile(r"localhost(/|$)|[^/.:][^/:]*(\.[^/:]*[^/:.]|:[0-9]+)(:[0-9]+)?(/|$)")


@dataclass(frozen=True)
class Destination:
    """Where repositories are: below a prefix ("" for none) at a host, or in a folder."""

    host: str
    prefix: str = ""
    folder: Path | None = None

    def open(
        self, *, plain_http: bool = False, ca_file: Path | None = None, patience: Patience | None = None
    ) -> Registry:
        """Open the registry: for a host this loads its client. Nothing is asked of it yet."""
        if self.folder is not None:
            return LayoutRegistry(self.folder)
        from brolly.registry.remote import OciRegistry

        # None: plain HTTP for loopback only
        plain = True if plain_http else None
        return OciRegistry(self.host, plain_http=plain, ca_file=ca_file, patience=patience or Patience())


def parse_destination(destination: str, *, root: Path | None = None) -> Destination:
    """Read `oci://HOST[/PREFIX]` or `oci-layout:PATH`; UsageError for anything else.

    A relative PATH starts at `root` (default: the current directory).
    """
    kind, colon, rest = destination.partition(":")
    if kind == "oci-layout" and colon:
        return Destination("", folder=_folder(rest, root or Path()))
    host = rest.removeprefix("//").partition("/")[0].rpartition("@")
    if colon and host[1]:
        # a password is not repeated
        raise UsageError("a destination holds no user and no password", hint=f"run `helm registry login {host[2]}`")
    if not destination.startswith("oci://"):
        raise UsageError(f"not a registry: {destination!r}", hint=_likely(destination))
    return Destination(*_host_and_prefix(destination))


def open_registry(
    destination: str,
    *,
    root: Path | None = None,
    plain_http: bool = False,
    ca_file: Path | None = None,
    patience: Patience | None = None,
) -> tuple[Registry, str]:
    """Open a destination: its registry, and the prefix under which repositories live; UsageError."""
    parsed = parse_destination(destination, root=root)
    return parsed.open(plain_http=plain_http, ca_file=ca_file, patience=patience), parsed.prefix


def _likely(destination: str) -> str:
    """Guess what was meant, by what comes before the first slash: docker tells hosts from names in the same way."""
    scheme, marked, rest = destination.rpartition("://")
    if scheme.lower() == "file":
        return f"write oci-layout:{rest}"
    meant = f"oci://{(rest if marked else destination).removesuffix('/')}"
    try:
        _host_and_prefix(meant)
    except UsageError as error:
        if marked:
            return error.hint
    else:
        if marked:
            return f"write {meant}" + (", with --plain-http" if scheme.lower() == "http" else "")
        if _HOST.match(destination):
            return f"write {meant}, or oci-layout:{destination} for a folder"
    return f"write oci-layout:{destination}, or oci://HOST/PREFIX for a registry on the network"


def _folder(path: str, root: Path) -> Path:
    if not path:
        raise UsageError("oci-layout: needs a folder", hint="write oci-layout:PATH, such as oci-layout:registry")
    try:
        return root / Path(path).expanduser()
    except RuntimeError as error:
        raise UsageError(f"oci-layout:{path}: this user has no home folder", hint="set HOME") from error


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
