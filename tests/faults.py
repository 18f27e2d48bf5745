"""Faults to plant in artifacts."""

from pathlib import Path

import onnx

from hubopt.exporter import Artifact, ExportTask
from hubopt.runs import convert


def swap_outputs(path: Path, one: str, other: str) -> None:
    """Exchange two outputs of an ONNX model, in place. Its interface is unchanged."""
    exchanged = {one: other, other: one}
    model = onnx.load(path)
    for node in model.graph.node:
        node.input[:] = [exchanged.get(name, name) for name in node.input]
        node.output[:] = [exchanged.get(name, name) for name in node.output]
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def export_wrong(task: ExportTask) -> tuple[Artifact, float]:
    """Replace `hubopt.runs.convert.export`, but exchange two outputs of the ONNX model.

    Both outputs have the same shape. Other targets are exported correctly.
    """
    artifact, seconds = convert.export(task)
    if task.target.exporter == "onnx":
        swap_outputs(task.path, "sum", "difference")
    return artifact, seconds
