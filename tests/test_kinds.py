"""Kinds of published models that are easy to refuse or excuse wrongly, from handle to verdict."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import hubopt

VERIFIED = {"savedmodel": "verified", "tflite": "verified", "onnx": "verified"}


def save(folder: Path, function: Callable[..., Any], *signature: tf.TensorSpec) -> Path:
    module = tf.Module()
    module.weight = tf.Variable(tf.random.stateless_normal([3, 2], [1, 2]))
    module.__call__ = tf.function(lambda *given: function(module.weight, *given), signature)
    tf.saved_model.save(module, str(folder))
    return folder


def odd_resize(folder: Path) -> Path:
    """XLA's own result is wrong here, and `onnx.checker` refuses what onnxruntime runs right."""
    image = tf.TensorSpec([1, 5, 5, 3], tf.float32, name="image")
    return save(folder, lambda _, x: {"up": tf.image.resize(x, [7, 9])}, image)


def weightless_outputs(folder: Path) -> Path:
    """A head with a weight beside outputs that no weight reaches, and a constant."""

    def heads(weight: Any, x: Any) -> dict[str, Any]:
        count = tf.constant([100], tf.int32)
        return {"y": x @ weight, "clipped": tf.nn.relu(x), "count": count}

    return save(folder, heads, tf.TensorSpec([4, 3], tf.float32, name="x"))


def masked_text(folder: Path) -> Path:
    """A masked recurrent network, whose output shapes TensorFlow loses when it is saved."""
    layers = tf_keras.layers
    tokens = tf_keras.Input((5,), dtype="int32", name="tokens")
    embedded = layers.Embedding(9, 4, mask_zero=True)(tokens)
    tf_keras.Model(tokens, layers.Bidirectional(layers.GRU(3))(embedded)).export(str(folder))
    return folder


def adapted_text(folder: Path) -> Path:
    """Its ``variables`` hold a lookup table, which is none."""
    layers = tf_keras.layers
    vectorize = layers.TextVectorization(output_sequence_length=4)
    vectorize.adapt(["one small step", "one giant leap"])
    text = tf_keras.Input((1,), dtype="string", name="text")
    embedded = layers.Embedding(8, 3)(vectorize(text))
    tf_keras.Model(text, layers.GlobalAveragePooling1D()(embedded)).save(str(folder))
    return folder


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (odd_resize, VERIFIED),
        (weightless_outputs, VERIFIED),
        (masked_text, {"savedmodel": "verified", "onnx": "verified"}),
    ],
)
def test_an_honest_model_is_verified_without_flags(
    make: Callable[[Path], Path], expected: dict[str, str], tmp_path: Path
) -> None:
    bundle = hubopt.export(make(tmp_path / "model"), list(expected), tmp_path / "out", rounds=0)
    assert {result.target: result.status for result in bundle.results} == expected


def test_xla_that_is_wrong_is_not_used(tmp_path: Path) -> None:
    model = odd_resize(tmp_path / "model")
    bundle = hubopt.export(model, ["savedmodel"], tmp_path / "out", rounds=0)
    details = bundle.manifest.targets["savedmodel"].details
    assert details["jit_compile"] is False
    assert "other values" in str(details["xla"])
    with pytest.raises(hubopt.HuboptError, match="ResizeBilinear"):
        hubopt.export(
            model, ["savedmodel"], tmp_path / "2", rounds=0, options={"savedmodel.xla": "require"}
        )


def test_an_adapted_text_layer_is_loaded_and_verified(tmp_path: Path) -> None:
    texts = [{"text": np.array([[text]], object)} for text in (b"one step", b"giant one", b"leap")]
    bundle = hubopt.export(
        adapted_text(tmp_path / "model"), ["savedmodel"], tmp_path / "out", rounds=0, data=texts
    )
    assert bundle.manifest.targets["savedmodel"].status == "verified"
