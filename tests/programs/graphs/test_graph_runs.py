"""Any tensor of a graph, computed as eager mode computes it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from hubopt.errors import TraceError
from hubopt.programs.graphs import checkpoints
from hubopt.programs.graphs.compiled_graph import CompiledGraph
from hubopt.programs.graphs.freezing import freeze
from hubopt.programs.graphs.frozen_graph import LARGE_BYTES
from hubopt.programs.graphs.graph_runs import GraphRunner
from hubopt.programs.graphs.perturbing import lift

X = np.arange(6, dtype="float32").reshape(2, 3)
GENERATOR = np.random.default_rng(0)


def graph_of(function: Any, *arrays: Any) -> tuple[Any, list[str], list[str]]:
    specs = [tf.TensorSpec(each.shape, each.dtype) for each in arrays]
    concrete = tf.function(function, input_signature=specs, autograph=False)
    frozen = freeze(concrete.get_concrete_function())
    inputs, outputs = ([each.name for each in side] for side in (frozen.inputs, frozen.outputs))
    return frozen.graph.as_graph_def(), inputs, outputs


@pytest.mark.parametrize("kind", [GraphRunner, CompiledGraph])
def test_outputs_and_what_is_inside_are_given_in_the_order_asked_for(kind: Any) -> None:
    weights = np.ones((3, 2), "float32")
    graph_def, (x,), (y,) = graph_of(lambda x: tf.matmul(x, weights, name="product") + 1, X)
    runner = kind(graph_def, {"anything": x})
    output, fed, inner, again = runner.run({"anything": X}, [y, x, "product:0", y])
    np.testing.assert_array_equal(inner, X @ weights)
    np.testing.assert_array_equal(output, X @ weights + 1)
    np.testing.assert_array_equal(again, output)
    np.testing.assert_array_equal(fed, X)


@pytest.mark.parametrize("batch_bytes", [1, 2**26])
def test_weights_are_taken_a_few_at_a_time(
    batch_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run of the session for each of hundreds would take longer than what it is run for."""
    monkeypatch.setattr(checkpoints, "_BATCH_BYTES", batch_bytes)
    weights = [GENERATOR.standard_normal((3, 3)).astype("float32") for _ in range(5)]

    def call(x: Any) -> Any:
        for each in weights:
            x = x @ tf.constant(each)
        return x

    graph_def, (x,), (y,) = graph_of(call, X)
    lifted, arrays = lift(graph_def, {})
    runs = []
    run = tf.compat.v1.Session.run
    monkeypatch.setattr(
        tf.compat.v1.Session,
        "run",
        lambda self, *args, **named: runs.append(args) or run(self, *args, **named),
    )
    runner = GraphRunner(lifted, {"x": x}, arrays)
    assert len(runs) == (5 if batch_bytes == 1 else 1)
    (before,) = runner.run({"x": X}, [y])
    np.testing.assert_allclose(before, call(X).numpy(), rtol=1e-4)
    runner.load({name: 2 * array for name, array in arrays.items()})
    (after,) = runner.run({"x": X}, [y])
    np.testing.assert_allclose(after, 2**5 * before, rtol=1e-4)


def test_an_input_that_is_not_needed_may_be_given() -> None:
    graph_def, (x, z), (y, _) = graph_of(lambda x, z: (tf.exp(x), tf.exp(z)), X, X)
    runner = GraphRunner(graph_def, {"x": x, "z": z})
    (output,) = runner.run({"z": X + 1, "x": X}, [y])
    np.testing.assert_allclose(output, np.exp(X), rtol=1e-6)


def test_texts_integers_and_bfloat16() -> None:
    texts = np.array([b"A", b"B\x00"], dtype=object)

    def call(texts: Any) -> Any:
        length = tf.strings.length(texts)
        return tf.strings.lower(texts), length, tf.cast(length, tf.bfloat16)

    specs = [tf.TensorSpec([2], tf.string)]
    concrete = tf.function(call, input_signature=specs).get_concrete_function()
    frozen = freeze(concrete)
    runner = GraphRunner(frozen.graph.as_graph_def(), {"texts": frozen.inputs[0].name})
    lower, length, half = runner.run({"texts": texts}, [each.name for each in frozen.outputs])
    assert lower.tolist() == [b"a", b"b\x00"]
    assert length.tolist() == [1, 2]
    assert half.dtype.name == "bfloat16"


def test_nothing_is_folded_or_merged() -> None:
    """Grappler would make ``x + (1e8 - 1e8)`` of this, which is 1 and not 0."""

    def call(x: Any) -> Any:
        return (x + tf.constant(1e8)) + tf.constant(-1e8)

    one = np.float32([1])
    graph_def, (x,), (y,) = graph_of(call, one)
    (output,) = GraphRunner(graph_def, {"x": x}).run({"x": one}, [y])
    assert output == 0
    optimized = tf.function(call, input_signature=[tf.TensorSpec([1])], autograph=False)
    assert optimized(one) == 1, "Grappler does not do this any more: find what else it does"


