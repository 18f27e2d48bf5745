"""`perturb`: change the weights of a frozen graph, to see whether its outputs depend on them."""

from __future__ import annotations

import math
from collections import ChainMap
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hubopt.programs.graphs.functions import nodes

OTHER = 0.1
"""A relative change of each weight far above rounding, too small to overflow an activation."""
ROUNDING = 2.0**-23
"""A relative change of each weight at float32 precision, which leaves the model practically the
same."""
_FLOAT32 = 2.0**-12
"""Smaller relative changes are computed in float64."""


def perturb(
    graph_def: Any, weights: Mapping[str, NDArray[Any]], share: float = OTHER, seed: int = 0
) -> tuple[Any, Mapping[str, NDArray[Any]]]:
    """Return a graph whose weights ``w`` are ``w * (1 + share * u)``, with ``u`` in [-1, 1).

    Weights are the floating-point constants of more than one element, including those inside
    functions. Shapes, indices and scalars stay the same.

    Args:
        graph_def: A frozen ``GraphDef``; it is not changed, and is returned itself if it holds
            no weights.
        weights: The values of its placeholders that stand for weights; they are not changed.
        share: The largest relative change of a weight.
        seed: The seed for ``u``, which is uniform and independent for each element.

    Returns:
        The graph, and a mapping of the weights, which changes each weight on access.
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
    """Weights that are changed on access, so that only one need be in memory."""

    def __init__(self, weights: Mapping[str, NDArray[Any]], share: float, seed: int) -> None:
        self._weights, self._share, self._seed = weights, share, seed
        # Sorted by name, because TensorFlow's optimizer does not order nodes reproducibly.
        self._places = {name: at for at, name in enumerate(sorted(weights))}

    def __getitem__(self, name: str) -> NDArray[Any]:
        generator = np.random.default_rng((self._seed, self._places[name]))
        return _moved(self._weights[name], self._share, generator)

    def __contains__(self, name: object) -> bool:
        return name in self._places  # the default of Mapping would compute the weight

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def _moved(array: NDArray[Any], share: float, generator: np.random.Generator) -> NDArray[Any]:
    import tensorflow as tf

    if array.size < 2 or not tf.as_dtype(array.dtype).is_floating:
        return array
    moved: NDArray[Any] = generator.random(array.shape, np.float32)
    if share < _FLOAT32:  # float32 cannot represent a factor so close to 1
        moved = moved.astype(np.float64)
    moved *= 2 * share  # in place: these are hundreds of megabytes
    moved += 1 - share
    moved *= array
    return moved.astype(array.dtype, copy=False)


def lift(
    graph_def: Any, weights: Mapping[str, NDArray[Any]]
) -> tuple[Any, Mapping[str, NDArray[Any]]]:
    """Return a graph whose small weights are placeholders as well, and the values of all weights.

    One graph can then be run with many draws of its weights. Weights inside functions stay
    constants. The given weights are not read.

    Args:
        graph_def: A frozen ``GraphDef``; it is not changed.
        weights: The values of its placeholders that stand for weights.
    """
    import tensorflow as tf

    lifted = _copy(graph_def)
    small: dict[str, NDArray[Any]] = {}
    for node in filter(_holds_weights, lifted.node):
        small[node.name] = tf.make_ndarray(node.attr["value"].tensor)
        del node.attr["value"]
        node.op = "Placeholder"
        node.attr["shape"].shape.CopyFrom(tf.TensorShape(small[node.name].shape).as_proto())
    return lifted, ChainMap(small, weights)  # type: ignore[arg-type]  # it is only read


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
