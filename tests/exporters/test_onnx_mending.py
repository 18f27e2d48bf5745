"""Each fault of tf2onnx that hubopt mends, unmended and mended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
import tf2onnx

import hubopt
from hubopt.exporter import Artifact, Program
from hubopt.programs.graphs.freezing import freeze
from hubopt.programs.tracing import trace
from hubopt.testing import make_task
from hubopt_exporters.onnx import OnnxExporter
from hubopt_exporters.onnx_graphs import nodes
from hubopt_exporters.onnx_mending import mend


def unmended(function: Any) -> Any:
    frozen = freeze(function.get_concrete_function())
    model, _ = tf2onnx.convert.from_graph_def(
        frozen.graph.as_graph_def(),
        input_names=[tensor.name for tensor in frozen.inputs],
        output_names=[tensor.name for tensor in frozen.outputs],
        opset=18,
    )
    return model


def answer(model: Any, x: Any) -> Any:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def resizing(shape: list[int | None], sizes: list[int], method: str = "bilinear") -> Any:
    signature = [tf.TensorSpec(shape, tf.float32, name="x")]
    return tf.function(
        lambda x: tf.image.resize(x, sizes, method=method), input_signature=signature
    )


def resize_of(model: Any) -> Any:
    (found,) = (node for node in nodes(model.graph) if node.op_type == "Resize")
    return found


def stated_sizes(model: Any) -> list[int]:
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    found: list[int] = onnx.numpy_helper.to_array(constants[resize_of(model).input[3]]).tolist()
    return found


def test_a_checker_reads_another_size_from_a_scale() -> None:
    model = unmended(resizing([1, 5, 5, 3], [7, 9]))
    with pytest.raises(onnx.shape_inference.InferenceError) as caught:
        onnx.checker.check_model(model, full_check=True)
    assert "(6) vs (7)" in str(caught.value)


@pytest.mark.parametrize("method", ["bilinear", "nearest"])
@pytest.mark.parametrize(
    ("before", "after"), [((5, 5), (7, 9)), ((9, 7), (5, 3)), ((49, 3), (1, 3)), ((3, 3), (3, 3))]
)
def test_every_pair_of_sizes_is_right(
    before: tuple[int, int], after: tuple[int, int], method: str
) -> None:
    function = resizing([2, *before, 3], list(after), method)
    model = unmended(function)
    mend(model)
    onnx.checker.check_model(model, full_check=True)
    x = np.random.default_rng(0).random((2, *before, 3), np.float32)
    np.testing.assert_allclose(answer(model, x), function(x), rtol=1e-4, atol=1e-5)
    if before != after:
        assert stated_sizes(model) == [2, 3, *after]


def test_a_resize_after_another_states_its_sizes_too() -> None:
    def call(x: tf.Tensor) -> tf.Tensor:
        return tf.image.resize(tf.nn.relu(tf.image.resize(x, [7, 9])), [11, 13])

    function = tf.function(call, [tf.TensorSpec([1, 5, 5, 2], tf.float32, name="x")])
    model = unmended(function)
    mend(model)
    onnx.checker.check_model(model, full_check=True)
    found = [node for node in nodes(model.graph) if node.op_type == "Resize"]
    assert [len(node.input) for node in found] == [4, 4]
    x = np.random.default_rng(0).random((1, 5, 5, 2), np.float32)
    np.testing.assert_allclose(answer(model, x), function(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", ["bilinear", "nearest"])
@pytest.mark.parametrize(("before", "after"), [((5, 5), (7, 9)), ((7, 11), (31, 13))])
def test_an_open_batch_gets_scales_that_are_large_enough(
    before: tuple[int, int], after: tuple[int, int], method: str
) -> None:
    """Of 7 and the float32 nearest to 31/7, onnxruntime makes 30."""
    function = resizing([None, *before, 3], list(after), method)
    model = unmended(function)
    x = np.random.default_rng(0).random((4, *before, 3), np.float32)
    assert (answer(model, x).shape == (4, *after, 3)) == (after == (7, 9))
    mend(model)
    assert len(resize_of(model).input) == 3
    np.testing.assert_allclose(answer(model, x), function(x), rtol=1e-4, atol=1e-5)


def counting(x: tf.Tensor) -> tf.Tensor:
    """A loop that reads its greatest number of iterations as a state too, as Keras 3 does."""
    count = tf.shape(x)[0]
    return tf.while_loop(
        lambda at, state, total: at < total,
        lambda at, state, total: (at + 1, state * 0.5 + x[0], total),
        (0, x[1], count),
        maximum_iterations=count,
    )[1]


COUNTING = tf.function(counting, [tf.TensorSpec([4, 2], tf.float32, name="x")])
X = np.arange(8, dtype=np.float32).reshape(4, 2)


def test_tf2onnx_changes_a_constant_that_a_loop_reads_twice() -> None:
    model = unmended(COUNTING)
    with pytest.raises(Exception, match="Tensor element type mismatch"):
        answer(model, X)


def test_a_loop_gets_its_constant_back() -> None:
    model = unmended(COUNTING)
    mend(model)
    np.testing.assert_allclose(answer(model, X), COUNTING(X), rtol=1e-6)
    onnx.checker.check_model(model, full_check=True)


def export(function: Any, folder: Path) -> tuple[Program, Artifact]:
    layer = hubopt.KerasLayer(function)
    program = trace(layer, hubopt.resolve(layer), folder / "program", "auto")
    exporter = OnnxExporter()
    return program, exporter.export(make_task(exporter, program, folder / "m.onnx"))


@pytest.mark.parametrize(
    ("function", "x"),
    [
        (COUNTING, X),
        (resizing([1, 5, 5, 3], [7, 9]), np.random.default_rng(0).random((1, 5, 5, 3), np.float32)),
    ],
    ids=["loop", "resize"],
)
def test_an_export_is_mended(function: Any, x: Any, tmp_path: Path) -> None:
    program, artifact = export(function, tmp_path)
    assert "onnx.checker" not in artifact.details
    (output,) = OnnxExporter().runner(artifact).run({"x": x}).values()
    np.testing.assert_allclose(output, function(x), rtol=1e-5, atol=1e-6)
    assert program.spec.outputs[0].shape == output.shape