@pytest.mark.parametrize("kind", [GraphRunner, CompiledGraph])
def test_two_graphs_with_functions_of_one_name_do_not_mix(kind: Any) -> None:
    def call(x: Any) -> Any:
        body = lambda at, x: (at + 1, x * 2.0)  # noqa: E731
        return tf.while_loop(lambda at, _: at < 3, body, (0, x))[1]

    graph_def, (x,), (y,) = graph_of(call, X)
    other = tf.compat.v1.GraphDef()
    other.CopyFrom(graph_def)
    changed = 0
    for function in other.library.function:
        for node in function.node_def:
            if node.op == "Const" and node.attr["dtype"].type == tf.float32.as_datatype_enum:
                node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(3.0))
                changed += 1
    assert changed == 1
    runners = [kind(each, {"x": x}) for each in (graph_def, other)]
    outputs = [runner.run({"x": X}, [y])[0] for runner in runners]
    np.testing.assert_array_equal(outputs[0], X * 8)
    np.testing.assert_array_equal(outputs[1], X * 27)


def test_a_graph_that_does_not_fit_together_is_reported() -> None:
    graph_def, (x,), _ = graph_of(tf.exp, X)
    for node in graph_def.node:
        if node.op == "Exp":
            node.attr["T"].type = tf.float64.as_datatype_enum
    with pytest.raises(TraceError, match="cannot read it: .*Exp"):
        GraphRunner(graph_def, {"x": x})


@pytest.mark.parametrize("kind", [np.asarray, tf.constant, tf.Variable])
def test_weights_are_given_and_given_anew(kind: Any) -> None:
    weights = np.arange(3 * LARGE_BYTES // 4, dtype="float32").reshape(3, -1) / 1e4
    variable = tf.Variable(weights)
    concrete = tf.function(lambda x: x @ variable, input_signature=[tf.TensorSpec(X.shape)])
    frozen = freeze(concrete.get_concrete_function())
    ((name, _),) = frozen.weights.items()
    inputs = {"x": frozen.inputs[0].name}
    runner = GraphRunner(frozen.graph.as_graph_def(), inputs, {name: kind(weights)})
    fetches = [each.name for each in frozen.outputs]
    np.testing.assert_allclose(runner.run({"x": X}, fetches)[0], X @ weights, rtol=1e-5)
    runner.load({name: kind(-weights)})
    np.testing.assert_allclose(runner.run({"x": X}, fetches)[0], X @ -weights, rtol=1e-5)


def test_what_is_added_is_fed_and_fetched() -> None:
    """Weights and what is added to the graph stand side by side; gradients flow through both."""
    graph_def, (x,), (y,) = graph_of(lambda x: tf.square(x), X)
    runner = GraphRunner(graph_def, {"x": x})
    runner.run({"x": X}, [y])  # a session that has run takes additions as well

    def build(graph: Any) -> list[Any]:
        factor = tf.compat.v1.placeholder(tf.float32, [], "factor")
        total = tf.reduce_sum(graph.get_tensor_by_name(y)) * factor
        return [factor, *tf.gradients(total, [graph.get_tensor_by_name(x)])]

    factor, slope = runner.extend(build)
    for value in (1, 3):
        (found,) = runner.run({"x": X}, [slope], {factor: np.float32(value)})
        np.testing.assert_allclose(found, 2 * X * value)


def test_weights_in_a_loop_are_read_there() -> None:
    """A loop is a function of its own, which is given what it captures."""
    weights = np.full([LARGE_BYTES // 8, 3], 0.5, "float32")
    variable = tf.Variable(weights)

    def call(x: Any) -> Any:
        def body(at: Any, x: Any) -> Any:
            return at + 1, x + tf.reduce_sum(variable, 0)

        return tf.while_loop(lambda at, _: at < 3, body, (0, x))[1]

    concrete = tf.function(call, input_signature=[tf.TensorSpec(X.shape)], autograph=False)
    frozen = freeze(concrete.get_concrete_function())
    graph_def, fed = frozen.graph.as_graph_def(), {"x": frozen.inputs[0].name}
    assert frozen.weights
    for kind in (GraphRunner, CompiledGraph):
        runner = kind(graph_def, fed, dict(frozen.weights))
        (found,) = runner.run({"x": X}, [frozen.outputs[0].name])
        np.testing.assert_allclose(found, X + 3 * weights.sum(0), rtol=1e-5)


def test_a_weight_that_waits_for_something_is_read() -> None:
    graph_def, (x,), (y,) = graph_of(lambda x: x @ tf.constant(np.ones([3, 2], "float32")), X)
    lifted, weights = lift(graph_def, {})
    (name,) = weights
    (node,) = (each for each in lifted.node if each.name == name)
    node.input.append(f"^{x.partition(':')[0]}")
    (found,) = GraphRunner(lifted, {"x": x}, weights).run({"x": X}, [y])
    np.testing.assert_array_equal(found, X.sum(1, keepdims=True) * [[1, 1]])
