"""Weights that a comparison can detect, checked against the true effect of a wrong sign."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from hubopt.programs.graphs.graph_runs import GraphRunner
from hubopt.reference.sensitivity import Weights

GENERATOR = np.random.default_rng(0)
KERNEL = GENERATOR.standard_normal((6, 4)).astype("float32")
X = GENERATOR.standard_normal((1, 6)).astype("float32")


def sensitivities(call: Callable[[Any], Any], x: Any = X) -> tuple[int, np.ndarray]:
    signature = [tf.TensorSpec(np.shape(x), np.asarray(x).dtype, name="x")]
    concrete = tf.function(call, input_signature=signature).get_concrete_function()
    outputs = [tensor.name for tensor in concrete.outputs]
    runner = GraphRunner(concrete.graph.as_graph_def(), {"x": concrete.inputs[0].name})
    weights = Weights(runner, outputs)
    return weights.count, weights.moves(runner.run({"x": x}, weights.tensors))


def test_the_estimate_equals_the_effect_of_a_wrong_sign() -> None:
    """The output is linear in each weight, so the first-order estimate is exact."""
    count, found = sensitivities(lambda x: (x @ KERNEL)[:, :1])
    assert count == found.size == KERNEL.size
    answer = float(X[0] @ KERNEL[:, 0])
    bound = 1e-5 * abs(answer) + 1e-4 * abs(answer)
    exact = np.zeros_like(KERNEL)
    exact[:, 0] = np.abs(2 * X[0] * KERNEL[:, 0]) / bound
    np.testing.assert_allclose(found.reshape(KERNEL.shape), exact, rtol=1e-4)


def test_a_saturated_softmax_hides_the_weights_behind_it() -> None:
    bias = np.array([100.0, 0, 0, 0], np.float32)
    _, opened = sensitivities(lambda x: tf.nn.softmax(x @ KERNEL))
    _, saturated = sensitivities(lambda x: tf.nn.softmax(x @ KERNEL + bias))
    assert (opened >= 1).all()
    assert (saturated < 1).all()


def test_zeros_scalars_and_tables_do_not_count_as_weights() -> None:
    sparse = np.where(np.arange(24).reshape(6, 4) % 2, KERNEL, 0)
    count, _ = sensitivities(lambda x: x @ sparse * 2.0)
    assert count == 12
    tokens = np.zeros((1, 3), np.int32)
    count, _ = sensitivities(lambda x: tf.gather(tf.identity(tf.constant(KERNEL)), x), tokens)
    assert count == 0


def test_a_model_without_a_gradient_has_no_weights_to_check() -> None:
    count, found = sensitivities(lambda x: tf.argmax(x @ KERNEL, 1))
    assert (count, found.size) == (0, 0)


def test_an_infinite_gradient_does_not_count_as_detected() -> None:
    zero = np.zeros((1, 6), np.float32)
    _, found = sensitivities(lambda x: tf.sqrt(tf.abs(x @ KERNEL)) + 1.0, zero)
    assert not np.isnan(found).any()
    assert (found < 1).all()
