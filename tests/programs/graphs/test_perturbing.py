"""Other weights, and nothing else."""

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


def test_weights_move_by_up_to_a_tenth_and_by_the_seed() -> None:
    model = Frozen(lambda x: x * np.float32([1, 10, 100, 1000]))
    before = model.graph_def.SerializeToString(deterministic=True)
    moved, again, other = (model.perturbed(seed=seed) / model.run() for seed in (0, 0, 1))
    assert np.all(np.abs(moved - 1) <= 0.1)
    assert np.abs(moved - 1).max() > 0.01
    assert len(np.unique(moved)) == 4
    np.testing.assert_array_equal(moved, again)
    assert np.all(moved != other)
    assert model.graph_def.SerializeToString(deterministic=True) == before


def test_shapes_indices_and_single_numbers_stay() -> None:
    def call(x: Any) -> Any:
        return tf.reshape(tf.gather(x, [3, 1, 0, 2], axis=1), [2, 2]) * 0.3 + 1e-3

    model = Frozen(call)
    np.testing.assert_array_equal(model.perturbed(), model.run())


def test_half_precision_and_weights_inside_loops_move_too() -> None:
    def call(x: Any) -> Any:
        def step(at: Any, x: Any) -> Any:
            return at + 1, x * tf.constant([[1, 2, 3, 4]], tf.bfloat16)

        half = tf.cast(x, tf.bfloat16)
        return tf.cast(tf.while_loop(lambda at, _: at < 2, step, (0, half))[1], tf.float32)

    model = Frozen(call)
    assert np.any(model.perturbed() != model.run())


def test_weights_moved_by_a_rounding_are_as_good_as_the_same() -> None:
    weights = np.random.default_rng(0).standard_normal((4, 8)).astype("float32")
    model = Frozen(lambda x: x @ weights)
    before, after = model.run(), model.perturbed(ROUNDING)
    assert 0 < np.abs(after - before).max() < 1e-5


def test_weights_that_are_kept_apart_move_as_well() -> None:
    table = tf.Variable(np.random.default_rng(0).standard_normal((4, 8192)), dtype=tf.float32)
    indices = tf.range(8192 * 4) % 8192
    model = Frozen(lambda x: tf.gather(x @ table, indices, axis=1)[:, :64])
    assert sorted(each.dtype.name for each in model.weights.values()) == ["float32", "int32"]
    moved = np.abs(model.perturbed() - model.run())
    assert 0 < moved.max() < 1


def test_lifted_weights_give_the_same_and_one_graph_serves_every_draw() -> None:
    factors = np.float32([1, 10, 100, 1000])
    model = Frozen(lambda x: tf.reshape(x * factors + 2.0, [2, 2]))
    graph_def, weights = lift(model.graph_def, model.weights)
    assert [each.tolist() for each in weights.values()] == [factors.tolist()]
    np.testing.assert_array_equal(model.run(graph_def, weights), model.run())
    same, moved = perturb(graph_def, weights)
    assert same is graph_def
    (before,), (after,) = weights.values(), moved.values()
    assert np.all(before != after)
