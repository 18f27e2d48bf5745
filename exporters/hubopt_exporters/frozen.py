"""A program's frozen graph as a TensorFlow object, for the exporters that start from it."""

from __future__ import annotations

from typing import Any

from hubopt._util.structure import pack, unpack
from hubopt.errors import ExportError
from hubopt.exporter import Program
from hubopt.programs.graphs.frozen_graph import import_function, read_frozen_graph
from hubopt.programs.serving import make_root

_MOST_BYTES = 2**31 - 1


def as_module(program: Program, *, jit_compile: bool) -> tuple[Any, Any]:
    """Return a trackable with the frozen graph, and its ``serving_default`` function.

    Raises:
        ExportError: Graph and weights are larger than a ``GraphDef`` can be.
    """
    spec = program.spec
    if program.frozen_bytes > _MOST_BYTES:
        raise ExportError(
            "frozen graph",
            f"{program.frozen_bytes / 1e9:.1f} GB with its weights",
            f"up to {_MOST_BYTES / 1e9:.1f} GB, which a GraphDef can hold",
            "drop --freeze: a SavedModel with variables has no such limit",
        )
    graph_def = read_frozen_graph(program).whole()
    flat = import_function(graph_def, program.input_tensors, program.output_tensors)

    def call(inputs: Any) -> Any:
        tensors = unpack(spec.input_structure, inputs)
        outputs = flat(*(tensors[tensor_spec.name] for tensor_spec in spec.inputs))
        for tensor, tensor_spec in zip(outputs, spec.outputs, strict=True):
            tensor.set_shape(tensor_spec.open_shape)  # a graph on disk does not keep the shape
        names = [tensor_spec.name for tensor_spec in spec.outputs]
        return pack(spec.output_structure, dict(zip(names, outputs, strict=True)))

    return make_root(spec, call, jit_compile=jit_compile)
