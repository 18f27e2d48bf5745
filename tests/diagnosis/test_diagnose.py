"""Faults planted in real artifacts are found, named and reproduced."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hubopt.bundles.bundle import Bundle, read_bundle
from hubopt.cli import app
from hubopt.diagnosis import Diagnosis, diagnose
from hubopt.errors import BundleError, UsageError
from hubopt.exporting.pipeline import export
from tests.diagnosis.planting import (
    onnx_bias_dropped,
    onnx_weight_sign,
    plant,
    saved_model_weight_sign,
    tflite_weight_sign,
)


def run_alone(folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run a reproduction outside hubopt's own folders."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, "-I", str(folder / "reproduce.py")],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=environment,
    )


def assert_points_at(found: Diagnosis, layer: str) -> None:
    assert layer in found.layers, found
    assert found.segment
    assert found.before
    (worst,) = (row for row in found.growth if row.tensor == found.tensor)
    assert worst.diverges
    assert not any(row.diverges for row in found.growth if row.tensor in found.before)


@pytest.mark.parametrize("target", ["onnx", "tflite", "savedmodel"])
def test_a_clean_artifact_has_no_divergence(residual_bundle: Bundle, target: str) -> None:
    found = diagnose(residual_bundle, target)
    assert found.tensor is None
    assert str(found) == f"{target}: nothing leaves the reference"
    assert not any("leaves" in note for note in found.notes)


def test_a_fault_in_a_branch_is_found_and_reproduced(
    residual_bundle: Bundle, tmp_path: Path
) -> None:
    faulty = plant(residual_bundle, "onnx", onnx_weight_sign("branch"), tmp_path / "bundle")
    found = diagnose(faulty, "onnx", output=tmp_path / "alone")
    assert_points_at(found, "branch")
    assert any("stem_relu" in name for name in found.before)
    assert not any("join" in name for name in found.segment)
    assert found.reproduction == tmp_path / "alone"
    ran = run_alone(tmp_path / "alone")
    assert ran.returncode == 1, ran.stderr
    assert "largest difference" in ran.stdout
    assert ran.stdout.splitlines()[0] in (tmp_path / "alone" / "README.md").read_text()


def test_a_clean_part_passes_the_same_script(residual_bundle: Bundle, tmp_path: Path) -> None:
    """The script can succeed: it does with the clean weights restored."""
    import onnx

    faulty = plant(residual_bundle, "onnx", onnx_weight_sign("branch"), tmp_path / "bundle")
    diagnose(faulty, "onnx", output=tmp_path / "alone")
    clean = onnx.load(residual_bundle.artifact("onnx").path)
    weights = {weight.name: weight for weight in clean.graph.initializer}
    part = onnx.load(tmp_path / "alone" / "model.onnx")
    for weight in part.graph.initializer:
        weight.CopyFrom(weights[weight.name])
    onnx.save(part, tmp_path / "alone" / "model.onnx")
    assert run_alone(tmp_path / "alone").returncode == 0


def test_a_dropped_bias_is_found(residual_bundle: Bundle, tmp_path: Path) -> None:
    faulty = plant(residual_bundle, "onnx", onnx_bias_dropped("stem_norm"), tmp_path / "bundle")
    assert_points_at(diagnose(faulty, "onnx"), "stem_norm")


def test_a_fault_in_tflite_is_found_and_reproduced(residual_bundle: Bundle, tmp_path: Path) -> None:
    faulty = plant(residual_bundle, "tflite", tflite_weight_sign("branch"), tmp_path / "bundle")
    found = diagnose(faulty, "tflite", output=tmp_path / "alone")
    assert_points_at(found, "branch")
    assert run_alone(tmp_path / "alone").returncode == 1


def test_a_fault_in_a_saved_model_is_found(residual_bundle: Bundle, tmp_path: Path) -> None:
    fault = saved_model_weight_sign("branch/kernel")
    faulty = plant(residual_bundle, "savedmodel", fault, tmp_path / "bundle")
    found = diagnose(faulty, "savedmodel", output=tmp_path / "alone")
    assert_points_at(found, "branch")
    assert not (tmp_path / "alone").exists()
    assert any("does not run alone" in note for note in found.notes)


def test_a_callable_must_be_passed_again(tmp_path: Path) -> None:
    import tensorflow as tf

    weights = tf.constant([[1.0, 2.0], [3.0, -4.0]])

    def shrink(x: Any) -> Any:
        return tf.tanh(x @ weights)

    from hubopt.hints import Hints

    hints = Hints.parse(["1x2"], dtypes=["float32"])
    bundle = export(shrink, ["onnx"], tmp_path / "bundle", hints=hints, rounds=0)
    with pytest.raises(UsageError, match="model="):
        diagnose(bundle, "onnx")
    assert diagnose(bundle, "onnx", model=shrink).tensor is None


def test_an_output_folder_that_exists_is_refused_before_any_work(
    residual_bundle: Bundle, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="exists already"):
        diagnose(residual_bundle, "onnx", output=tmp_path)


def test_a_missing_target_is_reported(residual_bundle: Bundle) -> None:
    with pytest.raises(BundleError, match="no trt artifact"):
        diagnose(residual_bundle, "trt")


def test_the_command_line_prints_text_or_json(residual_bundle: Bundle, tmp_path: Path) -> None:
    faulty = plant(residual_bundle, "onnx", onnx_weight_sign("branch"), tmp_path / "bundle")
    arguments = ["diagnose", str(faulty.path), "--target", "onnx"]
    ran = CliRunner().invoke(app, arguments)
    assert ran.exit_code == 0, ran.output
    assert "branch" in ran.output
    assert "Conv" in ran.output
    as_json = CliRunner().invoke(app, [*arguments, "--json"])
    document = json.loads(as_json.stdout)
    assert document["layer"].startswith("branch")
    assert document["growth"]


@pytest.mark.real
def test_a_fault_in_basic_pitch_is_found(basic_pitch_export: Any, tmp_path: Path) -> None:
    bundle = read_bundle(basic_pitch_export[1])
    faults = (
        ("onnx", onnx_weight_sign("contours-reduced")),
        ("tflite", tflite_weight_sign("conv2d_4")),
    )
    for target, fault in faults:
        faulty = plant(bundle, target, fault, tmp_path / target)
        found = diagnose(faulty, target, output=tmp_path / f"{target}-alone")
        layer = "contours-reduced" if target == "onnx" else "conv2d_4"
        assert_points_at(found, layer)
        assert run_alone(tmp_path / f"{target}-alone").returncode == 1
