from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
import tf_keras

import hubopt
from hubopt.errors import LoadError
from hubopt.layers.interface import Declared, read_interface
from tests.layers.models import affine


def saved(tmp_path: Path, root: Any, **signatures: Any) -> hubopt.KerasLayer:
    tf.saved_model.save(root, str(tmp_path / "m"), signatures=signatures or None)
    return hubopt.KerasLayer(tmp_path / "m")


def test_a_signature_declares_its_inputs(tiny: Path) -> None:
    layer = hubopt.KerasLayer(tiny, signature="serving_default", signature_outputs_as_dict=True)
    interface = read_interface(layer)
    assert set(interface.inputs) == {
        Declared("left", "float32", (None, 8)),
        Declared("right", "float32", (None, 8)),
    }
    assert interface.structure == {tensor.name: tensor.name for tensor in interface.inputs}


def test_the_inference_trace_is_chosen_and_named_as_in_the_signature(tmp_path: Path) -> None:
    inputs = tf_keras.Input([4], name="audio")
    outputs = tf_keras.layers.Dense(2, name="score")(inputs)
    tf.saved_model.save(tf_keras.Model(inputs, outputs), str(tmp_path / "m"))
    interface = read_interface(hubopt.KerasLayer(tmp_path / "m"))
    assert interface.inputs == (Declared("audio", "float32", (None, 4)),)
    assert interface.structure == "audio"
    assert interface.only_output == Declared("score", "float32", (None, 2))


def test_the_trace_with_the_most_unknown_dimensions_is_chosen(tmp_path: Path) -> None:
    root = tf.Module()
    root.__call__ = tf.function(lambda x: x + 1)
    for shape in ([1, 3], [None, None], [1, None]):
        root.__call__.get_concrete_function(tf.TensorSpec(shape, tf.float32, name="x"))
    assert read_interface(saved(tmp_path, root)).inputs[0].shape == (None, None)


def test_nested_inputs_keep_their_structure(tmp_path: Path) -> None:
    spec = tf.TensorSpec([1], tf.float32)
    root = tf.Module()
    root.__call__ = tf.function(
        lambda nest: nest["a"][0] + nest["a"][1] * nest["b"],
        input_signature=[{"a": [spec, spec], "b": spec}],
    )
    interface = read_interface(saved(tmp_path, root))
    assert interface.structure == {"a": ["a/input_0", "a/input_1"], "b": "b"}


@pytest.mark.parametrize("keras", ["tf_keras", "keras"])
def test_the_inputs_of_a_keras_model_are_read(keras: str) -> None:
    import importlib

    library = importlib.import_module(keras)
    one, two = library.Input([3], name="one"), library.Input([5], dtype="int32", name="two")
    layers = library.layers
    words = layers.GlobalAveragePooling1D()(layers.Embedding(9, 2)(two))
    model = library.Model([one, two], layers.Add()([layers.Dense(2)(one), words]))
    interface = read_interface(hubopt.KerasLayer(model))
    assert interface.inputs == (
        Declared("one", "float32", (None, 3)),
        Declared("two", "int32", (None, 5)),
    )
    assert interface.structure == ["one", "two"]


def test_a_keras_3_sequential_has_a_list_of_inputs() -> None:
    import keras

    model = keras.Sequential([keras.Input([3], name="x"), keras.layers.Dense(2)])
    assert read_interface(hubopt.KerasLayer(model)).inputs == (Declared("x", "float32", (None, 3)),)


def test_signatures_with_different_output_names_give_no_name(tmp_path: Path) -> None:
    spec = tf.TensorSpec([None, 3], tf.float32, name="x")
    root = tf.Module()
    root.__call__ = tf.function(lambda x: x, input_signature=[spec])
    embed = tf.function(lambda x: {"embedding": x + 1}, input_signature=[spec])
    serve = tf.function(lambda x: {"logits": x}, input_signature=[spec])
    layer = saved(
        tmp_path,
        root,
        embed=embed.get_concrete_function(),
        serving_default=serve.get_concrete_function(),
    )
    assert read_interface(layer).only_output is None
    assert [output.name for output in hubopt.resolve(layer).outputs] == ["output_0"]


