"""The ONNX exporter: tf2onnx converts the frozen graph, onnx checks it, onnxruntime runs it."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hubopt._util.plain_paths import plain_path
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
    first_cause,
    host_obstacles,
    option,
    require_program,
)
from hubopt.programs.graphs.branching import replace_cases
from hubopt.programs.graphs.frozen_graph import read_frozen_graph
from hubopt_exporters.onnx_checks import NEWEST_OPSET, check, refused
from hubopt_exporters.onnx_graphs import name_tensors
from hubopt_exporters.onnx_mending import mend
from hubopt_exporters.onnx_tables import LOOKUPS, lookup_arguments, read_table_graph
from hubopt_exporters.onnx_weights import Load, put_weights, too_large
from hubopt_exporters.output_names import choose_names, format_names, parse_names

if TYPE_CHECKING:
    from hubopt_exporters.probes.onnx import OnnxProbe

_CONVERTER = (
    Requirement(("tf2onnx",), "pip install tf2onnx"),
    Requirement(("onnx",), "pip install onnx"),
)
_RUNTIME = Requirement(("onnxruntime",), "pip install onnxruntime")
_OLDEST_OPSET = 13
"""The oldest opset for which tf2onnx's handlers and onnxruntime's kernels are still tested."""
_LARGEST_GRAPH = 2**31 - 1
"""The most bytes that a ``GraphDef`` with its weights can have."""
_CUDA = "CUDAExecutionProvider"
_CATCH_ERRORS = "TF2ONNX_CATCH_ERRORS"
"""tf2onnx's environment variable; if it is set, whatever its value, errors are not caught."""


@dataclass(frozen=True, slots=True)
class OnnxOptions:
    """The options of `OnnxExporter`."""

    opset: int = option(
        NEWEST_OPSET, "the ONNX operator set to write", least=_OLDEST_OPSET, most=NEWEST_OPSET
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
        """Return the string and table operations, but for lookups that ONNX has."""
        return host_obstacles(ops, "ONNX", LOOKUPS)

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
                f"pass --opset {newest}",
            )
        converted = _convert_program(program, opset)
        model = converted.model
        companions = put_weights(model, converted.loads, task.path, too_large(program.frozen_bytes))
        return Artifact(
            self.name,
            task.path,
            program.spec,
            "fp32",
            {
                "tf2onnx": tf2onnx.__version__,
                "onnx": onnx.__version__,
                "opset": opset,
                **({"onnx.checker": converted.note} if converted.note else {}),
                **format_names(choose_names(program.spec)),
            },
            companions,
        )

    def machine_problem(self) -> str | None:
        """Return None: any machine can run it."""
        return None

    def snippets(self) -> Mapping[str, Callable[[Artifact], str]]:
        """Return programs that run an artifact, by language, for `hubopt snippet`."""
        from hubopt_exporters.snippets.onnx import SNIPPETS

        return SNIPPETS

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


class _Converted(NamedTuple):
    """A converted model.

    Attributes:
        model: A ``ModelProto``.
        note: What `onnx.checker` says against it although onnxruntime loads it.
        loads: The functions that load the weights, which are inputs of the model, by name.
    """

    model: Any
    note: str | None
    loads: Mapping[str, Load] = {}


def _convert_program(program: Program, opset: int) -> _Converted:
    if not program.has_frozen_graph:
        return _convert_tables(program, opset)
    graph = read_frozen_graph(program)
    replace_cases(graph.graph_def)
    arrays = graph.arrays()
    loads = {f"{name}:0": partial(arrays.__getitem__, name) for name in arrays}
    try:
        with _optimizing_in_place():
            return _Converted(*_convert(program, graph.graph_def, loads, opset), loads)
    except ExportError:
        if program.frozen_bytes >= _LARGEST_GRAPH:
            return _Converted(*_convert(program, graph.graph_def, loads, opset), loads)
        # Some rewriters, such as those of recurrent cells, must see the weights.
        return _Converted(*_convert(program, graph.whole(), (), opset))


def _convert_tables(program: Program, opset: int) -> _Converted:
    """Convert a program with lookup tables, which has no frozen graph."""
    with plain_path(program.saved_model) as path:
        graph = read_table_graph(path, program.spec)
    renamed = replace(
        program, input_tensors=graph.input_tensors, output_tensors=graph.output_tensors
    )
    extra = lookup_arguments(graph.tables)
    return _Converted(*_convert(renamed, graph.graph_def, graph.loads, opset, **extra), graph.loads)


def _convert(
    program: Program, graph_def: Any, weights: Collection[str], opset: int, **extra: Any
) -> tuple[Any, str | None]:
    """Convert a graph in which the tensors ``weights`` are placeholders."""
    import tf2onnx

    try:
        model, _ = tf2onnx.convert.from_graph_def(
            graph_def,
            name="hubopt",
            input_names=[*program.input_tensors, *weights],
            output_names=list(program.output_tensors),
            opset=opset,
            **extra,
        )
    except Exception as error:  # tf2onnx raises plain ValueError, KeyError, RuntimeError
        found = f"tf2onnx cannot convert it: {type(error).__name__}: {first_cause(error)}"
        raise refused(found, opset) from error
    mend(model)
    name_tensors(model, program)
    return model, check(model, opset)


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
                f"onnxruntime does not load it: {first_cause(error)}",
                "a model that onnxruntime can run",
                "try another --opset, or another version of onnxruntime",
            ) from error
        self._outputs = [output.name for output in self._session.get_outputs()]
        metadata = self._session.get_modelmeta().custom_metadata_map
        renamed = parse_names(metadata, self._outputs)
        layer_names = {theirs: name for name, theirs in renamed.items()}
        self._names = [layer_names.get(name, name) for name in self._outputs]
        self.device = self._session.get_providers()[0].removesuffix("ExecutionProvider")

    def run(self, inputs: Tensors) -> dict[str, Any]:
        """Run the session; an output that the file had to rename has the layer's name again."""
        given = {name: _as_texts(array) for name, array in inputs.items()}
        arrays = map(_as_bytes, self._session.run(self._outputs, given))
        return dict(zip(self._names, arrays, strict=True))


def _as_texts(array: Any) -> Any:
    """Return an array of ``bytes`` as onnxruntime takes it; other arrays as they are."""
    import numpy as np

    if np.asarray(array).dtype.kind != "O":
        return array
    try:
        return np.vectorize(bytes.decode, otypes=[object])(array)
    except UnicodeDecodeError:  # onnxruntime itself does not look at the encoding
        return np.asarray(array, bytes)


def _as_bytes(array: Any) -> Any:
    import numpy as np

    return np.vectorize(str.encode, otypes=[object])(array) if array.dtype.kind == "O" else array


def _has_gpu() -> bool:
    from hubopt_exporters.gpu import gpu_problem

    return gpu_problem() is None
