"""Ctrl-C ends a run at once, whichever thread the kernel gives the signal to."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Final

# seconds between two nudges: one can come just before the main thread begins to wait
_PACE: Final = 0.05


def watch() -> None:
    """See to it that SIGINT reaches the main thread while it waits for another one, or for a file.

    Python raises KeyboardInterrupt in the main thread only, once that runs again. The kernel may deliver the signal to
    any thread that is about to start or to end, and then the main thread sleeps on. A second signal, sent to it alone,
    makes it look. Call it once, in the main thread of a program.
    """
    if not hasattr(signal, "pthread_kill"):  # Windows wakes it anyway
        return
    heard, said = os.pipe()
    os.set_blocking(said, False)
    signal.signal(signal.SIGUSR1, lambda *_: None)
    signal.set_wakeup_fd(said, warn_on_full_buffer=False)
    main = threading.main_thread().ident or 0
    threading.Thread(target=_nudge, args=(heard, main), name="brolly-interrupts", daemon=True).start()


def _nudge(heard: int, main: int) -> None:
    while signal.SIGINT not in os.read(heard, 64):
        pass
    while True:
        signal.pthread_kill(main, signal.SIGUSR1)
        time.sleep(_PACE)
