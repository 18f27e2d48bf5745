"""The size of the weights that a call reads, computed from the SavedModel's file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from hubopt._platform.tf_private import read_saved_model
from hubopt.errors import ExportError, LoadError
from hubopt.layers import opening
from hubopt.models.handles import LayerOptions, LoadPolicy, locate
from hubopt.models.weight_size import weight_size_bytes
from hubopt.scanning.saved_graphs import choose_graphs

FLOATS = tf.TensorSpec([1, 4], tf.float32, name="x")


class Model(tf.Module):
    """A call reads two of the four variables, one of them inside a nested function."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = tf.Variable(np.ones((4, 4), "float32"))
        self.half = tf.Variable(np.ones((4, 8), "float16"))
        self.slot = tf.Variable(np.ones((4, 4), "float32"))
        self.handed = tf.Variable(np.ones((4, 4), "float32"))

    @tf.function(input_signature=[FLOATS])
    def __call__(self, x: Any) -> Any:
        inner = tf.function(lambda given, handed: tf.cast(given, tf.float16) @ self.half)
        return inner(x @ self.kernel, self.handed)

    @tf.function(input_signature=[FLOATS])
    def score(self, x: Any) -> Any:
        return {"score": x @ self.slot}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights") / "model"
    model = Model()
    tf.saved_model.save(model, str(folder), signatures={"score": model.score})
    return folder


@pytest.mark.parametrize(
    ("signature", "expected"), [(None, 4 * 4 * 4 + 4 * 8 * 2), ("score", 4 * 4 * 4)]
)
def test_only_the_weights_that_a_call_reads_are_counted(
    signature: str | None, expected: int, saved: Path
) -> None:
    assert weight_size_bytes(saved, (), signature) == expected


def test_the_size_for_a_damaged_file_is_0(saved: Path, tmp_path: Path) -> None:
    """The loader reports the damage later."""
    message = read_saved_model(saved)
    (graph,) = choose_graphs(message, ())
    for function in graph.object_graph_def.concrete_functions.values():
        function.bound_inputs[:] = [10**6 for _ in function.bound_inputs]
    for function in graph.graph_def.library.function:  # make every function with a call recursive
        for node in function.node_def:
            if node.op.endswith("PartitionedCall"):
                node.attr["f"].func.name = function.signature.name
    (tmp_path / "saved_model.pb").write_bytes(message.SerializeToString())
    for signature in (None, "score"):
        assert weight_size_bytes(tmp_path, (), signature) == 0
    assert weight_size_bytes(saved, (), "no such signature") == 0


def test_the_size_for_a_model_of_tensorflow_1_is_0(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        x = tf.compat.v1.placeholder(tf.float32, [1, 4])
        y = x @ tf.compat.v1.get_variable("w", [4, 4], use_resource=True)
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.saved_model.simple_save(session, str(folder), {"x": x}, {"y": y})
    assert weight_size_bytes(folder, (), "serving_default") == 0


def test_too_many_weights_are_refused_before_anything_is_loaded(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = locate(str(saved), LoadPolicy())
    monkeypatch.setattr("hubopt.layers.hub_loading.load_model", forbidden)
    with pytest.raises(ExportError, match="none of the targets holds more"):
        opening.open_layer(handle, LayerOptions(), most_bytes=100)
    with pytest.raises(LoadError, match="it was loaded"):
        opening.open_layer(handle, LayerOptions(), most_bytes=128)


def forbidden(*_: object, **__: object) -> None:
    raise AssertionError("it was loaded")
