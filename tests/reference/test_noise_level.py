"""Levels of noise measurement, with real models and real measurements."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import hubopt
from hubopt.errors import UsageError
from hubopt.parity import TOLERANCES, Tolerance
from hubopt.progress import done, quiet
from hubopt.reference.noise import Answers, NoiseMeter
from hubopt.reference.noise_level import FirstLook, Noise, NoiseEscalation
from hubopt.sampling.arrays import sample_numbers
from hubopt_exporters.onnx import OnnxExporter
from tests.faults import export_wrong
from tests.recorder import Recorder
from tests.reference.making import ask

WEIGHTS = np.random.default_rng(0).standard_normal((6, 6)).astype("float32")


@tf.function(input_signature=[tf.TensorSpec([2, 6], tf.float32, name="x")])
def steady(x: Any) -> Any:
    return tf.tanh(x @ WEIGHTS)


@tf.function(input_signature=[tf.TensorSpec([2, 60], tf.float32, name="x")])
def shaky(x: Any) -> Any:
    """Cancellation loses half the digits. Adding in another order gives errors of that size."""
    return tf.math.cumsum(x + 300.0, axis=1) - 300.0 * tf.range(1.0, 61.0)


def test_auto_escalates_step_by_step(tmp_path: Path) -> None:
    program, known = ask(steady, tmp_path)
    assert known.quality.level == "off"
    with NoiseMeter(tmp_path / "log") as meter:
        escalation = NoiseEscalation("auto", program, meter, tmp_path / "noise", quiet)
        light = escalation.next(known)
        assert light is not None
        assert light.quality.level == "light"
        (name,) = known.spec.output_names
        measured = {
            variant: len(found[name]) for variant, found in light.quality.deviations.items()
        }
        assert measured.pop("repeated") == 1
        assert set(measured) <= {"onednn"}
        assert set(measured.values()) <= {2}
        assert "weights" in light.quality.probes
        assert light.float64 is None

        double = escalation.next(light)
        assert double is not None
        assert double.quality.level == "float64"
        assert double.float64 is not None
        assert len(double.quality.deviations["float64"][name]) == len(known.kinds)
        assert sample_numbers(double.float64) == known.kept

        rounded = escalation.next(double)
        assert rounded is not None
        assert rounded.quality.level == "rounded"
        for variant in ("rounded1", "rounded2", "rounded3"):
            assert len(rounded.quality.deviations[variant][name]) == len(known.kinds)
        assert "xla" not in rounded.quality.deviations

        full = escalation.next(rounded)
        assert full is not None
        assert full.quality.level == "full"
        assert len(full.quality.deviations["xla"][name]) == len(full.kinds)
        assert escalation.next(full) is None


def test_an_unsteady_edge_case_is_left_out_once_all_samples_are_measured(tmp_path: Path) -> None:
    """Its measurements are removed too, so that the remaining ones still match the samples."""
    program, known = ask(unsteady_if_small, tmp_path)
    (name,) = known.spec.output_names
    with NoiseMeter(tmp_path / "log") as meter:
        escalation = NoiseEscalation("auto", program, meter, tmp_path / "noise", quiet)
        light = escalation.next(known)
        assert light is not None
        assert light.kinds[8:] == ("zeros", "extremes", "small")
        double = escalation.next(light)
        assert double is not None
        assert double.kinds[8:] == ("zeros", "extremes")
        assert double.kept == tuple(range(10))
        assert double.left_out == {"small (10)": "the layer itself is unsteady there"}
        rounded = escalation.next(double)
        assert rounded is not None
    assert rounded.kinds == double.kinds
    for variant in ("float64", "rounded1"):
        assert len(rounded.quality.deviations[variant][name]) == len(rounded.kinds)
    assert rounded.float64 is not None
    for samples in (rounded.read_inputs(), rounded.read_outputs(rounded.float64)):
        assert len(samples) == len(rounded.kinds)
    assert sample_numbers(rounded.variants["rounded1"]) == rounded.kept, (
        "its later variants are skipped"
    )


def test_a_layer_outside_the_bounds_is_computed_in_float64_immediately(
    tmp_path: Path,
) -> None:
    program, known = ask(never_the_same, tmp_path)
    (name,) = known.spec.output_names
    with NoiseMeter(tmp_path / "log") as meter:
        double = NoiseEscalation("auto", program, meter, tmp_path / "noise", quiet).next(known)
    assert double is not None
    assert double.quality.level == "float64"
    assert len(double.quality.deviations["float64"][name]) == len(double.kinds)
    assert "weights" in double.quality.probes, "the light level was measured as well"


def test_with_a_single_set_of_kernels_float64_measures_the_noise(
    tmp_path: Path,
) -> None:
    program, known = ask(steady, tmp_path)

    class OneSet(NoiseMeter):
        def measure(self, *asked: Any) -> Answers:
            found = super().measure(*asked)
            answers = {
                variant: path for variant, path in found.answers.items() if variant != "onednn"
            }
            return Answers(answers, {**found.problems, "onednn": "there is one set"})

    with OneSet(tmp_path / "log") as meter:
        double = NoiseEscalation("auto", program, meter, tmp_path / "noise", quiet).next(known)
    assert double is not None
    assert double.quality.level == "float64"


@tf.function(input_signature=[tf.TensorSpec([2, 6], tf.float32, name="x")])
def never_the_same(x: Any) -> Any:
    """Repeated calls differ by more than float32 rounding, with any kernels."""
    return tf.tanh(x @ WEIGHTS) * (1 + tf.random.uniform([]) / 1000)


@tf.function(input_signature=[tf.TensorSpec([64], tf.float32, name="x")])
def unsteady_if_small(x: Any) -> Any:
    """At millions of turns, one unit in the last place of a float32 angle is a turn."""
    return tf.where(tf.reduce_max(tf.abs(x)) < 1e-2, tf.sin(x * 1e12), tf.tanh(x))


@pytest.mark.parametrize("same", [True, False])
def test_a_first_look_is_reused_if_the_samples_begin_alike(same: bool, tmp_path: Path) -> None:
    program, known = ask(steady, tmp_path)
    asked: list[Path] = []

    class Watched(NoiseMeter):
        def measure(self, program: Any, inputs: Path, *rest: Any) -> Answers:
            asked.append(inputs)
            return super().measure(program, inputs, *rest)

    samples = known.read_inputs()
    likely = samples[:2] if same else samples[1:3]
    with Watched(tmp_path / "log") as meter:
        escalation = NoiseEscalation("auto", program, meter, tmp_path / "noise", quiet)
        assert escalation.begins_light
        first = FirstLook(likely, done(escalation.look(likely, known.onednn_on)))
        light = escalation.begin(known, first)
    assert light.quality.level == "light"
    (name,) = known.spec.output_names
    assert all(
        len(light.quality.deviations[variant][name]) <= 2 for variant in light.quality.deviations
    )
    ahead = tmp_path / "noise" / "first.npz"
    assert asked == ([ahead] if same else [ahead, known.inputs])


@pytest.mark.parametrize(("noise", "level"), [("off", "off"), ("full", "full")])
def test_there_is_no_first_look_if_nothing_or_everything_is_measured(
    noise: Noise, level: str, tmp_path: Path
) -> None:
    program, known = ask(steady, tmp_path)
    with NoiseMeter(tmp_path / "log") as meter:
        escalation = NoiseEscalation(noise, program, meter, tmp_path / "noise", quiet)
        assert not escalation.begins_light
        assert escalation.begin(known).quality.level == level
    assert not (tmp_path / "noise" / "first.npz").exists()


def test_full_takes_one_step_and_off_takes_none(tmp_path: Path) -> None:
    program, known = ask(steady, tmp_path)
    with NoiseMeter(tmp_path / "log") as meter:
        assert NoiseEscalation("off", program, meter, tmp_path / "noise", quiet).next(known) is None
        full = NoiseEscalation("full", program, meter, tmp_path / "noise", quiet).next(known)
        assert full is not None
        assert full.quality.level == "full"
        assert set(full.quality.deviations) | set(full.quality.skipped) >= {
            "float64",
            "rounded3",
            "xla",
        }


@pytest.mark.parametrize(("noise", "level"), [("off", "off"), ("auto", "light"), ("full", "full")])
def test_an_export_of_a_steady_layer(noise: Noise, level: str, tmp_path: Path) -> None:
    bundle = hubopt.export(steady, ["onnx"], tmp_path / "out", rounds=0, noise=noise)
    assert bundle.results[0].status == "verified"
    assert bundle.manifest.reference.level == level
    assert hubopt.verify_bundle(bundle)[0].status == "verified"


def test_an_artifact_outside_the_tolerance_is_judged_by_the_layers_noise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without the noise it fails. With it, deeper noise levels are measured as needed."""
    monkeypatch.setitem(TOLERANCES, "fp32", Tolerance(rtol=1e-7, atol=1e-7, sqnr_db=80.0))
    blamed = hubopt.verify(shaky, shaky_otherwise, noise="off")
    assert blamed.status == "failed"
    fair = hubopt.verify(shaky, shaky_otherwise)
    assert fair.status == "verified"
    assert {basis for output in fair.outputs for basis in output.bases} >= {"float64"} or fair.note


