"""Branches and loops reach every target with the layer's own answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import hubopt
from hubopt.exporter import Program
from hubopt.programs.tracing import trace
from hubopt.testing import make_task
from hubopt_exporters.onnx import OnnxExporter
from hubopt_exporters.savedmodel import SavedModelExporter
from hubopt_exporters.tflite import TFLiteExporter

EXPORTERS = (SavedModelExporter(), TFLiteExporter(), OnnxExporter())
SPEC = tf.TensorSpec([3], tf.float32, name="x")


def switch_case() -> Callable[[Any], Any]:
    """The rounded sum chooses: x + 1, x times a variable, -x."""
    weight = tf.Variable([2.0, 3.0, 4.0])

    def call(x: Any) -> Any:
        index = tf.cast(tf.reduce_sum(x), tf.int32)
        return tf.switch_case(index, [lambda: x + 1.0, lambda: x * weight, lambda: -x])

    return call


def tensorflow_1_cond() -> Callable[[Any], Any]:
    """A TensorFlow 1 graph: x times one variable if the sum is above 1, else plus another."""
    one, other = tf.Variable([2.0, 3.0, 4.0]), tf.Variable([5.0, 6.0, 7.0])

    def call(x: Any) -> Any:
        return tf.cond(tf.reduce_sum(x) > 1, lambda: x * one, lambda: x + other)

    return tf.compat.v1.wrap_function(call, [SPEC])  # type: ignore[no-any-return]


def loops() -> Callable[[Any], Any]:
    """The running sum of x, stopped before it passes 1, plus the greatest of x."""

    def call(x: Any) -> Any:
        sums = tf.scan(lambda total, item: total + item, x, 0.0)
        most = tf.map_fn(lambda item: tf.maximum(item, sums[0]), x)
        turns = tf.while_loop(
            lambda at, total: tf.logical_and(at < 3, total < 1.0),
            lambda at, total: (at + 1, total + x[at]),
            (0, 0.0),
        )[0]
        return sums + most * tf.cast(turns, tf.float32)

    return call


@pytest.fixture(scope="module", params=[switch_case, tensorflow_1_cond, loops])
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    function = tf.function(request.param(), [SPEC])
    layer = hubopt.KerasLayer(function)
    folder = tmp_path_factory.mktemp("program")
    return function, trace(layer, hubopt.resolve(layer), folder)


@pytest.mark.parametrize("exporter", EXPORTERS, ids=lambda exporter: exporter.name)
def test_control_flow_is_exported(
    program: tuple[Any, Program], exporter: Any, tmp_path: Path
) -> None:
    function, traced = program
    path = tmp_path / f"model{exporter.suffix}"
    artifact = exporter.export(make_task(exporter, traced, path))
    runner = exporter.runner(artifact)
    (name,) = traced.spec.output_names
    for x in ([0.1, 0.1, 0.1], [1.0, 0.25, 0.25], [1.0, 0.5, 1.0]):  # one for each branch
        array = np.array(x, "float32")
        found = runner.run({"x": array})[name]
        np.testing.assert_allclose(found, function(array), rtol=1e-6)


def test_no_operation_is_named_that_the_layer_does_not_have(tmp_path: Path) -> None:
    layer = hubopt.KerasLayer(tf.function(switch_case(), [SPEC]))
    ops = {use.op for use in trace(layer, hubopt.resolve(layer), tmp_path).ops}
    assert "Case" in ops
    assert not ops & {"Switch", "_SwitchN", "Merge"}
