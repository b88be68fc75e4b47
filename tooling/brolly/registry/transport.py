"""Requests with a bounded patience: connections, timeouts, retries, proxies and certificates; no authorization.

urllib3 does it all, with its retries for what may pass (429, 5xx, a dropped connection). requests would add half a
millisecond of processor time to each request and nothing that is wanted here: no .netrc (its passwords would go to
wherever a redirect leads), no cookies, no redirects of its own. What it knows about proxies and certificates is asked
of it: they come from the environment as other tools read them, HTTPS_PROXY, NO_PROXY, REQUESTS_CA_BUNDLE,
CURL_CA_BUNDLE, SSL_CERT_FILE.
"""

from __future__ import annotations

import io
import json
import os
import sys
import threading
import time
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final, TypeAlias

from urllib3 import HTTPHeaderDict, PoolManager, Timeout, exceptions
from urllib3.util import Retry
from urllib3.util.ssl_ import create_urllib3_context

import brolly
from brolly.errors import UsageError
from brolly.registry.addresses import Origin, is_loopback, origin_of, shown, target_of
from brolly.registry.pace import TooSlow, paced
from brolly.registry.port import Patience, RegistryMisbehaved, RegistryRefused, RegistryUnavailable, quoted

if TYPE_CHECKING:
    import ssl
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from urllib3.connectionpool import ConnectionPool
    from urllib3.response import BaseHTTPResponse

PASSING: Final = frozenset({429, 500, 502, 503, 504})
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS: Final = 5
_CHUNK: Final = 1 << 20
# what is read of a file before it is sent on: 16 KiB, as usual, are 6,000 system calls for 100 MB
_BLOCK: Final = 1 << 22
# connections kept per host: as many as threads may use at once
_KEPT: Final = 64
_LONGER: Final = "try again later, or wait longer with --timeout SECONDS"
_CA_VARIABLES: Final = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
_USUAL: Final = {
    "Accept": "*/*",
    # a blob is what its digest says, not what a Content-Encoding makes of it
    "Accept-Encoding": "identity",
    "User-Agent": f"brolly/{brolly.__version__}",
}

# a file is sent from its start to its end, which is what the Content-Length among the headers says
Body: TypeAlias = bytes | IO[bytes]


class _Retry(Retry):
    """urllib3's retries, with an upper bound on what `Retry-After` may ask for, and one retry only after a hang."""

    longest_wait = 30.0

    def new(self, **changes: Any) -> Self:
        made = super().new(**changes)
        made.longest_wait = self.longest_wait
        return made

    def get_retry_after(self, response: BaseHTTPResponse) -> float | None:
        try:
            asked = super().get_retry_after(response)
        except exceptions.InvalidHeader:
            return None
        return asked if asked is None else min(asked, self.longest_wait)

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: BaseHTTPResponse | None = None,
        error: Exception | None = None,
        _pool: ConnectionPool | None = None,
        _stacktrace: TracebackType | None = None,
    ) -> Self:
        hangs = [past for past in self.history if isinstance(past.error, exceptions.ReadTimeoutError)]
        if hangs and _pool and isinstance(error, exceptions.ReadTimeoutError):
            raise exceptions.MaxRetryError(_pool, url or "", error)
        left = super().increment(method, url, response, error, _pool, _stacktrace)
        if response is not None:
            # there is another try: urllib3 would read the rest of this answer, however long, to keep the connection
            response.close()
        return left


