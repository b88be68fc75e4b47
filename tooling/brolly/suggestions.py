"""Did you mean: the nearest known word."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def did_you_mean(word: str, known: Sequence[str], *, prefix: str = "") -> str:
    """Ask "did you mean `x`?" for the known word that is nearest, or give an empty text."""
    import difflib

    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    lowered = [other for other in known if other.lower() == word.lower()]
    best = (lowered or near or [""])[0]
    return f"did you mean `{prefix}{best}`?" if best else ""
