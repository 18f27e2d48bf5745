"""The ONNX exporter: tf2onnx converts the frozen graph, onnx checks it, onnxruntime runs it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hubopt.errors import ExportError
from hubopt.exporter import (
    FP32,
    PROGRAM,
    Artifact,
    ExportTask,
    FileInterface,
    Obstacle,
    OpUse,
    Program,
    Requirement,
    Target,
    Tensors,
    host_obstacles,
    option,
    require_program,
)
from hubopt.programs.graphs.frozen_graph import read_frozen_graph
from hubopt.spec import ModelSpec
from hubopt_exporters.onnx_weights import put_weights, too_large

if TYPE_CHECKING:
    from hubopt_exporters.probes.onnx import OnnxProbe

_CONVERTER = (
    Requirement(("tf2onnx",), "pip install tf2onnx"),
    Requirement(("onnx",), "pip install onnx"),
)
_RUNTIME = Requirement(("onnxruntime",), "pip install onnxruntime")
_OLDEST_OPSET = 13
"""The oldest opset for which tf2onnx's handlers and onnxruntime's kernels are still tested."""
_NEWEST_OPSET = 18
"""The newest opset that tf2onnx writes; a test fails when its newest is another one."""
_LARGEST_GRAPH = 2**31 - 1
"""The most bytes that a ``GraphDef`` with its weights can have."""
_CUDA = "CUDAExecutionProvider"
_CATCH_ERRORS = "TF2ONNX_CATCH_ERRORS"
"""tf2onnx's environment variable; if it is set, whatever its value, errors are not caught."""


@dataclass(frozen=True, slots=True)
class OnnxOptions:
    """The options of `OnnxExporter`."""

    opset: int = option(
        _NEWEST_OPSET, "the ONNX operator set to write", least=_OLDEST_OPSET, most=_NEWEST_OPSET
    )


class OnnxExporter:
    """Converts the frozen graph and gives its tensors the layer's names."""

    name = "onnx"
    summary = "ONNX model, run with onnxruntime"
    suffix = ".onnx"
    source = PROGRAM
    dynamic = True
    largest_bytes = None
    reads_saved_model = False
    Options = OnnxOptions
    precisions = (FP32,)
    builds_with = _CONVERTER
    runs_with = (_RUNTIME,)

    def obstacles(self, ops: Sequence[OpUse], target: Target) -> list[Obstacle]:
        """Return the string and table operations."""
        return host_obstacles(ops, "ONNX")

    def export(self, task: ExportTask) -> Artifact:
        """Convert, rename, check and write."""
        import onnx
        import tf2onnx

        program = require_program(task.source)
        opset = task.target.options.opset
        newest = max(tf2onnx.constants.OPSET_TO_IR_VERSION)
        if not _OLDEST_OPSET <= opset <= newest:
            raise ExportError(
                "onnx artifact",
                f"--opset {opset}",
                f"{_OLDEST_OPSET} to {newest}, which tf2onnx {tf2onnx.__version__} writes",
                "pass one of these",
            )
        graph = read_frozen_graph(program)
        arrays = graph.arrays()
        loads = {f"{name}:0": partial(arrays.__getitem__, name) for name in arrays}
        try:
            with _optimizing_in_place():
                model = _convert(program, graph.graph_def, tuple(graph.weights), opset)
        except ExportError:
            if program.frozen_bytes >= _LARGEST_GRAPH:
                model = _convert(program, graph.graph_def, tuple(graph.weights), opset)
            else:  # some rewriters, such as those of recurrent cells, must see the weights
                model, loads = _convert(program, graph.whole(), (), opset), {}
        companions = put_weights(model, loads, task.path, too_large(program.frozen_bytes))
        return Artifact(
            self.name,
            task.path,
            program.spec,
            "fp32",
            {"tf2onnx": tf2onnx.__version__, "onnx": onnx.__version__, "opset": opset},
            companions,
        )

    def machine_problem(self) -> str | None:
        """Return None: any machine can run it."""
        return None

    def probe(self, artifact: Artifact) -> OnnxProbe:
        """Open the artifact's intermediate tensors, for `hubopt diagnose`."""
        from hubopt_exporters.probes.onnx import OnnxProbe

        return OnnxProbe(artifact)

    def interface(self, path: Path) -> FileInterface:
        """Read the inputs and outputs of a file from anywhere."""
        from hubopt_exporters.interfaces import onnx_interface

        return onnx_interface(path)

    def runner(self, artifact: Artifact) -> OnnxRunner:
        """Load the model."""
        return OnnxRunner(artifact)


