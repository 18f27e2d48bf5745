"""`folded`: a list of names in a sentence, cut with a count."""

from __future__ import annotations

from collections.abc import Iterable


def folded(names: Iterable[str], most: int = 8) -> str:
    """Return ``names`` separated by commas; if there are more than ``most``, say how many more.

    >>> folded(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    every = list(names)
    more = len(every) - most
    return ", ".join(every[:most]) + (f" and {more} more" if more > 0 else "")
