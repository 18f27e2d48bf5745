"""Defects of hub.KerasLayer that hubopt.KerasLayer does not have.

Each test has a counterpart that shows the stock layer (hub.KerasLayer) failing, so that a fix
upstream is noticed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_hub as hub
import tf_keras

from tests.layers.conftest import Generation
from tests.layers.models import hide_shape, save

Saved = Callable[..., str]


def column(*values: float) -> Any:
    return np.array(values, "float32").reshape(-1, 1)


@contextmanager
def mixed_float16(keras: Any) -> Iterator[None]:
    policy = keras.mixed_precision
    before = policy.global_policy() if hasattr(policy, "global_policy") else policy.dtype_policy()
    set_policy = getattr(policy, "set_global_policy", None) or policy.set_dtype_policy
    set_policy("mixed_float16")
    try:
        yield
    finally:
        set_policy(before)


def test_output_shape_survives_an_unknown_batch(generation: Generation, saved: Saved) -> None:
    layer = generation.layer(saved("text_embedding"), output_shape=[20])
    outputs = layer(generation.keras.Input((), dtype="string"))
    assert tuple(outputs.shape) == (None, 20)


def test_stock_loses_output_shape_with_an_unknown_batch(saved: Saved) -> None:
    layer = hub.KerasLayer(saved("text_embedding"), output_shape=[20])
    assert layer(tf_keras.Input((), dtype=tf.string)).shape.as_list() == [None, None]


@pytest.mark.parametrize("hint", [(), []])
def test_an_empty_output_shape_is_a_hint(generation: Generation, hint: Any) -> None:
    layer = generation.layer(lambda x: hide_shape(tf.reduce_sum(x, 1)), output_shape=hint)
    assert tuple(layer(generation.keras.Input((3,))).shape) == (None,)
    assert tuple(layer.compute_output_shape((5, 3))) == (5,)


@pytest.mark.parametrize("hint", [(), []])
def test_stock_ignores_an_empty_output_shape(hint: Any) -> None:
    layer = hub.KerasLayer(lambda x: x, output_shape=hint)
    assert not hasattr(layer, "_output_shape")


def test_a_nested_hint_gives_nested_shapes(generation: Generation, saved: Saved) -> None:
    layer = generation.layer(saved("nested"), output_shape=[[2], {"difference": [1]}])
    sums, rest = layer.compute_output_shape({"x": (7, 1), "y": (7, 1)})
    assert (tuple(sums), tuple(rest["difference"])) == ((7, 2), (7, 1))


def test_stock_fails_on_a_nested_hint(saved: Saved) -> None:
    layer = hub.KerasLayer(saved("nested"), output_shape=[[2], {"difference": [1]}])
    with pytest.raises(TypeError):
        layer.compute_output_shape((7, 1))


def plain(x: Any, training: bool = False) -> Any:
    return x * 2 if training else x


def test_training_reaches_a_plain_function(generation: Generation) -> None:
    layer = generation.layer(plain, trainable=True)
    assert float(layer(column(1), training=True)[0, 0]) == 2
    assert float(layer(column(1), training=False)[0, 0]) == 1
    assert float(layer(column(1))[0, 0]) == 1
    layer.trainable = False  # as for batch normalization, this turns training off
    assert float(layer(column(1), training=True)[0, 0]) == 1


def test_training_reaches_partials_objects_and_keras_models(generation: Generation) -> None:
    partial = generation.layer(functools.partial(plain), trainable=True)
    assert float(partial(column(1), training=True)[0, 0]) == 2
    keras = generation.keras
    dropout = keras.Sequential([keras.Input((10,)), keras.layers.Dropout(0.999)])
    layer = generation.layer(dropout, trainable=True)
    ones = np.ones([100, 10], "float32")
    assert float(tf.reduce_mean(layer(ones, training=False))) == 1
    assert np.count_nonzero(layer(ones, training=True)) < 100


def test_training_may_be_a_tensor() -> None:
    from hubopt.layers.layer import KerasLayer

    layer = KerasLayer(plain, trainable=True)
    call = tf.function(lambda training: layer(tf.ones([1, 1]), training=training))
    assert float(call(tf.constant(True))[0, 0]) == 2
    assert float(call(tf.constant(False))[0, 0]) == 1


def test_stock_never_passes_training_to_a_plain_function() -> None:
    layer = hub.KerasLayer(plain, trainable=True)
    assert float(layer(column(1), training=True)[0, 0]) == 1


def test_tags_are_in_the_config(generation: Generation, saved: Saved) -> None:
    layer = generation.layer(saved("half_plus_one"), tags={"serve"})
    assert layer.get_config()["tags"] == ["serve"]
    again = generation.layer.from_config(layer.get_config())
    assert again.get_config()["tags"] == ["serve"]


def test_stock_leaves_tags_out_of_the_config(saved: Saved) -> None:
    assert "tags" not in hub.KerasLayer(saved("half_plus_one"), tags={"serve"}).get_config()


def test_a_path_is_a_handle(generation: Generation, saved: Saved) -> None:
    layer = generation.layer(Path(saved("half_plus_one")))
    assert float(layer(column(8))[0, 0]) == 5
    assert layer.get_config()["handle"] == saved("half_plus_one")


def test_stock_refuses_a_path(saved: Saved) -> None:
    with pytest.raises(ValueError, match="Expected a string"):
        hub.KerasLayer(Path(saved("half_plus_one")))


def test_mixed_precision_leaves_the_model_alone(generation: Generation, saved: Saved) -> None:
    keras = generation.keras
    with mixed_float16(keras):
        inputs = keras.Input((1,))
        layer = generation.layer(saved("half_plus_one"))
        outputs = layer(inputs)
        model = keras.Model(inputs, outputs)
        assert tf.as_dtype(layer(column(8)).dtype) == tf.float32
        assert float(model(column(8))[0, 0]) == 5
        again = generation.layer.from_config(layer.get_config())
    assert float(again(column(8))[0, 0]) == 5


def test_stock_breaks_under_mixed_precision(saved: Saved) -> None:
    with mixed_float16(tf_keras):
        layer = hub.KerasLayer(saved("half_plus_one"))
        with pytest.raises((TypeError, ValueError), match="float16"):
            layer(column(8))


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_a_float64_array_reaches_a_float32_model(
    generation: Generation, saved: Saved, policy: str
) -> None:
    layer = generation.layer(saved("half_plus_one"), dtype=policy)
    assert float(layer(np.array([[8.0]]))[0, 0]) == 5
    assert float(layer([[8]])[0, 0]) == 5
    assert float(layer(tf.constant([[8.0]], tf.float64))[0, 0]) == 5


def test_a_float64_model_is_given_float64(generation: Generation, tmp_path: Path) -> None:
    double = tf.function(tf.exp, input_signature=[tf.TensorSpec([None], tf.float64)])
    layer = generation.layer(save(double, tmp_path / "model"))
    assert layer(np.array([1.0])).dtype == tf.float64
    assert float(layer(np.array([1e-12]))[0]) != 1.0


@pytest.mark.parametrize(
    ("inputs", "given"),
    [
        (np.ones([2, 1], "int64"), r"int64 \(2, 1\)"),
        (np.ones([2, 3, 4], "float32"), r"float32 \(2, 3, 4\)"),
        (np.ones([2, 5], "float32"), r"float32 \(2, 5\)"),
        (np.ones([], "float32"), r"float32 \(\)"),
        ({"x": np.ones([2, 1], "float32")}, r"{x: float32 \(2, 1\)}"),
        ([["a"]], r"\[\[a str\]\]"),
    ],
)
def test_a_wrong_input_is_reported_in_one_line(
    generation: Generation, saved: Saved, inputs: Any, given: str
) -> None:
    layer = generation.layer(saved("half_plus_one"), name="half")
    message = (
        r"^Could not find matching concrete function: KerasLayer 'half' takes "
        rf"float32 \(None, 1\), and was given {given}$"
    )
    with pytest.raises(ValueError, match=message):
        layer(inputs)


def test_a_wrong_symbolic_input_is_reported_in_one_line(
    generation: Generation, saved: Saved
) -> None:
    layer = generation.layer(saved("half_plus_one"))
    with pytest.raises(ValueError, match=r"takes float32 \(None, 1\), and was given string"):
        layer(generation.keras.Input((1,), dtype="string"))


def test_stock_reports_a_wrong_input_on_many_lines(saved: Saved) -> None:
    layer = hub.KerasLayer(saved("half_plus_one"))
    with pytest.raises((TypeError, ValueError)) as caught:
        layer(np.ones([2, 1], "int64"))
    assert len(str(caught.value).splitlines()) > 5


WRONG = {
    "size": ([4], r"output_shape=\(4,\) .* asks for \(2, 4\), but the model returns \(2, 3\)"),
    "rank": ([3, 1], r"asks for \(2, 3, 1\), but the model returns \(2, 3\)"),
    "structure": ({"a": [3]}, r"has another structure than the outputs, \(2, 3\)"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_output_shape_is_an_error(generation: Generation, wrong: str) -> None:
    hint, message = WRONG[wrong]
    layer = generation.layer(tf.identity, output_shape=hint)
    with pytest.raises(ValueError, match=message):
        layer(np.ones([2, 3], "float32"))


@pytest.mark.parametrize("hint", [[4], [3, 1]])
def test_a_wrong_output_shape_is_an_error_in_a_graph_too(
    generation: Generation, hint: list[int]
) -> None:
    layer = generation.layer(hide_shape, output_shape=hint)
    graph = tf.function(lambda x: layer(x), input_signature=[tf.TensorSpec([None, 3])])
    with pytest.raises(
        (ValueError, tf.errors.InvalidArgumentError), match=r"asks for|\[2,3\] is not compatible"
    ):
        graph(tf.ones([2, 3]))


def test_stock_accepts_a_wrong_output_shape_in_a_graph() -> None:
    layer = hub.KerasLayer(hide_shape, output_shape=[4])
    graph = tf.function(lambda x: layer(x), input_signature=[tf.TensorSpec([None, 3])])
    assert graph(tf.ones([2, 3])).shape == [2, 3]  # without an error


def test_the_output_shape_of_a_text_model_needs_no_hint(
    generation: Generation, saved: Saved
) -> None:
    layer = generation.layer(saved("text_embedding"))
    assert tuple(layer.compute_output_shape((None,))) == (None, None)


def test_stock_cannot_compute_the_output_shape_of_a_text_model(saved: Saved) -> None:
    with pytest.raises(NotImplementedError):
        hub.KerasLayer(saved("text_embedding")).compute_output_shape((None,))


@pytest.mark.parametrize("member", ["apply", "get_losses_for", "get_updates_for"])
def test_stock_lacks_members_that_its_reference_documents(saved: Saved, member: str) -> None:
    assert not hasattr(hub.KerasLayer(saved("half_plus_one")), member)


def test_a_model_with_several_float_traces_is_called_with_the_layers_dtype(
    generation: Generation, tmp_path: Path
) -> None:
    @tf.function
    def triple(x: Any) -> Any:
        return x * 3

    for dtype in (tf.float16, tf.float32):
        triple.get_concrete_function(tf.TensorSpec([None], dtype))
    layer = generation.layer(save(triple, tmp_path / "model"))
    assert float(layer(tf.constant([70000.0]))[0]) == 210000.0  # float16 ends at 65504


@pytest.mark.parametrize("hint", [1, [np.int64(1)], (1,), tf.TensorShape([1])])
def test_anything_that_tensorflow_takes_for_a_shape_is_a_hint(
    generation: Generation, saved: Saved, hint: Any
) -> None:
    layer = generation.layer(saved("half_plus_one"), output_shape=hint)
    assert tuple(layer.compute_output_shape((5, 1))) == (5, 1)


def test_compute_output_shape_refuses_a_wrong_hint(generation: Generation, saved: Saved) -> None:
    layer = generation.layer(saved("half_plus_one"), output_shape=[2])
    with pytest.raises(ValueError, match=r"asks for \(5, 2\), but the model returns \(5, 1\)"):
        layer.compute_output_shape((5, 1))


def test_a_text_layer_may_be_the_first_of_a_sequential_model(
    generation: Generation, saved: Saved
) -> None:
    """The example of the reference, unchanged except for the folder."""
    layer = generation.layer(
        saved("text_embedding"), output_shape=[20], input_shape=[], dtype=tf.string
    )
    model = generation.keras.Sequential([layer, generation.keras.layers.Dense(2)])
    assert tuple(model(tf.constant(["a", "b", "c"])).shape) == (3, 2)


@pytest.mark.parametrize("kind", ["ragged", "sparse"])
def test_symbolic_inputs_may_be_ragged_or_sparse(tmp_path: Path, kind: str) -> None:
    from hubopt.layers.layer import KerasLayer

    function, spec, value, expected = {
        "ragged": (
            lambda x: tf.reduce_sum(x, 1),
            tf.RaggedTensorSpec([None, None], tf.float32),
            tf.ragged.constant([[1.0, 2.0]]),
            3.0,
        ),
        "sparse": (
            lambda x: tf.sparse.reduce_sum(x, 1),
            tf.SparseTensorSpec([None, 4], tf.float32),
            tf.sparse.eye(1, 4),
            1.0,
        ),
    }[kind]
    layer = KerasLayer(save(tf.function(function, input_signature=[spec]), tmp_path / "model"))
    inputs = tf_keras.Input((None,) if kind == "ragged" else (4,), **{kind: True})
    model = tf_keras.Model(inputs, layer(inputs))
    assert float(model(value)[0]) == expected


def test_invalid_handles_fail_as_in_stock(generation: Generation, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="does not exist"):
        generation.layer(str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="Expected a string, got None"):
        generation.layer(None)


def lookup_model() -> Any:
    """0.5 for oslo, 1 for rome; Keras 2 lists the table of the lookup among the variables."""
    words = tf_keras.Input((1,), dtype="string", name="word")
    lookup = tf_keras.layers.StringLookup()
    lookup.adapt(["oslo", "rome", "oslo"])  # a given vocabulary would be a table of another kind
    codes = lookup(words)
    table = tf_keras.layers.Embedding(3, 1)
    model = tf_keras.Model(words, tf_keras.layers.Flatten()(table(codes)))
    table.set_weights([column(0, 0.5, 1)])
    return model


@pytest.mark.parametrize("form", ["saved", "live"])
def test_a_lookup_table_is_no_variable(generation: Generation, tmp_path: Path, form: str) -> None:
    model = lookup_model()
    model.save(tmp_path / "model", save_format="tf")
    layer = generation.layer(tmp_path / "model" if form == "saved" else model, trainable=True)
    assert [tuple(variable.shape) for variable in layer.trainable_variables] == [(3, 1)]
    words = tf.constant([["rome"], ["bonn"], ["oslo"]])
    np.testing.assert_array_equal(layer(words), [[1.0], [0.0], [0.5]])


def test_stock_fails_on_a_lookup_table(tmp_path: Path) -> None:
    lookup_model().save(tmp_path / "model", save_format="tf")
    with pytest.raises(AttributeError, match="'NoneType' object has no attribute 'name'"):
        hub.KerasLayer(str(tmp_path / "model"))
