"""TensorFlow's private freezing API still works as `hubopt.programs.graphs.tf_freezing` needs."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from hubopt.programs.graphs import tf_freezing
from hubopt.programs.graphs.functions import nodes
from hubopt.programs.graphs.graph_runs import GraphRunner
from tests.platform.test_tf_private import ADVICE as MOVED

ADVICE = MOVED.replace("tf_private", "tf_freezing")


def test_freeze() -> None:
    variable = tf.Variable(2.0)
    concrete = tf.function(
        lambda x: x * variable, input_signature=[tf.TensorSpec([], tf.float32, name="x")]
    ).get_concrete_function()
    frozen = tf_freezing.freeze(concrete, lambda _: False)
    assert not frozen.apart
    assert frozen.inputs == ["x:0"], ADVICE + "freeze"
    assert not [op for op in frozen.graph.get_operations() if "Variable" in op.type], (
        ADVICE + "freeze"
    )
    runner = GraphRunner(frozen.graph.as_graph_def(), {"x": "x:0"})
    assert runner.run({"x": np.float32(3)}, frozen.outputs)[0] == 6.0


def test_freeze_leaves_weights_out_of_the_graph() -> None:
    """This covers variables and captured tensors: read, gathered from and passed into a loop."""
    table, factor = tf.Variable(tf.ones([50, 4])), tf.constant(np.full([50, 4], 2, "float32"))

    def call(at: tf.Tensor) -> tf.Tensor:
        def step(turn: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return turn + 1, total + table[:1]

        rows = tf.gather(table, at) * factor[:2]
        return tf.while_loop(lambda turn, _: turn < 3, step, (0, rows))[1]

    function = tf.function(call, input_signature=[tf.TensorSpec([2], tf.int32, name="at")])
    frozen = tf_freezing.freeze(function.get_concrete_function(), lambda _: True)
    assert {id(weight) for weight in frozen.apart.values()} >= {id(table)}, ADVICE + "freeze"
    assert frozen.inputs == ["at:0"]
    assert len(frozen.graph.as_graph_def().SerializeToString()) < 5000
    assert all(op.type != "ReadVariableOp" for op in frozen.graph.get_operations()), ADVICE
    weights = {name: np.asarray(value) for name, value in frozen.apart.items()}
    runner = GraphRunner(frozen.graph.as_graph_def(), {"at": "at:0"}, weights)
    (found,) = runner.run({"at": np.array([3, 7], "int32")}, frozen.outputs)
    np.testing.assert_array_equal(found, np.full([2, 4], 5.0))


def test_operations_that_no_output_needs_are_removed() -> None:
    """The inputs stay, because they are part of the model's interface."""

    def call(x: tf.Tensor, ignored: tf.Tensor) -> tf.Tensor:
        tf.reduce_sum(x)
        return x * 2.0

    spec = tf.TensorSpec([4], tf.float32)
    concrete = tf.function(call, input_signature=[spec, spec]).get_concrete_function()
    frozen = tf_freezing.freeze(concrete, lambda _: True)
    assert frozen.inputs == ["x:0", "ignored:0"]
    assert "Sum" in {op.type for op in concrete.graph.get_operations()}
    assert "Sum" not in {op.type for op in frozen.graph.get_operations()}


def test_inlined_calls_leave_no_identities_behind() -> None:
    """Assertions inside the calls stay, with their control dependencies."""
    kernels = [tf.Variable(np.full([4, 4], at, "float32")) for at in range(1, 5)]

    @tf.function
    def layer(x: tf.Tensor, kernel: tf.Variable) -> tf.Tensor:
        return x @ tf.identity(kernel)

    def call(x: tf.Tensor) -> tf.Tensor:
        tf.debugging.assert_less(x, 10.0, "too much")
        for kernel in kernels:
            x = layer(x, kernel)
        return x

    spec = tf.TensorSpec([1, 4], tf.float32, name="x")
    concrete = tf.function(call, input_signature=[spec]).get_concrete_function()
    frozen = tf_freezing.freeze(concrete, lambda _: False)
    ops = [op.type for op in frozen.graph.get_operations()]
    assert ops.count("MatMul") == 4
    assert ops.count("Identity") + ops.count("NoOp") <= 2, ADVICE + "freeze"
    assert "If" in ops, "it contains the assertion"
    runner = GraphRunner(frozen.graph.as_graph_def(), {"x": "x:0"})
    x = np.ones([1, 4], "float32")
    (found,) = runner.run({"x": x}, frozen.outputs)
    np.testing.assert_array_equal(found, np.full([1, 4], 4.0**4 * 24))
    with pytest.raises(tf.errors.InvalidArgumentError, match="too much"):
        runner.run({"x": x * 10}, frozen.outputs)


