"""Reads and changes a TFLite flatbuffer: constants, inserted operators, weighted layers."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.mutations.values import Layout
from benchmarks.mutations.weights import WeightedLayer

_IDENTIFIER = b"TFL3"
_DTYPES = {0: "float32", 1: "float16", 2: "int32", 4: "int64", 6: "bool"}
"""The values of the schema's ``TensorType`` that faults need."""
_LAYOUTS = {
    "CONV_2D": Layout(0, 3, (1, 2)),
    "DEPTHWISE_CONV_2D": Layout(3, None, (1, 2)),
    "FULLY_CONNECTED": Layout(0, 1),
}


@dataclass(frozen=True, slots=True)
class Operation:
    """One operator.

    Attributes:
        at: Its position in the order of execution.
        op: The builtin operator's name.
        name: The name of the first tensor that it computes.
        inputs: Indices of tensors; -1 for an omitted one.
        output: The index of that first tensor.
        options: The builtin options, of the schema's own class; None if it has none.
    """

    at: int
    op: str
    name: str
    inputs: tuple[int, ...]
    output: int
    options: Any


@dataclass(frozen=True, slots=True)
class TFLiteView:
    """A model's only subgraph.

    Attributes:
        operations: The operations in the order of execution.
        constants: Arrays by tensor index.
        shapes: Static shapes by tensor index.
        floats: The operations that compute float32.
        outputs: The operation that computes each output, by the signature's names.
    """

    operations: tuple[Operation, ...]
    constants: dict[int, NDArray[Any]]
    shapes: dict[int, tuple[int, ...]]
    floats: tuple[Operation, ...]
    outputs: dict[str, Operation]


def read_model(path: Path) -> Any:
    """Return the schema's ``ModelT`` of the file."""
    from ai_edge_litert import schema_py_generated as schema

    return schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)


def write_model(model: Any, path: Path) -> None:
    """Write a ``ModelT``."""
    import flatbuffers

    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), _IDENTIFIER)
    path.write_bytes(builder.Output())


def view(model: Any) -> TFLiteView:
    """Return a view of a ``ModelT`` with one subgraph."""
    from ai_edge_litert import schema_py_generated as schema

    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if name.isupper()}
    (graph,) = model.subgraphs
    operations = tuple(
        Operation(
            at,
            names[model.operatorCodes[operator.opcodeIndex].builtinCode],
            graph.tensors[operator.outputs[0]].name.decode(),
            tuple(int(tensor) for tensor in operator.inputs),
            int(operator.outputs[0]),
            operator.builtinOptions,
        )
        for at, operator in enumerate(graph.operators)
    )
    shapes = {
        at: () if tensor.shape is None else tuple(int(size) for size in tensor.shape)
        for at, tensor in enumerate(graph.tensors)
    }
    constants = {}
    for at, tensor in enumerate(graph.tensors):
        data = model.buffers[tensor.buffer].data
        if data is not None and len(data) and tensor.type in _DTYPES:
            raw = np.asarray(data, np.uint8).tobytes()
            constants[at] = np.frombuffer(raw, _DTYPES[tensor.type]).reshape(shapes[at])
    makers = {operation.output: operation for operation in operations}
    (signature,) = model.signatureDefs
    return TFLiteView(
        operations,
        constants,
        shapes,
        tuple(operation for operation in operations if graph.tensors[operation.output].type == 0),
        {output.name.decode(): makers[output.tensorIndex] for output in signature.outputs},
    )


def add_tensor(
    model: Any, name: str, dtype: str, shape: Sequence[int], array: NDArray[Any] | None = None
) -> int:
    """Add a tensor, with ``array`` as its constant value if given; return its index."""
    from ai_edge_litert import schema_py_generated as schema

    (graph,) = model.subgraphs
    tensor = schema.TensorT()
    tensor.name = name.encode()
    tensor.shape = np.array(shape, np.int32)
    tensor.type = next(code for code, known in _DTYPES.items() if known == dtype)
    tensor.buffer = 0
    if array is not None:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)
        model.buffers.append(buffer)
        tensor.buffer = len(model.buffers) - 1
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def add_constant(model: Any, name: str, array: NDArray[Any]) -> int:
    """Add a constant tensor; return its index."""
    return add_tensor(model, name, array.dtype.name, array.shape, array)


