"""Where a request may go: origins, and what a registry's answer may send us to.

A registry names other addresses (redirects, upload locations, further pages, token servers). Each is checked here:
credentials stay with the origin that they are for, https is not left, and a public registry cannot send us into a
private network (GHSA-vh4v-2xq2-g5cg, GHSA-28r5-37g7-p6mp, GHSA-jxpm-75mh-9fp7, GHSA-h7vf-4x9w-h99v).
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urljoin, urlsplit, urlunsplit

from brolly.registry.port import RegistryMisbehaved, quoted

if TYPE_CHECKING:
    from collections.abc import Collection

_PORTS: Final = {"http": 80, "https": 443}
# "127.1", "0x7f.1" and "2130706433" are addresses for a resolver, though not for ipaddress
_NUMERIC: Final = re.compile(r"(?:.*\.)?(?:0x[0-9a-f]*|[0-9]+)")
_HUB: Final = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})


class Origin(NamedTuple):
    """What credentials are bound to: scheme, host in lower case, port."""

    scheme: str
    host: str
    port: int | None


def origin_of(url: str) -> Origin:
    """Give the origin of a URL; ValueError if it has none."""
    parts = urlsplit(url)
    if not parts.hostname:
        raise ValueError("it names no host")
    return Origin(parts.scheme, parts.hostname.rstrip("."), parts.port or _PORTS.get(parts.scheme))


def api_host(host: str) -> str:
    """Give the host that serves the API: Docker Hub's is not the one that people write."""
    return "registry-1.docker.io" if host.lower() in _HUB else host


def is_hub(host: str) -> bool:
    """Say whether the host is one of Docker Hub's names."""
    return host.lower() in _HUB


def is_loopback(host: str) -> bool:
    """Say whether a host, without port and brackets, is this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def shown(url: str) -> str:
    """Write a URL for a message: without user, query and fragment, which may hold secrets."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        return quoted(urlunsplit((parts.scheme, host, parts.path, "", "")))
    except ValueError:
        return "(not a URL)"


def target_of(base: str, location: str, *, allowed: Collection[str] = ()) -> str:
    """Join what an answer of `base` names; RegistryMisbehaved if it must not be followed.

    `allowed` are hosts in private networks that may be named. Whether credentials go along is for the caller to
    decide: only to the same origin.
    """
    try:
        url = urljoin(base, location)
        reason = _refusal(origin_of(base), origin_of(url), allowed)
    except ValueError as error:
        raise RegistryMisbehaved(f"{shown(base)}: leads to no URL: {quoted(str(error))}") from error
    if reason:
        raise RegistryMisbehaved(f"{shown(base)}: leads to {shown(url)}, which is not followed: {reason}")
    return url


def _refusal(here: Origin, there: Origin, allowed: Collection[str]) -> str:
    if here == there:
        return ""
    if there.scheme not in _PORTS:
        return "only http and https are"
    if there.scheme == "http" and here.scheme == "https":
        proxy = " (does the proxy before the registry pass X-Forwarded-Proto?)" if here.host == there.host else ""
        return f"it leaves https{proxy}"
    if _is_private(there.host) and not _is_private(here.host) and there.host not in allowed:
        return "it is an address of a private network"
    return ""


def _is_private(host: str) -> bool:
    if is_loopback(host):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return bool(_NUMERIC.fullmatch(host))
    mapped = getattr(address, "ipv4_mapped", None)
    return not (mapped or address).is_global
