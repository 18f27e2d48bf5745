"""The reference set: files that are written once, and the samples that artifacts are judged on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import hubopt
from hubopt.exporter import Tensors
from hubopt.parity import TOLERANCES, ReferenceQuality
from hubopt.parity.deviations import Deviation
from hubopt.reference.reference_set import ReferenceSet, add_noise, leaves_bounds
from hubopt.sampling.arrays import read_samples, sample_numbers, write_samples
from hubopt.spec import Dim, ModelSpec, TensorSpec
from tests.reference.making import ask, measure

SPEC = ModelSpec(
    (TensorSpec("x", "float32", (Dim(2, "trace"),)),),
    (TensorSpec("y", "float32", (Dim(2, "trace"),)),),
    "x",
    "y",
)
ANSWERS = [{"y": np.float32([at + 1, 2])} for at in range(5)]


def signature(*shape: int) -> Any:
    return tf.function(input_signature=[tf.TensorSpec(shape, tf.float32, name="x")])


@pytest.fixture
def five(tmp_path: Path) -> ReferenceSet:
    """Five samples, the second of which was refused; the last two are edge cases."""
    inputs, outputs = tmp_path / "inputs.npz", tmp_path / "reference.npz"
    write_samples(inputs, [{"x": np.float32([at, at])} for at in range(5)])
    write_samples(outputs, {at: ANSWERS[at] for at in (0, 2, 3, 4)})
    return ReferenceSet(
        SPEC,
        inputs,
        outputs,
        kept=(0, 2, 3, 4),
        kinds=("normal", "uniform", "reaching", "reaching"),
        edges=frozenset({3, 4}),
        left_out={"reaching (1)": "the layer gives NaN"},
    )


def moved(path: Path, by: dict[int, float]) -> Path:
    """Write answers that are off by so much, by the number of the sample."""
    answers: dict[int, Tensors] = {at: {"y": ANSWERS[at]["y"] + off} for at, off in by.items()}
    write_samples(path, answers)
    return path


def test_only_kept_samples_are_read_and_in_their_order(five: ReferenceSet) -> None:
    assert [sample["x"][0] for sample in five.read_inputs()] == [0, 2, 3, 4]
    assert [sample["y"][0] for sample in five.read_outputs()] == [1, 3, 4, 5]
    fewer = replace(five, kept=(4, 2))
    assert [sample["x"][0] for sample in fewer.read_inputs()] == [4, 2]


def test_what_is_left_out_leaves_the_files_as_they_are(five: ReferenceSet, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in (five.inputs, five.outputs)}
    odd = moved(tmp_path / "float64.npz", {0: 0.0, 2: 1e-4, 3: 1.0, 4: 2e-4})
    before[odd] = odd.read_bytes()
    known = add_noise(five, {"float64": odd}, {"xla": "why"}, "float64")
    assert known.kept == (0, 2, 4)
    assert known.kinds == ("normal", "uniform", "reaching")
    assert {path: path.read_bytes() for path in before} == before
    assert [sample["y"][0] for sample in known.read_outputs()] == [1, 3, 5]
    assert len(known.read_outputs(known.float64)) == 3
    assert [each.largest for each in known.quality.deviations["float64"]["y"]] == pytest.approx(
        [0, 1e-4, 2e-4], rel=1e-2
    )
    assert known.quality.skipped == {"xla": "why"}


def test_what_is_left_out_is_named_by_its_number(five: ReferenceSet, tmp_path: Path) -> None:
    """By its place it would be taken for another one, and hide why that was left out."""
    odd = moved(tmp_path / "float64.npz", {0: 0.0, 2: 0.0, 3: 1.0, 4: 1.0})
    assert add_noise(five, {"float64": odd}, {}, "float64").left_out == {
        "reaching (1)": "the layer gives NaN",
        "reaching (3)": "the layer itself is unsteady there",
        "reaching (4)": "the layer itself is unsteady there",
    }


def test_what_was_known_of_a_sample_that_is_left_out_is_forgotten(
    five: ReferenceSet, tmp_path: Path
) -> None:
    moves = {"onednn": {"y": tuple(Deviation(float(at), 0.0) for at in range(4))}}
    five = replace(five, quality=ReferenceQuality(deviations=moves))
    odd = moved(tmp_path / "float64.npz", {0: 0.0, 2: 0.0, 3: 1.0, 4: 0.0})
    known = add_noise(five, {"float64": odd}, {}, "rounded")
    assert [each.largest for each in known.quality.deviations["onednn"]["y"]] == [0, 1, 3]


def test_a_first_look_is_at_the_first_samples_and_leaves_none_out(
    five: ReferenceSet, tmp_path: Path
) -> None:
    light = add_noise(five, {"onednn": moved(tmp_path / "on.npz", {0: 1.0, 2: 1.0})}, {}, "light")
    assert light.kept == five.kept
    assert light.float64 is None
    assert light.variants == {}
    assert len(light.quality.deviations["onednn"]["y"]) == 2


def test_a_sample_that_is_no_edge_case_stays_however_unsteady(
    five: ReferenceSet, tmp_path: Path
) -> None:
    odd = moved(tmp_path / "float64.npz", {0: 1.0, 2: 1.0, 3: 0.0, 4: 0.0})
    assert add_noise(five, {"float64": odd}, {}, "float64").kept == five.kept


def test_an_artifact_without_outputs_has_an_empty_answer_to_each_sample(
    five: ReferenceSet, tmp_path: Path
) -> None:
    """So that it is told what is missing."""
    write_samples(tmp_path / "nothing.npz", {})
    assert five.read_outputs(tmp_path / "nothing.npz") == [{}] * 4


def test_float64_is_nearer_to_the_truth_than_the_layer(tmp_path: Path) -> None:
    known = measure(signature(2, 300)(lambda x: tf.math.cumsum(tf.sin(x), axis=1)), tmp_path)
    assert known.float64 is not None
    inputs = known.read_inputs()
    errors = []
    for path in (known.outputs, known.float64):
        answers = known.read_outputs(path)
        truths = [np.cumsum(np.sin(next(iter(x.values())).astype(float)), axis=1) for x in inputs]
        pairs = zip(answers, truths, strict=True)
        errors.append(max(float(np.abs(next(iter(a.values())) - t).max()) for a, t in pairs))
    assert errors[1] < 1e-12 < errors[0]
    moves = known.quality.deviations["float64"][known.spec.output_names[0]]
    assert max(each.largest for each in moves) == pytest.approx(errors[0], rel=0.5)


@signature(64)
def centred(x: Any) -> Any:
    """All but silence divided by its own loudness is rounding: the ways to compute it part."""
    rest = (x + 1000.0 / 3.0) - 1000.0 / 3.0 - x  # zero but for float32's rounding
    return x + tf.where(tf.reduce_max(tf.abs(x)) < 1e-2, rest * 1e5, 0.0)


def test_edge_cases_on_which_the_layer_is_noise_are_left_out(tmp_path: Path) -> None:
    known = measure(centred, tmp_path)
    assert known.left_out == {"small (10)": "the layer itself is unsteady there"}
    assert "small" not in known.kinds
    assert len(known.kinds) == len(known.kept)
    assert 10 not in known.kept
    for path in (known.inputs, known.outputs, known.float64):
        assert path is not None
        assert sample_numbers(path) == tuple(range(11)), "its files keep what was asked"


def test_a_bundle_has_only_the_samples_that_artifacts_are_judged_on(tmp_path: Path) -> None:
    bundle = hubopt.export(centred, ["tflite"], tmp_path / "out", rounds=0, noise="full")
    manifest = bundle.manifest
    assert manifest.left_out == {"small (10)": "the layer itself is unsteady there"}
    assert bundle.float64 is not None
    for path in (bundle.inputs, bundle.reference, bundle.float64):
        assert sample_numbers(path) == tuple(range(len(manifest.samples)))
    assert [each.status for each in hubopt.verify_bundle(bundle)] == ["verified"]


def test_zeros_are_no_weights(tmp_path: Path) -> None:
    """What pads with zeros has nothing that other weights could change."""
    known = measure(signature(2, 3)(lambda x: tf.concat([x, tf.zeros([2, 4])], 1)), tmp_path)
    assert known.quality.weightless == known.spec.output_names
    again = measure(signature(2, 3)(lambda x: x @ tf.ones([3, 4])), tmp_path / "ones")
    assert again.quality.weightless == ()


@pytest.mark.parametrize(("share", "leaves"), [(0.9, False), (1.1, True)])
def test_a_layer_leaves_the_bounds_as_an_artifact_does(
    share: float, leaves: bool, tmp_path: Path
) -> None:
    """By what is allowed at an element of zero, in units of the output's rms."""
    _, known = ask(signature(2, 3)(lambda x: tf.tanh(x)), tmp_path)
    assert not leaves_bounds(known), "it gives the same twice"
    (name,) = known.spec.output_names
    (first, *_) = read_samples(known.outputs, known.spec.outputs)
    rms = float(np.sqrt(np.mean(first[name].astype("float64") ** 2)))
    noise = {"onednn": {name: (Deviation(share * (TOLERANCES["fp32"].atol or 0) * rms, 0.0),)}}
    assert leaves_bounds(replace(known, quality=replace(known.quality, deviations=noise))) is leaves
