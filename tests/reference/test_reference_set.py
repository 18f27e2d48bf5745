"""The reference set: files that are written once, and the samples used to judge artifacts."""

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
    """Five samples. The second was left out for NaN, and the last two are edge cases."""
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


def write_inexact(path: Path, by: dict[int, float]) -> Path:
    """Write outputs with the given error for each sample number."""
    answers: dict[int, Tensors] = {at: {"y": ANSWERS[at]["y"] + off} for at, off in by.items()}
    write_samples(path, answers)
    return path


def test_only_kept_samples_are_read_in_their_order(five: ReferenceSet) -> None:
    assert [sample["x"][0] for sample in five.read_inputs()] == [0, 2, 3, 4]
    assert [sample["y"][0] for sample in five.read_outputs()] == [1, 3, 4, 5]
    fewer = replace(five, kept=(4, 2))
    assert [sample["x"][0] for sample in fewer.read_inputs()] == [4, 2]


def test_leaving_samples_out_does_not_change_the_files(five: ReferenceSet, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in (five.inputs, five.outputs)}
    odd = write_inexact(tmp_path / "float64.npz", {0: 0.0, 2: 1e-4, 3: 1.0, 4: 2e-4})
    before[odd] = odd.read_bytes()
    known = add_noise(five, {"float64": odd}, {"xla": "why"}, "float64")
    assert known.kept == (0, 2, 4)
    assert known.kinds == ("normal", "uniform", "reaching")
    assert {path: path.read_bytes() for path in before} == before
    assert [sample["y"][0] for sample in known.read_outputs()] == [1, 3, 5]
    assert len(known.read_outputs(known.float64)) == 3
    assert [sample.largest for sample in known.quality.deviations["float64"]["y"]] == pytest.approx(
        [0, 1e-4, 2e-4], rel=1e-2
    )
    assert known.quality.skipped == {"xla": "why"}


def test_samples_left_out_are_named_by_their_number(five: ReferenceSet, tmp_path: Path) -> None:
    """Its position could collide with another sample's and hide that one's reason."""
    odd = write_inexact(tmp_path / "float64.npz", {0: 0.0, 2: 0.0, 3: 1.0, 4: 1.0})
    assert add_noise(five, {"float64": odd}, {}, "float64").left_out == {
        "reaching (1)": "the layer gives NaN",
        "reaching (3)": "the layer itself is unsteady there",
        "reaching (4)": "the layer itself is unsteady there",
    }


def test_measurements_of_a_sample_left_out_are_removed(five: ReferenceSet, tmp_path: Path) -> None:
    noise = {"onednn": {"y": tuple(Deviation(float(at), 0.0) for at in range(4))}}
    five = replace(five, quality=ReferenceQuality(deviations=noise))
    odd = write_inexact(tmp_path / "float64.npz", {0: 0.0, 2: 0.0, 3: 1.0, 4: 0.0})
    known = add_noise(five, {"float64": odd}, {}, "rounded")
    assert [deviation.largest for deviation in known.quality.deviations["onednn"]["y"]] == [0, 1, 3]


def test_a_first_look_uses_the_first_samples_and_leaves_none_out(
    five: ReferenceSet, tmp_path: Path
) -> None:
    light = add_noise(
        five, {"onednn": write_inexact(tmp_path / "on.npz", {0: 1.0, 2: 1.0})}, {}, "light"
    )
    assert light.kept == five.kept
    assert light.float64 is None
    assert light.variants == {}
    assert len(light.quality.deviations["onednn"]["y"]) == 2


def test_a_regular_sample_is_kept_even_if_unsteady(five: ReferenceSet, tmp_path: Path) -> None:
    odd = write_inexact(tmp_path / "float64.npz", {0: 1.0, 2: 1.0, 3: 0.0, 4: 0.0})
    assert add_noise(five, {"float64": odd}, {}, "float64").kept == five.kept


def test_an_artifact_without_outputs_has_empty_outputs_for_each_sample(
    five: ReferenceSet, tmp_path: Path
) -> None:
    """The comparison can then report the missing outputs."""
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
    deviations = known.quality.deviations["float64"][known.spec.output_names[0]]
    assert max(deviation.largest for deviation in deviations) == pytest.approx(errors[0], rel=0.5)


@signature(64)
def centred(x: Any) -> Any:
    """On small inputs the output is amplified rounding, so the variants differ."""
    rest = (x + 1000.0 / 3.0) - 1000.0 / 3.0 - x  # zero but for float32's rounding
    return x + tf.where(tf.reduce_max(tf.abs(x)) < 1e-2, rest * 1e5, 0.0)


def test_edge_cases_on_which_the_layer_is_unsteady_are_left_out(tmp_path: Path) -> None:
    known = measure(centred, tmp_path)
    assert known.left_out == {"small (10)": "the layer itself is unsteady there"}
    assert "small" not in known.kinds
    assert len(known.kinds) == len(known.kept)
    assert 10 not in known.kept
    for path in (known.inputs, known.outputs, known.float64):
        assert path is not None
        assert sample_numbers(path) == tuple(range(11)), "the files keep all samples"


def test_a_bundle_has_only_the_samples_used_to_judge_artifacts(tmp_path: Path) -> None:
    bundle = hubopt.export(centred, ["tflite"], tmp_path / "out", rounds=0, noise="full")
    manifest = bundle.manifest
    assert manifest.left_out == {"small (10)": "the layer itself is unsteady there"}
    assert bundle.float64 is not None
    for path in (bundle.inputs, bundle.reference, bundle.float64):
        assert sample_numbers(path) == tuple(range(len(manifest.samples)))
    assert [result.status for result in hubopt.verify_bundle(bundle)] == ["verified"]


def test_zeros_do_not_count_as_weights(tmp_path: Path) -> None:
    """A model that only pads with zeros has no weights that could be perturbed."""
    known = measure(signature(2, 3)(lambda x: tf.concat([x, tf.zeros([2, 4])], 1)), tmp_path)
    assert known.quality.weightless == known.spec.output_names
    again = measure(signature(2, 3)(lambda x: x @ tf.ones([3, 4])), tmp_path / "ones")
    assert again.quality.weightless == ()


@pytest.mark.parametrize(("share", "leaves"), [(0.9, False), (1.1, True)])
def test_a_layer_leaves_the_bounds_at_the_same_deviation_as_an_artifact(
    share: float, leaves: bool, tmp_path: Path
) -> None:
    """The deviation is a share of the bound at a zero element: atol times the output's rms."""
    _, known = ask(signature(2, 3)(lambda x: tf.tanh(x)), tmp_path)
    assert not leaves_bounds(known), "repeated calls give the same outputs"
    (name,) = known.spec.output_names
    (first, *_) = read_samples(known.outputs, known.spec.outputs)
    rms = float(np.sqrt(np.mean(first[name].astype("float64") ** 2)))
    noise = {"onednn": {name: (Deviation(share * (TOLERANCES["fp32"].atol or 0) * rms, 0.0),)}}
    assert leaves_bounds(replace(known, quality=replace(known.quality, deviations=noise))) is leaves
