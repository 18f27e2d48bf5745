"""Small ONNX graphs, made node by node."""

from __future__ import annotations

from typing import Any

import onnx


def graph_with(*given: Any, inputs: Any = ("x:0",), outputs: Any = ("y:0",)) -> Any:
    def value(name: str) -> Any:
        return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1])

    return onnx.helper.make_graph(
        list(given), "g", [value(name) for name in inputs], [value(name) for name in outputs]
    )


def node(op: str, given: list[str], gives: list[str], **attributes: Any) -> Any:
    return onnx.helper.make_node(op, given, gives, **attributes)


def model_of(graph: Any) -> Any:
    opsets = [onnx.helper.make_opsetid("", 18)]
    return onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8)
