"""`perturb`: a frozen graph with other weights, to see whether its answers depend on them."""

from __future__ import annotations

import math
from collections import ChainMap
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hubopt.programs.graphs.freezing import nodes

OTHER = 0.1
"""Of each weight: far more than rounding, too little to turn an activation into overflow."""
ROUNDING = 2.0**-23
"""Of each weight: what float32 keeps of it, so that the model is as good as the same."""
_FLOAT32 = 2.0**-12
"""Smaller moves are computed in float64."""


def perturb(
    graph_def: Any, weights: Mapping[str, NDArray[Any]], share: float = OTHER, seed: int = 0
) -> tuple[Any, Mapping[str, NDArray[Any]]]:
    """Return a graph and its weights ``w`` as ``w * (1 + share * u)``, ``u`` in [-1, 1).

    Weights are the floating-point constants of more than one element, in functions too.
    Shapes, indices and single numbers stay.

    Args:
        graph_def: A frozen ``GraphDef``; it is left as it is, and given back if it holds no
            weights itself.
        weights: The values of its placeholders that stand for weights; they are left too.
        share: How far weights are moved.
        seed: Of the draw of ``u``, which is uniform and independent for each element.

    Returns:
        The graph, and what gives the weights one by one: they are moved when they are asked for.
    """
    import tensorflow as tf

    if any(map(_holds_weights, nodes(graph_def))):
        graph_def = _copy(graph_def)
        generator = np.random.default_rng(seed)
        for node in filter(_holds_weights, nodes(graph_def)):
            tensor = node.attr["value"].tensor
            array = _moved(tf.make_ndarray(tensor), share, generator)
            tensor.CopyFrom(tf.make_tensor_proto(array, tensor.dtype))
    return graph_def, _Moved(weights, share, seed)


class _Moved(Mapping[str, NDArray[Any]]):
    """Weights that are moved as they are read, so that no more than one need be in memory."""

    def __init__(self, weights: Mapping[str, NDArray[Any]], share: float, seed: int) -> None:
        self._weights, self._share, self._seed = weights, share, seed
        # By name, for TensorFlow's optimizer does not give nodes the same order twice.
        self._places = {name: at for at, name in enumerate(sorted(weights))}

    def __getitem__(self, name: str) -> NDArray[Any]:
        generator = np.random.default_rng((self._seed, self._places[name]))
        return _moved(self._weights[name], self._share, generator)

    def __contains__(self, name: object) -> bool:
        return name in self._places  # a mapping's own would move it

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def _moved(array: NDArray[Any], share: float, generator: np.random.Generator) -> NDArray[Any]:
    import tensorflow as tf

    if array.size < 2 or not tf.as_dtype(array.dtype).is_floating:
        return array
    moved: NDArray[Any] = generator.random(array.shape, np.float32)
    if share < _FLOAT32:  # a factor that near to 1 has no place in float32
        moved = moved.astype(np.float64)
    moved *= 2 * share  # in place: these are hundreds of megabytes
    moved += 1 - share
    moved *= array
    return moved.astype(array.dtype, copy=False)


def lift(
    graph_def: Any, weights: Mapping[str, NDArray[Any]]
) -> tuple[Any, Mapping[str, NDArray[Any]]]:
    """Return a graph in which a placeholder stands for small weights as well, and all weights.

    Those given are not read.

    So one graph can be run with many draws of them. Those in functions stay.

    Args:
        graph_def: A frozen ``GraphDef``; it is left as it is.
        weights: The values of its placeholders that stand for weights.
    """
    import tensorflow as tf

    lifted = _copy(graph_def)
    found: dict[str, NDArray[Any]] = {}
    for node in filter(_holds_weights, lifted.node):
        found[node.name] = tf.make_ndarray(node.attr["value"].tensor)
        del node.attr["value"]
        node.op = "Placeholder"
        node.attr["shape"].shape.CopyFrom(tf.TensorShape(found[node.name].shape).as_proto())
    return lifted, ChainMap(found, weights)  # type: ignore[arg-type]  # it is only read


def _holds_weights(node: Any) -> bool:
    import tensorflow as tf

    if node.op != "Const" or not tf.as_dtype(node.attr["dtype"].type).is_floating:
        return False
    shape = [dim.size for dim in node.attr["value"].tensor.tensor_shape.dim]
    return bool(math.prod(shape) > 1)


def _copy(graph_def: Any) -> Any:
    import tensorflow as tf

    copy = tf.compat.v1.GraphDef()
    copy.CopyFrom(graph_def)
    return copy
