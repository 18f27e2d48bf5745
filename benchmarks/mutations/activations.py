"""Reads the tensors inside an artifact."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.mutations.mutant import Samples


def read_onnx(path: Path, names: Sequence[str], inputs: Samples) -> list[list[NDArray[Any]]]:
    """Return the float32 tensors ``names`` of an ONNX model, by sample."""
    import onnx
    import onnxruntime

    model = onnx.load(path)
    known = {output.name for output in model.graph.output}
    model.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        for name in dict.fromkeys(names)
        if name not in known
    )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return [session.run(list(names), dict(sample)) for sample in inputs]


def read_tflite(path: Path, names: Sequence[str], inputs: Samples) -> list[list[NDArray[Any]]]:
    """Return the tensors ``names`` of a TFLite model, by sample."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_path=str(path),
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    run = interpreter.get_signature_runner()
    # Use the last tensor of a name: a constant may have the name of the tensor that it makes.
    index = {detail["name"]: detail["index"] for detail in interpreter.get_tensor_details()}
    arrays = []
    for sample in inputs:
        run(**sample)
        arrays.append([interpreter.get_tensor(index[name]).copy() for name in names])
    return arrays


def largest_onnx(path: Path, names: Iterable[str], inputs: Samples) -> dict[str, float]:
    """Return the largest absolute value of each tensor over the samples."""
    names = list(dict.fromkeys(names))
    return _largest(names, read_onnx(path, names, inputs))


def largest_tflite(path: Path, names: Iterable[str], inputs: Samples) -> dict[str, float]:
    """Return the largest absolute value of each tensor over the samples."""
    names = list(dict.fromkeys(names))
    return _largest(names, read_tflite(path, names, inputs))


def _largest(names: list[str], arrays: list[list[NDArray[Any]]]) -> dict[str, float]:
    return {
        name: max(float(np.abs(sample[at]).max(initial=0.0)) for sample in arrays)
        for at, name in enumerate(names)
    }
