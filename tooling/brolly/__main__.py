"""`python -m brolly`."""

from brolly.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
