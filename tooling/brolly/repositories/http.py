"""GET over http(s), for indexes and chart packages: bounded in size, and careful with credentials.

The requests themselves are those of the registry client: its patience, its redirects, its certificates. What differs
from Helm's getter (pkg/getter/httpgetter.go): credentials go to the repository's own scheme, host and port and nowhere
else (CVE-2021-32690), with no switch to turn that off.
"""

from __future__ import annotations

import base64
import re
import zlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

from brolly.errors import WorldError
from brolly.findings import printable
from brolly.registry.addresses import origin_of, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brolly.registry import Patience
    from brolly.registry.transport import Response, Transport

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_LOG_IN: Final = "give the repository's user name and password, as `helm repo add` stores them"
_HINTS: Final = {
    401: _LOG_IN,
    403: _LOG_IN,
    404: "check the repository's address",
    429: "the server asks for patience: try again later",
}


@dataclass(frozen=True)
class Credential:
    """A user name and a password for one repository."""

    username: str
    password: str = field(repr=False)

    @property
    def header(self) -> str:
        """The value of the Authorization header (RFC 7617)."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


@dataclass(frozen=True)
class Answer:
    """What a server said: 200 with its content, or 304 without."""

    status: int
    headers: Mapping[str, str]
    content: bytes = field(repr=False)


class HttpFault(WorldError):  # noqa: N818 - a fault of the world, as its base
    """A server or the network failed; `status` is the HTTP status, 0 where there is none to blame."""

    def __init__(self, message: str, *, status: int = 0, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status


class Client:
    """Reads URLs, from any thread."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience

    def read(
        self,
        url: str,
        *,
        doing: str,
        max_size: int,
        credential: Credential | None = None,
        headers: Mapping[str, str] | None = None,
        unpack: bool = False,
    ) -> Answer:
        """Read a URL; HttpFault begins with what was being done (`doing`).

        With `unpack`, content that is packed for the way is asked for and unpacked; else what arrives is taken as it
        is, since servers mark a .tgz as gzip-encoded too. `max_size` bounds the bytes on the way and after unpacking.
        """
        address, given = split_userinfo(_checked(url, doing))
        secret = given or credential
        sent = {**(headers or {}), "Accept-Encoding": "gzip" if unpack else "identity"}
        try:
            response, body = self._body(address, sent, secret.header if secret else "", max_size)
        except WorldError as error:
            raise HttpFault(f"{doing}: {error}", hint=error.hint) from error
        _require_good(response, doing)
        if len(body) > max_size:
            raise _too_large(doing, max_size)
        content = _decoded(response, body, doing, max_size) if unpack else body
        return Answer(response.status_code, response.headers, content)

    @cached_property
    def _transport(self) -> Transport:
        from brolly.registry.transport import Transport

        return Transport(self._patience)

    def _body(self, url: str, headers: Mapping[str, str], authorization: str, max_size: int) -> tuple[Response, bytes]:
        """Read an answer whole; what broke off is asked for again."""
        from brolly.registry.transport import read_body

        read = 0
        for turn in range(self._patience.tries):
            if turn:
                self._transport.rest(turn - 1)
            with self._transport.follow("GET", url, headers, authorization=authorization) as response:
                if response.status_code != 200:
                    return response, b""
                body, is_whole = read_body(response, max_size)
                if is_whole:
                    return response, body
                read = len(body)
        raise WorldError(f"{shown(url)}: the download broke off after {read} bytes, each time", hint="try again later")


def split_userinfo(url: str) -> tuple[str, Credential | None]:
    """Take `user:password@` out of a URL; what is no URL is given back as it is."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url, None
    userinfo, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, None
    username, _, password = userinfo.partition(":")
    return urlunsplit(parts._replace(netloc=host)), Credential(unquote(username), unquote(password))


def resolve_reference(base: str, reference: str) -> str:
    """Resolve a chart's URL against its repository's, as Helm does: the repository is a folder, and its query stays.

    Source: ResolveReferenceURL in pkg/repo/v1/chartrepo.go. ValueError for what is no URL.
    """
    if urlsplit(reference).scheme:
        return reference
    folder = urlsplit(base)
    path = folder.path.removesuffix("/") + "/"
    joined = urlsplit(urljoin(urlunsplit(folder._replace(path=path, query="", fragment="")), reference))
    return urlunsplit(joined._replace(query=folder.query))


def is_same_origin(url: str, other: str) -> bool:
    """Say whether two URLs have one scheme, host and port; nothing that is no URL has."""
    try:
        return origin_of(url) == origin_of(other)
    except ValueError:
        return False


def _checked(url: str, doing: str) -> str:
    """Refuse what is no address of a file on a server. Python drops control characters from URLs, other readers not."""
    try:
        usable = not _CONTROL.search(url) and origin_of(url).scheme in {"http", "https"}
    except ValueError:
        usable = False
    if not usable:
        raise HttpFault(f"{doing}: {shown(url)!r} is no http(s) URL")
    return url


def _require_good(response: Response, doing: str) -> None:
    status = response.status_code
    if status in {200, 304}:
        return
    hint = _HINTS.get(status, "try again later" if status >= 500 else "")
    phrase = f"{status} {printable(response.reason or '')}".rstrip()
    raise HttpFault(f"{doing}: {shown(response.url)} answers {phrase}", status=status, hint=hint)


def _decoded(response: Response, body: bytes, doing: str, max_size: int) -> bytes:
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if not body or encoding in {"", "identity"}:
        return body
    if encoding not in {"gzip", "x-gzip"}:
        raise HttpFault(f"{doing}: it is encoded as {printable(encoding)!r}, which was not asked for")
    return _unpacked(body, doing, max_size)


def _unpacked(content: bytes, doing: str, max_size: int) -> bytes:
    out = b""
    while content:
        unzip: Any = zlib.decompressobj(wbits=31)
        try:
            out += unzip.decompress(content, max_size + 1 - len(out))
        except zlib.error as error:
            raise HttpFault(f"{doing}: damaged gzip ({error})", hint="try again") from error
        if len(out) > max_size:
            raise _too_large(doing, max_size)
        if not unzip.eof:
            raise HttpFault(f"{doing}: the gzip is cut off", hint="try again")
        content = unzip.unused_data  # one gzip may follow another (RFC 1952 2.2)
    return out


def _too_large(doing: str, max_size: int) -> HttpFault:
    return HttpFault(f"{doing}: it has more than {max_size} bytes, the limit of {max_size >> 20} MiB")
