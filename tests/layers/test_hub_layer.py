"""The contract of hub.KerasLayer, on both generations of Keras."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.layers.conftest import Generation

Saved = Callable[..., str]


def column(*values: float) -> Any:
    return np.array(values, "float32").reshape(-1, 1)


def floats(tensor: Any) -> Any:
    return np.asarray(tensor).tolist()


def trained(generation: Generation, model: Any, x: Any, y: Any, rate: float, epochs: int) -> Any:
    model.compile(generation.keras.optimizers.SGD(rate), "mean_squared_error")
    model.fit(x, y, batch_size=len(x), epochs=epochs, verbose=0)
    return model


def test_retraining_changes_the_trainable_weight_only(generation: Generation, saved: Saved) -> None:
    keras = generation.keras
    inputs = keras.Input((1,))
    layer = generation.layer(saved("half_plus_one"), trainable=True)
    model = keras.Model(inputs, layer(inputs))
    assert floats(model(column(0, 8, 10))) == [[1], [5], [6]]
    assert len(model.trainable_weights) == 1
    assert len(model.non_trainable_weights) == 2
    x = column(*[9, 10, 11] * 10)
    trained(generation, model, x, x / 2 + 6, 0.002, 10)
    assert floats(model(column(0))) == [[1]]  # the bias did not change
    np.testing.assert_allclose(model(column(10)), [[11]], rtol=0.03)
    np.testing.assert_allclose(model.losses, [0.01], rtol=0.06)


def test_losses_follow_trainable_whenever_it_changes(generation: Generation, saved: Saved) -> None:
    keras = generation.keras
    inputs = keras.Input((1,))
    layer = generation.layer(saved("half_plus_one"))
    model = keras.Model(inputs, layer(inputs))
    for trainable, loss in ((False, 0.0), (True, 0.0025), (False, 0.0), (True, 0.0025)):
        layer.trainable = trainable
        np.testing.assert_allclose(model.losses, [loss], rtol=1e-6)


def test_batch_norm_learns_when_trainable(generation: Generation, saved: Saved) -> None:
    keras = generation.keras
    inputs = keras.Input((1,))
    layer = generation.layer(saved("batch_norm"), trainable=True)
    weights = {weight.name.replace("/", "_"): weight for weight in layer.weights}
    (mean,) = (weight for name, weight in weights.items() if "moving_mean" in name)
    x = column(11, 12, 13)
    model = trained(generation, keras.Model(inputs, layer(inputs)), x, 2 * x, 0.1, 100)
    np.testing.assert_allclose(mean.numpy(), [12], rtol=1e-5)
    for _ in range(3):  # inference uses the moving statistics and does not change them
        np.testing.assert_allclose(model(column(10, 20, 30)), column(20, 40, 60), rtol=1e-4)
    np.testing.assert_allclose(mean.numpy(), [12], rtol=1e-5)


def test_frozen_batch_norm_does_not_change_while_the_model_trains(
    generation: Generation, saved: Saved
) -> None:
    keras = generation.keras
    inputs = keras.Input((1,))
    layer = generation.layer(saved("batch_norm"))
    before = [weight.tolist() for weight in layer.get_weights()]
    dense = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")
    x = column(1, 2, 3)
    model = trained(generation, keras.Model(inputs, dense(layer(inputs))), x, 2 * x, 0.1, 30)
    assert [weight.tolist() for weight in layer.get_weights()] == before
    np.testing.assert_allclose(model(x), 2 * x, rtol=1e-3)


def test_a_sequential_model_takes_texts(generation: Generation, saved: Saved) -> None:
    keras = generation.keras
    embed = generation.layer(
        saved("text_embedding"), output_shape=[20], input_shape=[], dtype=tf.string
    )
    model = keras.Sequential(
        [keras.Input((), dtype="string"), embed, keras.layers.Dense(3, activation="softmax")]
    )
    assert tuple(model.output_shape) == (None, 3)
    outputs = model(tf.constant(["a film", "a book"]))
    np.testing.assert_allclose(np.sum(outputs, axis=1), [1, 1], rtol=1e-6)
    assert tuple(embed(["texts", "may be", "a list"]).shape) == (3, 20)


def test_nested_inputs_and_outputs_keep_their_structure(
    generation: Generation, saved: Saved
) -> None:
    keras = generation.keras
    layer = generation.layer(saved("nested"), output_shape=[[2], {"difference": [1]}])
    inputs = {name: keras.Input((1,), name=name) for name in ("x", "y")}
    sums, rest = layer(inputs)
    assert tuple(sums.shape) == (None, 2)
    model = keras.Model(inputs, [sums, rest["difference"]])
    sums, difference = model({"x": column(11, 22), "y": column(1, 2)})
    assert floats(sums) == [[12, 13], [24, 26]]
    assert floats(difference) == [[10], [20]]


def test_arguments_reach_the_model(generation: Generation, saved: Saved) -> None:
    layer = generation.layer(saved("affine"), arguments={"a": 10.0})
    assert floats(layer(column(1, 2))) == [[10], [20]]
    again = generation.layer.from_config(json.loads(json.dumps(layer.get_config())))
    assert floats(again(column(1, 2))) == [[10], [20]]


def test_arguments_that_json_cannot_hold_are_named(generation: Generation, saved: Saved) -> None:
    layer = generation.layer(saved("affine"), arguments={"a": tf.constant(1.0)})
    assert floats(layer(column(3))) == [[3]]
    with pytest.raises(ValueError, match="contains non json-serializable .*key: a"):
        layer.get_config()


def test_a_callable_has_no_config(generation: Generation) -> None:
    with pytest.raises(NotImplementedError, match="Can only generate a valid config"):
        generation.layer(tf.identity).get_config()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"signature": "serving_default"}, "When using a signature, either output_key or"),
        (
            {"signature": "serving_default", "output_key": "a", "signature_outputs_as_dict": True},
            "When using a signature, either output_key or",
        ),
        ({"signature_outputs_as_dict": True}, "only valid if specifying a signature"),
        ({}, "Signature name has to be specified for non-callable saved models"),
        (
            {"signature": "nope", "output_key": "a"},
            r"Unknown signature nope in .* \(available signatures: other, serving_default\)",
        ),
    ],
)
def test_contradicting_arguments_are_refused_in_the_words_of_tensorflow_hub(
    generation: Generation, saved: Saved, options: dict[str, Any], message: str
) -> None:
    folder = saved("signatures_only", "serving_default", "other")
    with pytest.raises(ValueError, match=message):
        generation.layer(folder, **options)


def test_a_callable_takes_neither_tags_nor_load_options(generation: Generation) -> None:
    with pytest.raises(ValueError, match="mutually exclusive with setting tags"):
        generation.layer(tf.identity, tags=["serve"])
    with pytest.raises(ValueError, match="mutually exclusive with setting load_options"):
        generation.layer(tf.identity, load_options=tf.saved_model.LoadOptions())


def test_a_signature_gives_all_outputs_or_one(generation: Generation, saved: Saved) -> None:
    folder = saved("signatures_only", "serving_default")
    inputs = {"a": np.array([2.0], "float32"), "b": np.array([3.0], "float32")}
    every = generation.layer(folder, signature="serving_default", signature_outputs_as_dict=True)
    assert {name: floats(value) for name, value in every(inputs).items()} == {
        "sum": [5],
        "product": [6],
    }
    one = generation.layer(folder, signature="serving_default", output_key="product")
    assert floats(one(inputs)) == [6]
    none = generation.layer(folder, signature="serving_default", output_key="quotient")
    with pytest.raises(ValueError, match=r"output key quotient \(available: product, sum\)"):
        none(inputs)


def test_a_signature_cannot_be_trained(generation: Generation, saved: Saved) -> None:
    folder = saved("signatures_only", "serving_default")
    layer = generation.layer(folder, True, signature="serving_default", output_key="sum")
    with pytest.raises(ValueError, match="unsupported when calling a SavedModel signature"):
        layer({"a": np.ones(1, "float32"), "b": np.ones(1, "float32")})


@pytest.mark.parametrize("resource", [True, False], ids=["resource", "reference"])
def test_a_tf1_module_has_signature_and_output_default(
    generation: Generation, saved: Saved, resource: bool
) -> None:
    folder = saved("tf1_module", resource)
    layer = generation.layer(folder)
    x = np.ones([2, 3], "float32")
    assert floats(layer(x)) == [[7, 10], [7, 10]]
    every = generation.layer(folder, signature_outputs_as_dict=True)
    assert sorted(every(x)) == ["default", "twice"]
    twice = generation.layer(folder, output_key="twice")
    assert floats(twice(x)) == [[12, 18], [12, 18]]
    layer.trainable = True
    with pytest.raises(ValueError, match="unsupported when loading from the TF1 Hub format"):
        layer(x)


def test_a_trainable_layer_without_weights_warns_once(
    generation: Generation, caplog: pytest.LogCaptureFixture
) -> None:
    layer = generation.layer(tf.identity, trainable=True)
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            layer(column(1))
    assert [record.message for record in caplog.records] == [
        "hub.KerasLayer is trainable but has zero trainable weights."
    ]


def test_losses_must_be_callable(generation: Generation) -> None:
    root = tf.Module()
    root.__call__ = tf.identity
    root.regularization_losses = [0.5]
    with pytest.raises(ValueError, match="regularization_losses to be an iterable of callables"):
        generation.layer(root.__call__ and _Callable(root.regularization_losses))


class _Callable:
    def __init__(self, losses: Any) -> None:
        self.regularization_losses = losses

    def __call__(self, x: Any) -> Any:
        return x


def test_load_options_reach_tensorflow(
    generation: Generation, saved: Saved, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    load = tf.saved_model.load

    def spy(folder: str, **options: Any) -> Any:
        seen.append(options["options"])
        return load(folder, **options)

    monkeypatch.setattr(tf.saved_model, "load", spy)
    options = tf.saved_model.LoadOptions(experimental_io_device="/job:localhost")
    generation.layer(saved("half_plus_one"), load_options=options)
    assert seen == [options]


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_model_is_saved_and_loaded(
    generation: Generation, saved: Saved, tmp_path: Path, suffix: str
) -> None:
    keras = generation.keras
    layer = generation.layer(saved("batch_norm"), trainable=True)
    model = keras.Sequential([keras.Input((1,)), layer])
    trained(generation, model, column(1, 2, 3), column(2, 4, 6), 0.1, 5)
    model.save(tmp_path / f"model{suffix}")
    again = keras.models.load_model(tmp_path / f"model{suffix}")
    np.testing.assert_allclose(again(column(4, 5)), model(column(4, 5)), rtol=1e-6)
    assert [value.tolist() for value in again.get_weights()] == [
        value.tolist() for value in model.get_weights()
    ]
    assert again.layers[-1].trainable


def test_a_model_is_saved_as_a_tensorflow_folder(
    generation: Generation, saved: Saved, tmp_path: Path
) -> None:
    keras = generation.keras
    layer = generation.layer(saved("text_embedding"), output_shape=[20])
    model = keras.Sequential(
        [keras.Input((), dtype="string"), layer, keras.layers.Dense(2, use_bias=False)]
    )
    texts = tf.constant(["one", "two"])
    expected = model(texts)
    tf.saved_model.save(model, str(tmp_path / "model"))
    served = tf.saved_model.load(str(tmp_path / "model")).signatures["serving_default"](texts)
    np.testing.assert_allclose(next(iter(served.values())), expected, rtol=1e-6)


def test_keras_2_loads_its_tensorflow_folder(saved: Saved, tmp_path: Path) -> None:
    import tf_keras

    from hubopt.layers.layer import KerasLayer

    model = tf_keras.Sequential(
        [tf_keras.Input((1,)), KerasLayer(saved("half_plus_one"), trainable=True)]
    )
    model.save(tmp_path / "model", save_format="tf")
    again = tf_keras.models.load_model(tmp_path / "model")
    assert floats(again(column(8))) == [[5]]
    assert len(again.trainable_weights) == 1
    assert isinstance(again.layers[-1], KerasLayer)


def test_a_model_goes_through_json(generation: Generation, saved: Saved) -> None:
    keras = generation.keras
    model = keras.Sequential([keras.Input((1,)), generation.layer(saved("half_plus_one"))])
    again = keras.models.model_from_json(model.to_json())
    assert floats(again(column(8))) == [[5]]


def test_checkpoints_load_into_the_layer_of_tensorflow_hub(saved: Saved, tmp_path: Path) -> None:
    import tensorflow_hub as hub

    from hubopt.layers.layer import KerasLayer

    ours, stock = (make(saved("half_plus_one")) for make in (KerasLayer, hub.KerasLayer))
    ours.set_weights([np.array([[7.0]]), np.array([[1.0]]), np.array([1.0])])
    path = tf.train.Checkpoint(layer=ours).save(str(tmp_path / "ckpt"))
    tf.train.Checkpoint(layer=stock).restore(path).assert_existing_objects_matched()
    assert floats(stock(column(1))) == [[8]]


def test_assets_and_attributes_stay_reachable(generation: Generation, tmp_path: Path) -> None:
    from tests.layers.models import save

    (tmp_path / "number.txt").write_text("12345")
    parse = tf.function(
        lambda x: tf.strings.to_number(x, tf.int64),
        input_signature=[tf.TensorSpec([None], tf.string)],
    )
    asset = tf.saved_model.Asset(str(tmp_path / "number.txt"))
    folder = save(parse, tmp_path / "model", sample=asset, answer=tf.Variable(12345, dtype="int64"))
    (tmp_path / "number.txt").unlink()
    layer = generation.layer(folder)
    path = layer.resolved_object.sample.asset_path.numpy().decode()
    assert int(layer([Path(path).read_text()])[0]) == int(layer.resolved_object.answer)


def test_the_layer_works_in_a_v1_graph_of_its_own(saved: Saved) -> None:
    import tf_keras

    from hubopt.layers.layer import KerasLayer

    with tf.compat.v1.Graph().as_default():
        layer = KerasLayer(saved("half_plus_one"), output_shape=(1,))
        assert layer.compute_output_shape((None, 1)).as_list() == [None, 1]
        output = layer(tf_keras.Input((1,)))
        assert output.shape.as_list() == [None, 1]


def test_a_folder_without_a_model_is_reported_in_the_words_of_tensorflow_hub(
    generation: Generation, tmp_path: Path
) -> None:
    message = (
        "Trying to load a model of incompatible/unknown type.*contains neither 'saved_model.pb'"
    )
    with pytest.raises(ValueError, match=message):
        generation.layer(tmp_path)
    with pytest.raises(ValueError, match="does not exist"):
        generation.layer(str(tmp_path / "nowhere"))


def test_tags_may_be_a_single_string(generation: Generation, saved: Saved) -> None:
    layer = generation.layer(saved("half_plus_one"), tags="serve")
    assert layer.get_config()["tags"] == ["serve"]
    assert floats(layer(column(8))) == [[5]]


def test_inference_ignores_the_trainable_flag(generation: Generation, saved: Saved) -> None:
    layer = generation.layer(saved("batch_norm"), trainable=True)
    before = [value.tolist() for value in layer.get_weights()]
    layer.infer(tf.constant(column(5, 6, 7)))
    assert [value.tolist() for value in layer.get_weights()] == before
