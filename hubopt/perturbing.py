"""`perturb`: a frozen graph with other weights, to see whether its answers depend on them."""

from __future__ import annotations

from typing import Any

import numpy as np

from hubopt.freezing import nodes

OTHER = 0.1
"""Of each weight: far more than rounding, too little to turn an activation into overflow."""
ROUNDING = 2.0**-23
"""Of each weight: what float32 keeps of it, so that the model is as good as the same."""


def perturb(graph_def: Any, share: float = OTHER, seed: int = 0) -> Any:
    """Return ``graph_def`` with its weights ``w`` as ``w * (1 + share * u)``, ``u`` in [-1, 1).

    Weights are the floating-point constants of more than one element, in functions too.
    Shapes, indices and single numbers stay.

    Args:
        graph_def: A frozen ``GraphDef``; it is left as it is.
        share: How far weights are moved.
        seed: Of the draw of ``u``, which is uniform and independent for each element.
    """
    import tensorflow as tf

    generator = np.random.default_rng(seed)
    copy = tf.compat.v1.GraphDef()
    copy.CopyFrom(graph_def)
    for node in nodes(copy):
        if node.op != "Const" or not tf.as_dtype(node.attr["dtype"].type).is_floating:
            continue
        tensor = node.attr["value"].tensor
        weights = tf.make_ndarray(tensor)
        if weights.size > 1:
            factors = 1 + share * generator.uniform(-1, 1, weights.shape)
            moved = (weights * factors).astype(weights.dtype)
            tensor.CopyFrom(tf.make_tensor_proto(moved, tensor.dtype))
    return copy
