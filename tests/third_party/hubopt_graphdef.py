"""A third party's exporter: the frozen GraphDef as a file, run by TensorFlow without XLA."""

import json
from dataclasses import dataclass

from hubopt.exporter import (
    FP32,
    PROGRAM,
    Artifact,
    Requirement,
    host_obstacles,
    option,
    require_program,
)
from hubopt.programs.graphs.frozen_graph import read_frozen_graph

_TENSORFLOW = (Requirement(("tensorflow",), "pip install tensorflow"),)


@dataclass(frozen=True)
class GraphDefOptions:
    text: bool = option(False, "write protobuf's text format, which people can read")


class GraphDefExporter:
    name = "graphdef"
    summary = "frozen GraphDef, run by TensorFlow"
    suffix = ".pb"
    source = PROGRAM
    dynamic = False
    largest_bytes = 2**31 - 1
    reads_saved_model = False
    Options = GraphDefOptions
    precisions = (FP32, "bf16")
    builds_with = _TENSORFLOW
    runs_with = _TENSORFLOW

    def obstacles(self, ops, target):
        return host_obstacles(ops, "GraphDef")

    def export(self, task):
        from google.protobuf import text_format

        program, precision = require_program(task.source), task.target.precision
        graph_def = read_frozen_graph(program).whole()
        if precision == "bf16":
            round_weights(graph_def)
        text = task.target.options.text
        if text:
            task.path.write_text(text_format.MessageToString(graph_def))
        else:
            task.path.write_bytes(graph_def.SerializeToString())
        spec = program.spec
        tensors = {
            "inputs": {s.name: t for s, t in zip(spec.inputs, program.input_tensors, strict=True)},
            "outputs": {
                s.name: t for s, t in zip(spec.outputs, program.output_tensors, strict=True)
            },
        }
        details = {"tensors": json.dumps(tensors), "text": text}
        return Artifact(self.name, task.path, spec, precision, details)

    def machine_problem(self):
        return None

    def runner(self, artifact):
        return GraphDefRunner(artifact)


def round_weights(graph_def):
    """Round every float32 constant of the graph to bfloat16, in place."""
    import tensorflow as tf

    bfloat16 = tf.bfloat16.as_numpy_dtype
    for node in graph_def.node:
        if node.op == "Const" and node.attr["dtype"].type == tf.float32.as_datatype_enum:
            tensor = node.attr["value"].tensor
            rounded = tf.make_ndarray(tensor).astype(bfloat16).astype("float32")
            tensor.CopyFrom(tf.make_tensor_proto(rounded))


class GraphDefRunner:
    device = "CPU"

    def __init__(self, artifact):
        import tensorflow as tf
        from google.protobuf import text_format

        graph_def = tf.compat.v1.GraphDef()
        if artifact.details["text"]:
            text_format.Parse(artifact.path.read_text(), graph_def)
        else:
            graph_def.ParseFromString(artifact.path.read_bytes())
        tensors = json.loads(artifact.details["tensors"])
        self._inputs, self._outputs = list(tensors["inputs"]), list(tensors["outputs"])
        self._function = tf.compat.v1.wrap_function(
            lambda: tf.import_graph_def(graph_def, name=""), []
        ).prune(list(tensors["inputs"].values()), list(tensors["outputs"].values()))

    def run(self, inputs):
        import tensorflow as tf

        arrays = self._function(*(tf.constant(inputs[name]) for name in self._inputs))
        return {name: tensor.numpy() for name, tensor in zip(self._outputs, arrays, strict=True)}
