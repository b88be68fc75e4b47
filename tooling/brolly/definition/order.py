"""Circles in what waits for what."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def circles(graph: Mapping[str, tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    """Find the circles of a graph, each once, from the node that comes first in it."""
    found: dict[frozenset[str], tuple[str, ...]] = {}
    done: set[str] = set()
    for start in graph:
        path: list[str] = []
        stack: list[Iterator[str]] = []
        if start in done:
            continue
        path.append(start)
        stack.append(iter(graph[start]))
        while stack:
            step = next(stack[-1], None)
            if step is None:
                stack.pop()
                done.add(path.pop())
            elif step in path:
                circle = tuple(path[path.index(step) :])
                found.setdefault(frozenset(circle), circle)
            elif step in graph and step not in done:
                path.append(step)
                stack.append(iter(graph[step]))
    return tuple(found.values())
