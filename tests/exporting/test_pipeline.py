"""The export pipeline called from Python, and the files that it leaves when a stage fails."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from rich.console import Console

import hubopt
from hubopt import registry
from hubopt.bundles.bundle import read_bundle
from hubopt.bundles.results import TargetResult, exit_code
from hubopt.errors import ExportError, NothingExportedError, SpecError, UsageError
from hubopt.exporter import Artifact, ExportTask
from hubopt.report.document import error_document
from hubopt.report.terminal import results_table
from hubopt.runs import convert
from tests.faults import swap_outputs


def results(bundle: hubopt.Bundle) -> dict[str, TargetResult]:
    return {result.target: result for result in bundle.results}


def fail(task: ExportTask) -> Artifact:
    task.path.write_bytes(b"half an artifact")
    raise ExportError("onnx artifact", "it went wrong half-way", "an artifact", "try again")


def crash(task: ExportTask) -> Artifact:
    task.path.write_bytes(b"half an artifact")
    os.abort()


def wrong(task: ExportTask) -> Artifact:
    """Export the model, but exchange two outputs of the same shape."""
    artifact = registry.get("onnx").export(task)
    swap_outputs(task.path, "sum", "difference")
    return artifact


def stumble(task: ExportTask) -> Artifact:
    raise LookupError("the cause\nand a wall of text")


def convert_with(fault: Callable[..., Artifact]) -> Callable[..., Any]:
    def convert_task(task: ExportTask) -> Any:
        return (fault(task), 0.0) if task.target.exporter == "onnx" else convert.export(task)

    return convert_task


def convert_failing(*arguments: Any) -> Any:
    return convert_with(fail)(*arguments)


def convert_crashing(*arguments: Any) -> Any:
    return convert_with(crash)(*arguments)


def convert_stumbling(*arguments: Any) -> Any:
    return convert_with(stumble)(*arguments)


def convert_wrong(*arguments: Any) -> Any:
    return convert_with(wrong)(*arguments)


@pytest.mark.parametrize(
    ("convert_task", "stage", "message", "code"),
    [
        (convert_failing, "export", "it went wrong half-way", 5),
        (convert_crashing, "export", "ended by SIGABRT", 5),
        (convert_wrong, "parity", "output difference, sample 0", 5),  # 5 because trt has no source
    ],
)
def test_a_failed_target_fails_only_the_targets_that_start_from_it(
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    convert_task: Any,
    stage: str,
    message: str,
    code: int,
) -> None:
    monkeypatch.setattr("hubopt.runs.convert.export", convert_task)
    bundle = hubopt.export(tiny, ["tflite", "trt"], tmp_path / "out", rounds=0)
    by_target = results(bundle)
    assert list(by_target) == ["tflite", "onnx", "trt"]
    assert by_target["tflite"].status == "verified"
    assert (by_target["onnx"].status, by_target["onnx"].stage) == ("failed", stage)
    assert message in str(by_target["onnx"].reason)
    assert by_target["trt"].stage == "source"
    assert exit_code(bundle.results) == code
    assert by_target["onnx"].path is None
    assert not (bundle.path / "onnx").exists()  # nothing at the path of a good artifact
    assert (bundle.path / "logs" / "onnx.log").is_file()
    assert read_bundle(bundle.path).results == bundle.results


def test_layer_options_are_refused_for_a_callable(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="options for a handle only"):
        hubopt.inspect(tf.identity, layer_options=hubopt.LayerOptions(signature="x"))


def test_if_every_target_fails_nothing_is_written(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hubopt.runs.convert.export", convert_stumbling)
    message = (
        "no target gave an artifact that may be kept\n  - onnx: export: LookupError: the cause; "
    )
    with pytest.raises(NothingExportedError, match=message) as caught:
        hubopt.export(tiny, ["onnx"], tmp_path / "out", rounds=0)
    assert [path.name for path in tmp_path.iterdir()] == []
    log = re.search(r"the whole errors are in (\S+); nothing was written", caught.value.way_out)
    assert log is not None
    text = Path(log[1]).read_text()
    assert text.startswith("onnx\n\n")
    assert "and a wall of text" in text


def test_a_failure_of_parity_alone_has_its_own_exit_code(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hubopt.runs.convert.export", convert_wrong)
    bundle = hubopt.export(tiny, ["onnx", "tflite"], tmp_path / "out", rounds=0)
    assert exit_code(bundle.results) == 4


def test_if_parity_fails_for_all_targets_the_error_has_its_exit_code_and_metrics(
    tmp_path: Path,
) -> None:
    nothing_may_differ = hubopt.ToleranceOverrides.parse(rtol=["0"], atol=["0"])
    with pytest.raises(NothingExportedError) as caught:
        hubopt.export(
            lambda x: tf.nn.softmax(tf.sin(10 * x)),
            "onnx",
            tmp_path / "out",
            hints=hubopt.Hints.parse(["200"], ["float32"]),
            rounds=0,
            noise="off",
            overrides=nothing_may_differ,
        )
    assert caught.value.exit_code == 4
    (result,) = caught.value.results
    assert isinstance(result, TargetResult)
    assert result.parity is not None
    document = json.loads(error_document("export", caught.value))
    assert document["exit_code"] == 4
    advice = "onnx: export with --keep-failed; then `hubopt diagnose BUNDLE -t onnx` finds"
    assert advice in caught.value.way_out
    assert document["targets"]["onnx"]["stage"] == "parity"
    assert list(tmp_path.iterdir()) == []


def test_a_function_is_exported_without_a_handle(tmp_path: Path) -> None:
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


def test_names_that_tensorflow_does_not_allow_are_kept(tmp_path: Path) -> None:
    one, two = tf.TensorSpec([1, 2]), tf.TensorSpec([1, 2])
    function = tf.function(
        lambda given: {"x/y": given["a b"] * 2, "é": given["0"]},
        input_signature=[{"a b": one, "0": two}],
    )
    bundle = hubopt.export(function, ["savedmodel", "tflite", "onnx"], tmp_path / "out", rounds=0)
    assert [result.status for result in bundle.results] == ["verified"] * 3
    inputs = {"a b": np.ones((1, 2), "float32"), "0": np.zeros((1, 2), "float32")}
    for target in ("savedmodel", "tflite", "onnx"):
        outputs = hubopt.load(bundle, target)(inputs)
        assert outputs["x/y"].tolist() == [[2, 2]]
        assert outputs["é"].tolist() == [[0, 0]]


def test_a_layer_of_tensorflow_hub_is_accepted(tiny: Path) -> None:
    import tensorflow_hub as hub

    stock = hub.KerasLayer(str(tiny), signature="serving_default", output_key="sum")
    found = hubopt.inspect(stock, hints=hubopt.Hints(batch=2))
    assert found.model.signature == "serving_default"
    assert found.model.spec is not None
    assert [str(output) for output in found.model.spec.outputs] == ["sum: float32 2x8"]


def test_inspect_reports_what_blocks_a_target(tmp_path: Path) -> None:
    root = tf.Module()
    root.__call__ = tf.function(
        tf.strings.lower, input_signature=[tf.TensorSpec([None], tf.string, name="text")]
    )
    tf.saved_model.save(root, str(tmp_path / "m"))
    found = hubopt.inspect(tmp_path / "m")
    assert found.model.problems == ()
    assert {name: [use.op for use in ops] for name, ops in found.obstacles.items()} == {
        "onnx": ["StringLower"],
        "savedmodel": [],
        "tflite": ["StringLower"],
        "trt": ["StringLower"],
    }


def test_inspect_reports_open_dimensions(tmp_path: Path) -> None:
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
        "input x: dimension 1 of 1x? is unknown; say --input-shape x=1x128, or other sizes",
    )
    assert "Sum" in {use.op for use in found.model.ops}
    settled = hubopt.inspect(tmp_path / "m", hints=hubopt.Hints.parse(["1x4"]))
    assert settled.model.spec is not None


def test_open_shapes_write_nothing(tmp_path: Path) -> None:
    with pytest.raises(SpecError):
        hubopt.export(lambda x: x, ["onnx"], tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"targets": []}, "targets: none"),
        ({"samples": 0}, "samples: 0"),
        ({"rounds": -1}, "rounds: -1"),
    ],
)
def test_invalid_counts_are_refused(
    tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        hubopt.export("x", **{"targets": ["onnx"], "output": tmp_path / "out"} | arguments)


def test_weights_too_large_for_all_targets_are_refused_before_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If another target can hold them, they are an obstacle only for the smaller one."""
    matrix = tf.Variable(np.ones((200, 200), "float32"))
    signature = [tf.TensorSpec([1, 200], tf.float32, name="x")]
    layer = tf.function(lambda x: x @ matrix, input_signature=signature)
    monkeypatch.setattr(type(registry.get("tflite")), "largest_bytes", 100_000)
    monkeypatch.setattr("hubopt.programs.tracing.write_frozen_graph", forbidden)
    with pytest.raises(ExportError, match="none of the targets holds more") as caught:
        hubopt.export(layer, ["tflite"], tmp_path / "out", rounds=0)
    assert caught.value.thing == "weights"
    assert not (tmp_path / "out").exists()
    monkeypatch.undo()
    monkeypatch.setattr(type(registry.get("tflite")), "largest_bytes", 100_000)
    bundle = hubopt.export(layer, ["tflite", "onnx"], tmp_path / "out", rounds=0, noise="off")
    tflite, onnx = bundle.results
    assert (tflite.status, tflite.stage) == ("failed", "obstacles")
    assert tflite.reason is not None
    assert "tflite holds 0.0 GB at most: weights of 0.0 GB" in tflite.reason
    assert onnx.status == "verified"


