"""Ctrl-C, SIGTERM and SIGHUP end a run at once and in order, whichever thread the kernel gives the signal to."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import FrameType

_NUMBERS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_USUAL: Final = (signal.SIG_DFL, signal.default_int_handler)
# seconds between two nudges: one can come just before the main thread begins to wait
_PACE: Final = 0.05
# seconds in which a further signal does not disturb the unwinding; after that it ends the process at once
_UNDISTURBED: Final = 3.0


class Interrupted(KeyboardInterrupt):
    """A signal asked for the end."""


class Interruption:
    """What the first of these signals begins: it raises Interrupted in the main thread, once, even while that waits.

    Python runs a signal's handler in the main thread only, once that runs again. The kernel may deliver the signal to
    any thread, and then the main thread sleeps on. A second signal, sent to it alone, makes it look. What is ignored
    stays so, as SIGHUP under nohup and SIGINT in a shell's background. There is one, in the main thread of a program.
    """

    def __init__(self) -> None:
        self._first = 0
        self._is_due = False

    @property
    def exit_code(self) -> int:
        """What a shell sees of a process that the signal ended (128 + number); 0 where none came."""
        return self._first and 128 + self._first

    def watch(self) -> None:
        """Look after these signals from now on."""
        heard, said = os.pipe()
        os.set_blocking(said, False)
        watched = tuple(number for number in _NUMBERS if signal.getsignal(number) in _USUAL)
        sys.unraisablehook = self._unraisable
        signal.signal(signal.SIGUSR1, self._nudged)
        signal.set_wakeup_fd(said, warn_on_full_buffer=False)
        main = threading.main_thread().ident or 0
        threading.Thread(target=_nudge, args=(heard, main, watched), name="brolly-interrupts", daemon=True).start()
        for number in watched:
            signal.signal(number, self._begin)

    def rest(self) -> None:
        """Let the signals end the process as they end any other: there is nothing left to put in order."""
        for number in _NUMBERS:
            if signal.getsignal(number) == self._begin:
                signal.signal(number, signal.SIG_DFL)
        if self._first:  # it came too late to stop anything, but what comes next must not begin
            raise Interrupted

    def _begin(self, number: int, frame: FrameType | None) -> None:
        if not self._first:
            self._first = number
            self._is_due = True
            self._nudged(number, frame)

    def _unraisable(self, what: sys.UnraisableHookArgs) -> None:
        """Remember that it was raised where nothing can be, as in the callback of a weak reference."""
        if isinstance(what.exc_value, Interrupted):
            self._is_due = True
        else:
            sys.__unraisablehook__(what)

    def _nudged(self, _number: int, frame: FrameType | None) -> None:
        if self._is_due and not _is_importing(frame):
            self._is_due = False
            raise Interrupted


def _is_importing(frame: FrameType | None) -> bool:
    """Say whether a module is being loaded: msgspec 0.22 crashes if it is interrupted while it makes a type."""
    while frame:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


def _nudge(heard: int, main: int, watched: tuple[int, ...]) -> None:
    while not (first := _heard(heard, watched)):
        pass
    os.set_blocking(heard, False)
    until = time.monotonic() + _UNDISTURBED
    while True:
        signal.pthread_kill(main, signal.SIGUSR1)
        time.sleep(_PACE)
        if _heard(heard, watched) and time.monotonic() > until:
            os._exit(128 + first)


def _heard(pipe: int, watched: tuple[int, ...]) -> int:
    """Give the first of the signals that were written to a pipe; 0 where there is none."""
    try:
        numbers = os.read(pipe, 4096)
    except BlockingIOError:
        return 0
    return next((number for number in numbers if number in watched), 0)
