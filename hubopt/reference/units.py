"""The rectified units of a network: one channel, the last axis, of a rectifier's output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

Flags = NDArray[np.bool_]

RECTIFIERS = ("Relu", "Relu6")


def spans(sizes: Mapping[str, int]) -> dict[str, slice]:
    """Return where each of ``sizes`` lies in one array of all."""
    ends = accumulate(sizes.values())
    return {
        name: slice(end - size, end) for (name, size), end in zip(sizes.items(), ends, strict=True)
    }


class Units:
    """The units of a graph.

    Rectifiers of loops and branches cannot be fetched, and those without a fixed number of
    channels have no units to tell apart.

    Args:
        graph: A ``tf.Graph``.

    Attributes:
        tensors: The names of what goes into the rectifiers that are looked at; none if there are
            no units.
        count: How many units there are.
    """

    def __init__(self, graph: Any) -> None:
        before = [op.inputs[0] for op in graph.get_operations() if op.type in RECTIFIERS]
        rectified = [each for each in before if each.shape.rank and each.shape[-1]]
        self.tensors = [each.name for each in rectified]
        self._places = spans({each.name: each.shape[-1] for each in rectified})
        self.count = sum(each.shape[-1] for each in rectified)

    def forget(self, seen: Flags) -> None:
        """Look no more at rectifiers all of whose units are ``seen``."""
        self.tensors = [each for each in self.tensors if not seen[self._places[each]].all()]

    def awake(self, activations: Sequence[NDArray[Any]]) -> Flags:
        """Return whether each unit is positive anywhere, from the values of `tensors`.

        Units that are not looked at count as silent.
        """
        flags = np.zeros(self.count, bool)
        for name, each in zip(self.tensors, activations, strict=True):
            flags[self._places[name]] = (each > 0).reshape(-1, each.shape[-1]).any(axis=0)
        return flags

    def slopes(self, graph: Any, inputs: Sequence[str]) -> list[Any]:
        """Add the way that leads to silent units to ``graph``: a slope for each of ``inputs``.

        Of the sum of the largest values of the units that are not awake, layers alike.

        Args:
            graph: The graph of these units.
            inputs: Tensors of floats.

        Returns:
            The tensor to be told which units are awake, and a tensor for each input.

        Raises:
            LookupError: An operation on the way has no gradient.
        """
        import tensorflow as tf

        awake = tf.compat.v1.placeholder(tf.bool, [self.count], "hubopt/awake")
        total = tf.constant(0.0)
        for name in self.tensors:
            each = graph.get_tensor_by_name(name)
            channels = each.shape[-1]
            silent = ~awake[self._places[name]]
            highest = tf.reduce_max(tf.reshape(each, [-1, channels]), axis=0)
            height = tf.reduce_sum(tf.where(silent, highest, tf.zeros_like(highest)))
            # By the layer's scale, which is no way to a unit itself.
            scale = tf.stop_gradient(tf.math.reduce_std(each)) + 1e-6
            total += tf.cast(height / scale, tf.float32)
        tensors = [graph.get_tensor_by_name(name) for name in inputs]
        found = tf.gradients(total, tensors)
        slopes = [
            tf.zeros_like(tensor) if slope is None else tf.convert_to_tensor(slope)
            for tensor, slope in zip(tensors, found, strict=True)
        ]
        return [awake, *slopes]
