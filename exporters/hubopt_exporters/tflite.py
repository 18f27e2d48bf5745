"""TFLite: a flatbuffer for LiteRT, float32, builtin operations unless told otherwise."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hubopt.errors import ExportError
from hubopt.exporter import (
    PROGRAM,
    Artifact,
    Obstacle,
    Options,
    OpUse,
    Requirement,
    Source,
    Tensors,
    ToleranceClass,
    host_obstacles,
    require_program,
)

_TENSORFLOW = Requirement(("tensorflow",), "pip install 'hubopt[export]'")
_LITERT = Requirement(("ai_edge_litert",), "pip install 'hubopt[tflite]'")
_FLEX = "select_tf_ops"


class TFLiteExporter:
    """Converts the frozen graph; its weights are constants already, so none is lost."""

    name = "tflite"
    summary = "TFLite flatbuffer, run with LiteRT"
    suffix = ".tflite"
    source = PROGRAM
    tolerance: ToleranceClass = "fp32"
    builds_with = (_TENSORFLOW,)
    runs_with = (_LITERT,)

    def obstacles(self, ops: Sequence[OpUse], options: Options) -> list[Obstacle]:
        """Return the string and table operations."""
        return host_obstacles(ops, "TFLite")

    def export(self, source: Source, path: Path, options: Options) -> Artifact:
        """Convert, with the layer's names in the signature ``serving_default``."""
        import tensorflow as tf

        from hubopt_exporters.frozen import as_module

        program = require_program(source)
        root, serving = as_module(program, jit_compile=False)
        converter = tf.lite.TFLiteConverter.from_concrete_functions([serving], root)
        if options.select_tf_ops:
            converter.target_spec.supported_ops = [
                tf.lite.OpsSet.TFLITE_BUILTINS,
                tf.lite.OpsSet.SELECT_TF_OPS,
            ]
        try:
            flatbuffer = converter.convert()
        except Exception as error:  # ConverterError, or whatever MLIR's bindings raise
            raise _refused(error) from error
        path.write_bytes(flatbuffer)
        return Artifact(
            self.name,
            path,
            program.spec,
            {"tensorflow": tf.__version__, _FLEX: options.select_tf_ops},
        )

    def runner(self, artifact: Artifact) -> TFLiteRunner:
        """Load the flatbuffer; select-TF operations need TensorFlow's own interpreter."""
        return TFLiteRunner(artifact)


def _refused(error: Exception) -> ExportError:
    text = str(error)
    ops = sorted(set(re.findall(r"tf\.([A-Za-z0-9_]+)\(", text)))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return ExportError(
        "tflite artifact",
        f"the converter refuses {', '.join(ops)}" if ops else lines[0] if lines else repr(error),
        "operations that TFLite has builtin",
        "pass --select-tf-ops to run them with TensorFlow's kernels"
        if "SELECT_TF_OPS" in text or ops
        else "see the log of the conversion",
    )


class TFLiteRunner:
    """Calls the signature ``serving_default``."""

    device = "CPU"

    def __init__(self, artifact: Artifact) -> None:
        if artifact.details.get(_FLEX):
            import tensorflow as tf

            make_interpreter: Any = tf.lite.Interpreter
        else:
            from ai_edge_litert.interpreter import Interpreter

            make_interpreter = Interpreter
        try:
            # The runner reaches into the interpreter, which it does not keep alive itself.
            # Every core, as TensorFlow and onnxruntime do by default; LiteRT's own default is one.
            self._interpreter = make_interpreter(
                model_path=str(artifact.path), num_threads=os.cpu_count()
            )
            self._interpreter.allocate_tensors()
            self._run = self._interpreter.get_signature_runner()
        except (RuntimeError, ValueError) as error:
            raise ExportError(
                "tflite artifact",
                f"LiteRT does not load it: {error}",
                "a model that the interpreter can allocate",
                "pass --select-tf-ops if an operation is missing",
            ) from error

    def run(self, inputs: Tensors) -> dict[str, Any]:
        """Invoke the model; outputs are copied out of the interpreter's memory."""
        return {name: array.copy() for name, array in self._run(**inputs).items()}
