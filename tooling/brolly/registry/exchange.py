"""Authorized questions to one registry: whatever is asked of it goes through `Exchange.ask`.

It adds to the transport what belongs to a registry: its URLs (oras writes them), tokens per scope and their renewal,
Basic without sending a body twice, answers that are whole and bounded, errors that say what failed.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

import oras.container

from brolly.errors import WorldError
from brolly.registry.addresses import api_host, origin_of, shown
from brolly.registry.authorization import Authorizer, Scope
from brolly.registry.port import (
    RegistryMisbehaved,
    RegistryUnavailable,
    Unauthorized,
    quoted,
    require_reference,
    require_repository,
)
from brolly.registry.transport import PASSING, read_body

if TYPE_CHECKING:
    from collections.abc import Callable

    from brolly.registry.credentials import Lookup
    from brolly.registry.transport import Body, Response, Transport

# a page of tags, the largest thing that is neither a manifest nor a blob
MAX_ANSWER: Final = 32 << 20
_PATH: Final = re.compile(r"https?://[^/]+/v2/(.+)/(?:manifests|blobs|tags|referrers)(?:/|$)")

Kind: TypeAlias = Literal["manifests", "blobs", "uploads", "tags"]


class _Call(NamedTuple):
    method: str
    url: str
    headers: dict[str, str]
    body: Body | None
    scope: Scope


class Exchange:
    """What is said to a registry and what it answers. Safe to share between threads."""

    def __init__(self, host: str, transport: Transport, lookup: Callable[[], Lookup], *, plain_http: bool) -> None:
        self.host = host
        self.api_host = api_host(host)
        self.base = f"{'http' if plain_http else 'https'}://{self.api_host}"
        self.transport = transport
        self._authorizer = Authorizer(host, self.base, transport, lookup)

    def url(self, repository: str, kind: Kind, reference: str = "") -> str:
        """Give the URL of a manifest, blob, upload or list of tags; ValueError if a name is none."""
        container = oras.container.Container("unparsed", registry=self.base)
        # oras' reading of names takes some for others, so it gets its parts
        container.namespace, container.repository = None, require_repository(repository)
        paths: dict[Kind, Callable[[], str]] = {
            "manifests": lambda: container.manifest_url(require_reference(reference)),
            "blobs": lambda: container.get_blob_url(require_reference(reference)),
            "uploads": container.upload_blob_url,
            "tags": lambda: container.tags_url(N=1000),
        }
        return paths[kind]()

    def ask(
        self,
        method: str,
        url: str,
        headers: dict[str, str] | None = None,
        body: Body | None = None,
        *,
        limit: int = MAX_ANSWER,
        repository: str = "",
    ) -> Response:
        """Ask the registry, authorized; see `Registry` for the errors. An answer of any other status is the caller's.

        The answer's body is in `content`, as sent and up to one byte above the limit; one that breaks off is asked for
        again. `repository` is what a token is asked for where the URL does not say.
        """
        call = _Call(method, url, headers or {}, body, _scope(method, url, repository))
        return self._usable(self._whole(call, limit))

    def _whole(self, call: _Call, limit: int, turn: int = 1) -> Response:
        response = self._answer(call)
        content, whole = read_body(response, limit)
        if not whole and turn < self.transport.patience.tries:
            self.transport.rest(turn)
            return self._whole(call, limit, turn + 1)
        if not whole:
            raise RegistryMisbehaved(f"{shown(response.url)}: the answer is cut off after {len(content)} bytes")
        response.content = content
        return response

    def _answer(self, call: _Call) -> Response:
        own = origin_of(call.url) == origin_of(self.base)
        authorization = self._authorizer.header(call.scope) if own else ""
        response = self._send(call, authorization)
        if response.status_code == 401 and own and origin_of(response.url) == origin_of(self.base):
            response = self._authorized(call, response, authorization)
        return response

    def _authorized(self, call: _Call, refusal: Response, rejected: str) -> Response:
        try:
            renewed = self._authorizer.renewed(refusal, call.scope, rejected)
        except WorldError:
            refusal.close()
            raise
        if not renewed:
            return refusal
        refusal.close()
        return self._send(call, renewed)

    def _send(self, call: _Call, authorization: str) -> Response:
        return self.transport.follow(call.method, call.url, call.headers, call.body, authorization)

    def _usable(self, response: Response) -> Response:
        """Refuse what no caller can use: 401, 403, 429 and 5xx."""
        status, place = response.status_code, f"{response.method} {shown(response.url)}"
        if status in {401, 403} and origin_of(response.url) == origin_of(self.base):
            raise Unauthorized(f"{place}: {self.host} refuses ({status}){_said(response)}", hint=self._authorizer.hint)
        if status in PASSING or status >= 500:
            tries = f" after {self.transport.patience.tries} tries" if status in PASSING else ""
            wait = "wait a little, or ask more often: --retries" if status == 429 else "try again later"
            raise RegistryUnavailable(f"{place}: {self.host} answers {status}{tries}{_said(response)}", hint=wait)
        if status in {401, 403}:
            raise RegistryMisbehaved(f"{place}: {self.host} sends us to where we are refused ({status})")
        return response


def _scope(method: str, url: str, repository: str) -> Scope:
    found = _PATH.match(url)
    name = repository or (found[1] if found else "")
    return Scope(name, "pull" if method in {"GET", "HEAD"} else "pull,push")


def said(response: Response) -> str:
    """Give the registry's own words about an error, "" if it has none that are text."""
    try:
        errors = json.loads(response.content)["errors"]
        words = [f"{error.get('code', '')}: {error.get('message', '')}" for error in errors]
        return quoted("; ".join(words))
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        text = response.headers.get("Content-Type", "").startswith("text/plain")
        return quoted(response.content[:400].decode(errors="replace")) if text else ""


def _said(response: Response) -> str:
    words = said(response)
    return f": {words}" if words else ""
