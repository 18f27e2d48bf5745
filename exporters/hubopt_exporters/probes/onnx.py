"""Read any tensor of an ONNX model.

The tensor is made an output, and onnxruntime runs the model on the CPU, unoptimized.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hubopt.errors import ExportError
from hubopt.exporter import Artifact, Tensors, first_cause
from hubopt_exporters.output_names import parse_names

_SCRIPT = """\
def run(model, inputs):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]
"""


class OnnxProbe:
    """Reads tensors of the main graph, but not of the graphs nested in its nodes.

    Attributes:
        inputs: The model's tensor for each input of the layer.
        outputs: The model's tensor for each output of the layer.
        script: The source of a Python function ``run(model, inputs)`` that does not use hubopt.
        how: A text that says how the model is run.
    """

    script = _SCRIPT
    how = "onnxruntime on the CPU, graph optimizations off"

    def __init__(self, artifact: Artifact) -> None:
        import onnx

        try:
            self._model = onnx.load(str(artifact.path))
        except Exception as error:  # protobuf's and onnx's errors have no common base
            raise _unreadable(f"onnx does not read it: {first_cause(error)}") from error
        self.inputs = {spec.name: spec.name for spec in artifact.spec.inputs}
        metadata = {entry.key: entry.value for entry in self._model.metadata_props}
        renamed = parse_names(metadata, [value.name for value in self._model.graph.output])
        names = artifact.spec.output_names
        self.outputs = {name: renamed.get(name, name) for name in names}
        self._sessions: dict[tuple[str, ...], Any] = {}

    def tensors(self) -> list[tuple[str, tuple[int | None, ...] | None, str, tuple[str, ...]]]:
        """Return name, shape, operation and inputs of each tensor, in topological order."""
        graph = self._model.graph
        shapes = _shapes(self._model)
        constants = {tensor.name for tensor in graph.initializer}
        tensors: list[tuple[str, tuple[int | None, ...] | None, str, tuple[str, ...]]] = [
            (value.name, shapes.get(value.name), "", ())
            for value in graph.input
            if value.name not in constants
        ]
        for node in graph.node:
            read = tuple(dict.fromkeys((*filter(None, node.input), *_captured(node))))
            tensors += [
                (name, shapes.get(name), node.op_type, read) for name in node.output if name
            ]
        return tensors

    def run(self, inputs: Tensors, names: Sequence[str]) -> dict[str, Any]:
        """Return the tensors ``names`` for one sample of the layer's inputs."""
        key = tuple(names)
        if key not in self._sessions:
            self._sessions = {
                key: self._session(key)
            }  # only one, because every session holds the weights
        return dict(zip(names, self._sessions[key].run(list(names), dict(inputs)), strict=True))

    def cut(self, inputs: Mapping[str, Any], output: str, path: Path) -> None:
        """Write the part of the model between ``inputs``, arrays by tensor, and ``output``."""
        import onnx

        graph = self._model.graph
        makers = {name: node for node in graph.node for name in node.output if name}
        wanted, needed = [output], set()
        while wanted:
            name = wanted.pop()
            if name in needed or name in inputs:
                continue
            needed.add(name)
            if name in makers:
                wanted += [*filter(None, makers[name].input), *_captured(makers[name])]
        nodes = [node for node in graph.node if needed.intersection(node.output)]
        values = [
            onnx.helper.make_tensor_value_info(
                name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
            )
            for name, array in inputs.items()
        ]
        cut = onnx.helper.make_graph(
            nodes,
            "reproduction",
            values,
            [onnx.ValueInfoProto(name=output)],
            [tensor for tensor in graph.initializer if tensor.name in needed],
        )
        for node in cut.node:  # a node may also compute a tensor that is an input here
            node.output[:] = [f"{name}__unused" if name in inputs else name for name in node.output]
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        model.graph.CopyFrom(cut)
        onnx.save(model, str(path))

    def _session(self, names: tuple[str, ...]) -> Any:
        import onnx
        import onnxruntime

        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        del model.graph.output[:]
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            return onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's errors have no public base class
            raise _unreadable(f"onnxruntime does not load it: {first_cause(error)}") from error


def _shapes(model: Any) -> dict[str, tuple[int | None, ...]]:
    import onnx

    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    return {
        value.name: tuple(
            dim.dim_value if dim.HasField("dim_value") else None
            for dim in value.type.tensor_type.shape.dim
        )
        for value in (*graph.input, *graph.output, *graph.value_info)
        if value.type.tensor_type.HasField("shape")
    }


def _captured(node: Any) -> list[str]:
    """Return the tensors that graphs nested in ``node`` read from outside."""
    captured = []
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            own = {name for inner in graph.node for name in inner.output}
            own |= {value.name for value in (*graph.input, *graph.initializer)}
            read = [name for inner in graph.node for name in (*inner.input, *_captured(inner))]
            read += [output.name for output in graph.output]
            captured += [name for name in read if name and name not in own]
    return captured


def _unreadable(found: str) -> ExportError:
    return ExportError(
        "onnx artifact", found, "a model that onnxruntime can run", "export it again"
    )
