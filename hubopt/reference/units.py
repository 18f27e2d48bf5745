"""The rectified units of a network: the channels (last axis) of the rectifiers' outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

Flags = NDArray[np.bool_]

RECTIFIERS = ("Relu", "Relu6")


def spans(sizes: Mapping[str, int]) -> dict[str, slice]:
    """Return the slice of each name in one array that concatenates all ``sizes``."""
    ends = accumulate(sizes.values())
    return {
        name: slice(end - size, end) for (name, size), end in zip(sizes.items(), ends, strict=True)
    }


class Units:
    """The units of a graph.

    Rectifiers inside loops and branches cannot be fetched, and those without a fixed number of
    channels have no distinct units; both are left out.

    Args:
        graph: A ``tf.Graph``.

    Attributes:
        tensors: The names of the inputs of the examined rectifiers; empty if there are no units.
        count: How many units there are.
    """

    def __init__(self, graph: Any) -> None:
        before = [op.inputs[0] for op in graph.get_operations() if op.type in RECTIFIERS]
        rectified = [tensor for tensor in before if tensor.shape.rank and tensor.shape[-1]]
        self.tensors = [tensor.name for tensor in rectified]
        self._places = spans({tensor.name: tensor.shape[-1] for tensor in rectified})
        self.count = sum(tensor.shape[-1] for tensor in rectified)

    def forget(self, seen: Flags) -> None:
        """Stop examining rectifiers whose units are all ``seen``."""
        self.tensors = [name for name in self.tensors if not seen[self._places[name]].all()]

    def awake(self, activations: Sequence[NDArray[Any]]) -> Flags:
        """Return whether each unit is active, that is, positive anywhere.

        Units that are not examined count as inactive.

        Args:
            activations: The values of `tensors`.
        """
        flags = np.zeros(self.count, bool)
        for name, values in zip(self.tensors, activations, strict=True):
            flags[self._places[name]] = (values > 0).reshape(-1, values.shape[-1]).any(axis=0)
        return flags

    def slopes(self, graph: Any, inputs: Sequence[str]) -> list[Any]:
        """Add the gradient towards inactive units to ``graph``, for each of ``inputs``.

        It is the gradient of the sum of the inactive units' largest values, scaled so that all
        rectifiers have the same weight.

        Args:
            graph: The graph of these units.
            inputs: The names of float tensors.

        Returns:
            The placeholder for which units are active, and one gradient tensor for each input.

        Raises:
            LookupError: An operation between inputs and units has no gradient.
        """
        import tensorflow as tf

        awake = tf.compat.v1.placeholder(tf.bool, [self.count], "hubopt/awake")
        total = tf.constant(0.0)
        for name in self.tensors:
            rectified = graph.get_tensor_by_name(name)
            channels = rectified.shape[-1]
            inactive = ~awake[self._places[name]]
            highest = tf.reduce_max(tf.reshape(rectified, [-1, channels]), axis=0)
            height = tf.reduce_sum(tf.where(inactive, highest, tf.zeros_like(highest)))
            # Divide by the rectifier's scale; changing the scale does not activate a unit.
            scale = tf.stop_gradient(tf.math.reduce_std(rectified)) + 1e-6
            total += tf.cast(height / scale, tf.float32)
        tensors = [graph.get_tensor_by_name(name) for name in inputs]
        gradients = tf.gradients(total, tensors)
        slopes = [
            tf.zeros_like(tensor) if slope is None else tf.convert_to_tensor(slope)
            for tensor, slope in zip(tensors, gradients, strict=True)
        ]
        return [awake, *slopes]
