"""A server that is never silent, and never done."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def dripping(at_once: bytes, byte_by_byte: bytes, *, every: float = 0.02) -> Iterator[str]:
    """Serve an answer whose last bytes come one by one; gives the address."""
    over = threading.Event()

    def drip(client: socket.socket) -> None:
        with client, suppress(OSError):
            client.recv(65536)
            client.sendall(at_once)
            for byte in byte_by_byte:
                if over.wait(every):
                    return
                client.sendall(bytes([byte]))

    def accept() -> None:
        with suppress(OSError), ThreadPoolExecutor(8) as pool:
            while True:
                pool.submit(drip, listener.accept()[0])

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            over.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
