"""oras' provider, made fit: all of it that goes over the network goes through `do_request`, which is replaced here.

What oras 0.2.43 lacks, `Exchange` adds. oras' own methods that read or write files stay unused: they hold a blob whole
in memory, and verify nothing. Importing this module loads requests and jsonschema, which takes longer than to open an
upload.
"""

from __future__ import annotations

import json as json_text
from typing import TYPE_CHECKING, Any

import oras.auth.base
import oras.provider

from brolly.registry.exchange import MAX_ANSWER

if TYPE_CHECKING:
    from brolly.registry.exchange import Exchange
    from brolly.registry.transport import Body, Response


class _NoLogins(oras.auth.base.AuthBackend):  # type: ignore[misc]
    """What the provider asks for logins: nothing, since the exchange authorizes, and a login belongs to one host."""

    def load_configs(self, container: object, configs: object = None) -> None:
        """Read no login of any other host, and start nobody's credential helper."""


class Client(oras.provider.Registry):  # type: ignore[misc]
    """A provider for one registry. Safe to share between threads."""

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(hostname=exchange.api_host, insecure=exchange.base.startswith("http:"))
        self.auth = _NoLogins()
        self.exchange = exchange

    def do_request(
        self,
        url: str,
        method: str = "GET",
        data: Body | None = None,
        headers: dict[str, str] | None = None,
        json: Any = None,
        stream: bool = False,  # noqa: ARG002, FBT001, FBT002 (oras' signature)
        *,
        limit: int = MAX_ANSWER,
        repository: str = "",
    ) -> Response:
        """See `Exchange.ask`. The answer's body is in `content`, with `stream` too."""
        body = data if json is None else json_text.dumps(json).encode()
        return self.exchange.ask(method, url, headers, body, limit=limit, repository=repository)
