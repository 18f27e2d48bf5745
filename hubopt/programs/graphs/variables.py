"""Placeholders that stand for weights become variables of a TensorFlow 1 graph.

Exporters may use this module: it changes a ``GraphDef`` and knows no stage.
"""

from __future__ import annotations

from typing import Any


def read_variable(graph_def: Any, node: Any, value: str) -> str:
    """Let a placeholder read a variable instead, in place.

    Args:
        graph_def: The graph.
        node: The placeholder, one of its nodes.
        value: The tensor that the variable is to be given.

    Returns:
        The name of the operation that gives it to the variable, to be run once.
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
    node.input.insert(0, handle.name)  # what it waits for comes last
    name: str = assign.name
    return name
