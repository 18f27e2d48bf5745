from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_hub as hub

import hubopt
from hubopt._platform.tf_private import layer_signature
from hubopt.errors import LoadError
from hubopt.layers.opening import open_layer
from hubopt.models.handles import LayerOptions, locate
from hubopt.reference.eager import LayerRunner, full_float32, infer


def test_the_layer_is_a_hub_layer_and_takes_a_path(tiny: Path) -> None:
    layer = hubopt.KerasLayer(tiny)
    assert isinstance(layer, hub.KerasLayer)
    assert layer.get_config()["handle"] == str(tiny)
    inputs = {"left": tf.ones([3, 8]), "right": tf.zeros([3, 8])}
    stock = hub.KerasLayer(str(tiny))(inputs)
    np.testing.assert_array_equal(layer(inputs)["sum"], stock["sum"])


def test_only_an_explicit_dtype_is_a_hint() -> None:
    assert hubopt.KerasLayer(tf.identity).dtype_hint is None
    assert hubopt.KerasLayer(tf.identity, dtype=tf.string).dtype_hint == "string"


def test_the_error_for_an_unknown_signature_lists_the_signatures(tiny: Path) -> None:
    with pytest.raises(LoadError, match=r"signature nope: not in .*\n.*one of: serving_default"):
        open_layer(locate(tiny), LayerOptions(signature="nope"))


def test_the_error_for_unknown_tags_lists_the_tags(tiny: Path) -> None:
    with pytest.raises(LoadError, match="--tag with one of: serve"):
        open_layer(locate(tiny), LayerOptions(tags=("gpu",)))


def test_the_error_for_an_unknown_output_key_lists_the_keys(tiny: Path) -> None:
    with pytest.raises(LoadError, match="output nope: .*\n.*one of: difference, sum"):
        open_layer(locate(tiny), LayerOptions("serving_default", "nope"))


def test_a_float64_model_keeps_float64(tmp_path: Path) -> None:
    root = tf.Module()
    root.__call__ = tf.function(tf.exp, input_signature=[tf.TensorSpec([1], tf.float64, name="x")])
    tf.saved_model.save(root, str(tmp_path / "m"))
    layer = open_layer(locate(tmp_path / "m"), LayerOptions())
    (output,) = hubopt.resolve(layer).outputs
    assert output.dtype == "float64"


def test_tf32_is_off_during_a_call_and_restored_after_it() -> None:
    config = tf.config.experimental
    config.enable_tensor_float_32_execution(True)
    with full_float32():
        assert not config.tensor_float_32_execution_enabled()
    assert config.tensor_float_32_execution_enabled()


def test_a_model_without_a_call_uses_serving_default(tmp_path: Path) -> None:
    module = tf.train.Checkpoint()
    serve = tf.function(
        lambda x: {"y": x + 1.0}, input_signature=[tf.TensorSpec([None], tf.float32, name="x")]
    )
    signatures = {"serving_default": serve.get_concrete_function()}
    tf.saved_model.save(module, str(tmp_path / "m"), signatures=signatures)
    layer = open_layer(locate(tmp_path / "m"), LayerOptions())
    assert layer_signature(layer) == "serving_default"
    assert layer(tf.zeros([2]))["y"].numpy().tolist() == [1.0, 1.0]


def save_signatures(folder: Path, *names: str) -> Path:
    serve = tf.function(lambda x: x, input_signature=[tf.TensorSpec([1], tf.float32)])
    functions = dict.fromkeys(names, serve.get_concrete_function())
    tf.saved_model.save(tf.train.Checkpoint(), str(folder), signatures=functions)
    return folder


def test_the_only_signature_of_a_model_without_a_call_is_called(tmp_path: Path) -> None:
    layer = open_layer(locate(save_signatures(tmp_path / "m", "other")), LayerOptions())
    assert layer_signature(layer) == "other"


def test_of_several_signatures_one_must_be_named(tmp_path: Path) -> None:
    folder = save_signatures(tmp_path / "m", "one", "other")
    with pytest.raises(LoadError, match="has no signature serving_default\n.*one of: one, other"):
        open_layer(locate(folder), LayerOptions())


def test_truncated_weights_are_reported_in_one_line(tiny: Path, tmp_path: Path) -> None:
    import shutil

    broken = shutil.copytree(tiny, tmp_path / "broken")
    weights = broken / "variables" / "variables.data-00000-of-00001"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(LoadError, match="a file of the variables is cut short"):
        open_layer(locate(broken), LayerOptions())


def test_inference_turns_training_behaviour_off() -> None:
    class Noisy(tf.Module):
        def __call__(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
            return x + 1.0 if training else x

    layer = hubopt.KerasLayer(Noisy(), trainable=True)
    spec = hubopt.resolve(layer, hubopt.Hints.parse(["1x2"], ["float32"]))
    assert infer(layer, spec, {"input": tf.zeros([1, 2])})["output_0"].numpy().sum() == 0


def test_the_runner_takes_and_gives_arrays_by_name(tiny_program: tuple[object, object]) -> None:
    layer, program = tiny_program
    inputs = {"right": np.ones((2, 8), "float32"), "left": np.zeros((2, 8), "float32")}
    outputs = LayerRunner(layer, program.spec).run(inputs)  # type: ignore[attr-defined, arg-type]
    assert set(outputs) == {"sum", "difference"}
    np.testing.assert_allclose(outputs["sum"], -outputs["difference"], rtol=1e-6)
