"""Groups of operations, each harmless or dangerous for one reason."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Harmless:
    """Operations that are harmless for one reason.

    Attributes:
        reason: What they do, as a predicate.
        ops: Their names.
    """

    reason: str
    ops: frozenset[str]


@dataclass(frozen=True, slots=True)
class Danger:
    """Operations that have one ability in common.

    Attributes:
        ability: What they can do, as a predicate.
        ops: Their names.
        prefixes: How the names of whole families begin.
        only_if_run: Whether they matter only where a call or the loading reaches them.
    """

    ability: str
    ops: frozenset[str]
    prefixes: tuple[str, ...] = ()
    only_if_run: bool = False


def names(text: str) -> frozenset[str]:
    """Return the names in ``text``, which whitespace separates."""
    return frozenset(text.split())