@dataclass
class Response:
    """An answer. `content` is empty until somebody has read the body and put it there.

    It has what oras reads of an answer of requests, by the same names.
    """

    method: str
    url: str
    raw: BaseHTTPResponse
    content: bytes = b""

    @property
    def request(self) -> Response:
        """What was asked: its `method` and `url`."""
        return self

    @property
    def ok(self) -> bool:
        """Whether the status is no error."""
        return self.status_code < 400

    @property
    def text(self) -> str:
        """The content as UTF-8."""
        return self.content.decode(errors="replace")

    @property
    def links(self) -> dict[str, dict[str, str]]:
        """The links among the headers (RFC 8288), by what they lead to."""
        from requests.utils import parse_header_links

        found = parse_header_links(self.headers.get("Link", ""))
        return {link.get("rel") or link["url"]: link for link in found}

    def json(self) -> Any:
        """Read the content as JSON; ValueError."""
        return json.loads(self.content)

    def iter_content(self, chunk_size: int = 1) -> Iterator[bytes]:
        """Give the content in pieces."""
        return (self.content[at : at + chunk_size] for at in range(0, len(self.content), chunk_size))

    def raise_for_status(self) -> None:
        """Refuse an error; RegistryRefused."""
        if not self.ok:
            raise RegistryRefused(f"{self.method} {shown(self.url)}: refused ({self.status_code})")

    @property
    def status_code(self) -> int:
        """The HTTP status."""
        return self.raw.status

    @property
    def reason(self) -> str:
        """The words beside the status, "" for none."""
        return self.raw.reason or ""

    @property
    def headers(self) -> HTTPHeaderDict:
        """The headers, by name in any case."""
        return self.raw.headers

    def close(self) -> None:
        """Give the connection back; one whose answer was not read to its end is closed."""
        self.raw.close()
        self.raw.release_conn()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Transport:
    """Sends requests. Safe to share between threads."""

    def __init__(
        self, patience: Patience, *, ca_file: Path | None = None, redirect_hosts: Collection[str] = ()
    ) -> None:
        self.patience = patience
        self._ca = _trusted(ca_file)
        self._redirect_hosts = redirect_hosts
        self._retry = _retry(patience)
        self._timeout = Timeout(connect=patience.connect, read=patience.read)
        self._managers: dict[Origin, PoolManager] = {}
        self._lock = threading.Lock()

    def send(self, method: str, url: str, headers: Mapping[str, str], body: Body | None = None) -> Response:
        """Send one request, again where that may help; the answer's body is unread, a redirect not followed.

        After every retry the last 429 or 5xx is the answer; RegistryUnavailable if there is none.
        """
        if body is not None and not isinstance(body, bytes):
            body.seek(0)
        try:
            raw = self._manager(url).urlopen(
                method,
                url,
                headers={**_USUAL, **headers},
                body=body,
                redirect=False,
                retries=self._retry,
                timeout=self._timeout,
                preload_content=False,
                decode_content=False,
            )
        except (exceptions.HTTPError, OSError) as error:
            raise _unavailable(method, url, error) from error
        return Response(method, url, raw)

    def follow(
        self, method: str, url: str, headers: Mapping[str, str], body: Body | None = None, authorization: str = ""
    ) -> Response:
        """Send and follow redirects; the authorization goes to the first origin only, and not back to it later."""
        at, secret = url, {"Authorization": authorization} if authorization else {}
        for _ in range(_MAX_REDIRECTS + 1):
            response = self.send(method, at, {**headers, **secret}, body)
            location = response.headers.get("Location")
            if response.status_code not in _REDIRECTS or not location:
                return response
            response.close()
            at = target_of(at, location, allowed=self._redirect_hosts)
            if method not in {"GET", "HEAD"} and response.status_code not in {307, 308}:
                raise RegistryMisbehaved(f"{shown(url)}: answers a {method} with a redirect {response.status_code}")
            if origin_of(at) != origin_of(url):
                secret = {}
        raise RegistryMisbehaved(f"{shown(url)}: redirects more than {_MAX_REDIRECTS} times")

    def target(self, base: str, location: str) -> str:
        """Join what an answer names; RegistryMisbehaved if it must not be followed."""
        return target_of(base, location, allowed=self._redirect_hosts)

    def rest(self, turn: int) -> None:
        """Wait before another try of what urllib3 does not retry."""
        time.sleep(min(self.patience.backoff * 2**turn, self.patience.longest_wait))

    def _manager(self, url: str) -> PoolManager:
        """Give the connections to a host, or to its proxy: both are looked up once."""
        origin = origin_of(url)
        with self._lock:
            if origin not in self._managers:
                self._managers[origin] = self._new_manager(url, origin)
            return self._managers[origin]

    def _new_manager(self, url: str, origin: Origin) -> PoolManager:
        options: dict[str, Any] = {"maxsize": _KEPT, "blocksize": _BLOCK}
        proxy = _proxy(url, origin.host)
        if proxy or origin.scheme == "https":
            options["ssl_context"] = _context(self._ca)
        if not proxy:
            return paced(PoolManager(**options))
        from requests.adapters import HTTPAdapter

        if proxy.startswith("https:"):
            options["proxy_ssl_context"] = options["ssl_context"]
        made: PoolManager = HTTPAdapter(pool_maxsize=options.pop("maxsize")).proxy_manager_for(proxy, **options)
        return paced(made)


