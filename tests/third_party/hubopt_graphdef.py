"""A stranger's exporter: the frozen GraphDef as a file, run by TensorFlow without XLA."""

import json

from hubopt.exporter import PROGRAM, Artifact, Requirement, host_obstacles, require_program
from hubopt.programs.graphs.frozen_graph import read_frozen_graph

_TENSORFLOW = (Requirement(("tensorflow",), "pip install tensorflow"),)


class GraphDefExporter:
    name = "graphdef"
    summary = "frozen GraphDef, run by TensorFlow"
    suffix = ".pb"
    source = PROGRAM
    dynamic = False
    largest_bytes = 2**31 - 1
    reads_saved_model = False
    builds_with = _TENSORFLOW
    runs_with = _TENSORFLOW

    def obstacles(self, ops, options):
        return host_obstacles(ops, "GraphDef")

    def export(self, source, path, options):
        program = require_program(source)
        path.write_bytes(read_frozen_graph(program).whole().SerializeToString())
        spec = program.spec
        names = {
            "inputs": {s.name: t for s, t in zip(spec.inputs, program.input_tensors, strict=True)},
            "outputs": {
                s.name: t for s, t in zip(spec.outputs, program.output_tensors, strict=True)
            },
        }
        return Artifact(self.name, path, spec, "fp32", {"tensors": json.dumps(names)})

    def machine_problem(self):
        return None

    def runner(self, artifact):
        return GraphDefRunner(artifact)


class GraphDefRunner:
    device = "CPU"

    def __init__(self, artifact):
        import tensorflow as tf

        graph_def = tf.compat.v1.GraphDef.FromString(artifact.path.read_bytes())
        names = json.loads(artifact.details["tensors"])
        self._inputs, self._outputs = list(names["inputs"]), list(names["outputs"])
        self._function = tf.compat.v1.wrap_function(
            lambda: tf.import_graph_def(graph_def, name=""), []
        ).prune(list(names["inputs"].values()), list(names["outputs"].values()))

    def run(self, inputs):
        import tensorflow as tf

        arrays = self._function(*(tf.constant(inputs[name]) for name in self._inputs))
        return {name: tensor.numpy() for name, tensor in zip(self._outputs, arrays, strict=True)}
