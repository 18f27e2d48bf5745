"""Perturbing changes the weights of a graph, and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from hubopt.programs.graphs.freezing import freeze
from hubopt.programs.graphs.graph_runs import GraphRunner
from hubopt.programs.graphs.perturbing import ROUNDING, lift, perturb

X = np.ones((1, 4), "float32")


class Frozen:
    def __init__(self, function: Any) -> None:
        specs = [tf.TensorSpec(X.shape, tf.float32)]
        concrete = tf.function(function, input_signature=specs, autograph=False)
        frozen = freeze(concrete.get_concrete_function())
        self.graph_def = frozen.graph.as_graph_def()
        self.weights = {name: value.numpy() for name, value in frozen.weights.items()}
        self._input, self._output = frozen.inputs[0].name, frozen.outputs[0].name

    def perturbed(self, *options: Any, **named: Any) -> Any:
        return self.run(*perturb(self.graph_def, self.weights, *options, **named))

    def run(self, graph_def: Any = None, weights: Any = None) -> Any:
        runner = GraphRunner(
            graph_def or self.graph_def, {"x": self._input}, weights or self.weights
        )
        return runner.run({"x": X}, [self._output])[0]


def test_weights_change_by_up_to_a_tenth_depending_on_the_seed() -> None:
    model = Frozen(lambda x: x * np.float32([1, 10, 100, 1000]))
    before = model.graph_def.SerializeToString(deterministic=True)
    ratio, again, other = (model.perturbed(seed=seed) / model.run() for seed in (0, 0, 1))
    assert np.all(np.abs(ratio - 1) <= 0.1)
    assert np.abs(ratio - 1).max() > 0.01
    assert len(np.unique(ratio)) == 4
    np.testing.assert_array_equal(ratio, again)
    assert np.all(ratio != other)
    assert model.graph_def.SerializeToString(deterministic=True) == before


def test_shapes_indices_and_scalars_do_not_change() -> None:
    def call(x: Any) -> Any:
        return tf.reshape(tf.gather(x, [3, 1, 0, 2], axis=1), [2, 2]) * 0.3 + 1e-3

    model = Frozen(call)
    np.testing.assert_array_equal(model.perturbed(), model.run())


def test_half_precision_weights_and_weights_inside_loops_change_too() -> None:
    def call(x: Any) -> Any:
        def step(at: Any, x: Any) -> Any:
            return at + 1, x * tf.constant([[1, 2, 3, 4]], tf.bfloat16)

        half = tf.cast(x, tf.bfloat16)
        return tf.cast(tf.while_loop(lambda at, _: at < 2, step, (0, half))[1], tf.float32)

    model = Frozen(call)
    assert np.any(model.perturbed() != model.run())


def test_weights_perturbed_by_a_rounding_give_almost_the_same_output() -> None:
    weights = np.random.default_rng(0).standard_normal((4, 8)).astype("float32")
    model = Frozen(lambda x: x @ weights)
    before, after = model.run(), model.perturbed(ROUNDING)
    assert 0 < np.abs(after - before).max() < 1e-5


def test_separately_stored_weights_change_as_well() -> None:
    table = tf.Variable(np.random.default_rng(0).standard_normal((4, 8192)), dtype=tf.float32)
    indices = tf.range(8192 * 4) % 8192
    model = Frozen(lambda x: tf.gather(x @ table, indices, axis=1)[:, :64])
    assert sorted(weight.dtype.name for weight in model.weights.values()) == ["float32", "int32"]
    change = np.abs(model.perturbed() - model.run())
    assert 0 < change.max() < 1


def test_lifted_weights_give_the_same_output_and_reuse_one_graph() -> None:
    factors = np.float32([1, 10, 100, 1000])
    model = Frozen(lambda x: tf.reshape(x * factors + 2.0, [2, 2]))
    graph_def, weights = lift(model.graph_def, model.weights)
    assert [weight.tolist() for weight in weights.values()] == [factors.tolist()]
    np.testing.assert_array_equal(model.run(graph_def, weights), model.run())
    same, perturbed = perturb(graph_def, weights)
    assert same is graph_def
    (before,), (after,) = weights.values(), perturbed.values()
    assert np.all(before != after)
