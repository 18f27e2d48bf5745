"""A choice by a constant leaves only the chosen branch in a frozen graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from hubopt.programs.graphs.freezing import freeze
from hubopt.programs.graphs.functions import nodes
from hubopt.programs.graphs.graph_runs import GraphRunner

SPEC = tf.TensorSpec([], tf.float32, name="x")


def frozen(call: Callable[[Any], Any]) -> tuple[float, set[str]]:
    """Return the answer for 3 and the operations of the frozen graph."""
    concrete = tf.function(call, [SPEC], autograph=False).get_concrete_function()
    parts = freeze(concrete)
    graph_def = parts.graph.as_graph_def()
    (found,) = GraphRunner(graph_def, {"x": "x:0"}).run(
        {"x": np.float32(3)}, [parts.outputs[0].name]
    )
    return float(found), {node.op for node in nodes(graph_def)}


def flag(value: bool) -> Any:
    """Return a constant of which Python does not know the value."""
    return tf.compat.v1.placeholder_with_default(value, [])


@pytest.mark.parametrize(("value", "expected"), [(True, 33.0), (False, 6.0)])
def test_a_training_flag_that_nobody_feeds_is_settled(value: bool, expected: float) -> None:
    weight = tf.Variable(11.0)

    def call(x: Any) -> Any:
        return tf.cond(flag(value), lambda: x * weight, lambda: x + x)

    found, ops = frozen(call)
    assert found == expected
    assert "If" not in ops
    assert ("Mul" in ops) is value


def test_a_settled_branch_inside_of_another_and_behind_calls() -> None:
    """The flag of the inner function is known once both are inlined."""
    weight = tf.Variable(11.0)

    @tf.function
    def inner(x: Any, training: Any) -> Any:
        training = tf.logical_not(training)
        return tf.cond(training, lambda: x * weight, lambda: x + x)

    def call(x: Any) -> Any:
        return tf.cond(flag(True), lambda: inner(x, flag(True)), lambda: -x)

    found, ops = frozen(call)
    assert found == 6
    assert not ops & {"If", "PartitionedCall", "StatefulPartitionedCall", "Mul"}


@pytest.mark.parametrize(("index", "expected"), [(0, -3.0), (1, 6.0), (2, 9.0), (7, 9.0)])
def test_the_branch_of_a_settled_case_is_taken(index: int, expected: float) -> None:
    def call(x: Any) -> Any:
        at = tf.compat.v1.placeholder_with_default(index, [])
        return tf.switch_case(at, [lambda: -x, lambda: x * 2, lambda: x * 3])

    found, ops = frozen(call)
    assert found == expected
    assert not ops & {"Case", "StatelessCase"}


def test_a_flag_that_is_an_input_is_not_settled() -> None:
    """A TensorFlow 1 graph may take a placeholder with a default as an input."""

    def call() -> Any:
        x = tf.compat.v1.placeholder(tf.float32, [], name="x")
        training = tf.compat.v1.placeholder_with_default(False, [], name="training")
        return tf.cond(training, lambda: x * 2, lambda: x + 1, name="y")

    wrapped = tf.compat.v1.wrap_function(call, [])
    get = wrapped.graph.get_tensor_by_name
    parts = freeze(wrapped.prune([get("x:0"), get("training:0")], wrapped.outputs[0]))
    inputs = dict(zip(("x", "training"), (tensor.name for tensor in parts.inputs), strict=True))
    runner = GraphRunner(parts.graph.as_graph_def(), inputs)
    found = [
        float(runner.run({"x": np.float32(3), "training": on}, [parts.outputs[0].name])[0])
        for on in (np.bool_(False), np.bool_(True))
    ]
    assert found == [4, 6]


def test_a_choice_by_the_data_stays() -> None:
    assert "StatelessIf" in frozen(lambda x: tf.cond(x > 0, lambda: x, lambda: -x))[1]
