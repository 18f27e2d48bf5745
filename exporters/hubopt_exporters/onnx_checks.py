"""Checks of a converted ONNX model before it is written: the runtime's word counts."""

from __future__ import annotations

import importlib.util
import logging
import re
from typing import Any

from hubopt.errors import ExportError
from hubopt.exporter import folded
from hubopt_exporters.onnx_graphs import nodes

NEWEST_OPSET = 18
"""The newest opset that tf2onnx writes; a test fails when its newest is another one."""
_log = logging.getLogger(__name__)
_CODE = r"^\[ONNXRuntimeError\] : \d+ : \w+ : "
"""The beginning of onnxruntime's errors, which says nothing to a person."""


def check(model: Any, opset: int = NEWEST_OPSET) -> str | None:
    """Check ``model``, a ``ModelProto`` whose weights may be inputs.

    `onnx.checker` also refuses models that onnxruntime loads and runs right, for example where two
    ways to infer a shape disagree. So if it refuses one, onnxruntime decides.

    Args:
        model: The model.
        opset: Its opset.

    Returns:
        What `onnx.checker` says against the model although onnxruntime loads it; None if nothing.

    Raises:
        ExportError: It has operations that ONNX does not have, or onnxruntime refuses it.
    """
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
        found = f"tf2onnx left operations that ONNX does not have: {folded(unknown)}"
        raise refused(found, opset)
    complaint = _complaint(model, full=True)
    if complaint is None:
        return None
    _log.warning("onnx.checker refuses the model: %s", complaint)
    if importlib.util.find_spec("onnxruntime") is None:
        problem = _complaint(model, full=False)
        judge = "onnx.checker"
    else:
        problem = _refusal(model)
        judge = "onnxruntime"
    if problem is not None:
        raise ExportError(
            "onnx artifact",
            f"{judge} refuses what tf2onnx wrote: {_first_line(problem)}",
            "a model that onnxruntime loads",
            "see the log of the conversion",
        )
    return _first_line(complaint)


def refused(found: str, opset: int) -> ExportError:
    """Return the error for a model that tf2onnx cannot express in ONNX.

    Args:
        found: The problem.
        opset: The opset of the model.
    """
    newer = f"--opset {NEWEST_OPSET} has more operations; " if opset < NEWEST_OPSET else ""
    return ExportError(
        "onnx artifact",
        found,
        f"operations that tf2onnx can express in ONNX at opset {opset}",
        f"{newer}`hubopt inspect` lists those of the model",
    )


def _complaint(model: Any, full: bool) -> str | None:
    import onnx

    try:
        onnx.checker.check_model(model, full_check=full)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        return str(error)
    return None


def _refusal(model: Any) -> str | None:
    """Return why onnxruntime does not load ``model``; None if it does."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's errors have no public base class
        return re.sub(_CODE, "", str(error))
    return None


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), text)
