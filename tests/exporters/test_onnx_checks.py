"""A converted model is refused if onnxruntime refuses it; the checker's word alone is a note."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf

import hubopt
from hubopt.errors import ExportError
from hubopt.programs.tracing import trace
from hubopt.testing import make_task
from hubopt_exporters.onnx import OnnxExporter
from hubopt_exporters.onnx_checks import check
from tests.exporters.onnx_making import graph_with, model_of, node


@pytest.mark.parametrize(
    ("domain", "op", "named"),
    [
        ("", "StringLower", "ai.onnx.StringLower"),
        ("ai.onnx.contrib", "Neg", "ai.onnx.contrib.Neg"),
    ],
)
def test_operations_outside_the_onnx_standard_are_refused(domain: str, op: str, named: str) -> None:
    graph = graph_with(node(op, ["x:0"], ["y:0"], domain=domain))
    with pytest.raises(ExportError, match=f"does not have: {named}"):
        check(model_of(graph))


def test_a_model_that_the_runtime_refuses_is_refused_with_one_cause() -> None:
    graph = graph_with(node("Not", ["x:0"], ["y:0"]), node("Not", ["y:0"], ["z"]))
    with pytest.raises(ExportError, match="onnxruntime refuses what tf2onnx wrote") as caught:
        check(model_of(graph))
    assert "\n" not in caught.value.found
    assert caught.value.found.count("Not") <= 2


def doubtful_model() -> Any:
    """Its graph says of an inner tensor that it has two elements; it has one."""
    graph = graph_with(node("Neg", ["x:0"], ["inner"]), node("Abs", ["inner"], ["y:0"]))
    value = onnx.helper.make_tensor_value_info("inner", onnx.TensorProto.FLOAT, [2])
    graph.value_info.append(value)
    return model_of(graph)


def test_what_only_the_checker_refuses_is_noted(caplog: pytest.LogCaptureFixture) -> None:
    model = doubtful_model()
    note = check(model)
    assert note is not None
    assert "ShapeInferenceError" in note
    assert "\n" not in note
    assert "onnx.checker refuses the model" in caplog.text
    session = onnxruntime.InferenceSession(model.SerializeToString())
    assert session.run(None, {"x:0": np.float32([-3])})[0].tolist() == [3]


def test_without_the_runtime_only_the_structure_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert check(doubtful_model()) is not None
    twice = graph_with(node("Neg", ["x:0"], ["y:0"]), node("Abs", ["x:0"], ["y:0"]))
    with pytest.raises(ExportError, match=r"onnx\.checker refuses what tf2onnx wrote: .*y:0"):
        check(model_of(twice))


def test_a_sound_model_has_no_note() -> None:
    assert check(model_of(graph_with(node("Neg", ["x:0"], ["y:0"])))) is None


def test_the_note_is_kept_with_the_artifact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    function = tf.function(lambda x: x * 2, [tf.TensorSpec([2], tf.float32, name="x")])
    layer = hubopt.KerasLayer(function)
    program = trace(layer, hubopt.resolve(layer), tmp_path / "program")
    exporter = OnnxExporter()
    sound = exporter.export(make_task(exporter, program, tmp_path / "sound.onnx"))
    assert "onnx.checker" not in sound.details
    complain = onnx.checker.ValidationError("the first line\nthe second")

    def refuse(*_: Any, **__: Any) -> None:
        raise complain

    monkeypatch.setattr(onnx.checker, "check_model", refuse)
    noted = exporter.export(make_task(exporter, program, tmp_path / "noted.onnx"))
    assert noted.details["onnx.checker"] == "the first line"
