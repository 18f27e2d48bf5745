import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tensorflow as tf
import tf2onnx

import hubopt
from hubopt.errors import ExportError, UsageError
from hubopt.exporter import Artifact, Program
from hubopt.programs.tracing import trace
from hubopt.registry.options import describe_options, make_options
from hubopt.testing import make_task
from hubopt_exporters.onnx import OnnxExporter


def export(function: Any, folder: Path, *specs: Any, **options: Any) -> tuple[Any, Artifact]:
    layer = hubopt.KerasLayer(tf.function(function, input_signature=list(specs)))
    program = trace(layer, hubopt.resolve(layer), folder / "program", "auto")
    return layer, to_onnx(program, folder / "m.onnx", **options)


def to_onnx(program: Program, path: Path, **options: Any) -> Artifact:
    exporter = OnnxExporter()
    return exporter.export(make_task(exporter, program, path, **options))


def test_inputs_and_outputs_have_the_layers_names(
    tiny_program: tuple[Any, Program], tmp_path: Path
) -> None:
    _, program = tiny_program
    artifact = to_onnx(program, tmp_path / "m.onnx")
    model = onnx.load(artifact.path)
    assert [value.name for value in model.graph.input] == ["left", "right"]
    assert [value.name for value in model.graph.output] == ["difference", "sum"]
    assert not {"left", "right"} & {value.name for value in model.graph.initializer}


@pytest.mark.parametrize("opset", [15, 18])
def test_the_opset_is_the_requested_one(
    tiny_program: tuple[Any, Program], tmp_path: Path, opset: int
) -> None:
    artifact = to_onnx(tiny_program[1], tmp_path / "m.onnx", opset=opset)
    versions = {entry.domain: entry.version for entry in onnx.load(artifact.path).opset_import}
    assert versions[""] == opset


@pytest.mark.parametrize(("opset", "near"), [(8, 13), (99, 18)])
def test_an_unsupported_opset_is_refused_and_the_supported_ones_are_named(
    opset: int, near: int
) -> None:
    with pytest.raises(UsageError, match=f"option onnx.opset: the value is {opset}\n") as caught:
        make_options(OnnxExporter(), {"opset": opset})
    assert caught.value.expected == "int, 13 to 18"
    assert caught.value.way_out == f"the nearest is onnx.opset={near}"


def test_the_newest_opset_is_the_newest_that_tf2onnx_writes() -> None:
    (opset,) = describe_options(OnnxExporter())
    newest = max(tf2onnx.constants.OPSET_TO_IR_VERSION)
    assert opset.most == newest, f"tf2onnx writes up to opset {newest} now: raise NEWEST_OPSET"


def test_a_tf2onnx_without_the_opset_is_reported(
    tiny_program: tuple[Any, Program], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tf2onnx.constants, "OPSET_TO_IR_VERSION", {13: 7, 17: 8})
    with pytest.raises(ExportError, match=r"--opset 18\n  expected: 13 to 17, which tf2onnx"):
        to_onnx(tiny_program[1], tmp_path / "m.onnx", opset=18)


def test_loops_run_with_their_outer_names(tmp_path: Path) -> None:
    def loop(x: tf.Tensor) -> dict[str, tf.Tensor]:
        done = tf.while_loop(lambda i, y: i < 5, lambda i, y: (i + 1, y * 0.5 + x), (0, x))
        return {"x_after": done[1]}

    layer, artifact = export(loop, tmp_path, tf.TensorSpec([2, 3], tf.float32, name="x"))
    x = np.random.default_rng(0).random((2, 3), np.float32)
    outputs = OnnxExporter().runner(artifact).run({"x": x})
    np.testing.assert_allclose(outputs["x_after"], layer(x)["x_after"], rtol=1e-5)


def test_an_input_that_is_also_an_output(tmp_path: Path) -> None:
    spec = tf.TensorSpec([2], tf.float32, name="x")
    _, artifact = export(lambda x: {"same": x, "more": x + 1}, tmp_path, spec)
    outputs = OnnxExporter().runner(artifact).run({"x": np.ones(2, "float32")})
    assert outputs["same"].tolist() == [1, 1]
    assert outputs["more"].tolist() == [2, 2]


def test_an_operation_that_tf2onnx_lacks_is_named(tmp_path: Path) -> None:
    spec = tf.TensorSpec([1, 3, 3], tf.float32, name="x")
    with pytest.raises(ExportError, match="MatrixInverse|Qr"):
        export(lambda x: tf.linalg.qr(x)[0], tmp_path, spec)


@pytest.mark.parametrize(("opset", "newer"), [(13, True), (18, False)])
def test_a_newer_opset_is_only_advised_if_there_is_one(
    tmp_path: Path, opset: int, newer: bool
) -> None:
    spec = tf.TensorSpec([1, 3, 3], tf.float32, name="x")
    with pytest.raises(ExportError) as caught:
        export(lambda x: tf.linalg.qr(x)[0], tmp_path, spec, opset=opset)
    assert ("--opset 18 has more operations" in caught.value.way_out) is newer
    assert "\n" not in caught.value.found


def test_a_failing_optimization_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """tf2onnx first optimizes in place. If that fails, it repeats with copies to fall back on."""
    from tf2onnx.optimizer.back_to_back_optimizer import BackToBackOptimizer

    matrix = np.ones((3, 3), "float32")
    signature = [tf.TensorSpec([2, 3], tf.float32, name="x")]
    layer = tf.function(lambda x: tf.tanh(x @ matrix), input_signature=signature)
    program = hubopt.trace(layer, hubopt.resolve(layer), tmp_path / "program")
    was_caught = []

    def fail(self: object, graph: object) -> None:
        was_caught.append("TF2ONNX_CATCH_ERRORS" not in os.environ)
        raise LookupError("planted by the test")

    monkeypatch.setattr(BackToBackOptimizer, "_optimize", fail)
    artifact = to_onnx(program, tmp_path / "model.onnx")
    assert was_caught[:2] == [False, True]
    assert "TF2ONNX_CATCH_ERRORS" not in os.environ
    x = np.ones((2, 3), "float32")
    (tensor,) = program.spec.inputs
    (answer,) = OnnxExporter().runner(artifact).run({tensor.name: x}).values()
    np.testing.assert_allclose(answer, np.tanh(x @ matrix), rtol=1e-5)


def test_a_file_that_is_not_a_model_does_not_load(
    tiny_program: tuple[Any, Program], tmp_path: Path
) -> None:
    (tmp_path / "m.onnx").write_bytes(b"nothing")
    with pytest.raises(ExportError, match="onnxruntime does not load it"):
        OnnxExporter().runner(Artifact("onnx", tmp_path / "m.onnx", tiny_program[1].spec))
