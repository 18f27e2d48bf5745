"""Which of the samples to keep, given what each of them reaches."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import or_
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hubopt.reference.units import Flags


class Reached(NamedTuple):
    """The units and weights that samples reach.

    Attributes:
        units: Whether each unit is active, of shape "units".
        weights: Whether a wrong sign of each weight is detected, eight weights in a byte.
    """

    units: Flags
    weights: NDArray[np.uint8]

    def __or__(self, other: Reached) -> Reached:
        return Reached(self.units | other.units, self.weights | other.weights)

    def beyond(self, seen: Reached) -> tuple[int, int]:
        """Return how many units and how many weights are reached here but not in ``seen``."""
        return int((self.units & ~seen.units).sum()), count_flags(self.weights & ~seen.weights)


def choose(reached: Sequence[Reached], count: int) -> list[int]:
    """Return the indices of ``count`` samples: the first half, then those that reach most more.

    Args:
        reached: What each sample reaches, for at least ``count`` samples.
        count: How many to choose.
    """
    chosen = list(range(half(count)))
    left = [at for at in range(len(reached)) if at not in chosen]
    seen = reduce(or_, (reached[at] for at in chosen))
    while len(chosen) < count:
        best = max(left, key=lambda at: reached[at].beyond(seen))  # the first of equals
        left.remove(best)
        chosen.append(best)
        seen |= reached[best]
    return sorted(chosen)


def half(count: int) -> int:
    """Return the number of samples that are taken in order."""
    return (count + 1) // 2


def choose_more(reached: Sequence[Reached], seen: Reached, most: int) -> list[int]:
    """Return up to ``most`` samples that reach more than ``seen``, in the order of their gain."""
    chosen: list[int] = []
    while len(chosen) < most:
        best = max(range(len(reached)), key=lambda at: reached[at].beyond(seen))
        if not any(reached[best].beyond(seen)):
            break
        chosen.append(best)
        seen |= reached[best]
    return chosen


def count_flags(packed: NDArray[np.uint8]) -> int:
    """Return the number of set bits."""
    return int(np.unpackbits(packed).sum())
