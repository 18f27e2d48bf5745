"""The private parts of the TFLite converter that `tf_lite_private` uses still exist."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from tensorflow.lite.python import lite

from hubopt_exporters import tf_lite_private
from tests.platform.test_tf_private import ADVICE as MOVED

ADVICE = MOVED.replace("tf_private", "tf_lite_private")


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lite") / "model"
    root = tf.Module()
    root.weight = tf.Variable(np.arange(4, dtype="float32"))
    root.call = tf.function(
        lambda x: {"y": x * root.weight}, input_signature=[tf.TensorSpec([4], tf.float32, "x")]
    )
    tf.saved_model.save(root, str(folder), signatures=root.call)
    return folder


def test_a_saved_model_is_converted_without_being_loaded(
    saved_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: Any, **__: Any) -> None:
        raise AssertionError(ADVICE + "open_converter: it works in Python again")

    for loads in ("_load", "_deduplicate_readonly_buffers"):
        monkeypatch.setattr(lite, loads, forbidden)
    converter = tf_lite_private.open_converter(saved_model, "serving_default")
    assert isinstance(converter.target_spec, tf.lite.TargetSpec), ADVICE + "open_converter"
    flatbuffer = tf_lite_private.convert(converter)
    run = Interpreter(model_content=flatbuffer).get_signature_runner("serving_default")
    x = np.full(4, 2, "float32")
    np.testing.assert_array_equal(run(x=x)["y"], x * np.arange(4), ADVICE + "convert")


def test_requested_quantization_is_applied(saved_model: Path) -> None:
    converter = tf_lite_private.open_converter(saved_model, "serving_default")
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([np.ones(4, "float32")] for _ in range(2))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    interpreter = Interpreter(model_content=tf_lite_private.convert(converter))
    assert interpreter.get_input_details()[0]["dtype"] == np.int8, ADVICE + "open_converter"


@pytest.mark.parametrize(("contents", "expected"), [((1, 2, 1), True), ((1, 2, 3), False)])
def test_buffers_with_the_same_bytes_are_detected(
    contents: tuple[int, ...], expected: bool
) -> None:
    import flatbuffers
    from tensorflow.lite.python import schema_py_generated as schema

    model = schema.ModelT()
    model.buffers = [schema.BufferT() for _ in range(len(contents) + 2)]  # two are empty
    for buffer, content in zip(model.buffers, contents, strict=False):
        buffer.data = np.full(64, content, np.uint8)
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    assert tf_lite_private.has_twins(bytes(builder.Output())) is expected, ADVICE + "has_twins"
