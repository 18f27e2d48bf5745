"""A program's frozen graph as a TensorFlow object, for the exporters that start from it."""

from __future__ import annotations

from typing import Any

from hubopt.exporter import Program
from hubopt.structure import pack, unpack

SIGNATURE = "serving_default"


def read_graph_def(program: Program) -> Any:
    """Return the frozen ``GraphDef`` of ``program``."""
    from tensorflow.core.framework import graph_pb2

    graph_def = graph_pb2.GraphDef()
    graph_def.ParseFromString(program.frozen_graph.read_bytes())
    return graph_def


def as_module(program: Program, jit_compile: bool) -> tuple[Any, Any]:
    """Return a trackable with the frozen graph, and its ``serving_default`` function.

    The trackable is called like the layer; the function takes the inputs and gives the
    outputs by the layer's own names.
    """
    import tensorflow as tf

    spec = program.spec
    graph_def = read_graph_def(program)
    graph = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph_def, name=""), [])
    flat = graph.prune(list(program.input_tensors), list(program.output_tensors))
    signature = [tf.TensorSpec(each.shape, each.dtype, name=each.argument) for each in spec.inputs]
    input_names = [each.name for each in spec.inputs]
    output_names = [each.name for each in spec.outputs]

    def call(inputs: Any) -> Any:
        tensors = unpack(spec.input_structure, inputs)
        outputs = flat(*(tensors[name] for name in input_names))
        return pack(spec.output_structure, dict(zip(output_names, outputs, strict=True)))

    nest = pack(spec.input_structure, dict(zip(input_names, signature, strict=True)))
    structured = tf.function(call, input_signature=[nest], jit_compile=jit_compile or None)

    def serve(*tensors: Any) -> dict[str, Any]:
        packed = pack(spec.input_structure, dict(zip(input_names, tensors, strict=True)))
        return unpack(spec.output_structure, structured(packed))

    root = tf.train.Checkpoint()
    root.__call__ = structured
    serving = tf.function(serve, input_signature=signature, autograph=False)
    return root, serving.get_concrete_function()
