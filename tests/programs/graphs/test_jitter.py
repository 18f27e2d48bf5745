"""Jittered sort keys change the order of equal elements, and of no others."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from hubopt.programs.graphs.freezing import freeze
from hubopt.programs.graphs.graph_runs import GraphRunner
from hubopt.programs.graphs.jitter import SORTED_BY, jitter

RUNS = 16


def runs(function: Any, *inputs: Any) -> list[list[np.ndarray]]:
    specs = [tf.TensorSpec(np.shape(array), tf.float32) for array in inputs]
    frozen = freeze(tf.function(function, autograph=False).get_concrete_function(*specs))
    names = {str(at): tensor.name for at, tensor in enumerate(frozen.inputs)}
    runner = GraphRunner(jitter(frozen.graph.as_graph_def()), names)
    fed = {str(at): np.float32(array) for at, array in enumerate(inputs)}
    outputs = [tensor.name for tensor in frozen.outputs]
    return [runner.run(fed, outputs) for _ in range(RUNS)]


def orders(found: list[list[np.ndarray]], output: int = 0) -> set[tuple[int, ...]]:
    return {tuple(np.ravel(answer[output])) for answer in found}


def test_equal_keys_are_given_in_several_orders() -> None:
    found = runs(lambda x: tf.math.top_k(x, 2).indices, [0.1, 0.9, 0.9, 0.9, 0.2])
    assert len(orders(found)) > 2
    assert {place for order in orders(found) for place in order} == {1, 2, 3}


def test_zeros_are_equal_keys() -> None:
    assert len(orders(runs(lambda x: tf.argmax(x, axis=-1), [0.0, 0.0, -1.0]))) == 2


def test_keys_that_differ_keep_their_order_and_values() -> None:
    keys = np.float32([-np.inf, 0.1, 0.10001, 7e8, -7e8, 0.0])
    found = runs(lambda x: tuple(tf.math.top_k(x, 6)), keys)
    assert orders(found, 1) == {(3, 2, 1, 5, 4, 0)}
    for values, _ in found:
        np.testing.assert_allclose(values, np.sort(keys)[::-1], rtol=2e-6, atol=1e-20)


def test_keys_inside_functions_are_jittered() -> None:
    def call(x: Any) -> Any:
        return tf.while_loop(
            lambda at, _: at < 2,
            lambda at, best: (at + 1, best * 10 + tf.argmax(x, output_type=tf.int32)),
            (0, 0),
        )[1]

    assert len(orders(runs(call, [0.5, 0.5]))) > 2


def test_suppression_orders_by_its_scores() -> None:
    boxes = [[0, 0, 1, 1], [2, 2, 3, 3], [4, 4, 5, 5]]
    found = runs(lambda b, s: tf.image.non_max_suppression(b, s, 1), boxes, [0.5, 0.5, 0.1])
    assert orders(found) == {(0,), (1,)}
    combined = runs(
        lambda b, s: tf.image.combined_non_max_suppression(
            b[None, :, None], s[None, :, None], 1, 1
        )[0],
        np.float32(boxes) / 5,
        [0.5, 0.5, 0.1],
    )
    assert len(orders(combined)) == 2


def test_every_listed_operation_exists_with_that_input() -> None:
    """An upgrade of TensorFlow may rename one."""
    from hubopt._platform.tf_private import op_definition

    keys = {"input", "scores"}
    for op, place in SORTED_BY.items():
        definition = op_definition(op)
        assert definition is not None, op
        assert definition.input_arg[place].name in keys, op
