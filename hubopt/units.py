"""The rectified units of a network: one channel, the last axis, of a rectifier's output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Flags = NDArray[np.bool_]

RECTIFIERS = ("Relu", "Relu6")


class Units:
    """The units of a graph.

    Rectifiers of loops and branches cannot be fetched, and those without a fixed number of
    channels have no units to tell apart.

    Args:
        graph: A ``tf.Graph``.

    Attributes:
        tensors: The names of what goes into the rectifiers; none if there are no units.
        count: How many units there are.
    """

    def __init__(self, graph: Any) -> None:
        before = [op.inputs[0] for op in graph.get_operations() if op.type in RECTIFIERS]
        rectified = [each for each in before if each.shape.rank and each.shape[-1]]
        self.tensors = [each.name for each in rectified]
        self.count = sum(each.shape[-1] for each in rectified)

    def awake(self, activations: Sequence[NDArray[Any]]) -> Flags:
        """Return whether each unit is positive anywhere, from the values of `tensors`."""
        flags = [(each > 0).reshape(-1, each.shape[-1]).any(axis=0) for each in activations]
        return np.concatenate([*flags, np.zeros(0, bool)])

    def silent_height(self, activations: Sequence[Any], awake: Flags) -> Any:
        """Return the sum of the largest values of the units not ``awake``, layers alike.

        Args:
            activations: The values of `tensors`, as tensors; gradients flow through.
            awake: By unit.
        """
        import tensorflow as tf

        total, at = tf.constant(0.0), 0
        for each in activations:
            channels = each.shape[-1]
            silent = ~awake[at : at + channels]
            at += channels
            if silent.any():
                highest = tf.reduce_max(tf.reshape(each, [-1, channels]), axis=0)
                height = tf.reduce_sum(tf.boolean_mask(highest, silent))
                total += tf.cast(height / (tf.math.reduce_std(each) + 1e-6), tf.float32)
        return total
