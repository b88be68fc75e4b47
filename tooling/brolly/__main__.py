"""The program: `brolly`, and `python -m brolly`."""

from __future__ import annotations

# what `signal` wraps: it is there from the start, and loading the other takes longer
import _signal  # type: ignore[import-not-found]
import gc

# modules are no garbage, and to look for some every 700 objects takes up to a twelfth of the time it takes to load them
gc.set_threshold(50_000)

# until the program looks after it, Ctrl-C ends it as it ends most programs: without a traceback of what is being loaded
if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)

from brolly.cli import main  # noqa: E402 - after what must come first

if __name__ == "__main__":
    raise SystemExit(main())
