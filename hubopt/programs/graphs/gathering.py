"""Read a variable before rows are gathered from it, so that it can be frozen in branches too.

TensorFlow's own freezing knows the operation that reads and gathers at once, but only outside of
functions, such as the body of a loop, and only without batch dimensions.
"""

from __future__ import annotations

from typing import Any

_INT32 = 3
"""The number of TensorFlow's types.proto, which never changes."""


def separate_gathers(graph_def: Any) -> None:
    """Replace each ``ResourceGather`` in a graph and its functions by a read and a gather.

    Args:
        graph_def: The graph; it is changed.
    """
    _separate(graph_def.node, "{0}")
    for function in graph_def.library.function:
        _separate(function.node_def, "{0}:{1}:0")


def _separate(members: Any, tensor: str) -> None:
    """Rewrite the nodes of a graph or function.

    Args:
        members: The nodes.
        tensor: How the first output of a node is written, with the node's and the output's name.
    """
    for node in [node for node in members if node.op == "ResourceGather"]:
        handle, indices, *after = node.input
        dtype, axis = node.attr["dtype"].type, node.attr["batch_dims"].i
        index_dtype = node.attr["Tindices"].type
        read = members.add(name=f"{node.name}/hubopt/read", op="ReadVariableOp")
        read.input.extend((handle, *after))
        read.attr["dtype"].type = dtype
        constant = _constant(members, f"{node.name}/hubopt/axis", axis)
        name, device = node.name, node.device
        node.Clear()
        node.name, node.device, node.op = name, device, "GatherV2"
        node.input.extend((tensor.format(read.name, "value"), indices))
        node.input.extend((tensor.format(constant, "output"), *after))
        node.attr["Tparams"].type = dtype
        node.attr["Tindices"].type = index_dtype
        node.attr["Taxis"].type = _INT32
        node.attr["batch_dims"].i = axis


def _constant(members: Any, name: str, value: int) -> str:
    node = members.add(name=name, op="Const")
    node.attr["dtype"].type = _INT32
    tensor = node.attr["value"].tensor
    tensor.dtype = _INT32
    tensor.tensor_shape.SetInParent()  # a scalar
    tensor.int_val.append(value)
    return name
