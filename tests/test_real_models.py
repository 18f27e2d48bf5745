"""Published models through the whole pipeline."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hubopt
from benchmarks import models
from hubopt._util.digest import sha256
from hubopt.bundles.bundle import read_bundle, write_manifest
from hubopt.parity import TOLERANCES, judge
from hubopt.sampling.arrays import read_samples
from hubopt_exporters.gpu import gpu_problem
from tests.conftest import Ran, run_hubopt
from tests.faults import swap_outputs

pytestmark = pytest.mark.real
HAS_GPU = gpu_problem() is None


def check_all_targets(ran: Ran, output: Path, outputs: set[str]) -> None:
    """Check for three verified targets, a real engine and a manifest that matches the files."""
    assert ran.code == (0 if HAS_GPU else 3), ran.err
    targets = ran.json["targets"]
    assert list(targets) == ["savedmodel", "tflite", "onnx", "trt"]
    for name in ("savedmodel", "tflite", "onnx"):
        assert targets[name]["status"] == "verified"
        assert set(targets[name]["max_abs_error"]) == outputs
        assert targets[name]["load_ms"] > 0
        assert targets[name]["first_ms"] > 0
        assert targets[name]["p50_ms"] > 0
        assert targets[name]["ratio_to_layer"] > 0
    if not HAS_GPU:
        assert targets["trt"]["status"] == "unverified"
        assert "run `hubopt verify BUNDLE --target trt`" in targets["trt"]["reason"]
    assert targets["trt"]["size_bytes"] > 100_000
    builder = "tensorrt_rtx" if not HAS_GPU else targets["trt"]["result"]["details"]["builder"]
    assert targets["trt"]["result"]["details"]["builder"] == builder
    for target in targets.values():
        assert target["sha256"] == sha256(output / target["path"])


def test_basic_pitch(basic_pitch_export: tuple[Ran, Path]) -> None:
    ran, output = basic_pitch_export
    check_all_targets(ran, output, {"note", "onset", "contour"})
    spec = read_bundle(output).manifest.spec
    assert [str(tensor) for tensor in spec.inputs] == ["input_2: float32 1x43844x1"]
    assert {str(tensor) for tensor in spec.outputs} == {
        "note: float32 1x172x88",
        "onset: float32 1x172x88",
        "contour: float32 1x172x264",
    }
    assert [dim.origin for dim in spec.inputs[0].dims] == ["default", "signature", "signature"]


def test_a_trained_mobilenet(mobilenet_export: tuple[Ran, Path]) -> None:
    ran, output = mobilenet_export
    check_all_targets(ran, output, {"dense_1"})
    (image,) = read_bundle(output).manifest.spec.inputs
    assert image.shape == (1, 224, 224, 3)


def test_every_artifact_keeps_the_names(basic_pitch_export: tuple[Ran, Path]) -> None:
    import onnx
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter

    _, output = basic_pitch_export
    names = {"note", "onset", "contour"}
    graph = onnx.load(output / "onnx" / "model.onnx").graph
    assert {value.name for value in graph.output} == names
    assert [value.name for value in graph.input] == ["input_2"]
    tflite = Interpreter(str(output / "tflite" / "model.tflite")).get_signature_list()
    assert set(tflite["serving_default"]["outputs"]) == names
    loaded = tf.saved_model.load(str(output / "savedmodel"))
    assert set(loaded.signatures["serving_default"].structured_outputs) == names


def test_exchanging_note_and_onset_fails(
    basic_pitch_export: tuple[Ran, Path], tmp_path: Path
) -> None:
    """Swap two outputs of the same shape in the artifact, with a manifest that matches it."""
    copy = shutil.copytree(basic_pitch_export[1], tmp_path / "bundle")
    model = copy / "onnx" / "model.onnx"
    swap_outputs(model, "note", "onset")
    manifest = read_bundle(copy).manifest
    forged = replace(manifest.targets["onnx"], sha256=sha256(model))
    write_manifest(copy, replace(manifest, targets=manifest.targets | {"onnx": forged}))
    ran = run_hubopt("verify", copy, "-t", "onnx", "--json")
    assert ran.code == 4
    target = ran.json["targets"]["onnx"]
    assert (target["status"], target["stage"]) == ("failed", "parity")
    problems = target["result"]["parity"]["problems"]
    assert {problem.split(",")[0] for problem in problems} == {"output note", "output onset"}
    assert run_hubopt("verify", basic_pitch_export[1], "-t", "onnx").code == 0


VENDORS_NAMES = {  # our output name -> the vendor's; two have one shape
    "contour": "StatefulPartitionedCall:0",
    "note": "StatefulPartitionedCall:1",
    "onset": "StatefulPartitionedCall:2",
}


def vendor_onnx(path: Path, audio: np.ndarray) -> dict[str, Any]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    arrays = dict(
        zip(names, session.run(names, {session.get_inputs()[0].name: audio}), strict=True)
    )
    return {ours: arrays[theirs] for ours, theirs in VENDORS_NAMES.items()}


def vendor_tflite(path: Path, audio: np.ndarray) -> dict[str, Any]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    return dict(interpreter.get_signature_runner()(input_2=audio))


@pytest.mark.parametrize(("target", "vendor"), [("onnx", vendor_onnx), ("tflite", vendor_tflite)])
def test_our_export_agrees_with_the_vendors_own(
    basic_pitch_export: tuple[Ran, Path], target: str, vendor: Any
) -> None:
    bundle = read_bundle(basic_pitch_export[1])
    spec = bundle.manifest.spec
    ours = hubopt.load(bundle, target)
    path = models.basic_pitch().with_suffix(f".{target}")
    inputs = [sample["input_2"] for sample in read_samples(bundle.inputs, spec.inputs)]
    theirs = [vendor(path, audio) for audio in inputs]
    parity = judge(spec, [ours(audio) for audio in inputs], theirs, TOLERANCES["fp32"])
    assert parity.passed, parity.problems


def test_the_numeric_core_of_a_text_model(tmp_path: Path, quickspacer: Path) -> None:
    bundle = hubopt.export(
        quickspacer,
        ["savedmodel", "tflite", "onnx"],
        tmp_path / "out",
        hints=hubopt.Hints.parse(["tokens=1x24"]),
        layer_options=hubopt.LayerOptions(signature="model_inference"),
        rounds=0,
    )
    assert {result.target: result.status for result in bundle.results} == {
        "savedmodel": "verified",
        "tflite": "verified",
        "onnx": "verified",
    }
    assert [str(tensor) for tensor in bundle.manifest.spec.inputs] == ["tokens: int32 1x24"]