@pytest.mark.parametrize("arguments", [0, 2])
def test_a_call_that_does_not_take_one_nest_of_tensors_points_to_a_signature(
    tmp_path: Path, arguments: int
) -> None:
    root = tf.Module()
    root.__call__ = tf.function(
        lambda *tensors: tf.add_n([tf.zeros([1]), *tensors]),
        input_signature=[tf.TensorSpec([1], tf.float32, name=f"t{at}") for at in range(arguments)],
    )
    with pytest.raises(LoadError, match=f"takes {arguments} separate tensor") as caught:
        read_interface(saved(tmp_path, root))
    assert caught.value.way_out == "pass --signature with one of: serving_default"


def ragged_and_sparse() -> tf.Module:
    """A module that takes a ragged, a sparse and a dense tensor."""
    root = tf.Module()
    root.__call__ = tf.function(
        lambda nest: (
            tf.reduce_sum(nest["words"])
            + tf.sparse.reduce_sum(nest["bag"])
            + tf.reduce_sum(nest["x"])
        ),
        input_signature=[
            {
                "words": tf.RaggedTensorSpec([None, None], tf.float32),
                "bag": tf.SparseTensorSpec([None, 9], tf.float32),
                "x": tf.TensorSpec([None, 3], tf.float32),
            }
        ],
    )
    return root


def test_ragged_and_sparse_inputs_are_named_as_such(tmp_path: Path) -> None:
    interface = read_interface(saved(tmp_path, ragged_and_sparse()))
    assert {tensor.name: (tensor.kind, tensor.shape) for tensor in interface.inputs} == {
        "words": ("ragged", (None, None)),
        "bag": ("sparse", (None, 9)),
        "x": ("dense", (None, 3)),
    }


@pytest.mark.parametrize("kind", ["ragged", "sparse"])
def test_the_kind_of_a_keras_2_input_is_read(kind: str) -> None:
    x = tf_keras.Input([5], name="x", **{kind: True})
    model = tf_keras.Model(x, tf_keras.layers.Lambda(lambda x: x * 1.0)(x))
    assert [tensor.kind for tensor in read_interface(hubopt.KerasLayer(model)).inputs] == [kind]


def test_the_kind_of_a_keras_3_input_is_read() -> None:
    import keras

    x = keras.Input([5], name="x", sparse=True)
    model = keras.Model(x, keras.layers.Dense(2)(x))
    assert [tensor.kind for tensor in read_interface(hubopt.KerasLayer(model)).inputs] == ["sparse"]


@pytest.mark.parametrize(
    ("shape", "dtype", "expected"),
    [
        ((None,), "float32", True),
        ((None,), "bfloat16", True),
        ((None,), "string", False),
        ((None,), "int32", False),
        ((None, 1), "float32", False),
        ((16000,), "float32", False),
        (None, "float32", False),
    ],
)
def test_one_open_dimension_of_floats_may_be_a_length(
    shape: Any, dtype: str, expected: bool
) -> None:
    assert Declared("x", dtype, shape).may_be_length is expected


def test_a_plain_function_declares_nothing() -> None:
    interface = read_interface(hubopt.KerasLayer(lambda x: x))
    assert interface.inputs == (Declared("input", None, None),)


def test_a_function_with_an_input_signature_declares_it() -> None:
    function = tf.function(lambda x: x, input_signature=[tf.TensorSpec([2, None], tf.int64, "ids")])
    assert read_interface(hubopt.KerasLayer(function)).inputs == (
        Declared("ids", "int64", (2, None)),
    )


def test_further_tensors_may_have_defaults_or_be_arguments_of_the_layer(tmp_path: Path) -> None:
    folder = affine(tmp_path / "m")
    for arguments, expected in ((None, 3.0), ({"a": 2.0}, 6.0), ({"a": 2.0, "b": 1.0}, 7.0)):
        layer = hubopt.KerasLayer(folder, arguments=arguments)
        spec = hubopt.resolve(layer)
        assert str(spec) == "in  x: float32 1x1\nout output_0: float32 1x1"
        assert float(layer([[3.0]])[0, 0]) == expected
