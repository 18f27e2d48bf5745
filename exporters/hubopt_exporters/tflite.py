"""The TFLite exporter: a float32 flatbuffer for LiteRT, by default with builtin operations only."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
    Requirement,
    Target,
    Tensors,
    first_cause,
    folded,
    host_obstacles,
    not_runnable,
    option,
    require_program,
)
from hubopt.programs.serving import SIGNATURE

if TYPE_CHECKING:
    from hubopt_exporters.probes.tflite import TFLiteProbe

_TENSORFLOW = Requirement(("tensorflow",), "pip install tensorflow")
_LITERT = Requirement(("ai_edge_litert",), "pip install ai-edge-litert")
_NEEDS_FLEX = "Select TensorFlow op(s)"
"""The beginning of the interpreter's error if it lacks the Flex delegate."""
_LOOKUPS = ("string->int64", "int64->string")
"""The lookups that TFLite has, as `OpUse.lookups` says it."""
_NO_ELEMENTS = "Invalid tensor size"
"""The beginning of LiteRT's error if a tensor without elements is read."""


@dataclass(frozen=True, slots=True)
class TFLiteOptions:
    """The options of `TFLiteExporter`."""

    select_tf_ops: bool = option(
        False, "keep operations that TFLite lacks, for a device that has TensorFlow's kernels"
    )


class TFLiteExporter:
    """Converts the frozen graph with its weights as variables, of which none can be lost."""

    name = "tflite"
    summary = "TFLite flatbuffer, run with LiteRT"
    suffix = ".tflite"
    source = PROGRAM
    dynamic = False
    open_outputs = True  # the interpreter allocates such an output when it runs
    largest_bytes = 2**31 - 1  # the largest offset in a flatbuffer
    reads_saved_model = False
    Options = TFLiteOptions
    precisions = (FP32,)
    builds_with = (_TENSORFLOW,)
    runs_with = (_LITERT,)

    def obstacles(self, ops: Sequence[OpUse], target: Target) -> list[Obstacle]:
        """Return the string and table operations, but for lookups that TFLite has."""
        return host_obstacles(ops, "TFLite", _LOOKUPS)

    def export(self, task: ExportTask) -> Artifact:
        """Convert, with the layer's names in the signature ``serving_default``."""
        import tensorflow as tf

        from hubopt_exporters.session_model import link_saved_model, write_session_model
        from hubopt_exporters.tf_lite_private import convert, open_converter

        program = require_program(task.source)
        select_tf_ops = task.target.options.select_tf_ops
        with tempfile.TemporaryDirectory(prefix="hubopt-tflite-") as work:
            model = Path(work) / "model"
            if program.has_frozen_graph:
                write_session_model(program, model)
            else:
                link_saved_model(program.saved_model, model)
            converter = open_converter(model, SIGNATURE)
            if select_tf_ops:
                converter.target_spec.supported_ops = [
                    tf.lite.OpsSet.TFLITE_BUILTINS,
                    tf.lite.OpsSet.SELECT_TF_OPS,
                ]
            try:
                flatbuffer = convert(converter)
            except Exception as error:  # ConverterError, or whatever MLIR's bindings raise
                raise _refused(error) from error
        task.path.write_bytes(flatbuffer)
        return Artifact(
            self.name,
            task.path,
            program.spec,
            "fp32",
            {"tensorflow": tf.__version__, "select_tf_ops": select_tf_ops},
        )

    def machine_problem(self) -> str | None:
        """Return None: any machine can run it."""
        return None

    def snippets(self) -> Mapping[str, Callable[[Artifact], str]]:
        """Return programs that run an artifact, by language, for `hubopt snippet`."""
        from hubopt_exporters.snippets.tflite import SNIPPETS

        return SNIPPETS

    def probe(self, artifact: Artifact) -> TFLiteProbe:
        """Open the artifact's intermediate tensors, for `hubopt diagnose`."""
        from hubopt_exporters.probes.tflite import TFLiteProbe

        return TFLiteProbe(artifact)

    def interface(self, path: Path) -> FileInterface:
        """Read the inputs and outputs of a file from anywhere."""
        from hubopt_exporters.interfaces import tflite_interface

        return tflite_interface(path)

    def runner(self, artifact: Artifact) -> TFLiteRunner:
        """Load the flatbuffer."""
        return TFLiteRunner(artifact)


def _refused(error: Exception) -> ExportError:
    text = str(error)
    ops = sorted(set(re.findall(r"tf\.([A-Za-z0-9_]+)\(", text)))
    return ExportError(
        "tflite artifact",
        f"the converter refuses {folded(ops) if ops else f'it: {first_cause(error)}'}",
        "operations that TFLite has builtin",
        "pass --select-tf-ops to keep them as TensorFlow operations, for a device that has them"
        if "SELECT_TF_OPS" in text or ops
        else "try another target, or save the model without what the converter names",
    )


class TFLiteRunner:
    """Calls the signature ``serving_default``."""

    device = "CPU"

    def __init__(self, artifact: Artifact) -> None:
        from ai_edge_litert.interpreter import Interpreter

        from hubopt_exporters.interfaces import call_without_signature, signature_key

        self._spec = artifact.spec
        try:
            # Every core, as TensorFlow and onnxruntime do by default; LiteRT's own default is one.
            self._interpreter = Interpreter(
                model_path=str(artifact.path), num_threads=os.cpu_count()
            )
            self._interpreter.allocate_tensors()
            key = signature_key(self._interpreter)  # a file from elsewhere may have none
            # The signature's runner does not keep the interpreter alive itself.
            self._run: Any = (
                self._interpreter.get_signature_runner(key)
                if key
                else call_without_signature(self._interpreter)
            )
        except (RuntimeError, ValueError) as error:
            if _NEEDS_FLEX in str(error):
                raise not_runnable(
                    artifact,
                    "it has select-TF operations, for which LiteRT's Python package has no kernels",
                    "builtin operations, or an interpreter linked with the Flex delegate",
                    "verify it on the device; TensorFlow's own wheels lack the delegate from "
                    "2.20 on (google-ai-edge/LiteRT issue 6458)",
                ) from error
            raise ExportError(
                "tflite artifact",
                f"LiteRT does not load it: {first_cause(error)}",
                "a model that the interpreter can allocate",
                "export again",
            ) from error

    def run(self, inputs: Tensors) -> dict[str, Any]:
        """Invoke the model; outputs are copied out of the interpreter's memory."""
        arguments = {spec.argument: inputs[spec.name] for spec in self._spec.inputs}
        try:
            outputs = self._run(**arguments)
        except ValueError as error:
            if _NO_ELEMENTS not in str(error):
                raise
            outputs = self._read_outputs()  # the model has run; reading an empty output failed
        return {name: array.copy() for name, array in outputs.items()}

    def _read_outputs(self) -> dict[str, Any]:
        """Read every output of the model, which has run; LiteRT cannot read empty ones."""
        import numpy as np

        return {
            name: np.empty(details["shape"], details["dtype"])
            if 0 in details["shape"]
            else self._interpreter.get_tensor(details["index"])
            for name, details in self._run.get_output_details().items()
        }