def put_constant(model: Any, array: NDArray[Any], at: int, slot: int) -> None:
    """Give operator ``at`` a new constant as input ``slot``."""
    operator = model.subgraphs[0].operators[at]
    inputs = operator.inputs.copy()
    inputs[slot] = add_constant(model, f"operator{at}__input{slot}", array)
    operator.inputs = inputs


def put_options(model: Any, values: dict[str, Any], at: int) -> None:
    """Change values of the builtin options of operator ``at``."""
    options = model.subgraphs[0].operators[at].builtinOptions
    for name, value in values.items():
        setattr(options, name, value)


def add_operator(
    model: Any, at: int, op: str, inputs: Sequence[int], output: int, options: Any = None
) -> None:
    """Insert an operator before the one at position ``at``."""
    from ai_edge_litert import schema_py_generated as schema

    code = getattr(schema.BuiltinOperator, op)
    operator = schema.OperatorT()
    operator.opcodeIndex = _code_index(model, code)
    operator.inputs = np.array(inputs, np.int32)
    operator.outputs = np.array([output], np.int32)
    if options is not None:
        kind = type(options).__name__.removesuffix("T")
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
        operator.builtinOptions = options
    model.subgraphs[0].operators.insert(at, operator)


def _code_index(model: Any, code: int) -> int:
    from ai_edge_litert import schema_py_generated as schema

    for index, known in enumerate(model.operatorCodes):
        if known.builtinCode == code:
            return index
    new = schema.OperatorCodeT()
    new.builtinCode, new.deprecatedBuiltinCode, new.version = code, min(code, 127), 1
    model.operatorCodes.append(new)
    return len(model.operatorCodes) - 1


def set_aside(model: Any, at: int) -> tuple[int, int]:
    """Make operator ``at`` write to a new tensor, so that another one can write to its old tensor.

    Returns:
        The index of the new tensor, which holds the clean values, and that of the old one.
    """
    (graph,) = model.subgraphs
    operator = graph.operators[at]
    wanted = int(operator.outputs[0])
    clean = copy.copy(graph.tensors[wanted])
    clean.name = clean.name + b"__clean"
    graph.tensors.append(clean)
    outputs = operator.outputs.copy()
    outputs[0] = len(graph.tensors) - 1
    operator.outputs = outputs
    return len(graph.tensors) - 1, wanted


def weighted_layers(graph: TFLiteView) -> Iterator[WeightedLayer]:
    """Yield the convolutions and matrix products with constant weights."""
    for operation in graph.operations:
        layout = _LAYOUTS.get(operation.op)
        weight = graph.constants.get(operation.inputs[1]) if layout else None
        if layout is None or weight is None or weight.dtype != np.float32:
            continue
        bias = graph.constants.get(operation.inputs[2]) if len(operation.inputs) > 2 else None
        yield WeightedLayer(
            operation.name,
            operation.op,
            weight,
            layout,
            bias,
            partial(put_constant, at=operation.at, slot=1),
            partial(put_constant, at=operation.at, slot=2),
        )


def same_padding(graph: TFLiteView, each: Operation) -> list[list[int]]:
    """Return the ``SAME`` padding of a convolution at the start and end of height and width."""
    options = each.options
    pads = []
    for axis, stride, dilation in (
        (1, options.strideH, options.dilationHFactor),
        (2, options.strideW, options.dilationWFactor),
    ):
        size, kernel = graph.shapes[each.inputs[0]][axis], graph.shapes[each.inputs[1]][axis]
        reach = (kernel - 1) * dilation + 1
        total = max((math.ceil(size / stride) - 1) * stride + reach - size, 0)
        pads.append([total // 2, total - total // 2])
    return pads
