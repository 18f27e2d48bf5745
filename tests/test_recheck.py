"""A bundle's artifacts once more: verified and timed where they are."""

import shutil
from dataclasses import replace
from pathlib import Path

import hubopt


def test_verify_gives_a_fresh_verdict(tiny_bundle: hubopt.Bundle) -> None:
    fresh = hubopt.verify(tiny_bundle.path, ["onnx", "tflite"])
    assert [each.target for each in fresh] == ["tflite", "onnx"]
    assert all(each.status == "verified" for each in fresh)
    assert all(each.device in ("CPU", "CUDA") for each in fresh)
    assert all(each.parity is not None and each.parity.samples == 4 for each in fresh)


def test_verify_sees_an_artifact_that_is_another_model(
    tiny_bundle: hubopt.Bundle, tmp_path: Path
) -> None:
    """A hand-made manifest with a good digest does not help an artifact that is wrong."""
    from hubopt.bundle import write_manifest
    from hubopt.digest import sha256
    from hubopt.testing import write_tiny_model

    other = hubopt.export(
        write_tiny_model(tmp_path / "other", seed=1), ["onnx"], tmp_path / "o", rounds=0
    )
    copy = shutil.copytree(tiny_bundle.path, tmp_path / "copy")
    shutil.copy(other.path / "onnx" / "model.onnx", copy / "onnx" / "model.onnx")
    manifest = tiny_bundle.manifest
    forged = replace(manifest.targets["onnx"], sha256=sha256(copy / "onnx" / "model.onnx"))
    write_manifest(copy, replace(manifest, targets=manifest.targets | {"onnx": forged}))
    (result,) = hubopt.verify(copy, "onnx")
    assert (result.status, result.stage) == ("failed", "parity")


def test_a_damaged_artifact_does_not_stop_the_others(
    tiny_bundle: hubopt.Bundle, tmp_path: Path
) -> None:
    copy = shutil.copytree(tiny_bundle.path, tmp_path / "copy")
    with (copy / "tflite" / "model.tflite").open("ab") as stream:
        stream.write(b"\0")
    tflite, onnx = hubopt.verify(copy, ["tflite", "onnx"])
    assert (tflite.status, tflite.stage) == ("failed", "load")
    assert "sha256" in str(tflite.reason)
    assert onnx.status == "verified"


def test_verify_works_on_a_bundle_that_cannot_be_written(
    tiny_bundle: hubopt.Bundle, tmp_path: Path
) -> None:
    copy = shutil.copytree(tiny_bundle.path, tmp_path / "copy")
    before = sorted(copy.rglob("*"))
    for each in [copy, *copy.rglob("*")]:
        each.chmod(0o555 if each.is_dir() else 0o444)
    (result,) = hubopt.verify(copy, ["onnx"])
    assert result.status == "verified"
    assert sorted(copy.rglob("*")) == before


def test_bench_times_what_it_verified_beside_the_layer(tiny_bundle: hubopt.Bundle) -> None:
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
