"""`jitter`: move what a graph sorts by within its rounding, to see whether the order is a tie."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from hubopt.exporter import OpUse

SORTED_BY = {
    "ApproxTopK": 0,
    "ArgMax": 0,
    "ArgMin": 0,
    "CombinedNonMaxSuppression": 1,
    "NonMaxSuppression": 1,
    "NonMaxSuppressionV2": 1,
    "NonMaxSuppressionV3": 1,
    "NonMaxSuppressionV4": 1,
    "NonMaxSuppressionV5": 1,
    "NonMaxSuppressionWithOverlaps": 1,
    "TopK": 0,
    "TopKV2": 0,
}
"""The operations that put elements in order, with the input that they order by."""
_ULPS = 8
"""How many units in the last place a key is moved by at most: a float32 sum of some hundred terms
is off by as much."""
_EPSILONS = {1: 2.0**-23, 2: 2.0**-52}
"""The unit in the last place of 1, by the number of the dtype in TensorFlow's types.proto. In half
precision a key moves so far that what depends on its value moves, too."""
_TINY = 1e-25
"""What is added, times the jitter, so that zeros move as well."""
_FLOAT32, _INT32 = 1, 3


def orders(ops: Sequence[OpUse]) -> bool:
    """Whether a program has an operation of `SORTED_BY`."""
    return any(use.op in SORTED_BY for use in ops)


def jitter(graph_def: Any) -> Any:
    """Return a graph that moves its sort keys by a new draw at every run.

    A key ``x`` becomes ``x * (1 + e)``, with ``e`` uniform within 8 units in the last place.
    Elements whose order changes by that have equal keys as far as their dtype can tell.

    Args:
        graph_def: A frozen ``GraphDef``; it is not changed.
    """
    import tensorflow as tf

    jittered = tf.compat.v1.GraphDef()
    jittered.CopyFrom(graph_def)
    seed = 1
    bodies = [(jittered.node, False)]
    bodies += [(function.node_def, True) for function in jittered.library.function]
    for nodes, in_function in bodies:
        for node in list(nodes):
            place = SORTED_BY.get(node.op)
            dtype = node.attr["T"].type if "T" in node.attr else _FLOAT32
            if place is None or dtype not in _EPSILONS:
                continue
            made = list(_jittered(node, node.input[place], dtype, seed, in_function))
            seed += 1
            nodes.extend(made)
            node.input[place] = _tensor(made[-1], in_function)
    return jittered


_RESULTS = {"Const": "output", "Shape": "output", "RandomUniform": "output", "Mul": "z"}


def _jittered(node: Any, key: str, dtype: int, seed: int, in_function: bool) -> Iterator[Any]:
    """Yield the nodes that compute a moved ``key``; the last one's output is it."""
    import tensorflow as tf

    def make(name: str, op: str, *tensors: str, attr: str = "T") -> Any:
        made = type(node)(name=f"{node.name}/jitter/{name}", op=op, input=tensors)
        made.device = node.device
        made.attr[attr].type = dtype
        return made

    def constant(name: str, value: float) -> Any:
        made = make(name, "Const", attr="dtype")
        made.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value, tf.as_dtype(dtype)))
        return made

    def use(made: Any) -> str:
        return _tensor(made, in_function)

    shape = make("shape", "Shape", key)
    shape.attr["out_type"].type = _INT32
    draw = make("draw", "RandomUniform", use(shape), attr="dtype")
    draw.attr["T"].type = _INT32
    draw.attr["seed"].i, draw.attr["seed2"].i = 1, seed
    share = _ULPS * _EPSILONS[dtype]
    width, low, one, tiny = (
        constant(name, value)
        for name, value in (
            ("width", 2 * share),
            ("low", -share),
            ("one", 1.0),
            ("tiny", _TINY),
        )
    )
    wide = make("wide", "Mul", use(draw), use(width))
    centred = make("centred", "AddV2", use(wide), use(low))
    factor = make("factor", "AddV2", use(centred), use(one))
    moved = make("moved", "Mul", key, use(factor))
    aside = make("aside", "Mul", use(centred), use(tiny))
    yield from (shape, draw, width, low, one, tiny, wide, centred, factor, moved, aside)
    yield make("key", "AddV2", use(moved), use(aside))


def _tensor(node: Any, in_function: bool) -> str:
    return f"{node.name}:{_RESULTS.get(node.op, 'z')}:0" if in_function else f"{node.name}:0"
