"""Lookup tables in ONNX: their contents are in the model, as attributes of the lookups.

A program with tables has no frozen graph, so the graph is read from its SavedModel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hubopt.programs.graphs.freezing import freeze
from hubopt.programs.serving import SIGNATURE
from hubopt.spec import ModelSpec
from hubopt_exporters.onnx_weights import Load

LOOKUPS = ("string->int64", "int64->string")
"""The lookups that ONNX has, as `OpUse.lookups` says it."""
_DOMAIN = "ai.onnx.ml"
_VERSION = 2


@dataclass(frozen=True, slots=True)
class Table:
    """The contents of a lookup table.

    Attributes:
        keys: The keys; strings are ``bytes``.
        values: The value of each key.
    """

    keys: NDArray[Any]
    values: NDArray[Any]


@dataclass(frozen=True, slots=True)
class TableGraph:
    """The graph of a program with lookup tables.

    Attributes:
        graph_def: The ``GraphDef``, with a placeholder for each large weight.
        loads: The functions that load these weights, by tensor.
        input_tensors: The tensor of each of the spec's inputs.
        output_tensors: The tensor of each of the spec's outputs.
        tables: The contents of the tables, by the name of the node that stands for one.
    """

    graph_def: Any
    loads: Mapping[str, Load]
    input_tensors: tuple[str, ...]
    output_tensors: tuple[str, ...]
    tables: Mapping[str, Table]


def read_table_graph(saved_model: Path, spec: ModelSpec) -> TableGraph:
    """Load a program's SavedModel and return its graph with the contents of its tables."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(saved_model))
    concrete = loaded.signatures[SIGNATURE]
    frozen = freeze(concrete)
    graph_def = frozen.graph.as_graph_def()
    arguments = sorted(concrete.structured_input_signature[1])
    inputs = dict(zip(arguments, frozen.inputs, strict=False))  # tables follow
    outputs = dict(zip(sorted(concrete.structured_outputs), frozen.outputs, strict=True))
    handles = {placeholder.op.name: handle for handle, placeholder in concrete.graph.captures}
    lookups = {node.input[0]: node for node in graph_def.node if node.op == "LookupTableFindV2"}
    tables = {}
    for node in graph_def.node:
        if node.name in handles and node.name in lookups:
            keys, values = (lookups[node.name].attr[name].type for name in ("Tin", "Tout"))
            tables[node.name] = _contents(handles[node.name], keys, values)
            _stand_in(node, keys, values)
    return TableGraph(
        graph_def,
        {f"{name}:0": _loading(value) for name, value in frozen.weights.items()},
        tuple(inputs[tensor.argument].name for tensor in spec.inputs),
        tuple(outputs[name].name for name in spec.output_names),
        tables,
    )


def _loading(value: Any) -> Load:
    return lambda: np.asarray(value)


def _contents(handle: Any, keys: int, values: int) -> Table:
    import tensorflow as tf

    found = tf.raw_ops.LookupTableExportV2(
        table_handle=handle, Tkeys=tf.as_dtype(keys), Tvalues=tf.as_dtype(values)
    )
    return Table(found.keys.numpy(), found.values.numpy())


def _stand_in(node: Any, keys: int, values: int) -> None:
    """Make the placeholder of a table the table itself, which tf2onnx drops."""
    name = node.name
    node.Clear()
    node.name, node.op = name, "HashTableV2"
    node.attr["key_dtype"].type, node.attr["value_dtype"].type = keys, values


def lookup_arguments(tables: Mapping[str, Table]) -> dict[str, Any]:
    """Return further arguments of tf2onnx, with which it converts lookups in ``tables``."""
    import onnx

    def convert(context: Any, node: Any, name: str, _: Any) -> None:
        table, default = tables[node.inputs[0].name], node.inputs[2].get_tensor_value()
        keys, (output,) = node.input[1], node.output
        shape, dtype = context.get_shape(output), context.get_dtype(output)
        numbers = dtype == onnx.TensorProto.INT64
        texts, values = (table.keys, table.values) if numbers else (table.values, table.keys)
        attributes = {
            "cats_strings": texts.tolist(),
            "cats_int64s": values.tolist(),
            "default_int64" if numbers else "default_string": default,
        }
        context.remove_node(name)
        context.make_node(
            "CategoryMapper",
            [keys],
            attributes,
            name=name,
            outputs=[output],
            shapes=[shape],
            dtypes=[dtype],
            domain=_DOMAIN,
        )

    return {
        "custom_op_handlers": {"LookupTableFindV2": (convert, [])},
        "extra_opset": [onnx.helper.make_opsetid(_DOMAIN, _VERSION)],
    }
