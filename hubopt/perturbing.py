"""`perturb`: a frozen graph with other weights, to see whether its answers depend on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hubopt.freezing import nodes

OTHER = 0.1
"""Of each weight: far more than rounding, too little to turn an activation into overflow."""
ROUNDING = 2.0**-23
"""Of each weight: what float32 keeps of it, so that the model is as good as the same."""


def perturb(
    graph_def: Any, weights: Mapping[str, NDArray[Any]], share: float = OTHER, seed: int = 0
) -> tuple[Any, dict[str, NDArray[Any]]]:
    """Return a graph and its weights ``w`` as ``w * (1 + share * u)``, ``u`` in [-1, 1).

    Weights are the floating-point constants of more than one element, in functions too.
    Shapes, indices and single numbers stay.

    Args:
        graph_def: A frozen ``GraphDef``; it is left as it is.
        weights: The values of its placeholders that stand for weights; they are left too.
        share: How far weights are moved.
        seed: Of the draw of ``u``, which is uniform and independent for each element.
    """
    import tensorflow as tf

    generator = np.random.default_rng(seed)

    def moved(array: NDArray[Any]) -> NDArray[Any]:
        if array.size < 2 or not tf.as_dtype(array.dtype).is_floating:
            return array
        factors = 1 + share * generator.uniform(-1, 1, array.shape)
        return (array * factors).astype(array.dtype)

    copy = tf.compat.v1.GraphDef()
    copy.CopyFrom(graph_def)
    for node in nodes(copy):
        if node.op == "Const" and tf.as_dtype(node.attr["dtype"].type).is_floating:
            tensor = node.attr["value"].tensor
            before = tf.make_ndarray(tensor)
            if (after := moved(before)) is not before:
                tensor.CopyFrom(tf.make_tensor_proto(after, tensor.dtype))
    return copy, {name: moved(array) for name, array in weights.items()}
