"""Turn placeholders that stand for weights into variables of a TensorFlow 1 graph.

Exporters may use this module: it changes a ``GraphDef`` and depends on no stage of the export.
"""

from __future__ import annotations

from typing import Any


def read_variable(graph_def: Any, node: Any, value: str) -> str:
    """Turn a placeholder into a read of a variable, in place.

    Args:
        graph_def: The graph.
        node: The placeholder, one of its nodes.
        value: The name of the tensor to assign to the variable.

    Returns:
        The name of the assign operation, which must be run once.
    """
    dtype, shape = node.attr["dtype"], node.attr["shape"]
    handle = graph_def.node.add(name=f"{node.name}/hubopt/handle", op="VarHandleOp")
    handle.attr["dtype"].CopyFrom(dtype)
    handle.attr["shape"].CopyFrom(shape)
    handle.attr["shared_name"].s = node.name.encode()
    assign = graph_def.node.add(name=f"{node.name}/hubopt/assign", op="AssignVariableOp")
    assign.input.extend((handle.name, value))
    assign.attr["dtype"].CopyFrom(dtype)
    del node.attr["shape"]
    node.op = "ReadVariableOp"
    node.input.insert(0, handle.name)  # control inputs come last
    name: str = assign.name
    return name