def _retry(patience: Patience) -> _Retry:
    made = _Retry(
        total=patience.tries - 1,
        other=0,  # a certificate does not get better
        redirect=0,
        status_forcelist=PASSING,
        allowed_methods=None,  # POST too: it only opens an upload
        raise_on_status=False,
        backoff_factor=patience.backoff,
        backoff_max=patience.longest_wait,
    )
    made.longest_wait = patience.longest_wait
    return made


def read_body(response: Response, limit: int) -> tuple[bytes, bool]:
    """Read the body, as sent, up to one byte above the limit, and say whether it came so far without breaking off."""
    out = io.BytesIO()
    try:
        while (left := limit + 1 - out.tell()) > 0:
            chunk = response.raw.read(min(_CHUNK, left), decode_content=False)
            if not chunk:
                return out.getvalue(), True
            out.write(chunk)
    except exceptions.ReadTimeoutError as error:
        raise _unavailable(response.method, response.url, error) from error
    except (exceptions.HTTPError, OSError):
        return out.getvalue(), False
    finally:
        response.close()  # a connection whose answer is read to its end is back in its pool already
    return out.getvalue(), True


def _trusted(ca_file: Path | None) -> str:
    """Name the file of certificates to trust, "" for those that requests brings."""
    named = [("", str(ca_file))] if ca_file else [(key, os.environ.get(key, "")) for key in _CA_VARIABLES]
    for variable, path in named:
        if path and not os.path.exists(path):  # noqa: PTH110
            source = f" ({variable})" if variable else ""
            raise UsageError(f"no certificate file {path}{source}", hint="name a file of PEM certificates")
        if path:
            return path
    return ""


def _context(ca: str) -> ssl.SSLContext:
    """Load what is trusted: once for all connections of a host, since that takes longer than a connection."""
    if not ca:
        from requests.utils import DEFAULT_CA_BUNDLE_PATH

        ca = DEFAULT_CA_BUNDLE_PATH
    context = create_urllib3_context()
    try:
        context.load_verify_locations(**{"capath" if os.path.isdir(ca) else "cafile": ca})  # noqa: PTH112
    except OSError as error:
        raise exceptions.SSLError(error) from error
    return context


def _proxy(url: str, host: str) -> str:
    """Give the URL of the proxy to use, "" for none."""
    # like Go, never ask a proxy for this machine
    if is_loopback(host) or not _may_have_proxies():
        return ""
    from requests.utils import get_environ_proxies, select_proxy

    chosen = select_proxy(url, get_environ_proxies(url)) or ""
    return f"http://{chosen}" if chosen and "://" not in chosen else chosen


def _may_have_proxies() -> bool:
    """Say whether it is worth loading requests for: Windows and macOS have settings beside the environment."""
    return sys.platform in {"win32", "darwin"} or any(name.lower().endswith("_proxy") for name in os.environ)


def _unavailable(method: str, url: str, error: Exception) -> RegistryUnavailable:
    cause, hint = _cause(error)
    return RegistryUnavailable(f"{method} {shown(url)}: {cause}", hint=hint)


def _cause(error: BaseException) -> tuple[str, str]:
    """Say what failed and what helps. Not the library's words: they hold whole URLs, signatures included."""
    reason = error.reason if isinstance(error, exceptions.MaxRetryError) else error
    match reason:
        case exceptions.NameResolutionError():
            return "the host's name is not known", "is it spelled right, and is there a network?"
        case exceptions.NewConnectionError():
            return f"no connection: {_strerror(reason)}", "does the server run, and is its port right?"
        case exceptions.ReadTimeoutError() if isinstance(reason.__cause__, TooSlow):
            return f"the answer comes {reason.__cause__}", _LONGER
        case exceptions.ReadTimeoutError() | exceptions.ConnectTimeoutError():
            return "no answer in time", _LONGER
        case exceptions.SSLError():
            hint = "SSL_CERT_FILE names the certificates to trust; a registry without TLS needs --plain-http"
            return f"no TLS connection: {quoted(str(reason.args[0] if reason.args else reason))}", hint
        case exceptions.ProxyError():
            return "the proxy does not connect", "see HTTPS_PROXY and NO_PROXY"
        case _:
            return f"the connection broke ({type(reason).__name__})", "try again, or ask more often: --retries"


def _strerror(reason: BaseException) -> str:
    cause = reason.__cause__
    return (cause.strerror or type(cause).__name__) if isinstance(cause, OSError) else type(reason).__name__
