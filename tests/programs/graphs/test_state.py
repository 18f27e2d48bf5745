"""A layer that changes its state when it is called is refused in words, not by TensorFlow's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import hubopt
from hubopt.errors import TraceError
from hubopt.programs.graphs.freezing import freeze
from hubopt.programs.graphs.functions import nodes
from hubopt.programs.graphs.graph_runs import GraphRunner
from hubopt.programs.tracing import trace

SPEC = tf.TensorSpec([2], tf.float32, name="x")


def concrete(call: Callable[[Any], Any]) -> Any:
    return tf.function(call, [SPEC], autograph=False).get_concrete_function()


def answer(call: Callable[[Any], Any]) -> list[float]:
    """Return the answer of the frozen graph for 1 and 2; it has no generator."""
    frozen = freeze(concrete(call))
    graph_def = frozen.graph.as_graph_def()
    assert "RngReadAndSkip" not in {node.op for node in nodes(graph_def)}
    runner = GraphRunner(graph_def, {"x": "x:0"})
    x = np.array([1, 2], "float32")
    return runner.run({"x": x}, [frozen.outputs[0].name])[0].tolist()  # type: ignore[no-any-return]


@pytest.fixture
def generator() -> Any:
    return tf.random.Generator.from_seed(1)


def generator_error(named: str) -> str:
    return f"random numbers from a generator whose state it changes when it is called \\({named}\\)"


def test_a_draw_is_refused_by_name(generator: Any) -> None:
    with pytest.raises(TraceError, match=generator_error("RngReadAndSkip")) as caught:
        freeze(concrete(lambda x: x + generator.normal([2])))
    assert ".keras file" in caught.value.way_out


def test_a_draw_that_freezing_does_not_notice_is_refused(generator: Any) -> None:
    """A generator of which only the handle is known is taken for a lookup table."""

    def call(x: Any) -> Any:
        return x + tf.raw_ops.StatefulUniform(
            resource=generator.state.handle, algorithm=np.int64(1), shape=[2], dtype=tf.float32
        )

    with pytest.raises(TraceError, match=generator_error("StatefulUniform")):
        freeze(concrete(call))


def test_an_assignment_is_refused_by_name() -> None:
    count = tf.Variable(0.0)
    with pytest.raises(
        TraceError, match=r"its own variables .* \(AssignAddVariableOp\)\n"
    ) as caught:
        freeze(concrete(lambda x: x + count.assign_add(1.0)))
    assert "takes the state and returns it" in caught.value.way_out


@pytest.mark.parametrize("nested", [False, True])
def test_a_draw_that_no_output_reads_is_left_out(generator: Any, nested: bool) -> None:
    def call(x: Any) -> Any:
        generator.normal([2])
        return x * 2

    assert answer(tf.function(call) if nested else call) == [2, 4]


def test_a_draw_in_a_branch_that_is_never_taken_is_left_out(generator: Any) -> None:
    """So it is with augmentation behind a training flag that is off."""

    def call(x: Any) -> Any:
        training = tf.compat.v1.placeholder_with_default(False, [])
        return tf.cond(training, lambda: x + generator.normal([2]), lambda: x * 3)

    assert answer(call) == [3, 6]


@pytest.mark.parametrize(
    ("generation", "named"),
    [(tf_keras, "RngReadAndSkip"), (keras, "AssignVariableOp")],
    ids=["keras2", "keras3"],
)
def test_augmentation_that_is_on_is_named(tmp_path: Any, generation: Any, named: str) -> None:
    """``model.export`` saves Keras's augmentation switched on."""
    image = generation.Input((4, 4, 1))
    model = generation.Model(image, generation.layers.RandomFlip(seed=1)(image))
    model.export(str(tmp_path / "model"))
    layer = hubopt.KerasLayer(
        tmp_path / "model", signature="serving_default", signature_outputs_as_dict=True
    )
    with pytest.raises(TraceError, match=rf"\({named}\).*\n.*\n.*augmentation") as caught:
        trace(layer, hubopt.resolve(layer), tmp_path / "program")
    assert "draws random numbers" in caught.value.found
