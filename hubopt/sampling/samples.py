"""Seeded input samples for a model: never zeros alone, never one distribution alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hubopt._util.dtypes import numpy_dtype
from hubopt.sampling.distributions import Distribution, distributions, edge_case, edge_cases
from hubopt.spec import Bounds, TensorSpec, ValueRange

SAMPLE_COUNT = 8
SEED = 0
_TRIES = 8
"""How often an input is drawn again that came out equal to another; scalars may stay equal."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One set of inputs.

    Attributes:
        kind: Its distribution, or the edge case; several if its inputs differ in that.
        tensors: The arrays by input name, strings as ``object`` arrays of ``bytes``.
        edge: Whether it is an edge case, drawn on top of the samples that were asked for.
    """

    kind: str
    tensors: dict[str, NDArray[Any]]
    edge: bool = False


def draw(
    specs: Sequence[TensorSpec],
    count: int = SAMPLE_COUNT,
    seed: int = SEED,
    bounds: Mapping[str, Bounds] | None = None,
    domains: Mapping[str, ValueRange] | None = None,
) -> list[Sample]:
    """Draw ``count`` samples of the inputs ``specs``, and edge cases after them.

    Floats are normal, uniform in [0, 1), uniform in [-1, 1) and heavy-tailed in turn. Those
    shaped like images are also pictures: smooth, with edges and a little grain. Integers are at
    most 7, 8-bit ones over their whole range in every other sample; booleans are fair; strings
    are texts of many sorts. An input with a domain is uniform in it, and in its lowest part or
    a picture, in turn; masks are ones, then zeros. No two inputs are equal.

    The edge cases: ``zeros`` and empty strings; ``extremes``, the ends of each domain; ``small``
    floats, if there are any.

    Args:
        specs: The inputs.
        count: How many samples, at least 1; the edge cases are not counted.
        seed: The same seed gives the same samples.
        bounds: The sizes of dynamic dimensions: usual in the first sample, smallest in the
            second, largest in the third, and any in between from there on.
        domains: What is known of the inputs' values, by name.
    """
    known = [(domains or {}).get(spec.name) for spec in specs]
    turns = [
        distributions(spec, domain, np.random.default_rng([seed, at]))
        for at, (spec, domain) in enumerate(zip(specs, known, strict=True))
    ]
    plans = [[turn[at % len(turn)] for turn in turns] for at in range(count)]
    edges = [
        [
            edge_case(kind, spec, domain, turn[0])
            for spec, domain, turn in zip(specs, known, turns, strict=True)
        ]
        for kind in edge_cases(specs)
    ]
    samples = []
    for at, plan in enumerate(plans + edges):
        rng = np.random.default_rng([seed, at])
        sizes = {name: _size(each, at, rng) for name, each in (bounds or {}).items()}
        tensors: dict[str, NDArray[Any]] = {}
        for spec, distribution in zip(specs, plan, strict=True):
            tensors[spec.name] = _draw_one(spec, distribution, spec.shape_at(sizes), rng, tensors)
        kind = " + ".join(dict.fromkeys(each.kind for each in plan))
        samples.append(Sample(kind, tensors, at >= count))
    return samples


def _size(bounds: Bounds, at: int, rng: np.random.Generator) -> int:
    if at < 3:
        return (bounds.opt, bounds.min, bounds.max)[at]
    return int(rng.integers(bounds.min, bounds.max + 1))


def _draw_one(
    spec: TensorSpec,
    distribution: Distribution,
    shape: tuple[int, ...],
    rng: np.random.Generator,
    others: Mapping[str, NDArray[Any]],
) -> NDArray[Any]:
    """Draw an array; again if it is equal to one of ``others``, so that no two can be exchanged."""
    dtype = numpy_dtype(spec.dtype)
    array = distribution.draw(shape, rng).astype(dtype)
    for _ in range(_TRIES):
        if not any(np.array_equal(array, other) for other in others.values()):
            break
        array = distribution.draw(shape, rng).astype(dtype)
    return array
