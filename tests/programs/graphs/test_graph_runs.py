"""Any tensor of a graph can be computed, in the same way as eager mode does."""

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
    specs = [tf.TensorSpec(array.shape, array.dtype) for array in arrays]
    concrete = tf.function(function, input_signature=specs, autograph=False)
    frozen = freeze(concrete.get_concrete_function())
    inputs, outputs = ([tensor.name for tensor in side] for side in (frozen.inputs, frozen.outputs))
    return frozen.graph.as_graph_def(), inputs, outputs


@pytest.mark.parametrize("kind", [GraphRunner, CompiledGraph])
def test_outputs_and_inner_tensors_are_returned_in_the_requested_order(kind: Any) -> None:
    weights = np.ones((3, 2), "float32")
    graph_def, (x,), (y,) = graph_of(lambda x: tf.matmul(x, weights, name="product") + 1, X)
    runner = kind(graph_def, {"anything": x})
    output, fed, inner, again = runner.run({"anything": X}, [y, x, "product:0", y])
    np.testing.assert_array_equal(inner, X @ weights)
    np.testing.assert_array_equal(output, X @ weights + 1)
    np.testing.assert_array_equal(again, output)
    np.testing.assert_array_equal(fed, X)


@pytest.mark.parametrize("batch_bytes", [1, 2**26])
def test_weights_are_assigned_in_batches(batch_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One session run for each of hundreds of weights would take longer than the computation."""
    monkeypatch.setattr(checkpoints, "_BATCH_BYTES", batch_bytes)
    weights = [GENERATOR.standard_normal((3, 3)).astype("float32") for _ in range(5)]

    def call(x: Any) -> Any:
        for weight in weights:
            x = x @ tf.constant(weight)
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


def test_an_unneeded_input_may_be_fed() -> None:
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
    lower, length, half = runner.run({"texts": texts}, [tensor.name for tensor in frozen.outputs])
    assert lower.tolist() == [b"a", b"b\x00"]
    assert length.tolist() == [1, 2]
    assert half.dtype.name == "bfloat16"


def test_grappler_does_not_rewrite_the_graph() -> None:
    """Grappler would turn this into ``x + (1e8 - 1e8)``, which is 1 and not 0."""

    def call(x: Any) -> Any:
        return (x + tf.constant(1e8)) + tf.constant(-1e8)

    one = np.float32([1])
    graph_def, (x,), (y,) = graph_of(call, one)
    (output,) = GraphRunner(graph_def, {"x": x}).run({"x": one}, [y])
    assert output == 0
    optimized = tf.function(call, input_signature=[tf.TensorSpec([1])], autograph=False)
    assert optimized(one) == 1, "Grappler no longer does this: find another rewrite for this test"


@pytest.mark.parametrize("kind", [GraphRunner, CompiledGraph])
def test_two_graphs_with_functions_of_the_same_name_do_not_mix(kind: Any) -> None:
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
    runners = [kind(graph, {"x": x}) for graph in (graph_def, other)]
    outputs = [runner.run({"x": X}, [y])[0] for runner in runners]
    np.testing.assert_array_equal(outputs[0], X * 8)
    np.testing.assert_array_equal(outputs[1], X * 27)


def test_an_inconsistent_graph_is_reported() -> None:
    graph_def, (x,), _ = graph_of(tf.exp, X)
    for node in graph_def.node:
        if node.op == "Exp":
            node.attr["T"].type = tf.float64.as_datatype_enum
    with pytest.raises(TraceError, match="cannot read it: .*Exp"):
        GraphRunner(graph_def, {"x": x})


@pytest.mark.parametrize("kind", [np.asarray, tf.constant, tf.Variable])
def test_weights_are_loaded_and_replaced(kind: Any) -> None:
    weights = np.arange(3 * LARGE_BYTES // 4, dtype="float32").reshape(3, -1) / 1e4
    variable = tf.Variable(weights)
    concrete = tf.function(lambda x: x @ variable, input_signature=[tf.TensorSpec(X.shape)])
    frozen = freeze(concrete.get_concrete_function())
    ((name, _),) = frozen.weights.items()
    inputs = {"x": frozen.inputs[0].name}
    runner = GraphRunner(frozen.graph.as_graph_def(), inputs, {name: kind(weights)})
    fetches = [tensor.name for tensor in frozen.outputs]
    np.testing.assert_allclose(runner.run({"x": X}, fetches)[0], X @ weights, rtol=1e-5)
    runner.load({name: kind(-weights)})
    np.testing.assert_allclose(runner.run({"x": X}, fetches)[0], X @ -weights, rtol=1e-5)


def test_added_tensors_can_be_fed_and_fetched() -> None:
    """Additions to the graph coexist with its weights, and gradients flow through both."""
    graph_def, (x,), (y,) = graph_of(lambda x: tf.square(x), X)
    runner = GraphRunner(graph_def, {"x": x})
    runner.run({"x": X}, [y])  # a session can be extended after it has run

    def build(graph: Any) -> list[Any]:
        factor = tf.compat.v1.placeholder(tf.float32, [], "factor")
        total = tf.reduce_sum(graph.get_tensor_by_name(y)) * factor
        return [factor, *tf.gradients(total, [graph.get_tensor_by_name(x)])]

    factor, slope = runner.extend(build)
    for value in (1, 3):
        (found,) = runner.run({"x": X}, [slope], {factor: np.float32(value)})
        np.testing.assert_allclose(found, 2 * X * value)


def test_weights_are_read_inside_a_loop() -> None:
    """The body of a loop is a separate function that receives its captured tensors."""
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


def test_a_weight_with_a_control_dependency_is_read() -> None:
    graph_def, (x,), (y,) = graph_of(lambda x: x @ tf.constant(np.ones([3, 2], "float32")), X)
    lifted, weights = lift(graph_def, {})
    (name,) = weights
    (node,) = (candidate for candidate in lifted.node if candidate.name == name)
    node.input.append(f"^{x.partition(':')[0]}")
    (found,) = GraphRunner(lifted, {"x": x}, weights).run({"x": X}, [y])
    np.testing.assert_array_equal(found, X.sum(1, keepdims=True) * [[1, 1]])
