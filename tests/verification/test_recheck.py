"""Verifying, timing and rejudging the artifacts of an existing bundle."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import hubopt
from hubopt.bundles.results import TargetResult
from hubopt.errors import BundleError, NothingExportedError
from hubopt.parity import TOLERANCES, Tolerance
from hubopt.reference.noise_level import Noise


def test_verify_gives_a_fresh_verdict(tiny_bundle: hubopt.Bundle) -> None:
    fresh = hubopt.verify_bundle(tiny_bundle.path, ["onnx", "tflite"])
    assert [result.target for result in fresh] == ["tflite", "onnx"]
    assert all(result.status == "verified" for result in fresh)
    assert all(result.device in ("CPU", "CUDA") for result in fresh)
    assert all(result.parity is not None and result.parity.samples >= 8 for result in fresh)


def test_verify_detects_an_artifact_of_another_model(
    tiny_bundle: hubopt.Bundle, tmp_path: Path
) -> None:
    """A forged manifest with a matching digest does not help a wrong artifact."""
    from hubopt._util.digest import sha256
    from hubopt.bundles.bundle import write_manifest
    from hubopt.testing import write_tiny_model

    other = hubopt.export(
        write_tiny_model(tmp_path / "other", seed=1), ["onnx"], tmp_path / "o", rounds=0
    )
    copy = shutil.copytree(tiny_bundle.path, tmp_path / "copy")
    shutil.copy(other.path / "onnx" / "model.onnx", copy / "onnx" / "model.onnx")
    manifest = tiny_bundle.manifest
    forged = replace(manifest.targets["onnx"], sha256=sha256(copy / "onnx" / "model.onnx"))
    write_manifest(copy, replace(manifest, targets=manifest.targets | {"onnx": forged}))
    (result,) = hubopt.verify_bundle(copy, "onnx")
    assert (result.status, result.stage) == ("failed", "parity")


def rounded_otherwise(x: Any) -> Any:
    """Use functions that TensorFlow and onnxruntime implement differently on any processor."""
    kernel = np.random.default_rng(0).standard_normal((512, 512)).astype("float32") / 16
    return tf.nn.softmax(tf.matmul(tf.tanh(tf.matmul(x, kernel)), kernel))


def test_a_failure_says_if_the_layers_noise_was_not_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another machine rounds differently, and the bundle has no measured noise to excuse that."""
    model = tf.function(rounded_otherwise, input_signature=[tf.TensorSpec([4, 512], name="x")])

    def verified_again(noise: Noise) -> TargetResult:
        bundle = hubopt.export(model, ["onnx"], tmp_path / noise, rounds=0, noise=noise)
        with monkeypatch.context() as patch:
            patch.setitem(TOLERANCES, "fp32", Tolerance(rtol=1e-8, atol=1e-8))
            (result,) = hubopt.verify_bundle(bundle)
        return result

    blamed = verified_again("off")
    assert blamed.status == "failed"
    assert "export with --noise full" in str(blamed.reason)
    assert verified_again("full").status == "verified"


def test_a_damaged_artifact_does_not_stop_the_others(
    tiny_bundle: hubopt.Bundle, tmp_path: Path
) -> None:
    copy = shutil.copytree(tiny_bundle.path, tmp_path / "copy")
    with (copy / "tflite" / "model.tflite").open("ab") as stream:
        stream.write(b"\0")
    tflite, onnx = hubopt.verify_bundle(copy, ["tflite", "onnx"])
    assert (tflite.status, tflite.stage) == ("failed", "load")
    assert "sha256" in str(tflite.reason)
    assert onnx.status == "verified"


