"""Weights that are inserted into an ONNX model after the conversion."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from hubopt_exporters.onnx_weights import put_weights

GENERATOR = np.random.default_rng(0)
KERNEL = GENERATOR.standard_normal((3, 3, 2, 4)).astype("float32")
DENSE = GENERATOR.standard_normal((4, 5)).astype("float32")
X = GENERATOR.standard_normal((1, 2, 6, 6)).astype("float32")


def model() -> Any:
    """Convolve ``x`` with a transposed kernel, average, multiply by a reshaped matrix."""
    nodes = [
        helper.make_node("Identity", ["kernel"], ["same"]),
        helper.make_node("Transpose", ["same"], ["turned"], perm=[3, 2, 0, 1]),
        helper.make_node("Conv", ["x", "turned"], ["c"]),
        helper.make_node("GlobalAveragePool", ["c"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Reshape", ["dense", "shape"], ["matrix"]),
        helper.make_node("MatMul", ["flat", "matrix"], ["y"]),
    ]
    floats = TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "g",
        [
            helper.make_tensor_value_info("x", floats, X.shape),
            helper.make_tensor_value_info("kernel", floats, KERNEL.shape),
            helper.make_tensor_value_info("dense", floats, [20]),
        ],
        [helper.make_tensor_value_info("y", floats, [1, 5])],
        [onnx.numpy_helper.from_array(np.array([4, 5], np.int64), "shape")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


WEIGHTS: dict[str, Callable[[], Any]] = {
    "kernel": lambda: KERNEL,
    "dense": lambda: DENSE.ravel(),
}


def answer(path: Path, **inputs: Any) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {"x": X, **inputs})
    return y


@pytest.fixture
def expected(tmp_path: Path) -> np.ndarray:
    plain = tmp_path / "plain.onnx"
    onnx.save(model(), str(plain))
    return answer(plain, kernel=KERNEL, dense=DENSE.ravel())


def test_weights_are_folded_and_are_no_longer_inputs(tmp_path: Path, expected: np.ndarray) -> None:
    path = tmp_path / "model.onnx"
    assert put_weights(model(), WEIGHTS, path) == ()
    made = onnx.load(str(path))
    onnx.checker.check_model(made, full_check=True)
    assert [value.name for value in made.graph.input] == ["x"]
    assert [node.op_type for node in made.graph.node] == [
        "Conv",
        "GlobalAveragePool",
        "Flatten",
        "MatMul",
    ]
    assert {tensor.name for tensor in made.graph.initializer} == {"turned", "matrix"}
    np.testing.assert_allclose(answer(path), expected, rtol=1e-4, atol=1e-5)


def test_weights_can_be_stored_in_a_separate_file(tmp_path: Path, expected: np.ndarray) -> None:
    path = tmp_path / "model.onnx"
    assert put_weights(model(), WEIGHTS, path, apart=True) == ("model.onnx.data",)
    assert path.stat().st_size < 2000
    np.testing.assert_allclose(answer(path), expected, rtol=1e-4, atol=1e-5)


def test_offsets_are_aligned(tmp_path: Path, expected: np.ndarray) -> None:
    path = tmp_path / "model.onnx"
    put_weights(model(), WEIGHTS, path, apart=True)
    offsets = [
        int(entry.value)
        for tensor in onnx.load(str(path), load_external_data=False).graph.initializer
        for entry in tensor.external_data
        if entry.key == "offset"
    ]
    assert sorted(offsets) == [0, 4096]
    np.testing.assert_allclose(answer(path), expected, rtol=1e-4, atol=1e-5)


def test_a_weight_that_is_an_output_remains_an_output(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Identity", ["w"], ["y"]), helper.make_node("Neg", ["x"], ["z"])],
        "g",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, X.shape),
            helper.make_tensor_value_info("w", TensorProto.FLOAT, DENSE.shape),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, DENSE.shape)],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    path = tmp_path / "model.onnx"
    put_weights(made, {"w": lambda: DENSE}, path)
    np.testing.assert_array_equal(answer(path), DENSE)
