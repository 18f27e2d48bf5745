"""Take the branch of a choice that is settled, such as that by a training flag which is off."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

_CALLS = {
    "If": "StatefulPartitionedCall",
    "Case": "StatefulPartitionedCall",
    "StatelessIf": "PartitionedCall",
    "StatelessCase": "PartitionedCall",
}
_PASSING = frozenset({"Identity", "PlaceholderWithDefault"})


def take_settled_branches(graph_def: Any, fed: Collection[str]) -> bool:
    """Turn each choice by a constant into a call of its branch, in place.

    Only choices of the graph itself are looked at, as Grappler inlines the calls there. A
    placeholder with a default has that as its value, if it is not an input of the graph.

    Args:
        graph_def: The graph.
        fed: The names of the nodes that are inputs.

    Returns:
        Whether there was such a choice.
    """
    by_name = {node.name: node for node in graph_def.node}
    settled = False
    for node in graph_def.node:
        if node.op in _CALLS:
            value = _constant(node.input[0], by_name, fed)
            if value is not None:
                _call(node, _branch(node, value))
                settled = True
    return settled


def _constant(tensor: str, by_name: Mapping[str, Any], fed: Collection[str]) -> Any:
    """Return the value of a constant scalar, or None."""
    import tensorflow as tf

    node = by_name[tensor.partition(":")[0]]
    if node.name in fed:
        return None
    if node.op in _PASSING:
        return _constant(node.input[0], by_name, fed)
    if node.op == "LogicalNot":
        value = _constant(node.input[0], by_name, fed)
        return None if value is None else not value
    if node.op != "Const":
        return None
    array = tf.make_ndarray(node.attr["value"].tensor)
    return array.item() if array.ndim == 0 else None


def _branch(node: Any, value: Any) -> Any:
    """Return the function that ``value`` chooses."""
    if node.op.endswith("If"):
        return node.attr["then_branch" if value else "else_branch"].func
    branches = node.attr["branches"].list.func
    return branches[value if 0 <= value < len(branches) else -1]


def _call(node: Any, branch: Any) -> None:
    kept = type(node)()
    kept.CopyFrom(node)
    function = type(branch)()
    function.CopyFrom(branch)
    node.Clear()
    node.name, node.device, node.op = kept.name, kept.device, _CALLS[kept.op]
    node.input.extend(kept.input[1:])
    for name in ("Tin", "Tout"):
        node.attr[name].CopyFrom(kept.attr[name])
    node.attr["f"].func.CopyFrom(function)
