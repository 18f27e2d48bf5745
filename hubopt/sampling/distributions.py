"""The distributions of the values of an input, chosen by its dtype, shape and domain."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hubopt.sampling.images import channel_axis, draw_images, draw_mosaics
from hubopt.sampling.texts import TEXTS
from hubopt.spec import TensorSpec, ValueRange

_LOW_VALUES = 7
"""The largest value of integers without a known domain, so that they stay inside small tables."""
_HEAVIEST = 10.0
"""Heavy tails are clipped at this magnitude, so that their exponential is finite in float16."""

Shape = tuple[int, ...]
Draw = Callable[[Shape, np.random.Generator], NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Distribution:
    """A distribution from which arrays are drawn.

    Attributes:
        kind: Its name in a `hubopt.sampling.samples.Sample`.
        draw: Takes a shape and a generator and returns numbers of any dtype, or texts as bytes.
    """

    kind: str
    draw: Draw


def distributions(
    spec: TensorSpec, domain: ValueRange | None, rng: np.random.Generator
) -> tuple[Distribution, ...]:
    """Return the distributions that the samples of an input use in turn.

    Args:
        spec: The input.
        domain: The known range of its values, if any.
        rng: Shuffles the texts. All texts are drawn before one is repeated.
    """
    if spec.dtype == "string":
        return (Distribution("texts", _texts(rng)),)
    if spec.dtype == "bool":
        return (Distribution("fair", lambda shape, rng: rng.random(shape) < 0.5),)
    if "int" in spec.dtype:
        return _of_integers(spec, domain)
    channels_at = channel_axis(spec.open_shape)
    if domain is not None:
        low, high = domain.low, domain.high
        uniform = _uniform("uniform", low, high)
        if channels_at:
            mosaic = _mosaics("mosaic", channels_at, low, high)
            return (_pictures("image", channels_at, low, high), mosaic, uniform)
        return (uniform, _uniform("low", low, low + (high - low) / 8))
    if channels_at:
        image = _pictures("image", channels_at, 0, 1)
        signed = _pictures("signed image", channels_at, -1, 1)
        mosaic = _mosaics("mosaic", channels_at, -1, 1)
        return (image, _NORMAL, signed, mosaic, image, _UNIFORM, signed, _HEAVY)
    if spec.dtype.startswith("complex"):
        return tuple(_complex(real) for real in (_NORMAL, _UNIFORM, _SIGNED, _HEAVY))
    return (_NORMAL, _UNIFORM, _SIGNED, _HEAVY)


def _of_integers(spec: TensorSpec, domain: ValueRange | None) -> tuple[Distribution, ...]:
    if domain is not None and "mask" in spec.name.lower() and (domain.low, domain.high) == (0, 1):
        return (Distribution("prefix", _prefix),)
    low, high = _integer_range(spec, domain)
    uniform = _integers("uniform", low, high)
    channels_at = channel_axis(spec.open_shape)
    if channels_at and high - low == np.iinfo("uint8").max:
        return (_pictures("image", channels_at, low, high + 1), uniform)
    if domain is None:
        few = _integers("low", 0, _LOW_VALUES)
        return (few, uniform) if (low, high) != (0, _LOW_VALUES) else (few,)
    if high <= low + _LOW_VALUES:
        return (uniform,)
    few = _integers("low", low, min(low + _LOW_VALUES, high))
    if len(spec.dims) < 2:
        return (uniform, few)
    return (uniform, _padded(low, high), few, _repeated(low, high))


def _integer_range(spec: TensorSpec, domain: ValueRange | None) -> tuple[int, int]:
    """Return the lowest and the highest integer to draw.

    Without a domain, 8-bit integers are more likely pixels than indices. They are drawn over
    their whole range, because only that reveals clipping and wrapping.
    """
    limits = np.iinfo(spec.dtype)
    lowest, highest = int(limits.min), int(limits.max)
    if domain is not None:
        low, high = (min(max(int(end), lowest), highest) for end in (domain.low, domain.high))
        return low, high
    return (lowest, highest) if limits.bits == 8 else (0, _LOW_VALUES)


ZEROS, EXTREMES, SMALL = "zeros", "extremes", "small"
_FLOAT_EXTREME = 3.0
"""The magnitude of extreme floats without a domain, in standard deviations."""
_SMALL_DEVIATION = 1e-3


def edge_cases(specs: Sequence[TensorSpec]) -> tuple[str, ...]:
    """Return the edge cases of a model; ``small`` is one of them only if it has floats."""
    floats = any("float" in spec.dtype or "complex" in spec.dtype for spec in specs)
    return (ZEROS, EXTREMES, SMALL) if floats else (ZEROS, EXTREMES)


def edge_case(
    kind: str, spec: TensorSpec, domain: ValueRange | None, main: Distribution
) -> Distribution:
    """Return the distribution of an edge case of an input.

    Args:
        kind: One of `edge_cases`.
        spec: The input.
        domain: The known range of its values, if any.
        main: The distribution to use if the dtype has no such edge case.
    """
    if kind == ZEROS:
        return Distribution(kind, _zeros(spec, domain))
    if kind == EXTREMES:
        return Distribution(kind, _shuffled(*_limits(spec, domain)))
    if "float" in spec.dtype or "complex" in spec.dtype:
        return Distribution(kind, _small(domain))
    return Distribution(kind, main.draw)


def _zeros(spec: TensorSpec, domain: ValueRange | None) -> Draw:
    if spec.dtype == "string":
        return lambda shape, rng: np.full(shape, b"", object)
    low, high = _limits(spec, domain)
    nearest = min(max(0, low), high)
    return lambda shape, rng: np.full(shape, nearest)


def _limits(spec: TensorSpec, domain: ValueRange | None) -> tuple[Any, Any]:
    if spec.dtype == "string":
        texts = sorted((text.encode() for text in TEXTS), key=len)
        return texts[0], texts[-1]
    if spec.dtype == "bool":
        return False, True
    if "int" in spec.dtype:
        return _integer_range(spec, domain)
    return (-_FLOAT_EXTREME, _FLOAT_EXTREME) if domain is None else (domain.low, domain.high)


def _shuffled(low: Any, high: Any) -> Draw:
    """Set half of the elements to ``high`` and the rest to ``low``; a single element is ``high``.

    Their order is random.
    """

    def draw(shape: Shape, rng: np.random.Generator) -> NDArray[Any]:
        ends = np.array([high, low], object if isinstance(low, bytes) else None)
        return rng.permutation(np.resize(ends, math.prod(shape))).reshape(shape)

    return draw


def _small(domain: ValueRange | None) -> Draw:
    def draw(shape: Shape, rng: np.random.Generator) -> NDArray[Any]:
        values = rng.normal(scale=_SMALL_DEVIATION, size=shape)
        if domain is None:
            return values
        return np.asarray(np.minimum(domain.low + abs(values), domain.high))

    return draw


def _texts(order: np.random.Generator) -> Draw:
    deck = itertools.cycle(TEXTS[at].encode() for at in order.permutation(len(TEXTS)))

    def draw(shape: Shape, rng: np.random.Generator) -> NDArray[Any]:
        texts = np.empty(math.prod(shape), object)
        texts[:] = list(itertools.islice(deck, texts.size))
        return texts.reshape(shape)

    return draw


def _prefix(shape: Shape, rng: np.random.Generator) -> NDArray[Any]:
    """Return ones followed by zeros along the last axis, like the padding mask of a tokenizer."""
    if not shape or not shape[-1]:
        return np.ones(shape)
    lengths = rng.integers(1, shape[-1] + 1, (*shape[:-1], 1))
    return np.asarray(np.arange(shape[-1]) < lengths)


def _padded(low: int, high: int) -> Distribution:
    """Draw indices followed by the lowest index along the last axis, like padded short texts."""

    def draw(shape: Shape, rng: np.random.Generator) -> NDArray[Any]:
        return np.where(_prefix(shape, rng), rng.integers(low, high, shape, endpoint=True), low)

    return Distribution("padded", draw)


def _repeated(low: int, high: int) -> Distribution:
    """Repeat one index along the last axis.

    A sum or mean of table rows is then as far from zero as a single row allows.
    """

    def draw(shape: Shape, rng: np.random.Generator) -> NDArray[Any]:
        rows = rng.integers(low, high, (*shape[:-1], 1), endpoint=True)
        return np.array(np.broadcast_to(rows, shape))

    return Distribution("repeated", draw)


def _mosaics(kind: str, channels_at: Literal[1, 3], low: float, high: float) -> Distribution:
    def draw(shape: Shape, rng: np.random.Generator) -> NDArray[Any]:
        return low + (high - low) * draw_mosaics(shape, channels_at, rng)

    return Distribution(kind, draw)


def _pictures(kind: str, channels_at: Literal[1, 3], low: float, high: float) -> Distribution:
    def draw(shape: Shape, rng: np.random.Generator) -> NDArray[Any]:
        return low + (high - low) * draw_images(shape, channels_at, rng)

    return Distribution(kind, draw)


def _uniform(kind: str, low: float, high: float) -> Distribution:
    return Distribution(kind, lambda shape, rng: np.asarray(rng.uniform(low, high, shape)))


def _integers(kind: str, low: int, high: int) -> Distribution:
    return Distribution(kind, lambda shape, rng: rng.integers(low, high, shape, endpoint=True))


def _heavy_tailed(shape: Shape, rng: np.random.Generator) -> NDArray[Any]:
    return np.clip(rng.standard_t(3, shape), -_HEAVIEST, _HEAVIEST)


_NORMAL = Distribution("normal", lambda shape, rng: np.asarray(rng.standard_normal(shape)))
_UNIFORM = _uniform("uniform", 0, 1)
_SIGNED = _uniform("signed", -1, 1)
_HEAVY = Distribution("heavy-tailed", _heavy_tailed)


def _complex(real: Distribution) -> Distribution:
    return Distribution(
        real.kind, lambda shape, rng: real.draw(shape, rng) + 1j * real.draw(shape, rng)
    )
