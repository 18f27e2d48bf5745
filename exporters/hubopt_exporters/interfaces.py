"""The inputs and outputs of files from anywhere, as the files themselves declare them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hubopt.errors import ExportError
from hubopt.exporter import FileInterface, FileTensor, first_cause
from hubopt.programs.serving import SIGNATURE
from hubopt.spec import TensorSpec
from hubopt_exporters.output_names import parse_names

_ONNX_NAMES = {"float": "float32", "double": "float64"}
"""The ONNX names of dtypes that differ from TensorFlow's."""


def onnx_interface(path: Path) -> FileInterface:
    """Read an ONNX file with onnxruntime; nothing is optimized, so that large files load fast.

    Raises:
        ExportError: onnxruntime does not load it.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's errors have no public base class
        raise _unreadable(
            "onnx", f"onnxruntime does not load it: {first_cause(error)}", "an ONNX model"
        ) from error
    outputs = tuple(map(_onnx_tensor, session.get_outputs()))
    metadata = session.get_modelmeta().custom_metadata_map
    renamed = parse_names(metadata, [tensor.name for tensor in outputs])
    names = {theirs: ours for ours, theirs in renamed.items()}
    return FileInterface(
        tuple(map(_onnx_tensor, session.get_inputs())),
        # The runner gives an output that the file had to rename the layer's name again.
        tuple(replace(tensor, name=names.get(tensor.name, tensor.name)) for tensor in outputs),
    )


def _onnx_tensor(tensor: Any) -> FileTensor:
    found = re.fullmatch(r"tensor\((\w+)\)", tensor.type)
    if found is None:
        raise _unreadable("onnx", f"{tensor.name} is a {tensor.type}", "tensors only")
    sizes = tuple(size if isinstance(size, int) and size >= 0 else None for size in tensor.shape)
    # onnxruntime gives [] for scalars and for unknown ranks alike.
    return FileTensor(tensor.name, _ONNX_NAMES.get(found[1], found[1]), sizes or None)


def savedmodel_interface(path: Path) -> FileInterface:
    """Read the signature ``serving_default`` of a SavedModel; nothing of the model is loaded.

    Raises:
        ExportError: There is no such signature.
    """
    import tensorflow as tf
    from tensorflow.core.protobuf import saved_model_pb2

    try:
        model = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    except Exception as error:  # no such file, or protobuf's DecodeError
        raise _unreadable(
            "savedmodel", f"cannot be read: {error}", "a SavedModel folder"
        ) from error
    signatures = {
        name: signature
        for graph in model.meta_graphs
        for name, signature in graph.signature_def.items()
    }
    if SIGNATURE not in signatures:
        there = ", ".join(sorted(signatures)) or "none"
        raise _unreadable(
            "savedmodel", f"no signature {SIGNATURE}; there is: {there}", "that signature"
        )

    def tensors(infos: Mapping[str, Any]) -> tuple[FileTensor, ...]:
        return tuple(
            FileTensor(
                name,
                tf.as_dtype(infos[name].dtype).name,
                None
                if infos[name].tensor_shape.unknown_rank
                else tuple(
                    dim.size if dim.size >= 0 else None for dim in infos[name].tensor_shape.dim
                ),
            )
            for name in sorted(infos)
        )

    signature = signatures[SIGNATURE]
    return FileInterface(tensors(signature.inputs), tensors(signature.outputs))


def tflite_interface(path: Path) -> FileInterface:
    """Read the signature of a TFLite file, or its tensors' own names if it has none.

    Raises:
        ExportError: LiteRT does not load it.
    """
    from ai_edge_litert.interpreter import Interpreter

    try:
        interpreter = Interpreter(model_path=str(path))
        key = signature_key(interpreter)
        if key is None:
            inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
            return FileInterface(
                tuple(_tflite_tensor(found["name"], found) for found in inputs),
                tuple(_tflite_tensor(found["name"], found) for found in outputs),
            )
        runner = interpreter.get_signature_runner(key)
        sides = (runner.get_input_details(), runner.get_output_details())
    except (RuntimeError, ValueError) as error:
        raise _unreadable(
            "tflite", f"LiteRT does not load it: {first_cause(error)}", "a TFLite model"
        ) from error
    return FileInterface(
        *(tuple(_tflite_tensor(name, found) for name, found in side.items()) for side in sides)
    )


def signature_key(interpreter: Any) -> str | None:
    """Return the signature of a TFLite file to call: ``serving_default``, or the only one.

    A file without signatures gives None.

    Raises:
        ExportError: There are several, and none is ``serving_default``.
    """
    keys = list(interpreter.get_signature_list())
    if SIGNATURE in keys or len(keys) < 2:
        return SIGNATURE if SIGNATURE in keys else keys[0] if keys else None
    raise _unreadable(
        "tflite", f"{len(keys)} signatures: {', '.join(keys)}", f"one, or one called {SIGNATURE}"
    )


def call_without_signature(interpreter: Any) -> Callable[..., Mapping[str, Any]]:
    """Return a function like a signature's runner for a TFLite file that has no signature."""
    places = {
        TensorSpec(found["name"], "float32", ()).argument: found["index"]
        for found in interpreter.get_input_details()
    }
    outputs = {found["name"]: found["index"] for found in interpreter.get_output_details()}

    def call(**arguments: Any) -> Mapping[str, Any]:
        for name, array in arguments.items():
            interpreter.resize_tensor_input(places[name], array.shape)
        interpreter.allocate_tensors()
        for name, array in arguments.items():
            interpreter.set_tensor(places[name], array)
        interpreter.invoke()
        return {name: interpreter.get_tensor(place) for name, place in outputs.items()}

    return call


def _tflite_tensor(name: str, details: Mapping[str, Any]) -> FileTensor:
    import numpy as np

    dtype = np.dtype(details["dtype"])
    sizes: Iterable[int] = details.get("shape_signature", details["shape"])
    return FileTensor(
        name,
        "string" if dtype.kind in "OSU" else dtype.name,
        tuple(int(size) if size >= 0 else None for size in sizes),
    )


def _unreadable(exporter: str, found: str, expected: str) -> ExportError:
    return ExportError(f"{exporter} artifact", found, expected, "pass another file")
