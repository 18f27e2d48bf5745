"""Faults of weights, the same for every format that lists its layers with weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.mutations.mutant import Fault, spread
from benchmarks.mutations.values import (
    PRECISIONS,
    Layout,
    flip_sign,
    round_to,
    swap_channels,
    transpose_kernel,
)

SIGNS, BIASES, TRANSPOSED, SHUFFLED, ROUNDED = 24, 14, 14, 14, 18
"""The number of faults of each kind in one artifact."""


class PutArray(Protocol):
    """Replaces a constant of a layer in an opened model."""

    def __call__(self, model: Any, array: NDArray[Any]) -> None:
        """Change ``model`` in place."""
        ...


@dataclass(frozen=True, slots=True)
class WeightedLayer:
    """A layer that multiplies by constant weights.

    Attributes:
        name: The tensor that it computes.
        op: The operator's type.
        weight: The kernel or matrix.
        layout: The meaning of its axes.
        bias: One value for each output channel; None if there is no bias.
        put_weight: Replaces the weight of this layer only.
        put_bias: Replaces its bias.
    """

    name: str
    op: str
    weight: NDArray[Any]
    layout: Layout
    bias: NDArray[Any] | None
    put_weight: PutArray
    put_bias: PutArray

    def __str__(self) -> str:
        return f"{self.op} {'x'.join(map(str, self.weight.shape))}"


def weight_faults(
    layers: Sequence[WeightedLayer], generator: np.random.Generator
) -> Iterator[Fault]:
    """Yield faults of the weights of ``layers``, from the first to the last."""
    for layer in spread(layers, SIGNS, generator, repeat=True):
        yield _weight_sign(layer, generator)
    biased = [layer for layer in layers if layer.bias is not None and layer.bias.any()]
    for layer in spread(biased, BIASES, generator):
        yield _bias_dropped(layer)
    for layer in spread(layers, TRANSPOSED, generator):
        transposed = transpose_kernel(layer.weight, layer.layout)
        if not np.array_equal(transposed, layer.weight):
            yield _of_weight("transposed kernel", f"{layer}", layer, transposed)
    wide = [layer for layer in layers if layer.weight.shape[layer.layout.outputs] > 1]
    for layer in spread(wide, SHUFFLED, generator):
        yield _shuffled_channel(layer, generator)
    for at, layer in enumerate(spread(layers, ROUNDED, generator)):
        precision = PRECISIONS[at % len(PRECISIONS)]
        rounded = round_to(layer.weight, precision)
        if not np.array_equal(rounded, layer.weight):
            yield _of_weight("lower precision", f"{layer}: weights as {precision}", layer, rounded)


def _of_weight(kind: str, site: str, layer: WeightedLayer, weight: NDArray[Any]) -> Fault:
    change = np.linalg.norm(weight - layer.weight) / (np.linalg.norm(layer.weight) or 1.0)
    return Fault(
        kind,
        site,
        layer.name,
        partial(layer.put_weight, array=weight),
        f"the kernel changes by {change:.1e} of its norm",
    )


def _weight_sign(layer: WeightedLayer, generator: np.random.Generator) -> Fault:
    # Flipping the sign of a zero is not a fault.
    choices = np.argwhere(layer.weight)
    index = tuple(int(at) for at in choices[generator.integers(len(choices))])
    share = abs(layer.weight[index]) / np.abs(layer.weight).max()
    return Fault(
        "weight sign",
        f"{layer}: element {index}",
        layer.name,
        partial(layer.put_weight, array=flip_sign(layer.weight, index)),
        f"the weight is {share:.1e} of the kernel's largest",
    )


def _bias_dropped(layer: WeightedLayer) -> Fault:
    assert layer.bias is not None
    return Fault(
        "bias dropped",
        f"{layer}",
        layer.name,
        partial(layer.put_bias, array=np.zeros_like(layer.bias)),
        f"the largest bias is {np.abs(layer.bias).max():.1e}",
    )


def _shuffled_channel(layer: WeightedLayer, generator: np.random.Generator) -> Fault:
    axis = layer.layout.outputs
    one, other = (int(at) for at in generator.choice(layer.weight.shape[axis], 2, replace=False))
    weight = swap_channels(layer.weight, axis, one, other)
    bias = None if layer.bias is None else swap_channels(layer.bias, 0, one, other)

    def apply(model: Any) -> None:
        layer.put_weight(model, weight)
        if bias is not None:
            layer.put_bias(model, bias)

    norms = [np.linalg.norm(layer.weight.take(at, axis)) for at in (one, other)]
    return Fault(
        "shuffled channel",
        f"{layer}: outputs {one} and {other}",
        layer.name,
        apply,
        f"the channels' kernels have norms {norms[0]:.1e} and {norms[1]:.1e}",
    )
