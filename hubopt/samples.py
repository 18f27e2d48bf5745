"""Seeded input samples for a model: never zeros, never one distribution alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hubopt.spec import Bounds, TensorSpec

SAMPLE_COUNT = 4
SEED = 0
_INTEGER_BOUND = 8
"""Integers are drawn below this, so that they stay inside small lookup tables."""
_PIXELS = ("uint8", "int8")
"""Rather pixels than indices: clipping and wrapping show over the whole range only."""
_TEXTS = (
    "the quick brown fox jumps over the lazy dog",
    "Is this film worth two hours of my life?",
    "São Paulo, 21 °C, wind 9 km/h",
    "no",
    "A list: apples, pears; and (maybe) plums.",
)


def draw(
    specs: Sequence[TensorSpec],
    count: int = SAMPLE_COUNT,
    seed: int = SEED,
    bounds: Mapping[str, Bounds] | None = None,
) -> list[dict[str, NDArray[Any]]]:
    """Draw ``count`` samples of the inputs ``specs``.

    Floats are standard normal in even samples and uniform in [0, 1) in odd ones; integers
    are uniform in [0, 8), 8-bit ones over their whole range in odd samples; booleans are fair;
    strings are short texts, some not ASCII. Dynamic dimensions have their usual size in sample
    0, their smallest in 1, their largest in 2, and any in between from there on.
    """
    generator = np.random.default_rng(seed)
    samples = []
    for at in range(count):
        sizes = {name: _size(each, at, generator) for name, each in (bounds or {}).items()}
        samples.append(
            {
                spec.name: _draw_one(spec, spec.shape_at(sizes), generator, uniform=bool(at % 2))
                for spec in specs
            }
        )
    return samples


def _size(bounds: Bounds, at: int, generator: np.random.Generator) -> int:
    if at < 3:
        return (bounds.usual, bounds.low, bounds.high)[at]
    return int(generator.integers(bounds.low, bounds.high + 1))


def _draw_one(
    spec: TensorSpec, shape: tuple[int, ...], generator: np.random.Generator, uniform: bool
) -> NDArray[Any]:
    if spec.dtype == "string":
        texts = np.array([text.encode() for text in _TEXTS], dtype=object)
        return np.asarray(generator.choice(texts, size=shape), dtype=object)
    if spec.dtype == "bool":
        return generator.integers(0, 2, size=shape).astype(bool)
    if "int" in spec.dtype:
        low, high = 0, _INTEGER_BOUND
        if spec.dtype in _PIXELS and uniform:
            low, high = int(np.iinfo(spec.dtype).min), int(np.iinfo(spec.dtype).max) + 1
        return generator.integers(low, high, size=shape).astype(spec.dtype)
    values: Any = generator.random(size=shape) if uniform else generator.standard_normal(shape)
    if spec.dtype.startswith("complex"):
        values = values + 1j * generator.standard_normal(shape)
    return np.asarray(values).astype(numpy_dtype(spec.dtype))


def numpy_dtype(name: str) -> np.dtype[Any]:
    """Return NumPy's dtype for TensorFlow's name of one."""
    if name == "bfloat16":
        import ml_dtypes

        dtype: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
        return dtype
    return np.dtype("object" if name == "string" else name)
