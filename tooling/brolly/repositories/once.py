"""What is made once per process, however many threads ask."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    _Key = TypeVar("_Key", bound=Hashable)
else:
    _Key = TypeVar("_Key")
_Made = TypeVar("_Made")


class Once(Generic[_Key, _Made]):
    """Remembers what a function made for each key, failures included; whoever comes second waits for the first."""

    def __init__(self, make: Callable[[_Key], _Made]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._made: dict[_Key, Future[_Made]] = {}

    def __call__(self, key: _Key) -> _Made:
        """Give what was made for the key; raises what making it raised."""
        with self._lock:
            first = key not in self._made
            future = self._made.setdefault(key, Future())
        if first:
            try:
                future.set_result(self._make(key))
            except BaseException as error:
                future.set_exception(error)
                raise
        return future.result()