@tf.function(input_signature=[tf.TensorSpec([2, 60], tf.float32, name="x")])
def shaky_otherwise(x: Any) -> Any:
    """The same sums, added in the opposite order."""
    shifted = x + 300.0
    total = tf.reduce_sum(shifted, axis=1, keepdims=True)
    after = tf.math.cumsum(shifted, axis=1, reverse=True, exclusive=True)
    return (total - after) - 300.0 * tf.range(1.0, 61.0)


def test_targets_are_judged_on_one_reference_set(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second target needs deeper noise levels. The first is judged again without a rerun."""
    monkeypatch.setattr("hubopt.runs.convert.export", export_wrong)
    recorder = Recorder()
    bundle = hubopt.export(
        tiny, ["tflite", "onnx"], tmp_path / "out", rounds=1, progress=recorder, cache=False
    )
    tflite, onnx = bundle.results
    assert (tflite.status, onnx.status) == ("verified", "failed")
    assert bundle.manifest.reference.level == "full"
    assert [label for label in recorder.labels if label.startswith("tflite: ")] == [
        "tflite: export",
        "tflite: run and time",
    ]
    assert tflite.parity is not None
    assert tflite.parity.samples == len(bundle.manifest.samples)
    assert all(output.from_float64 for output in tflite.parity.outputs)
    assert tflite.latency is not None, "the earlier measurement must be kept"
    assert hubopt.verify_bundle(bundle, "tflite")[0].status == "verified"


def test_all_noise_is_measured_for_an_artifact_that_cannot_run_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another machine judges it, based on the measurements of this one."""
    monkeypatch.setattr(OnnxExporter, "machine_problem", lambda self: "planted by the test")
    bundle = hubopt.export(steady, ["tflite", "onnx"], tmp_path / "out", rounds=0, cache=False)
    assert bundle.manifest.reference.level == "full"
    assert [result.status for result in bundle.results] == ["verified", "verified"]


def test_an_unknown_noise_mode_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="off, auto, full"):
        hubopt.export(steady, ["onnx"], tmp_path / "out", noise="some")  # type: ignore[arg-type]
