"""Several problems of what a user typed, told as one error."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from hubopt.errors import UsageError

_CLOSE = 0.6
"""How alike two words must be, 1 for equal ones, to suggest one for the other."""


def nearest(word: str, words: Iterable[str]) -> str | None:
    """Return the one of ``words`` that is most like ``word``, whatever their case.

    Returns:
        None if no word is like it.

    >>> nearest("opst", ["opset", "freeze"])
    'opset'
    """
    by_folded = {known.casefold(): known for known in words}
    found = difflib.get_close_matches(word.casefold(), by_folded, 1, _CLOSE)
    return by_folded[found[0]] if found else None


def merged(thing: str, errors: Sequence[UsageError]) -> UsageError:
    """Return one error for all of ``errors``; a single one as it is.

    Args:
        thing: What all of them are about.
        errors: At least one; equal ones count once.
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
