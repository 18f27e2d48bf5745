"""Seeded input samples for a model, from several distributions and with edge cases."""

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
"""How often an input that equals another one is redrawn; scalars may remain equal."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One set of inputs.

    Attributes:
        kind: Its distribution or edge case; several if its inputs have different ones.
        tensors: The arrays by input name, strings as ``object`` arrays of ``bytes``.
        edge: Whether it is an edge case, drawn in addition to the requested samples.
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
    """Draw ``count`` samples of the inputs ``specs``, followed by edge cases.

    Floats are normal, uniform in [0, 1), uniform in [-1, 1) and heavy-tailed in turn. Floats
    shaped like images are also synthetic images: smooth, with edges and a little noise. Integers
    are at most 7, but 8-bit integers cover their whole range in every other sample. Booleans are
    true with probability 0.5. Strings are texts of many kinds. An input with a domain alternates
    between uniform values of the domain and either values of its lowest part or images. Masks are
    ones followed by zeros. No two inputs are equal.

    The edge cases are ``zeros`` and empty strings; ``extremes``, the ends of each domain; and
    ``small`` floats, if the model has float inputs.

    Args:
        specs: The inputs.
        count: The number of samples, at least 1, without the edge cases.
        seed: The same seed gives the same samples.
        bounds: The sizes of dynamic dimensions: the usual size in the first sample, the smallest
            in the second, the largest in the third, and random ones in the others.
        domains: The known ranges of the inputs' values, by name.
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
        sizes = {name: _size(limits, at, rng) for name, limits in (bounds or {}).items()}
        tensors: dict[str, NDArray[Any]] = {}
        for spec, distribution in zip(specs, plan, strict=True):
            tensors[spec.name] = _draw_one(spec, distribution, spec.shape_at(sizes), rng, tensors)
        kind = " + ".join(dict.fromkeys(distribution.kind for distribution in plan))
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
    """Draw an array, and redraw it if it equals one of ``others``.

    Inputs must differ, so that a mix-up of two inputs changes the outputs.
    """
    dtype = numpy_dtype(spec.dtype)
    array = distribution.draw(shape, rng).astype(dtype)
    for _ in range(_TRIES):
        if not any(np.array_equal(array, other) for other in others.values()):
            break
        array = distribution.draw(shape, rng).astype(dtype)
    return array
