"""The layer's outputs: edge cases that prove nothing are left out, and vacuous outputs found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import hubopt
from hubopt.errors import TraceError
from hubopt.reference.answering import permuted
from hubopt.sampling.arrays import sample_numbers
from tests.reference.making import ask


def signature(*shape: int) -> Any:
    return tf.function(input_signature=[tf.TensorSpec(shape, tf.float32, name="x")])


def test_there_are_samples_of_several_kinds_with_outputs_for_each(tmp_path: Path) -> None:
    _, known = ask(signature(2, 3)(lambda x: tf.tanh(x)), tmp_path)
    inputs, reference = known.read_inputs(), known.read_outputs()
    assert len(inputs) == len(reference) == len(known.kinds) == len(known.kept) >= 8
    assert len(set(known.kinds)) >= 4
    assert known.kinds[8:] == ("zeros", "extremes", "small")
    for sample, answer in zip(inputs, reference, strict=True):
        (x,), (y,) = sample.values(), answer.values()
        np.testing.assert_allclose(y, np.tanh(x), rtol=1e-5)


def test_edge_cases_that_give_nan_or_are_refused_are_left_out(tmp_path: Path) -> None:
    @signature(4)
    def loudness(x: Any) -> Any:
        with tf.control_dependencies([tf.debugging.assert_less(tf.abs(x), 3.0 + 1e9)]):
            return x / tf.reduce_max(tf.abs(x))

    _, known = ask(loudness, tmp_path)
    assert known.left_out == {"zeros (8)": "the layer gives NaN"}
    assert "zeros" not in known.kinds
    assert 8 not in known.kept
    assert sample_numbers(known.inputs) == tuple(range(11))
    assert sample_numbers(known.outputs) == known.kept, "no outputs are stored for it"
    assert not any(
        np.isnan(array).any() for sample in known.read_outputs() for array in sample.values()
    )
    extremes = known.read_inputs()[known.kinds.index("extremes")]["x"]
    answer = known.read_outputs()[known.kinds.index("extremes")]
    np.testing.assert_allclose(next(iter(answer.values())), extremes / np.abs(extremes).max())


def test_a_regular_sample_is_never_left_out(tmp_path: Path) -> None:
    def picky(x: Any) -> Any:
        with tf.control_dependencies([tf.debugging.assert_less(x, 0.5)]):
            return tf.identity(x)

    with pytest.raises(TraceError, match="it refuses sample 0"):
        ask(signature(50)(picky), tmp_path)


def test_a_layer_that_gives_nan_on_a_regular_sample_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="it gives NaN on sample 0") as caught:
        ask(signature(50)(tf.math.log), tmp_path)
    assert "--data" in caught.value.way_out


def test_a_random_layer_is_not_a_reference(tmp_path: Path) -> None:
    @signature(8)
    def dice(x: Any) -> Any:
        return x + tf.random.normal([8])

    bundle = hubopt.export(dice, ["tflite"], tmp_path / "out", rounds=0)
    (result,) = bundle.results
    assert result.status == "unverified"
    assert "called a second time" in str(result.reason)


def test_permuted_inputs_hold_the_same_elements() -> None:
    sample = {
        "x": np.arange(12.0).reshape(3, 4),
        "text": np.array([[b"one two three four five"]], object),
    }
    other = permuted(sample, 1)
    assert sorted(other["x"].ravel()) == sorted(sample["x"].ravel())
    assert not np.array_equal(other["x"], sample["x"])
    assert sorted(other["text"][0, 0].split()) == sorted(sample["text"][0, 0].split())
    assert other["text"][0, 0] != sample["text"][0, 0]


@pytest.mark.parametrize("shape", [(1, 1), (1, 4)])
def test_one_sample_of_a_sum_does_not_prove_that_the_input_is_ignored(shape: Any) -> None:
    """Permuting the input does not change a sum, nor an input of a single number."""
    total = signature(*shape)(lambda x: tf.reduce_sum(x, axis=1))
    own = [np.arange(1.0, 1 + shape[1], dtype="float32")]
    for data in (None, own):
        assert hubopt.verify(total, total, samples=1, data=data, noise="off").status == "verified"
    ignores = signature(*shape)(lambda x: x[:, 0] * 0 + 1)
    assert hubopt.verify(ignores, ignores, data=own, noise="off").status == "vacuous"


def untrained(classes: int = 1000) -> Any:
    import tf_keras

    tf_keras.utils.set_random_seed(0)
    return tf_keras.applications.MobileNetV2((96, 96, 3), alpha=0.35, weights=None, classes=classes)


def test_an_untrained_classifier_proves_nothing(tmp_path: Path) -> None:
    bundle = hubopt.export(untrained(), ["tflite", "onnx"], tmp_path / "out", rounds=0)
    assert [result.status for result in bundle.results] == ["vacuous", "vacuous"]
    for result in bundle.results:
        assert "the same for every input" in str(result.reason)
        assert result.parity is not None
        assert result.parity.passed
