"""`hubopt.verify`: any artifact against any layer, and `assert_parity` for a user's own tests."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import hubopt
from hubopt.errors import ExportError, NotRunnableHereError, SpecError, UsageError
from hubopt.exporter import Artifact
from hubopt.testing import assert_parity, write_tiny_model
from tests.faults import swap_outputs
from tests.recorder import Recorder


def test_an_artifact_agrees_with_its_layer(tiny_bundle: hubopt.Bundle, tiny: Path) -> None:
    for target in ("onnx", "tflite", "savedmodel"):
        parity = hubopt.verify(tiny_bundle.artifact(target), str(tiny))
        assert parity.status == "verified", parity
        assert parity.samples >= 8


def test_the_target_of_a_file_is_inferred_from_its_suffix(
    tiny_bundle: hubopt.Bundle, tiny: Path
) -> None:
    parity = hubopt.verify(tiny_bundle.path / "onnx" / "model.onnx", str(tiny), noise="off")
    assert parity.status == "verified"
    assert repr(parity).startswith("Parity: verified on 8 samples\n")


def test_a_fault_gives_a_verdict_not_an_exception(
    tiny_bundle: hubopt.Bundle, tiny: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.onnx"
    shutil.copy(tiny_bundle.path / "onnx" / "model.onnx", broken)
    swap_outputs(broken, "sum", "difference")
    parity = hubopt.verify(broken, str(tiny), noise="off")
    assert parity.status == "failed"
    with pytest.raises(AssertionError, match="SQNR"):
        assert_parity(broken, str(tiny), noise="off")


def test_any_callable_can_be_verified(tiny: Path) -> None:
    layer = hubopt.KerasLayer(str(tiny))

    def faithful(inputs: Any) -> Any:
        return {name: tensor.numpy() for name, tensor in layer(inputs).items()}

    def unfaithful(inputs: Any) -> Any:
        return {name: tensor.numpy() * 1.001 for name, tensor in layer(inputs).items()}

    assert assert_parity(faithful, layer, noise="off").passed
    assert hubopt.verify(unfaithful, layer, noise="off").status == "failed"
    assert assert_parity(unfaithful, layer, noise="off", tolerance="tf32").passed


@pytest.mark.parametrize(
    ("artifact", "message"),
    [(lambda inputs: inputs["left"], "a mapping with keys"), (lambda inputs: 1 / 0, "by zero")],
)
def test_a_callable_that_does_not_work_like_the_layer_is_reported(
    tiny: Path, artifact: Any, message: str
) -> None:
    with pytest.raises(ExportError, match=f"sample 0: .*{message}"):
        hubopt.verify(artifact, str(tiny), noise="off")


def test_loaded_artifacts_can_be_called(tiny_bundle: hubopt.Bundle, tiny: Path) -> None:
    assert_parity(hubopt.load(tiny_bundle, "onnx"), str(tiny), noise="off")


def test_other_names_can_be_mapped(tiny_bundle: hubopt.Bundle, tiny: Path, tmp_path: Path) -> None:
    import onnx

    model = onnx.load(tiny_bundle.path / "onnx" / "model.onnx")
    names = {"left": "in:0", "sum": "out:7"}
    for value in (*model.graph.input, *model.graph.output):
        value.name = names.get(value.name, value.name)
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    onnx.save(model, tmp_path / "theirs.onnx")
    assert_parity(tmp_path / "theirs.onnx", str(tiny), names=names, noise="off")
    swapped = {"sum": "difference", "difference": "out:7", "left": "in:0"}
    assert hubopt.verify(
        tmp_path / "theirs.onnx", str(tiny), names=swapped, noise="off"
    ).status == ("failed")


def test_the_users_own_data(tiny_bundle: hubopt.Bundle, tiny: Path) -> None:
    generator = np.random.default_rng(0)

    def samples() -> Any:
        for _ in range(3):
            yield {name: generator.standard_normal((1, 8)) for name in ("left", "right")}

    parity = hubopt.verify(tiny_bundle.artifact("onnx"), str(tiny), data=samples, noise="off")
    assert parity.samples == 3
    with pytest.raises(SpecError, match="left"):
        hubopt.verify(tiny_bundle.artifact("onnx"), str(tiny), data=[{"left": np.zeros((1, 8))}])


def test_an_artifact_of_another_model_fails(tiny_bundle: hubopt.Bundle, tmp_path: Path) -> None:
    other = write_tiny_model(tmp_path / "other", seed=1)
    assert hubopt.verify(tiny_bundle.artifact("tflite"), other, noise="off").status == "failed"


@pytest.mark.parametrize(
    ("name", "message"),
    [("missing.onnx", "no such file"), ("model.bin", "does not determine the target")],
)
def test_a_path_that_is_not_an_artifact_is_reported(
    name: str, message: str, tiny: Path, tmp_path: Path
) -> None:
    (tmp_path / "model.bin").touch()
    with pytest.raises(UsageError, match=message):
        hubopt.verify(tmp_path / name, str(tiny), noise="off")


@pytest.mark.real
def test_the_vendors_own_exports(basic_pitch: Path) -> None:
    """Basic-pitch's authors ship their own ONNX and TFLite exports, with their own names."""
    exports = basic_pitch.parent
    names = {
        "input_2": "serving_default_input_2:0",
        "note": "StatefulPartitionedCall:1",
        "onset": "StatefulPartitionedCall:2",
        "contour": "StatefulPartitionedCall:0",
    }
    assert_parity(exports / "nmp.onnx", str(basic_pitch), names=names, samples=4)
    swapped = {**names, "note": names["onset"], "onset": names["note"]}
    assert hubopt.verify(
        exports / "nmp.onnx", str(basic_pitch), names=swapped, samples=4
    ).status == ("failed")


def test_the_users_own_bounds_are_applied() -> None:
    """The artifact's small error exceeds one bound and is well within another."""

    @tf.function(input_signature=[tf.TensorSpec([2, 3], tf.float32, name="x")])
    def layer(x: Any) -> Any:
        return tf.tanh(x) + 2.0

    def off(x: Any) -> Any:
        return np.tanh(x) + np.float32(2.00001)

    strict = hubopt.ToleranceOverrides.parse(rtol=["1e-7"], atol=["1e-7"], sqnr=["off"])
    assert hubopt.verify(off, layer, noise="off").status == "verified"
    assert hubopt.verify(off, layer, noise="off", overrides=strict).status == "failed"


def test_an_artifact_runs_once_however_much_noise_is_measured() -> None:
    """A wrong artifact requires all noise levels, but does not run again."""

    @tf.function(input_signature=[tf.TensorSpec([2, 3], tf.float32, name="x")])
    def layer(x: Any) -> Any:
        return tf.tanh(x) + 2.0

    asked: list[Any] = []
    recorder = Recorder()

    def off(x: Any) -> Any:
        asked.append(x)
        return np.tanh(x) + np.float32(2.1)

    parity = hubopt.verify(off, layer, progress=recorder)
    assert parity.status == "failed"
    assert "measure how steady the layer is" in recorder.labels
    assert len(asked) == parity.samples == 11
    assert recorder.labels.count("run the artifact") == 1


def test_an_artifact_that_this_machine_cannot_run_is_an_error(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"this is no model")
    artifact = Artifact("nobodys", tmp_path / "model.onnx", hubopt.resolve(hubopt.KerasLayer(tiny)))
    with pytest.raises(NotRunnableHereError, match="nobodys"):
        hubopt.verify(artifact, str(tiny), noise="off")
    with pytest.raises(hubopt.HuboptError):
        hubopt.verify(tmp_path / "model.onnx", str(tiny), noise="off")
