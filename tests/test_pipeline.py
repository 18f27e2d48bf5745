"""The line as Python calls it, and what it leaves behind when a stage fails."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import hubopt
from hubopt import registry, session
from hubopt.bundle import read_bundle
from hubopt.errors import ExportError, NothingExportedError, SpecError, UsageError
from hubopt.exporter import Artifact, Options
from hubopt.report.document import error_document
from hubopt.results import TargetResult, exit_code
from hubopt.targets import find_obstacles
from hubopt_exporters.onnx import OnnxExporter
from tests.faults import swap_outputs


def results(bundle: hubopt.Bundle) -> dict[str, TargetResult]:
    return {each.target: each for each in bundle.results}


def fail(source: Any, path: Path, options: Options) -> Artifact:
    path.write_bytes(b"half an artifact")
    raise ExportError("onnx artifact", "it went wrong half-way", "an artifact", "try again")


def crash(source: Any, path: Path, options: Options) -> Artifact:
    path.write_bytes(b"half an artifact")
    os.abort()


def wrong(source: Any, path: Path, options: Options) -> Artifact:
    """Export the model with two outputs of one shape exchanged."""
    artifact = registry.get("onnx").export(source, path, options)
    swap_outputs(path, "sum", "difference")
    return artifact


def convert_with(fault: Callable[..., Artifact]) -> Callable[..., Any]:
    def convert(target: str, source: Any, path: Path, options: Options) -> Any:
        if target == "onnx":
            return fault(source, path, options), 0.0
        return session.convert(target, source, path, options)

    return convert


def convert_failing(*arguments: Any) -> Any:
    return convert_with(fail)(*arguments)


def convert_crashing(*arguments: Any) -> Any:
    return convert_with(crash)(*arguments)


def convert_wrong(*arguments: Any) -> Any:
    return convert_with(wrong)(*arguments)


@pytest.mark.parametrize(
    ("convert", "stage", "told", "code"),
    [
        (convert_failing, "export", "it went wrong half-way", 5),
        (convert_crashing, "export", "ended by SIGABRT", 5),
        (convert_wrong, "parity", "output difference, sample 0", 5),  # 5: trt lost its source
    ],
)
def test_a_target_that_fails_takes_only_those_that_start_from_it_along(
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    convert: Any,
    stage: str,
    told: str,
    code: int,
) -> None:
    monkeypatch.setattr("hubopt.targets.convert", convert)
    bundle = hubopt.export(tiny, ["tflite", "trt"], tmp_path / "out", rounds=0)
    by_target = results(bundle)
    assert list(by_target) == ["tflite", "onnx", "trt"]
    assert by_target["tflite"].status == "verified"
    assert (by_target["onnx"].status, by_target["onnx"].stage) == ("failed", stage)
    assert told in str(by_target["onnx"].reason)
    assert by_target["trt"].stage == "source"
    assert exit_code(bundle.results) == code
    assert by_target["onnx"].path is None
    assert not (bundle.path / "onnx").exists()  # nothing where a good one would be
    assert (bundle.path / "logs" / "onnx.log").is_file()
    assert read_bundle(bundle.path).results == bundle.results


class WritesElsewhere(OnnxExporter):
    """Appends a suffix of its own, as np.save does."""

    def export(self, source: Any, path: Path, options: Options) -> Artifact:
        return super().export(source, path.with_suffix(".onnx.data"), options)


class WritesMore(OnnxExporter):
    """Leaves a file beside the artifact that no digest covers."""

    def export(self, source: Any, path: Path, options: Options) -> Artifact:
        path.with_suffix(".more").touch()
        return super().export(source, path, options)


class OddDetails(OnnxExporter):
    """Puts a value into the details that JSON does not have."""

    def export(self, source: Any, path: Path, options: Options) -> Artifact:
        artifact = super().export(source, path, options)
        return replace(artifact, details={"score": np.float32(1)})  # type: ignore[dict-item]


class OddTolerance(OnnxExporter):
    """Names a tolerance class that does not exist."""

    def export(self, source: Any, path: Path, options: Options) -> Artifact:
        return replace(super().export(source, path, options), tolerance="fp8")  # type: ignore[arg-type]


class Unpicklable(OnnxExporter):
    """Returns what cannot be sent."""

    def export(self, source: Any, path: Path, options: Options) -> Artifact:
        artifact = super().export(source, path, options)
        return replace(artifact, path=lambda: None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("exporter", "told"),
    [
        (WritesElsewhere, "nothing was written at the path asked for"),
        (WritesMore, "it also wrote model.more"),
        (OddDetails, "details must be plain strings, numbers and booleans: score"),
        (OddTolerance, "no tolerance class 'fp8'"),
        (Unpicklable, "the artifact says it is at"),
    ],
)
def test_what_a_strangers_exporter_gives_is_checked(
    tmp_path: Path,
    tiny_program: tuple[Any, hubopt.Program],
    monkeypatch: pytest.MonkeyPatch,
    exporter: Any,
    told: str,
) -> None:
    monkeypatch.setattr(registry, "get", lambda name: exporter())
    with pytest.raises(ExportError) as caught:
        session.convert("onnx", tiny_program[1], tmp_path / "model.onnx", Options())
    assert told in str(caught.value)


def test_obstacles_that_fail_are_that_targets_failure(
    tiny_program: tuple[Any, hubopt.Program],
) -> None:
    class Broken(OnnxExporter):
        def obstacles(self, ops: Any, options: Any) -> Any:
            raise KeyError("a stranger's bug")

    program = tiny_program[1]
    found = find_obstacles([Broken(), registry.get("tflite")], program.ops, Options())
    assert "obstacles() fails: KeyError" in found["onnx"][0].reason
    assert found["tflite"] == []


def test_layer_options_are_for_handles(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="options for a handle only"):
        hubopt.inspect(tf.identity, layer_options=hubopt.LayerOptions(signature="x"))


def test_if_every_target_fails_nothing_is_written(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hubopt.targets.convert", convert_crashing)
    told = "no target gave an artifact that may be kept\n  - onnx: export: "
    with pytest.raises(NothingExportedError, match=told):
        hubopt.export(tiny, ["onnx"], tmp_path / "out", rounds=0)
    assert [each.name for each in tmp_path.iterdir()] == []


def test_parity_alone_that_fails_has_its_own_exit_code(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hubopt.targets.convert", convert_wrong)
    bundle = hubopt.export(tiny, ["onnx", "tflite"], tmp_path / "out", rounds=0)
    assert exit_code(bundle.results) == 4


def test_parity_that_fails_everywhere_has_that_exit_code_and_its_metrics(tmp_path: Path) -> None:
    def noisy(x: tf.Tensor) -> tf.Tensor:
        return x + tf.random.normal([2])

    with pytest.raises(NothingExportedError) as caught:
        hubopt.export(
            noisy, "onnx", tmp_path / "out", hints=hubopt.Hints.parse(["2"], ["float32"]), rounds=0
        )
    assert caught.value.exit_code == 4
    (result,) = caught.value.results
    assert isinstance(result, TargetResult)
    assert result.parity is not None
    document = json.loads(error_document(caught.value))
    assert document["exit_code"] == 4
    assert document["targets"]["onnx"]["stage"] == "parity"
    assert list(tmp_path.iterdir()) == []


def test_a_function_is_exported_where_it_is(tmp_path: Path) -> None:
    scale = tf.Variable(3.0)

    def triple(x: tf.Tensor) -> tf.Tensor:
        return scale * x

    bundle = hubopt.export(
        triple,
        ["onnx"],
        tmp_path / "out",
        hints=hubopt.Hints.parse(["2x3"], ["float32"]),
        rounds=1,
    )
    assert bundle.manifest.handle == "triple"
    assert bundle.manifest.digest is None
    (result,) = bundle.results
    assert result.status == "verified"
    assert result.latency is not None
    assert result.latency.ratio is not None
    onnx = hubopt.load(bundle, "onnx")
    np.testing.assert_array_equal(onnx(np.ones((2, 3))), 3 * np.ones((2, 3)))


def test_names_that_tensorflow_cannot_hold_stay_the_layers_own(tmp_path: Path) -> None:
    one, two = tf.TensorSpec([1, 2]), tf.TensorSpec([1, 2])
    function = tf.function(
        lambda given: {"x/y": given["a b"] * 2, "é": given["0"]},
        input_signature=[{"a b": one, "0": two}],
    )
    bundle = hubopt.export(function, ["savedmodel", "tflite", "onnx"], tmp_path / "out", rounds=0)
    assert [each.status for each in bundle.results] == ["verified"] * 3
    inputs = {"a b": np.ones((1, 2), "float32"), "0": np.zeros((1, 2), "float32")}
    for target in ("savedmodel", "tflite", "onnx"):
        outputs = hubopt.load(bundle, target)(inputs)
        assert outputs["x/y"].tolist() == [[2, 2]]
        assert outputs["é"].tolist() == [[0, 0]]


def test_a_stock_layer_is_taken_as_it_is(tiny: Path) -> None:
    import tensorflow_hub as hub

    stock = hub.KerasLayer(str(tiny), signature="serving_default", output_key="sum")
    found = hubopt.inspect(stock, hints=hubopt.Hints(batch=2))
    assert found.model.signature == "serving_default"
    assert found.model.spec is not None
    assert [str(each) for each in found.model.spec.outputs] == ["sum: float32 2x8"]


@pytest.mark.parametrize("target", ["savedmodel", "tflite", "onnx"])
def test_a_loaded_artifact_is_called_as_the_layer_is(
    tiny_bundle: hubopt.Bundle, tiny: Path, target: str
) -> None:
    inputs = {"left": np.ones((1, 8), "float32"), "right": np.full((1, 8), 0.5, "float32")}
    artifact = hubopt.load(tiny_bundle.path, target)
    layer = hubopt.KerasLayer(tiny)
    expected = layer(inputs)
    actual = artifact(inputs)
    assert actual.keys() == expected.keys()
    for name in expected:
        np.testing.assert_allclose(actual[name], expected[name], rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="a mapping with keys"):
        artifact(inputs["left"])
    for odd, told in (
        (np.ones((2, 8), "float32"), "input left: float32 2x8\n  expected: float32 1x8"),
        (np.ones((1, 8), "complex64"), "input left: complex64 1x8"),
    ):
        with pytest.raises(UsageError, match=told):
            artifact(inputs | {"left": odd})
    artifact(inputs | {"left": np.ones((1, 8), "float64")})


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


def test_inspect_tells_what_blocks_a_target(tmp_path: Path) -> None:
    root = tf.Module()
    root.__call__ = tf.function(
        tf.strings.lower, input_signature=[tf.TensorSpec([None], tf.string, name="text")]
    )
    tf.saved_model.save(root, str(tmp_path / "m"))
    found = hubopt.inspect(tmp_path / "m")
    assert found.model.problems == ()
    assert {name: [each.op for each in ops] for name, ops in found.obstacles.items()} == {
        "onnx": ["StringLower"],
        "savedmodel": ["StringLower"],
        "tflite": ["StringLower"],
        "trt": ["StringLower"],
    }


def test_inspect_tells_what_is_open(tmp_path: Path) -> None:
    root = tf.Module()
    root.weight = tf.Variable(tf.ones([4, 2]))
    root.__call__ = tf.function(
        lambda x: tf.reduce_sum(x, 1) * tf.reduce_sum(root.weight),
        input_signature=[tf.TensorSpec([None, None], tf.float32, name="x")],
    )
    root.variables_ = [root.weight]
    tf.saved_model.save(root, str(tmp_path / "m"))
    found = hubopt.inspect(tmp_path / "m")
    assert found.model.spec is None
    assert found.model.problems == (
        "input x: dimension 1 of 1x? is unknown; say --input-shape x=1xN",
    )
    assert "Sum" in {each.op for each in found.model.ops}
    settled = hubopt.inspect(tmp_path / "m", hints=hubopt.Hints.parse(["1x4"]))
    assert settled.model.spec is not None


def test_open_shapes_write_nothing(tmp_path: Path) -> None:
    with pytest.raises(SpecError):
        hubopt.export(lambda x: x, ["onnx"], tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"targets": []}, "targets: none"),
        ({"samples": 0}, "samples: 0"),
        ({"rounds": -1}, "rounds: -1"),
    ],
)
def test_counts_that_prove_nothing_are_refused(
    tmp_path: Path, arguments: dict[str, Any], told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        hubopt.export("x", **{"targets": ["onnx"], "output": tmp_path / "out"} | arguments)
