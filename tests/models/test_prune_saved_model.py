"""A SavedModel is pruned to the functions that a call of the model itself needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from hubopt._platform.tf_private import read_saved_model
from hubopt.hints import Hints
from hubopt.models.handles import LayerOptions, LoadPolicy
from hubopt.models.prune_saved_model import pruned_saved_model
from hubopt.reference.layer_session import open_layer_session

X = np.linspace(-1, 1, 12, dtype="float32").reshape(2, 6)


@tf.custom_gradient
def swish(x: Any) -> Any:
    opened = tf.sigmoid(x)
    return x * opened, lambda upstream: upstream * opened * (1 + x * (1 - opened))


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """A network whose gradient captures the result of an inner layer, and its outputs for X."""
    tf_keras.utils.set_random_seed(0)
    inputs = tf_keras.Input((6,), 2)
    inner = tf_keras.Sequential([tf_keras.layers.Dense(5, tf_keras.activations.relu)])
    hidden = inner(tf_keras.layers.BatchNormalization()(inputs))
    hidden = tf_keras.layers.Dense(4, swish, kernel_regularizer="l2")(hidden)
    model = tf_keras.Model(inputs, tf_keras.layers.Dense(3)(hidden))
    folder = tmp_path_factory.mktemp("network") / "model"
    tf.saved_model.save(model, str(folder))
    return folder, model(X).numpy()


def functions_in(folder: Path) -> set[str]:
    (graph,) = read_saved_model(folder).meta_graphs
    return {function.signature.name for function in graph.graph_def.library.function}


def call_a_layer_of(loaded: Any) -> Any:
    """Call the batch normalization."""
    return loaded.keras_api.layers[1](X, training=False)


def test_a_pruned_model_computes_the_same_and_its_layers_cannot_be_called(
    network: tuple[Path, np.ndarray],
) -> None:
    folder, wanted = network
    before = sorted(path.name for path in folder.rglob("*"))
    with pruned_saved_model(folder) as smaller:
        assert smaller != folder
        kept = functions_in(smaller)
        loaded = tf.saved_model.load(str(smaller))
    assert not smaller.exists()
    assert sorted(path.name for path in folder.rglob("*")) == before
    assert kept < functions_in(folder)
    whole = tf.saved_model.load(str(folder))
    np.testing.assert_allclose(loaded(X), wanted, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(loaded(X), whole(X))
    np.testing.assert_array_equal(loaded(X, training=True), whole(X, training=True))
    ((name, signature),) = loaded.signatures.items()
    (answer,) = signature(tf.constant(X)).values()
    (same,) = whole.signatures[name](tf.constant(X)).values()
    np.testing.assert_array_equal(answer, same)
    assert [variable.name for variable in loaded.variables] == [
        variable.name for variable in whole.variables
    ]
    for mine, theirs in zip(loaded.variables, whole.variables, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    (mine,), (theirs,) = ([f() for f in model.regularization_losses] for model in (loaded, whole))
    assert mine == theirs
    assert call_a_layer_of(whole).shape == X.shape
    with pytest.raises(TypeError):
        call_a_layer_of(loaded)


def test_gradients_flow_through_a_pruned_model(network: tuple[Path, np.ndarray]) -> None:
    folder, _ = network
    with pruned_saved_model(folder) as smaller:
        loaded = tf.saved_model.load(str(smaller))
    whole = tf.saved_model.load(str(folder))
    slopes = []
    for model in (loaded, whole):
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(model(X, training=False) ** 2)
        slopes.append(tape.gradient(total, model.trainable_variables))
    for mine, theirs in zip(*slopes, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5)


def test_a_model_that_is_not_from_keras_is_loaded_unchanged(tiny: Path) -> None:
    with pruned_saved_model(tiny) as folder:
        assert folder == tiny
    assert tiny.is_dir()


def test_a_model_of_tensorflow_1_is_loaded_unchanged(tmp_path: Path) -> None:
    folder, v1 = tmp_path / "model", tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, X.shape, "x")
        factor = v1.get_variable("factor", initializer=[2.0] * 6, use_resource=True)
        y = x * factor
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(folder), {"x": x}, {"y": y})
    with pruned_saved_model(folder, ("serve",)) as place:
        assert place == folder
    session = open_layer_session(str(folder), LayerOptions(), LoadPolicy())
    (answer,) = session._layer(X).values()
    np.testing.assert_allclose(answer, 2 * X)


class Looked(tf.Module):
    def __init__(self, words: Path) -> None:
        super().__init__()
        source = tf.lookup.TextFileInitializer(
            str(words), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, -1
        )
        self.table = tf.lookup.StaticHashTable(source, -1)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def __call__(self, words: Any) -> Any:
        return self.table.lookup(words)


def test_a_model_with_asset_files_is_loaded_from_its_own_folder(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("a\nb\n")
    model = Looked(tmp_path / "words.txt")
    model.inner = tf_keras.Sequential([tf_keras.Input((6,)), tf_keras.layers.Dense(2)])
    tf.saved_model.save(model, str(tmp_path / "model"))
    with pruned_saved_model(tmp_path / "model") as folder:
        assert folder == tmp_path / "model"


def test_tables_inside_a_layer_still_work(tmp_path: Path) -> None:
    """The functions of a table belong to no layer. The loader calls them."""
    words = tf_keras.Input((3,), 2, dtype=tf.string)
    index = tf_keras.layers.StringLookup(vocabulary=["a", "b", "c"])(words)
    model = tf_keras.Model(words, tf_keras.layers.Embedding(4, 2)(index))
    tf.saved_model.save(model, str(tmp_path / "model"))
    texts = tf.constant([["a", "c", "x"], ["b", "b", "a"]])
    with pruned_saved_model(tmp_path / "model") as folder:
        assert folder != tmp_path / "model"
        loaded = tf.saved_model.load(str(folder))
    np.testing.assert_array_equal(loaded(texts), model(texts))


def test_an_export_loads_the_pruned_model_and_a_keras_layer_the_whole_one(
    network: tuple[Path, np.ndarray],
) -> None:
    import hubopt

    folder, wanted = network
    session = open_layer_session(str(folder), LayerOptions(), LoadPolicy())
    with pytest.raises(TypeError):
        call_a_layer_of(session._layer.resolved_object)
    np.testing.assert_allclose(session._layer(X), wanted, rtol=1e-5, atol=1e-6)
    assert session.resolve(Hints()).inputs[0].shape == (2, 6)
    assert call_a_layer_of(hubopt.KerasLayer(str(folder)).resolved_object).shape == X.shape
