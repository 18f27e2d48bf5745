"""Report several mistakes in the user's input as one error."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from hubopt.errors import UsageError

_CLOSE = 0.6
"""The least similarity at which one word is suggested for another; equal words have 1."""


def nearest(word: str, words: Iterable[str]) -> str | None:
    """Return the word in ``words`` that is most similar to ``word``, ignoring case.

    Returns:
        The word; None if no word is similar.

    >>> nearest("opst", ["opset", "freeze"])
    'opset'
    """
    by_folded = {known.casefold(): known for known in words}
    found = difflib.get_close_matches(word.casefold(), by_folded, 1, _CLOSE)
    return by_folded[found[0]] if found else None


def merged(thing: str, errors: Sequence[UsageError]) -> UsageError:
    """Merge ``errors`` into one error; a single error is returned unchanged.

    Args:
        thing: What all the errors are about.
        errors: At least one error; equal errors count once.
    """
    different = list({str(error): error for error in errors}.values())
    if len(different) == 1:
        return different[0]
    lines = [
        f"{error.thing}: {error.found}; expected {error.expected}; {error.way_out}"
        for error in different
    ]
    listing = "".join(f"\n  - {' '.join(line.split())}" for line in lines)
    return UsageError(
        thing,
        f"{len(different)} problems{listing}",
        "what `hubopt targets` and `hubopt targets TARGET` list",
        "correct each of them",
    )