def test_verify_works_on_a_bundle_that_cannot_be_written(
    tiny_bundle: hubopt.Bundle, tmp_path: Path
) -> None:
    copy = shutil.copytree(tiny_bundle.path, tmp_path / "copy")
    before = sorted(copy.rglob("*"))
    for path in [copy, *copy.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    (result,) = hubopt.verify_bundle(copy, ["onnx"])
    assert result.status == "verified"
    assert sorted(copy.rglob("*")) == before


def test_bench_times_a_verified_artifact_beside_the_layer(tiny_bundle: hubopt.Bundle) -> None:
    (result,) = hubopt.bench(tiny_bundle, ["onnx"], rounds=2)
    assert result.status == "verified"
    latency = result.latency
    assert latency is not None
    assert latency.layer is not None
    assert len(latency.artifact.rounds_ms) == len(latency.layer.rounds_ms) == 2
    assert latency.artifact.load_ms is not None
    assert latency.artifact.load_ms > 0
    assert latency.artifact.first_ms > 0
    assert latency.ratio is not None
    assert latency.ratio > 0


def test_bench_without_the_model_says_so(tiny: Path, tmp_path: Path) -> None:
    model = shutil.copytree(tiny, tmp_path / "model")
    bundle = hubopt.export(model, ["onnx"], tmp_path / "out", rounds=0)
    (model / "more").touch()
    (changed,) = hubopt.bench(bundle, rounds=1)
    assert changed.latency is not None
    assert changed.latency.ratio is None
    assert "has changed since the export" in str(changed.latency.no_layer)
    shutil.rmtree(model)
    (gone,) = hubopt.bench(bundle, rounds=1)
    assert gone.latency is not None
    assert "no such file or folder" in str(gone.latency.no_layer)


def failing(tiny: Path, output: Path, keep: bool = True) -> hubopt.Bundle:
    """Export with tolerances that only exact equality meets."""
    overrides = hubopt.ToleranceOverrides.parse(rtol=["0"], atol=["0"], sqnr=["off"])
    return hubopt.export(
        tiny, ["onnx"], output, rounds=0, noise="off", overrides=overrides, keep_failed=keep
    )


def test_rejudging_applies_other_tolerances_and_runs_nothing(tiny: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    bundle = hubopt.export(tiny, ["onnx", "tflite"], output, rounds=0, noise="off")
    for folder in ("onnx", "tflite", "verification"):
        shutil.rmtree(output / folder)  # nothing is left that could run
    same = hubopt.rejudge(output)
    assert same == bundle.results
    strict = hubopt.ToleranceOverrides.parse(rtol=["0"], atol=["0"])
    for result in hubopt.rejudge(output, overrides=strict):
        assert (result.status, result.stage) == ("failed", "parity")
        assert "differ by more than allowed" in str(result.reason)
    one = hubopt.ToleranceOverrides.parse(rtol=["sum=0"], atol=["sum=0"])
    for result in hubopt.rejudge(output, overrides=one):
        assert "output sum, sample 0: " in str(result.reason)
        assert "output difference" not in str(result.reason)


def test_a_target_that_did_not_run_is_unchanged(tiny_bundle: hubopt.Bundle) -> None:
    (trt,) = hubopt.rejudge(tiny_bundle, "trt")
    assert trt == tiny_bundle.manifest.targets["trt"]


def test_rejudging_agrees_with_verifying_again(tiny_bundle: hubopt.Bundle) -> None:
    for rtol, atol in ((1e-4, 1e-5), (1e-7, 1e-7), (0, 1e-6), (1e-6, 0), (0, 1e-8)):
        overrides = hubopt.ToleranceOverrides.parse(
            rtol=[str(rtol)], atol=[str(atol)], sqnr=["off"]
        )
        (again,) = hubopt.rejudge(tiny_bundle, ["onnx"], overrides)
        (anew,) = hubopt.verify_bundle(tiny_bundle, ["onnx"], overrides)
        assert again.status == anew.status, (rtol, atol)


def test_a_failed_artifact_is_kept_separately_on_request(tiny: Path, tmp_path: Path) -> None:
    bundle = failing(tiny, tmp_path / "kept")
    (result,) = bundle.results
    assert (result.status, result.path) == ("failed", "failed/onnx/model.onnx")
    assert bundle.artifact("onnx", failed=True).path.is_file()
    assert not (bundle.path / "onnx").exists()
    with pytest.raises(BundleError, match="no onnx artifact"):
        bundle.artifact("onnx")
    (again,) = hubopt.rejudge(bundle, overrides=hubopt.ToleranceOverrides())
    assert again.status == "verified"


def test_a_failed_artifact_is_not_kept_by_default(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(NothingExportedError):
        failing(tiny, tmp_path / "out", keep=False)
    assert not (tmp_path / "out").exists()


def test_an_artifact_that_would_pass_but_was_not_kept_stays_failed(
    tiny_bundle: hubopt.Bundle, tmp_path: Path
) -> None:
    from hubopt.bundles.bundle import write_manifest

    copy = shutil.copytree(tiny_bundle.path, tmp_path / "copy")
    manifest = tiny_bundle.manifest
    (failed,) = hubopt.rejudge(
        copy, "onnx", hubopt.ToleranceOverrides.parse(rtol=["0"], atol=["0"])
    )
    lost = replace(failed, path=None, sha256=None, size_bytes=None)
    write_manifest(copy, replace(manifest, targets=manifest.targets | {"onnx": lost}))
    (result,) = hubopt.rejudge(copy, "onnx")
    assert result.status == "failed"
    assert "it would be verified within these tolerances" in str(result.reason)


@pytest.mark.parametrize("name", ["inputs", "reference", "float64"])
def test_a_changed_reference_set_proves_nothing(
    name: str, tiny_bundle: hubopt.Bundle, tmp_path: Path
) -> None:
    copy = shutil.copytree(tiny_bundle.path, tmp_path / "copy")
    with (copy / "verification" / f"{name}.npz").open("ab") as stream:
        stream.write(b"\0")
    with pytest.raises(BundleError, match="sha256"):
        hubopt.verify_bundle(copy)