def forbidden(*_: object) -> None:
    raise AssertionError("the weights were written")


@pytest.mark.parametrize("resource", [True, False], ids=["resource", "reference"])
def test_a_tensorflow_1_model_passes_the_whole_pipeline(tmp_path: Path, resource: bool) -> None:
    """Its weight is large enough to be stored outside the graph."""
    v1, model = tf.compat.v1, tmp_path / "model"
    with tf.Graph().as_default(), v1.Session() as graph:
        x = v1.placeholder(tf.float32, [None, 64], name="x")
        weight = v1.get_variable("w", [64, 512], use_resource=resource)
        y = tf.matmul(x, weight)
        graph.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(graph, str(model), {"x": x}, {"y": y})
    targets = ["savedmodel", "tflite", "onnx"]
    bundle = hubopt.export(model, targets, tmp_path / "bundle", rounds=0)
    assert {result.target: result.status for result in bundle.results} == dict.fromkeys(
        targets, "verified"
    )
    assert bundle.manifest.layer.signature == "serving_default"


def test_a_saved_model_that_xla_computes_wrongly_is_written_uncompiled(
    tmp_path: Path, stages: Path
) -> None:
    """The manifest says why, and the decision comes from the cache with the artifact."""
    root = tf.Module()
    root.__call__ = tf.function(
        lambda x: tf.image.resize(x, [9, 9]),
        input_signature=[tf.TensorSpec([1, 5, 5, 2], tf.float32, name="x")],
    )
    tf.saved_model.save(root, str(tmp_path / "m"))
    first, again = (
        hubopt.export(tmp_path / "m", ["savedmodel"], tmp_path / name, rounds=0, noise="off")
        for name in ("first", "again")
    )
    result = results(first)["savedmodel"]
    assert result.status == "verified"
    assert result.tolerance == "fp32"
    assert result.details["jit_compile"] is False
    reason = str(result.details["xla"])
    assert reason.startswith("off: other values than uncompiled: output_0 differs by up to ")
    assert results(again)["savedmodel"].details == result.details
    assert results(again)["savedmodel"].cached
    console = Console(width=200)
    with console.capture() as shown:
        console.print(results_table(first.results))
    assert f"savedmodel: xla {reason}\n" in shown.get()
