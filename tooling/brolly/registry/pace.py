"""A least speed for what servers send. A timeout bounds each wait for bytes, so a server that drips is never late.

curl's --speed-limit and git's http.lowSpeedLimit do the same, but for a body only: a header may drip, too. So bytes
are counted where they come from the socket, and http.client is given a file that does that.
"""

from __future__ import annotations

import io
from functools import cache
from http.client import HTTPResponse
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import socket

    from _typeshed import WriteableBuffer
    from urllib3 import PoolManager
    from urllib3.connectionpool import HTTPConnectionPool

# bytes that have to come in the time that a wait for bytes may take; cargo's is 300 in 30 seconds
LEAST: Final = 1024


class TooSlow(TimeoutError):  # noqa: N818 - the house's way to name what is wrong
    """Bytes come, but too few."""


def paced(manager: PoolManager) -> PoolManager:
    """Hold all connections of a manager, which has none yet, to the least speed: else a TimeoutError, TooSlow."""
    pools = manager.pool_classes_by_scheme
    manager.pool_classes_by_scheme = {scheme: _paced_pool(pool) for scheme, pool in pools.items()}
    return manager


@cache
def _paced_pool(pool: type[HTTPConnectionPool]) -> type[HTTPConnectionPool]:
    connection = pool.ConnectionCls
    made = type(connection.__name__, (connection,), {"response_class": _PacedResponse})
    return type(pool.__name__, (pool,), {"ConnectionCls": made})


class _PacedResponse(HTTPResponse):
    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        seconds = sock.gettimeout()
        if seconds:
            self.fp = io.BufferedReader(_Paced(self.fp.detach(), seconds))


class _Paced(io.RawIOBase):
    """Reads an answer from a socket. The wait for its first byte does not count: a server may have to think."""

    def __init__(self, raw: io.RawIOBase, seconds: float) -> None:
        self._raw = raw
        self._seconds = seconds
        self._waited: float | None = None
        self._came = 0

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._raw.fileno()

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        start = monotonic()
        count: int = self._raw.readinto(buffer)
        self._came += count
        self._waited = 0 if self._waited is None else self._waited + monotonic() - start
        if self._came >= LEAST:
            self._came, self._waited = 0, 0
        elif count and self._waited > self._seconds:
            raise TooSlow(f"slower than {LEAST} bytes in {self._seconds:g} seconds")
        return count

    def close(self) -> None:
        try:
            self._raw.close()
        finally:
            super().close()