def _convert(program: Program, graph_def: Any, weights: Sequence[str], opset: int) -> Any:
    """Convert a graph whose ``weights`` are placeholders; return a checked ``ModelProto``."""
    import tf2onnx

    weight_inputs = [f"{name}:0" for name in weights]
    try:
        model, _ = tf2onnx.convert.from_graph_def(
            graph_def,
            name="hubopt",
            input_names=[*program.input_tensors, *weight_inputs],
            output_names=list(program.output_tensors),
            opset=opset,
        )
    except Exception as error:  # tf2onnx raises plain ValueError, KeyError, RuntimeError
        raise _failed(f"tf2onnx cannot convert it: {type(error).__name__}: {error}") from error
    names = dict(
        zip(
            (*program.input_tensors, *program.output_tensors),
            (spec.name for spec in (*program.spec.inputs, *program.spec.outputs)),
            strict=True,
        )
    )
    rename_tensors(model.graph, names)
    name_dimensions(model.graph, program.spec)
    _check(model)
    return model


@contextmanager
def _optimizing_in_place() -> Iterator[None]:
    """Make tf2onnx optimize its graph without a copy to restore if an optimization fails.

    There are two dozen optimizations, and copying the graph for each takes a third of the time of
    a conversion. Without the copies, a failed optimization ends the conversion.
    """
    before = os.environ.get(_CATCH_ERRORS)
    os.environ[_CATCH_ERRORS] = "FALSE"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_CATCH_ERRORS]
        else:
            os.environ[_CATCH_ERRORS] = before


def _failed(found: str) -> ExportError:
    return ExportError(
        "onnx artifact",
        found,
        "operations that tf2onnx can express in ONNX at this opset",
        "see `hubopt inspect` for the model's operations; a newer --opset has more of them",
    )


def _check(model: Any) -> None:
    """Refuse operations that no runtime knows, and models that onnx.checker refuses."""
    import onnx

    versions = {entry.domain: entry.version for entry in model.opset_import}
    unknown = sorted(
        {
            f"{node.domain or 'ai.onnx'}.{node.op_type}"
            for node in nodes(model.graph)
            if node.domain not in versions
            or not onnx.defs.has(node.op_type, versions[node.domain], node.domain)
        }
    )
    if unknown:
        raise _failed(f"tf2onnx left operations that ONNX does not have: {', '.join(unknown)}")
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise _failed(f"onnx.checker refuses the model: {error}") from error


def graphs(graph: Any) -> Iterator[Any]:
    """Yield ``graph`` and every graph nested in its nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                if inner.ByteSize():
                    yield from graphs(inner)


def nodes(graph: Any) -> Iterator[Any]:
    """Yield every node of ``graph``, nested ones included."""
    for inner in graphs(graph):
        yield from inner.node


def rename_tensors(graph: Any, names: dict[str, str]) -> None:
    """Rename tensors in ``graph``, in place, wherever they are used.

    Another tensor that already has one of the new names gets a name that is free.
    """
    taken = {name for inner in graphs(graph) for name in _tensor_names(inner)}
    new_names = dict(names)
    for new in names.values():
        if new in taken and new not in names:
            free = f"{new}__inner"
            while free in taken:
                free += "_"
            new_names[new] = free
    for inner in graphs(graph):
        for value in (*inner.input, *inner.output, *inner.value_info, *inner.initializer):
            value.name = new_names.get(value.name, value.name)
        for node in inner.node:
            node.input[:] = [new_names.get(name, name) for name in node.input]
            node.output[:] = [new_names.get(name, name) for name in node.output]


def name_dimensions(graph: Any, spec: ModelSpec) -> None:
    """Set the sizes and names of the dimensions of the graph's inputs and outputs, in place."""
    specs = {tensor.name: tensor for tensor in (*spec.inputs, *spec.outputs)}
    for value in (*graph.input, *graph.output):
        if value.name not in specs:  # a weight
            continue
        shape = value.type.tensor_type.shape
        del shape.dim[:]
        for size in specs[value.name].named_shape:
            dim = shape.dim.add()
            if isinstance(size, str):
                dim.dim_param = size
            else:
                dim.dim_value = size


def _tensor_names(graph: Any) -> Iterator[str]:
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        yield value.name
    for node in graph.node:
        yield from node.input
        yield from node.output


class OnnxRunner:
    """An onnxruntime session, on CUDA if onnxruntime and the machine have it, else on the CPU."""

    def __init__(self, artifact: Artifact) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        # float32 means float32: TF32 would lose 13 bits of each product.
        cuda = (_CUDA, {"use_tf32": "0"})
        providers = [cuda] if _CUDA in onnxruntime.get_available_providers() and _has_gpu() else []
        try:
            self._session = onnxruntime.InferenceSession(
                str(artifact.path), options, providers=[*providers, "CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's errors have no public base class
            raise ExportError(
                "onnx artifact",
                f"onnxruntime does not load it: {error}",
                "a model that onnxruntime can run",
                "try another --opset",
            ) from error
        self._outputs = [output.name for output in self._session.get_outputs()]
        self.device = self._session.get_providers()[0].removesuffix("ExecutionProvider")

    def run(self, inputs: Tensors) -> dict[str, Any]:
        """Run the session."""
        arrays = self._session.run(self._outputs, dict(inputs))
        return dict(zip(self._outputs, arrays, strict=True))


def _has_gpu() -> bool:
    from hubopt_exporters.gpu import gpu_problem

    return gpu_problem() is None
