"""The kit: samples and answers on disk, edge cases that prove nothing left out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hubopt.reference.asking import Question, ask
from hubopt.reference.kit import Kit, leaves_bounds, permuted
from hubopt.reference.noise_depth import Deepening, Noise
from hubopt.reference.reference import Reference

import hubopt
from hubopt.errors import TraceError
from hubopt.exporter import Program
from hubopt.layers.layer import as_layer
from hubopt.parity import TOLERANCES
from hubopt.parity.moves import Move
from hubopt.progress import quiet
from hubopt.reference.layer_session import LayerSession
from hubopt.reference.noise import NoiseMeter
from hubopt.sampling.arrays import read_samples


def asked_kit(function: Any, folder: Path, question: Question | None = None) -> tuple[Program, Kit]:
    """Return the program of a function, and its kit before anything is known of its noise."""
    layer = LayerSession(as_layer(function))
    spec = layer.resolve(hubopt.Hints())
    program = layer.trace(spec, folder / "program", "auto")
    kit = Kit(spec, folder / "inputs.npz", folder / "reference.npz")
    return program, ask(question or Question(), layer, program, kit, program.folder, quiet)


def make(function: Any, folder: Path, noise: Noise = "full") -> Kit:
    """Return the kit of a function."""
    program, kit = asked_kit(function, folder, Question(noise=noise))
    with NoiseMeter(folder / "log") as meter:
        deepen = Deepening(noise, program, meter, folder / "noise", quiet)
        return Reference(lambda: kit, deepen).exhaust()


def signature(*shape: int, dtype: Any = tf.float32) -> Any:
    return tf.function(input_signature=[tf.TensorSpec(shape, dtype, name="x")])


def test_a_kit_has_samples_of_several_kinds_and_an_answer_for_each(tmp_path: Path) -> None:
    kit = make(signature(2, 3)(lambda x: tf.tanh(x)), tmp_path)
    inputs = read_samples(kit.inputs, kit.spec.inputs)
    reference = read_samples(kit.reference, kit.spec.outputs)
    assert len(inputs) == len(reference) == len(kit.kinds) >= 8
    assert len(set(kit.kinds)) >= 4
    assert kit.kinds[8:] == ("zeros", "extremes", "small")
    for sample, answer in zip(inputs, reference, strict=True):
        (x,), (y,) = sample.values(), answer.values()
        np.testing.assert_allclose(y, np.tanh(x), rtol=1e-5)


def test_float64_is_nearer_to_the_truth_than_the_layer(tmp_path: Path) -> None:
    kit = make(signature(2, 300)(lambda x: tf.math.cumsum(tf.sin(x), axis=1)), tmp_path)
    assert kit.float64 is not None
    inputs = read_samples(kit.inputs, kit.spec.inputs)
    errors = []
    for path in (kit.reference, kit.float64):
        answers = read_samples(path, kit.spec.outputs)
        truths = [np.cumsum(np.sin(next(iter(x.values())).astype(float)), axis=1) for x in inputs]
        pairs = zip(answers, truths, strict=True)
        errors.append(max(float(np.abs(next(iter(a.values())) - t).max()) for a, t in pairs))
    assert errors[1] < 1e-12 < errors[0]
    moves = kit.facts.moves["float64"][kit.spec.output_names[0]]
    assert max(each.largest for each in moves) == pytest.approx(errors[0], rel=0.5)


def test_edge_cases_that_give_nan_or_are_refused_are_left_out(tmp_path: Path) -> None:
    @signature(4)
    def loudness(x: Any) -> Any:
        with tf.control_dependencies([tf.debugging.assert_less(tf.abs(x), 3.0 + 1e9)]):
            return x / tf.reduce_max(tf.abs(x))

    kit = make(loudness, tmp_path)
    assert kit.left_out == {"zeros (8)": "the layer gives NaN"}
    assert "zeros" not in kit.kinds
    reference = read_samples(kit.reference, kit.spec.outputs)
    assert not any(np.isnan(array).any() for each in reference for array in each.values())


def test_edge_cases_on_which_the_layer_is_noise_are_left_out(tmp_path: Path) -> None:
    """All but silence divided by its own loudness is rounding: the ways to compute it part."""

    @signature(64)
    def centred(x: Any) -> Any:
        rest = (x + 1000.0 / 3.0) - 1000.0 / 3.0 - x  # zero but for float32's rounding
        return x + tf.where(tf.reduce_max(tf.abs(x)) < 1e-2, rest * 1e5, 0.0)

    kit = make(centred, tmp_path)
    assert kit.left_out == {"small (10)": "the layer itself is unsteady there"}
    assert "small" not in kit.kinds
    for path in (kit.inputs, kit.reference, kit.float64):
        assert path is not None
        with np.load(path) as stored:
            assert len(stored.files) == len(kit.kinds)


def test_a_sample_that_is_no_edge_case_is_not_left_out(tmp_path: Path) -> None:
    def picky(x: Any) -> Any:
        with tf.control_dependencies([tf.debugging.assert_less(x, 0.5)]):
            return tf.identity(x)

    with pytest.raises(TraceError, match="it refuses sample 0"):
        make(signature(50)(picky), tmp_path)


def test_without_noise_nothing_is_measured_and_no_edge_is_taken(tmp_path: Path) -> None:
    kit = make(signature(2, 3)(lambda x: tf.tanh(x)), tmp_path, "off")
    assert len(kit.kinds) == 8
    assert kit.float64 is None
    assert set(kit.facts.moves) == {"repeated"}


def test_a_layer_that_answers_differently_each_time_is_no_reference(tmp_path: Path) -> None:
    @signature(8)
    def dice(x: Any) -> Any:
        return x + tf.random.normal([8])

    bundle = hubopt.export(dice, ["tflite"], tmp_path / "out", rounds=0, options=hubopt.Options())
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
    """A sum of a permuted input is the same, and so is a single number, permuted."""
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
    assert [each.status for each in bundle.results] == ["vacuous", "vacuous"]
    for result in bundle.results:
        assert "the same for every input" in str(result.reason)
        assert result.parity is not None
        assert result.parity.passed


def test_integer_inputs_stay_inside_their_tables(tmp_path: Path) -> None:
    """Five rows: an index of 7, which hubopt once drew, would be refused by the layer."""
    table = tf.Variable(np.random.default_rng(0).standard_normal((5, 3)), dtype=tf.float32)

    @signature(1, 6, dtype=tf.int32)
    def embed(ids: Any) -> Any:
        return tf.gather(table, ids)

    kit = make(embed, tmp_path)
    drawn = [next(iter(each.values())) for each in read_samples(kit.inputs, kit.spec.inputs)]
    assert max(each.max() for each in drawn) == 4
    assert min(each.min() for each in drawn) == 0


def test_a_layer_that_gives_nan_is_nobodys_fault_but_told(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="it gives NaN on sample 0") as caught:
        make(signature(50)(tf.math.log), tmp_path)
    assert "--data" in caught.value.way_out


def test_zeros_are_no_weights(tmp_path: Path) -> None:
    """What pads with zeros has nothing that other weights could change."""
    kit = make(signature(2, 3)(lambda x: tf.concat([x, tf.zeros([2, 4])], 1)), tmp_path)
    assert kit.facts.weightless == kit.spec.output_names
    (again,) = [make(signature(2, 3)(lambda x: x @ tf.ones([3, 4])), tmp_path / "ones")]
    assert again.facts.weightless == ()


@pytest.mark.parametrize(("share", "leaves"), [(0.9, False), (1.1, True)])
def test_a_layer_leaves_the_bounds_as_an_artifact_does(
    share: float, leaves: bool, tmp_path: Path
) -> None:
    """By what is allowed at an element of zero, in units of the output's rms."""
    _, kit = asked_kit(signature(2, 3)(lambda x: tf.tanh(x)), tmp_path)
    assert not leaves_bounds(kit), "it gives the same twice"
    (name,) = kit.spec.output_names
    (first, *_) = read_samples(kit.reference, kit.spec.outputs)
    rms = float(np.sqrt(np.mean(first[name].astype("float64") ** 2)))
    moved = {"onednn": {name: (Move(share * (TOLERANCES["fp32"].atol or 0) * rms, 0.0),)}}
    assert leaves_bounds(replace(kit, facts=replace(kit.facts, moves=moved))) is leaves
