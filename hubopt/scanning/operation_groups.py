"""Groups of operations that are harmless or dangerous for the same reason."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Harmless:
    """Operations that are harmless for the same reason.

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
        prefixes: Prefixes of the names of further operations.
        only_if_run: Whether they matter only if calling or loading the model runs them.
    """

    ability: str
    ops: frozenset[str]
    prefixes: tuple[str, ...] = ()
    only_if_run: bool = False


def names(text: str) -> frozenset[str]:
    """Return the whitespace-separated names in ``text``."""
    return frozenset(text.split())
