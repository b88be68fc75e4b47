"""The shop of a run, opened and closed: caches, repositories, engines, the progress display."""

from __future__ import annotations

import os
import threading
from contextlib import closing, contextmanager, nullcontext
from typing import TYPE_CHECKING, TypeVar

from brolly import console, workspace
from brolly.commands.run import find_workspace, jobs_of, open_results
from brolly.pipeline.settings import settings_of
from brolly.pipeline.shop import Shop

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from brolly.engines import Engines
    from brolly.findings import Finding
    from brolly.registry import Patience, Registry
    from brolly.repositories import Repositories
    from brolly.results import Results
    from brolly.workspace import Workspace

_Made = TypeVar("_Made")


@contextmanager
def open_shop(
    args: argparse.Namespace, title: str, *, requests: int = 0, results: Results | None = None
) -> Iterator[tuple[Shop, tuple[Finding, ...]]]:
    """Open what a run needs, and close it: the caches, the engines, the progress display.

    `requests` says how many Helm will get at once: so many engines start now, while there is other work to do.
    `results` is the result cache, if the command has opened it before.
    """
    space = find_workspace(args)
    settings, found = settings_of(space, getattr(args, "address", "") or "", workspace.epoch(os.environ))
    jobs = jobs_of(args)
    engines = _engines(args, jobs, min(jobs, requests)) if requests else None
    shown = args.output == "text" and not args.quiet
    results = results or open_results(args)
    with (
        closing(engines) if engines else nullcontext(),
        console.progress(title, is_quiet=not shown) as progress,
    ):
        repositories = _once(lambda: _repositories(args, space, progress))
        yield Shop(space, settings, repositories, results, engines, jobs, progress), found


def _once(make: Callable[[], _Made]) -> Callable[[], _Made]:
    """Make a thing at the first call, whichever thread that comes from."""
    lock, made = threading.Lock(), list[_Made]()

    def give() -> _Made:
        with lock:
            if not made:
                made.append(make())
            return made[0]

    return give


def patience(args: argparse.Namespace) -> Patience:
    """Give how long servers are waited for, and how often they are asked: --timeout and --retries."""
    from brolly.registry import Patience

    usual = Patience()
    read = args.timeout if args.timeout is not None else usual.read
    tries = usual.tries if args.retries is None else args.retries + 1
    return Patience(connect=min(read, usual.connect), read=read, tries=tries)


def _repositories(args: argparse.Namespace, space: Workspace, progress: Callable[[str, str], None]) -> Repositories:
    from brolly.cache import Cache, default_path
    from brolly.repositories import Repositories
    from brolly.repositories.credentials import from_environ, from_helm

    credentials = from_helm(os.environ) | from_environ(space.config.repositories, os.environ)

    def registry(host: str) -> Registry:
        from brolly.registry.remote import OciRegistry

        # None: for this machine only
        return OciRegistry(host, plain_http=True if args.plain_http else None, patience=patience(args))

    return Repositories(
        Cache(default_path(os.environ)),
        registry=registry,
        credentials=credentials,
        offline=args.offline,
        patience=patience(args),
        progress=lambda text: progress("", text),
    )


def _engines(args: argparse.Namespace, jobs: int, ahead: int) -> Engines | None:
    from brolly.engine import Engine
    from brolly.engines import Engines

    given = {"timeout": args.engine_timeout, "memory": args.engine_memory}
    chosen = {name: value for name, value in given.items() if value is not None}
    return Engines(lambda: Engine(**chosen), jobs, ahead=ahead) if Engine.available() else None
