"""Samples improved by trial, for inputs without a gradient: tokens, classes, flags.

A child is a sample with some of its elements taken from another one, so that every value is one
that was drawn. The child replaces the sample if its score is higher: if it reaches more, or comes
nearer to reaching it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hubopt.exporter import Tensors

_TRIALS, _PATIENCE = 256, 48
"""The largest number of children of a sample, and how many in a row without an improvement end
the search."""
_SHARES = (0.0, 0.1, 0.0, 0.5)
"""The share of elements taken from the other sample, at least one: one, some, one, half."""

Sample = dict[str, NDArray[Any]]
Score = tuple[float, ...]


def improve(
    start: Tensors, others: Sequence[Tensors], score: Callable[[Tensors], Score], seed: int
) -> Sample:
    """Cross ``start`` with ``others`` repeatedly and return the best sample found.

    Args:
        start: The sample to begin with.
        others: Samples to take elements from; tensors of other shapes are skipped.
        score: Returns how good a sample is.
        seed: The seed of the random choices.
    """
    generator = np.random.default_rng(seed)
    best = {name: np.asarray(array) for name, array in start.items()}
    highest, failures = score(best), 0
    for at in range(_TRIALS):
        if failures == _PATIENCE:
            break
        other = others[int(generator.integers(len(others)))]
        child = _cross(best, other, _SHARES[at % len(_SHARES)], generator)
        failures += 1
        if (reached := score(child)) > highest:
            best, highest, failures = child, reached, 0
    return best


def _cross(one: Tensors, other: Tensors, share: float, generator: np.random.Generator) -> Sample:
    child = {name: np.array(array) for name, array in one.items()}
    names = [name for name in child if child[name].shape == np.shape(other[name])]
    for name in names:
        taken = generator.random(child[name].shape) < share
        if taken.size:
            taken.ravel()[generator.integers(taken.size)] = True
        if _is_flags(child[name]) and _is_flags(np.asarray(other[name])):
            # Take a mask as a whole: models are not made for half of one mask and half of another.
            taken[...] = generator.random() < share
        child[name][taken] = np.asarray(other[name])[taken]
    return child


def _is_flags(array: NDArray[Any]) -> bool:
    return bool(np.isin(array, (0, 1)).all())
