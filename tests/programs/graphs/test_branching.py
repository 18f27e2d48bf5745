"""A ``Case`` becomes nested ``If`` with the same answers for every index."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from hubopt.programs.graphs.branching import replace_cases
from hubopt.programs.graphs.freezing import freeze
from hubopt.programs.graphs.functions import nodes
from hubopt.programs.graphs.graph_runs import GraphRunner

X = np.array([1.0, 2.0], "float32")
WEIGHT = 11.0


def frozen(call: Callable[[Any, Any], Any]) -> tuple[Any, list[str]]:
    specs = [tf.TensorSpec([], tf.int32, name="index"), tf.TensorSpec([2], tf.float32, name="x")]
    parts = freeze(tf.function(call, specs, autograph=False).get_concrete_function())
    return parts.graph.as_graph_def(), [tensor.name for tensor in parts.outputs]


def answers(call: Callable[[Any, Any], Any], indices: Any) -> list[list[float]]:
    """Return the first output for each index, by a graph without ``Case``."""
    graph_def, outputs = frozen(call)
    assert {node.op for node in nodes(graph_def)} & {"Case", "StatelessCase"}
    replace_cases(graph_def)
    ops = {node.op for node in nodes(graph_def)}
    assert not ops & {"Case", "StatelessCase", "Switch", "Merge", "_SwitchN"}
    runner = GraphRunner(graph_def, {"index": "index:0", "x": "x:0"})
    given = ({"index": np.int32(index), "x": X} for index in indices)
    return [runner.run(tensors, outputs)[0].tolist() for tensors in given]


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_the_branch_of_the_index_answers(count: int) -> None:
    """The last branch answers for an index that none has, as ``Case`` documents."""

    def call(index: Any, x: Any) -> Any:
        return tf.switch_case(index, [lambda at=at: x * (at + 2) for at in range(count)])

    expected = [[X[0] * (at + 2), X[1] * (at + 2)] for at in range(count)]
    found = answers(call, [*range(count), count, -1])
    assert found == [*expected, expected[-1], expected[-1]]


def test_weights_and_several_outputs_reach_every_branch() -> None:
    weight = tf.Variable(WEIGHT)

    def call(index: Any, x: Any) -> Any:
        return tf.switch_case(
            index,
            [lambda: (x, x[:1]), lambda: (x * weight, x[1:]), lambda: (-x, x), lambda: (x, x)],
        )[0]

    assert answers(call, range(3)) == [[1, 2], [11, 22], [-1, -2]]


def test_a_case_inside_a_branch_and_inside_a_loop() -> None:
    weight = tf.Variable(WEIGHT)

    def call(index: Any, x: Any) -> Any:
        def inner() -> Any:
            return tf.switch_case(index - 1, [lambda: x * 3, lambda: x * weight, lambda: x * 7])

        def step(turn: Any, total: Any) -> Any:
            choice = tf.switch_case(turn, [lambda: total + 1, lambda: total * 2, lambda: -total])
            return turn + 1, choice

        start = tf.switch_case(index, [lambda: x, inner, inner, lambda: x * 0])
        return tf.while_loop(lambda turn, _: turn < 3, step, (0, start))[1]

    # Each answer is -((start + 1) * 2).
    assert answers(call, range(4)) == [[-4, -6], [-8, -14], [-24, -46], [-2, -2]]


def test_a_graph_is_rewritten_twice_in_one_process() -> None:
    """The process keeps the first function of a name, so the second graph needs new names."""
    for factor in (2, 3):
        graph_def, outputs = frozen(
            lambda index, x, factor=factor: tf.switch_case(
                index, [lambda: x, lambda: x * factor, lambda: x]
            )
        )
        again = type(graph_def).FromString(graph_def.SerializeToString())
        for one in (graph_def, again):
            replace_cases(one)
            runner = GraphRunner(one, {"index": "index:0", "x": "x:0"})
            (found,) = runner.run({"index": np.int32(1), "x": X}, outputs)
            assert found.tolist() == [factor, 2 * factor]


def test_a_graph_without_case_is_left_as_it_is() -> None:
    graph_def, _ = frozen(lambda index, x: tf.cond(index > 0, lambda: x, lambda: -x))
    before = graph_def.SerializeToString(deterministic=True)
    replace_cases(graph_def)
    assert graph_def.SerializeToString(deterministic=True) == before
