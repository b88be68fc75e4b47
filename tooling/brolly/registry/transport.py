"""Requests with a bounded patience: sessions, timeouts, retries, proxies and certificates; no authorization.

One session per thread (a session is not made for several), urllib3's retries for what may pass (429, 5xx, a dropped
connection), no .netrc (requests would send its passwords to wherever a redirect leads), no cookies. Proxies and
certificate files come from the environment as other tools read them: HTTPS_PROXY, NO_PROXY, REQUESTS_CA_BUNDLE,
CURL_CA_BUNDLE, SSL_CERT_FILE.
"""

from __future__ import annotations

import io
import os
import threading
import time
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies
from urllib3 import exceptions as urllib3
from urllib3.util import Retry

import brolly
from brolly.errors import UsageError
from brolly.registry.addresses import is_loopback, origin_of, shown, target_of
from brolly.registry.port import Patience, RegistryMisbehaved, RegistryUnavailable, quoted

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from urllib3.connectionpool import ConnectionPool
    from urllib3.response import BaseHTTPResponse

PASSING: Final = frozenset({429, 500, 502, 503, 504})
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS: Final = 5
_CHUNK: Final = 1 << 20
_CA_VARIABLES: Final = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


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
        except urllib3.InvalidHeader:
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
        hangs = [past for past in self.history if isinstance(past.error, urllib3.ReadTimeoutError)]
        if hangs and _pool and isinstance(error, urllib3.ReadTimeoutError):
            raise urllib3.MaxRetryError(_pool, url or "", error)
        left = super().increment(method, url, response, error, _pool, _stacktrace)
        if response is not None:
            # there is another try: urllib3 would read the rest of this answer, however long, to keep the connection
            response.close()
        return left


class Transport:
    """Sends requests. Safe to share between threads."""

    def __init__(
        self, patience: Patience, *, ca_file: Path | None = None, redirect_hosts: Collection[str] = ()
    ) -> None:
        self.patience = patience
        self._verify = _trusted(ca_file)
        self._redirect_hosts = redirect_hosts
        self._local = threading.local()

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None) -> requests.Response:
        """Send one request, again where that may help; the answer's body is unread, a redirect not followed.

        After every retry the last 429 or 5xx is the answer; RegistryUnavailable if there is none.
        """
        try:
            return self._session().request(
                method,
                url,
                headers=dict(headers),
                data=body,
                stream=True,
                allow_redirects=False,
                timeout=(self.patience.connect, self.patience.read),
                verify=self._verify,
                proxies=_proxies(url),
                auth=_as_it_is,
            )
        except (requests.RequestException, urllib3.HTTPError) as error:
            raise _unavailable(method, url, error) from error

    def follow(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None, authorization: str = ""
    ) -> requests.Response:
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

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = self._new_session()
        return session

    def _new_session(self) -> requests.Session:
        retry = _Retry(
            total=self.patience.tries - 1,
            other=0,  # a certificate does not get better
            redirect=0,
            status_forcelist=PASSING,
            allowed_methods=None,  # POST too: it only opens an upload
            raise_on_status=False,
            backoff_factor=self.patience.backoff,
            backoff_max=self.patience.longest_wait,
        )
        retry.longest_wait = self.patience.longest_wait
        session = requests.Session()
        session.trust_env = False
        # Harbor takes a client with cookies for a browser
        session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        # a blob is what its digest says, not what a Content-Encoding makes of it
        session.headers.update({"Accept-Encoding": "identity", "User-Agent": f"brolly/{brolly.__version__}"})
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=retry))
        return session


def read_body(response: requests.Response, limit: int) -> tuple[bytes, bool]:
    """Read the body, as sent, up to one byte above the limit, and say whether it came so far without breaking off."""
    out = io.BytesIO()
    try:
        while (left := limit + 1 - out.tell()) > 0:
            chunk = response.raw.read(min(_CHUNK, left), decode_content=False)
            if not chunk:
                return out.getvalue(), True
            out.write(chunk)
    except urllib3.ReadTimeoutError as error:
        raise _unavailable(str(response.request.method), response.url, error) from error
    except (urllib3.HTTPError, OSError):
        return out.getvalue(), False
    finally:
        response.close()  # a connection whose answer is read to its end is back in its pool already
    return out.getvalue(), True


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Keep requests from making an Authorization of its own out of a URL."""
    return request


def _trusted(ca_file: Path | None) -> str | bool:
    named = [("", str(ca_file))] if ca_file else [(key, os.environ.get(key, "")) for key in _CA_VARIABLES]
    for variable, path in named:
        if path and not os.path.exists(path):  # noqa: PTH110
            source = f" ({variable})" if variable else ""
            raise UsageError(f"no certificate file {path}{source}", hint="name a file of PEM certificates")
        if path:
            return path
    return True


def _proxies(url: str) -> dict[str, str]:
    # like Go, never ask a proxy for this machine
    host = urlsplit(url).hostname or ""
    return {} if is_loopback(host) else dict(get_environ_proxies(url))


def _unavailable(method: str, url: str, error: Exception) -> RegistryUnavailable:
    cause, hint = _cause(error)
    return RegistryUnavailable(f"{method} {shown(url)}: {cause}", hint=hint)


def _cause(error: BaseException) -> tuple[str, str]:
    """Say what failed and what helps. Not the library's words: they hold whole URLs, signatures included."""
    inner = error.args[0] if isinstance(error, requests.RequestException) and error.args else error
    reason = getattr(inner, "reason", inner)
    match reason:
        case urllib3.NameResolutionError():
            return "the host's name is not known", "is it spelled right, and is there a network?"
        case urllib3.NewConnectionError():
            return f"no connection: {_strerror(reason)}", ""
        case urllib3.ReadTimeoutError() | urllib3.ConnectTimeoutError():
            return "no answer in time", ""
        case urllib3.SSLError():
            hint = "SSL_CERT_FILE names the certificates to trust; a registry without TLS needs --plain-http"
            return f"no TLS connection: {quoted(str(reason.args[0] if reason.args else reason))}", hint
        case urllib3.ProxyError():
            return "the proxy does not connect", "see HTTPS_PROXY and NO_PROXY"
        case _:
            return f"the connection broke ({type(reason).__name__})", ""


def _strerror(reason: BaseException) -> str:
    cause = reason.__cause__
    return (cause.strerror or type(cause).__name__) if isinstance(cause, OSError) else type(reason).__name__
