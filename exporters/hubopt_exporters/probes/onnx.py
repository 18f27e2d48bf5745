"""Any tensor of an ONNX model: made an output, run by onnxruntime on the CPU, unoptimized."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hubopt.errors import ExportError
from hubopt.exporter import Artifact, Tensors

_SCRIPT = """\
def run(model, inputs):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]
"""


class OnnxProbe:
    """Reads tensors of the main graph; graphs nested in its nodes are left alone.

    Attributes:
        inputs: The model's tensor for each input of the layer.
        outputs: The model's tensor for each output of the layer.
        script: A Python function ``run(model, inputs)`` that needs nothing of hubopt.
        how: How it is run, in words.
    """

    script = _SCRIPT
    how = "onnxruntime on the CPU, graph optimizations off"

    def __init__(self, artifact: Artifact) -> None:
        import onnx

        try:
            self._model = onnx.load(str(artifact.path))
        except Exception as error:  # protobuf's and onnx's errors have no common base
            raise _unreadable(f"onnx does not read it: {error}") from error
        self.inputs = {each.name: each.name for each in artifact.spec.inputs}
        self.outputs = {each.name: each.name for each in artifact.spec.outputs}
        self._sessions: dict[tuple[str, ...], Any] = {}

    def tensors(self) -> list[tuple[str, tuple[int | None, ...] | None, str, tuple[str, ...]]]:
        """Return name, shape, operation and inputs of each tensor, in topological order."""
        graph = self._model.graph
        shapes = _shapes(self._model)
        constants = {each.name for each in graph.initializer}
        found: list[tuple[str, tuple[int | None, ...] | None, str, tuple[str, ...]]] = [
            (each.name, shapes.get(each.name), "", ())
            for each in graph.input
            if each.name not in constants
        ]
        for node in graph.node:
            read = tuple(dict.fromkeys((*filter(None, node.input), *_captured(node))))
            found += [(name, shapes.get(name), node.op_type, read) for name in node.output if name]
        return found

    def run(self, inputs: Tensors, names: Sequence[str]) -> dict[str, Any]:
        """Return the tensors ``names`` for one sample of the layer's inputs."""
        key = tuple(names)
        if key not in self._sessions:
            self._sessions = {key: self._session(key)}  # one at a time: each holds the weights
        return dict(zip(names, self._sessions[key].run(list(names), dict(inputs)), strict=True))

    def cut(self, inputs: Mapping[str, Any], output: str, path: Path) -> None:
        """Write the part of the model from ``inputs``, arrays by tensor, to ``output``."""
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
        nodes = [each for each in graph.node if needed.intersection(each.output)]
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
            [each for each in graph.initializer if each.name in needed],
        )
        for node in cut.node:  # one that also gives a tensor which is an input here
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
            raise _unreadable(f"onnxruntime does not load it: {error}") from error


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
    """Return what graphs nested in ``node`` read from outside of themselves."""
    found = []
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            own = {name for inner in graph.node for name in inner.output}
            own |= {each.name for each in (*graph.input, *graph.initializer)}
            read = [name for inner in graph.node for name in (*inner.input, *_captured(inner))]
            read += [each.name for each in graph.output]
            found += [name for name in read if name and name not in own]
    return found


def _unreadable(found: str) -> ExportError:
    return ExportError(
        "onnx artifact", found, "a model that onnxruntime can run", "export it again"
    )
