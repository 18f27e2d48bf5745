"""Whether a graph's outputs depend on its inputs and on its weights.

Only data counts: a control edge says when a node runs, not what it computes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_VARIABLES = ("VarHandleOp", "VariableV2", "Variable")


def unreached(graph_def: Any, outputs: Mapping[str, str], nodes: Iterable[str]) -> tuple[str, ...]:
    """Return the outputs that depend on none of ``nodes``.

    Args:
        graph_def: A frozen graph.
        outputs: The graph's tensor for each output.
        nodes: Names of nodes.
    """
    inputs = {
        node.name: [_node(tensor) for tensor in node.input if not tensor.startswith("^")]
        for node in graph_def.node
    }
    wanted = set(nodes)
    return tuple(
        name for name, tensor in outputs.items() if not wanted & _ancestors(_node(tensor), inputs)
    )


def before(graph_def: Any, tensor: str) -> list[Any]:
    """Return the nodes that ``tensor`` is computed from and its own, in the order of computing."""
    nodes = {node.name: node for node in graph_def.node}
    ordered: dict[str, Any] = {}
    waiting = [_node(tensor)]
    entered: set[str] = set()
    while waiting:
        name = waiting[-1]
        unseen = [
            each
            for edge in nodes[name].input
            if not edge.startswith("^") and (each := _node(edge)) not in entered
        ]
        entered.add(name)
        if unseen:
            waiting += unseen
        else:
            ordered.setdefault(waiting.pop(), nodes[name])
    return list(ordered.values())


def weights(graph_def: Any) -> list[str]:
    """Return the variables and the constants that are floating-point arrays, not all zero.

    Arrays of zeros serve for concatenation and padding, and a factor does not change them.
    """
    return [node.name for node in graph_def.node if _holds_weights(node)]


def _holds_weights(node: Any) -> bool:
    import tensorflow as tf

    if node.op in _VARIABLES:
        return True
    if node.op != "Const":
        return False
    tensor = node.attr["value"].tensor
    size = math.prod(dim.size for dim in tensor.tensor_shape.dim)
    if size < 2 or not tf.as_dtype(tensor.dtype).is_floating:
        return False
    return bool(tf.make_ndarray(tensor).any())


def _ancestors(start: str, inputs: Mapping[str, Sequence[str]]) -> set[str]:
    visited: set[str] = set()
    waiting = [start]
    while waiting:
        node = waiting.pop()
        if node not in visited:
            visited.add(node)
            waiting += inputs.get(node, ())
    return visited


def _node(tensor: str) -> str:
    return tensor.split(":")[0]