_PEAK = """
import resource
import tensorflow as tf
from hubopt.programs.graphs import tf_freezing
from hubopt.programs.graphs.functions import nodes

table = tf.Variable(tf.zeros([2**20, 64]))
spec = tf.TensorSpec([4], tf.int32)
concrete = tf.function(lambda at: tf.gather(table, at), [spec]).get_concrete_function()
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
frozen = tf_freezing.freeze(concrete, lambda _: True)
(weight,) = (op for op in frozen.graph.get_operations() if op.name in frozen.apart)
print(weight.outputs[0].shape.as_list(), peak() - before)
"""


def test_no_memory_is_allocated_for_weights_left_out_of_the_graph() -> None:
    command = [sys.executable, "-c", _PEAK]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    shape, _, taken = done.stdout.strip().rpartition(" ")
    assert shape == "[1048576, 64]"
    assert int(taken) < 2**26, "the weight has 2**28 bytes"


def control_flow(graph: tf.Graph) -> set[str]:
    """Return the operations of a graph and its functions that choose or repeat."""
    known = {"If", "StatelessIf", "Case", "StatelessCase", "Switch", "_SwitchN", "Merge"}
    return {node.op for node in nodes(graph.as_graph_def())} & known


@pytest.mark.parametrize("reads", [True, False], ids=["variable", "stateless"])
def test_a_switch_case_stays_functional(reads: bool) -> None:
    """TensorFlow's own freezing lowers ``Case``, but not ``If``, to ``Switch`` and ``Merge``."""
    factor: Any = tf.Variable(5.0) if reads else 5.0

    def call(x: tf.Tensor, at: tf.Tensor) -> tf.Tensor:
        return tf.switch_case(at, [lambda: x + 1, lambda: x * factor, lambda: -x])

    specs = [tf.TensorSpec([], tf.float32, name="x"), tf.TensorSpec([], tf.int32, name="at")]
    concrete = tf.function(call, input_signature=specs).get_concrete_function()
    frozen = tf_freezing.freeze(concrete, lambda _: False)
    assert control_flow(frozen.graph) == {"Case" if reads else "StatelessCase"}, ADVICE + "_inlined"
    runner = GraphRunner(frozen.graph.as_graph_def(), {"x": "x:0", "at": "at:0"})
    found = [
        float(runner.run({"x": np.float32(3), "at": np.int32(at)}, frozen.outputs)[0])
        for at in range(3)
    ]
    assert found == [4, 15, -3]


def test_branches_that_grappler_makes_anew_are_kept() -> None:
    """Grappler rewrites the branches of a TensorFlow 1 graph and gives them names of its own."""
    small, large = tf.Variable(2.0), tf.Variable(30.0)

    def call(x: tf.Tensor) -> tf.Tensor:
        return tf.cond(x > 0, lambda: x * small, lambda: x * large + small)

    concrete = tf.compat.v1.wrap_function(call, [tf.TensorSpec([], tf.float32, name="x")])
    for _ in range(2):  # the process keeps the functions of the first graph
        frozen = tf_freezing.freeze(concrete, lambda _: False)
        graph_def = frozen.graph.as_graph_def()
        assert len(graph_def.library.function) == 2, ADVICE + "_keep_known_functions"
        assert control_flow(frozen.graph) == {"If"}
        runner = GraphRunner(graph_def, {"x": concrete.inputs[0].name})
        found = [float(runner.run({"x": np.float32(x)}, frozen.outputs)[0]) for x in (3, -1)]
        assert found == [6, -28]
