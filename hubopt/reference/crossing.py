"""Samples found by trial, where no gradient leads to what is hidden: tokens, classes, flags.

A sample takes some of its elements from another one, so every value stays one that was drawn;
the child replaces it if it shows more, or comes nearer to showing it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hubopt.exporter import Tensors

_TRIALS, _PATIENCE = 256, 48
"""How many children a sample has at most, and how many in a row that are no better end it."""
_SHARES = (0.0, 0.1, 0.0, 0.5)
"""How many of the elements are taken from the other sample: one, some, one, half."""

Sample = dict[str, NDArray[Any]]
Score = tuple[float, ...]


def improve(
    start: Tensors, others: Sequence[Tensors], score: Callable[[Tensors], Score], seed: int
) -> Sample:
    """Return what becomes of ``start`` when it is crossed with ``others``.

    Args:
        start: A sample.
        others: Samples to take elements from; those of other shapes are passed over.
        score: How good a sample is.
        seed: Of what is taken.
    """
    generator = np.random.default_rng(seed)
    best = {name: np.asarray(array) for name, array in start.items()}
    highest, worse = score(best), 0
    for at in range(_TRIALS):
        if worse == _PATIENCE:
            break
        other = others[int(generator.integers(len(others)))]
        child = _cross(best, other, _SHARES[at % len(_SHARES)], generator)
        worse += 1
        if (reached := score(child)) > highest:
            best, highest, worse = child, reached, 0
    return best


def _cross(one: Tensors, other: Tensors, share: float, generator: np.random.Generator) -> Sample:
    child = {name: np.array(array) for name, array in one.items()}
    names = [name for name in child if child[name].shape == np.shape(other[name])]
    for name in names:
        taken = generator.random(child[name].shape) < share
        if taken.size:
            taken.ravel()[generator.integers(taken.size)] = True
        if _is_flags(child[name]) and _is_flags(np.asarray(other[name])):
            # A mask is a whole: half of one is none that a model was made for.
            taken[...] = generator.random() < share
        child[name][taken] = np.asarray(other[name])[taken]
    return child


def _is_flags(array: NDArray[Any]) -> bool:
    return bool(np.isin(array, (0, 1)).all())
