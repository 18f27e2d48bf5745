"""Read any tensor of a TFLite model: LiteRT keeps all tensors, without its default delegates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hubopt.errors import ExportError
from hubopt.exporter import Artifact, Tensors, first_cause

_IDENTIFIER = b"TFL3"
_SCRIPT = """\
def run(model, inputs):
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model, experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    )
    interpreter.allocate_tensors()
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"], inputs[detail["name"]])
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
"""


class TFLiteProbe:
    """Reads tensors of the first subgraph, which the signature calls.

    Attributes:
        inputs: The model's tensor for each input of the layer.
        outputs: The model's tensor for each output of the layer.
        script: The source of a Python function ``run(model, inputs)`` that does not use hubopt.
        how: A text that says how the model is run.
    """

    script = _SCRIPT
    how = "LiteRT without delegates (no XNNPACK)"

    def __init__(self, artifact: Artifact) -> None:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        self._flatbuffer = artifact.path.read_bytes()
        try:
            self._interpreter = Interpreter(
                model_content=self._flatbuffer,
                experimental_preserve_all_tensors=True,
                experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            )
            self._interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise ExportError(
                "tflite artifact",
                f"LiteRT does not load it: {first_cause(error)}",
                "a model that the interpreter can allocate",
                "export again",
            ) from error
        model = self._read()
        self._graph = model.subgraphs[0]
        self._names = _unique([tensor.name.decode() for tensor in self._graph.tensors])
        self._index = {name: at for at, name in enumerate(self._names)}
        signature = model.signatureDefs[0]
        ins = {entry.name.decode(): self._names[entry.tensorIndex] for entry in signature.inputs}
        outs = {entry.name.decode(): self._names[entry.tensorIndex] for entry in signature.outputs}
        self.inputs = {spec.name: ins[spec.argument] for spec in artifact.spec.inputs}
        self.outputs = {spec.name: outs[spec.name] for spec in artifact.spec.outputs}
        self._ops = _op_names(model)

    def tensors(self) -> list[tuple[str, tuple[int | None, ...] | None, str, tuple[str, ...]]]:
        """Return name, shape, operation and inputs of each tensor, in topological order."""
        sizes = {
            detail["index"]: tuple(int(size) for size in detail["shape"])
            for detail in self._interpreter.get_tensor_details()
        }
        tensors: list[tuple[str, tuple[int | None, ...] | None, str, tuple[str, ...]]] = [
            (self._names[at], sizes.get(at), "", ()) for at in self._graph.inputs
        ]
        for operator in self._graph.operators:
            read = tuple(self._names[at] for at in operator.inputs if at >= 0)
            op = self._ops[operator.opcodeIndex]
            tensors += [(self._names[at], sizes.get(at), op, read) for at in operator.outputs]
        return tensors

    def run(self, inputs: Tensors, names: Sequence[str]) -> dict[str, Any]:
        """Return the tensors ``names`` for one sample of the layer's inputs."""
        for name, array in inputs.items():
            self._interpreter.set_tensor(self._index[self.inputs[name]], array)
        self._interpreter.invoke()
        return {name: self._interpreter.get_tensor(self._index[name]) for name in names}

    def cut(self, inputs: Mapping[str, Any], output: str, path: Path) -> None:
        """Write the part of the model between ``inputs``, arrays by tensor, and ``output``."""
        import flatbuffers

        model = self._read()
        graph = model.subgraphs[0]
        makers = {at: operator for operator in graph.operators for at in operator.outputs}
        first = {self._index[name] for name in inputs}
        wanted, needed = [self._index[output]], set()
        while wanted:
            at = wanted.pop()
            if at in needed or at in first:
                continue
            needed.add(at)
            if at in makers:
                wanted += [index for index in makers[at].inputs if index >= 0]
        graph.operators = [
            operator for operator in graph.operators if needed.intersection(operator.outputs)
        ]
        graph.inputs = [self._index[name] for name in inputs]
        graph.outputs = [self._index[output]]
        kept = needed | first | {at for operator in graph.operators for at in operator.outputs}
        for at, tensor in enumerate(graph.tensors):
            tensor.name = self._names[at].encode()
            if at not in kept:
                tensor.buffer = 0  # which is empty by convention
        used = {tensor.buffer for subgraph in model.subgraphs for tensor in subgraph.tensors}
        for at, buffer in enumerate(model.buffers):
            if at not in used:
                buffer.data = None
        model.signatureDefs, model.metadata, model.metadataBuffer = None, None, None
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), _IDENTIFIER)
        path.write_bytes(bytes(builder.Output()))

    def _read(self) -> Any:
        from ai_edge_litert import schema_py_generated as schema

        return schema.ModelT.InitFromPackedBuf(self._flatbuffer, 0)


def _unique(names: Sequence[str]) -> list[str]:
    """Return ``names``, with the index appended to names that are empty or not unique."""
    return [
        name if name and names.count(name) == 1 else f"{name}#{at}" for at, name in enumerate(names)
    ]


def _op_names(model: Any) -> list[str]:
    from ai_edge_litert import schema_py_generated as schema

    names = {
        code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)
    }
    return [
        operator.customCode.decode()
        if operator.customCode
        else names.get(max(operator.builtinCode, operator.deprecatedBuiltinCode), "?")
        for operator in model.operatorCodes
    ]
