"""The gradient of wide convolutions, computed differently with the same result."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from hubopt.programs.graphs.graph_runs import GraphRunner
from hubopt.reference import wide_kernels
from hubopt.reference.wide_kernels import mark_convolutions


def gradients(kernel: tuple[int, ...], marked: bool, channels: int = 4, **settings: Any) -> Any:
    """Return the gradients with respect to image and kernel, and the operations of the graph."""
    generator = np.random.default_rng(0)
    graph = tf.Graph()
    with graph.as_default():
        image = tf.compat.v1.placeholder(tf.float32, [2, 30, 50, channels], "image")
        value = generator.standard_normal(kernel).astype("float32")
        tf.nn.conv2d(image, tf.constant(value, name="kernel"), name="y", **settings)
    graph_def = graph.as_graph_def()
    if marked:
        mark_convolutions(graph_def)
    runner = GraphRunner(graph_def, {"image": "image:0"})

    def build(graph: Any) -> list[Any]:
        y, image, weights = (graph.get_tensor_by_name(f"{n}:0") for n in ("y", "image", "kernel"))
        return list(tf.gradients(tf.reduce_sum(y * y), [image, weights]))

    names = runner.extend(build)
    sample = generator.standard_normal((2, 30, 50, channels)).astype("float32")
    ops = {op.type for op in runner.graph.get_operations()}
    return runner.run({"image": sample}, names), ops


@pytest.mark.parametrize(
    "settings",
    [
        {"strides": 1, "padding": "SAME"},
        {"strides": 1, "padding": "VALID"},
        {"strides": [2, 3], "padding": "SAME"},
        {"strides": [3, 2], "padding": "VALID"},
        {"strides": 1, "padding": "SAME", "dilations": [1, 2]},
    ],
    ids=str,
)
@pytest.mark.parametrize("kernel", [(3, 20, 4, 5), (17, 1, 4, 2)], ids=str)
@pytest.mark.parametrize("part_bytes", [1, 600_000, 2**26])
def test_wide_convolutions_have_the_same_gradients_without_onednn(
    kernel: tuple[int, ...],
    settings: dict[str, Any],
    part_bytes: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wide_kernels, "_PART_BYTES", part_bytes)
    expected, usual = gradients(kernel, False, **settings)
    found, ops = gradients(kernel, True, **settings)
    assert "Conv2DBackpropFilter" in usual
    assert "Conv2DBackpropFilter" not in ops
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3 * np.abs(other).max())


@pytest.mark.parametrize(
    ("kernel", "settings"),
    [
        ((3, 3, 4, 5), {"strides": 1, "padding": "SAME"}),
        ((1, 20, 2, 4), {"strides": 1, "padding": "SAME"}),
        ((1, 20, 4, 2), {"strides": 1, "padding": [[0, 0], [1, 1], [2, 3], [0, 0]]}),
    ],
    ids=["small", "grouped", "padded by hand"],
)
def test_other_convolutions_are_unchanged(
    kernel: tuple[int, ...], settings: dict[str, Any]
) -> None:
    expected, usual = gradients(kernel, False, **settings)
    found, ops = gradients(kernel, True, **settings)
    assert "Conv2DBackpropFilter" in usual & ops
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
