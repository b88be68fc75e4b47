"""Several of Helm's engines, which answer side by side."""

from __future__ import annotations

import queue
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from brolly.engine import Engine, Helm
from brolly.errors import BrollyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from brolly.engine_worker import Answer, Request

# how a worker ends without an answer
_DEADLY: Final = frozenset({"timeout", "memory", "crash"})


class Engines(Helm):
    """At most so many engines, none that no request needs. Requests go to whichever is idle, in their order.

    `ahead` of them are started at once, because the first requests are near. Once one cannot start, all requests get
    its fault: each further start could take as long. Threads may share it.
    """

    def __init__(self, make: Callable[[], Engine], count: int, *, ahead: int = 0) -> None:
        self._lock = threading.Lock()
        self._is_closed = False
        self._executor = ThreadPoolExecutor(count, thread_name_prefix="brolly-helm")
        self._make = make
        self._fault: BrollyError | None = None
        self._idle: queue.LifoQueue[Engine] = queue.LifoQueue()
        for _ in range(min(ahead, count)):
            engine = make()
            threading.Thread(target=_start, args=(engine,), daemon=True).start()
            self._idle.put(engine)

    def ask(self, request: Request) -> Answer:
        """Wait for an answer."""
        return self.submit(request).result()

    def submit(self, request: Request, *, like: Future[Answer] | None = None) -> Future[Answer]:
        """Ask without waiting.

        `like` is an earlier request that renders the same: what has killed Helm, or never ended, would do so again, and
        it gets the same answer.
        """
        return self._executor.submit(self._answer, request, like)

    def _answer(self, request: Request, like: Future[Answer] | None) -> Answer:
        if like and like.done() and not like.exception():
            known = like.result()
            if known.fault and known.fault.kind in _DEADLY:
                return known
        with self._lent() as engine:
            if self._fault:
                raise self._fault
            try:
                return engine.ask(request)
            except BrollyError as fault:
                self._fault = fault
                raise

    @contextmanager
    def _lent(self) -> Iterator[Engine]:
        try:
            engine = self._idle.get_nowait()
        except queue.Empty:
            if self._is_closed:
                raise
            engine = self._make()  # there are as many threads as engines
        try:
            yield engine
        finally:
            with self._lock:
                is_over = self._is_closed
                if not is_over:
                    self._idle.put(engine)
            if is_over:
                engine.close()

    def close(self) -> None:
        """Stop all workers: the idle ones now, one that is lent as soon as it comes back."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        idle = []
        with self._lock, suppress(queue.Empty):
            self._is_closed = True
            while True:
                idle.append(self._idle.get_nowait())
        closing = [threading.Thread(target=engine.close) for engine in idle]
        for thread in closing:
            thread.start()
        for thread in closing:
            thread.join()


def _start(engine: Engine) -> None:
    # what keeps it from starting is said to who asks
    with suppress(BrollyError):
        engine.start()
