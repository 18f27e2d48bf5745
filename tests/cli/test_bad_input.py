"""Bad input gives a helpful message and its exit code, and leaves no partial output."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import Ran


@pytest.fixture
def export(hubopt: Callable[..., Ran], tmp_path: Path) -> Callable[..., Ran]:
    """Return a function that runs an export that must fail, and checks that it leaves nothing."""

    def run(handle: object, *arguments: object, target: str = "onnx", **options: Any) -> Ran:
        folder = tmp_path / "folder"
        folder.mkdir(exist_ok=True)
        ran = hubopt(
            "export",
            handle,
            "-t",
            target,
            "-o",
            folder / "out",
            "--rounds",
            0,
            *arguments,
            **options,
        )
        assert "Traceback" not in ran.err
        assert ran.out == ""
        assert list(folder.iterdir()) == []
        return ran

    return run


def test_no_such_handle(export: Callable[..., Ran]) -> None:
    ran = export("nowhere")
    assert ran.code == 2
    assert ran.err == (
        "     ...  load the layer\n"
        "error: handle nowhere: does not exist: no such file or folder\n"
        "  expected: a SavedModel folder, a Keras file, an archive, or a URL that leads to one\n"
        "  way out:  check the path; URLs start with https://, http://, gs:// or hf://, and a "
        "Python object is package.module:attribute; Kaggle's short form is "
        "owner/model/tensorFlow2/variation\n"
    )


def test_a_folder_that_is_not_a_saved_model(export: Callable[..., Ran], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    ran = export(tmp_path / "empty")
    assert ran.code == 2
    assert "a folder without saved_model.pb (it is empty)" in ran.err


def test_a_truncated_variables_file(export: Callable[..., Ran], tiny: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(tiny, tmp_path / "broken")
    weights = broken / "variables" / "variables.data-00000-of-00001"
    weights.write_bytes(weights.read_bytes()[:100])
    ran = export(broken)
    assert ran.code == 2
    assert f"error: model {broken}: a file of the variables is cut short" in ran.err
    assert "fetch or save the model again; every file must be present and complete" in ran.err


def test_a_damaged_saved_model(export: Callable[..., Ran], tiny: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(tiny, tmp_path / "broken")
    graph = broken / "saved_model.pb"
    graph.write_bytes(graph.read_bytes()[:-100])
    ran = export(broken)
    assert ran.code == 2
    assert f"error: model {broken}: it cannot be read" in ran.err
    assert "the file is damaged or cut short" in ran.err


def test_an_unknown_signature(export: Callable[..., Ran], tiny: Path) -> None:
    ran = export(tiny, "--signature", "nope")
    assert ran.code == 2
    assert f"signature nope: not in {tiny}\n  expected: one of: serving_default\n" in ran.err


def test_an_unknown_target(export: Callable[..., Ran], tiny: Path) -> None:
    ran = export(tiny, target="onnx,coreml")
    assert ran.code == 2
    assert "target coreml: no exporter has this name" in ran.err
    assert "expected: one of: onnx, savedmodel, tflite, trt" in ran.err


def test_every_wrong_shape_and_dtype_at_once(export: Callable[..., Ran], tiny: Path) -> None:
    ran = export(
        tiny, "--input-shape", "left=8", "--dtype", "right=float16", "--input-shape", "up=1"
    )
    assert ran.code == 2
    assert "shapes: 3 problems" in ran.err
    assert "--input-shape up=1: no input of this name; inputs: left, right" in ran.err
    assert "input left: ranks differ: 8 (flag), ?x8 (signature)" in ran.err
    assert "input right: --dtype float16, but the signature takes float32 only" in ran.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--input-shape", "1xf!o"], "--input-shape 1xf!o: 'f!o' is not a dimension"),
        (["--dtype", "float31"], "--dtype float31: no dtype has this name"),
        (["--batch", "0"], "--batch: 0"),
        (["--samples", "0"], "samples: 0"),
        (["--seed", "-1"], "seed: -1"),
        (["--batch", "100000000000"], "GB a sample"),
        (["--xla", "maybe"], "'maybe' is not one of 'require', 'auto', 'off'"),
    ],
)
def test_invalid_flag_values(
    export: Callable[..., Ran], tiny: Path, arguments: list[str], message: str
) -> None:
    ran = export(tiny, *arguments)
    assert ran.code == 2
    assert message in ran.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--opset", 99], "option onnx.opset: the value is 99\n  expected: int, 13 to 18"),
        (["-O", "onnx.opst=17"], "did you mean onnx.opset?"),
        (["--tolerance", "fp31"], "fp31"),
        (["--rounds", -1], "rounds: -1"),
        (["--data", "no-such.npz"], "no-such.npz"),
    ],
)
def test_what_is_wrong_without_the_model_is_refused_before_it_is_looked_for(
    export: Callable[..., Ran], arguments: list[object], message: str
) -> None:
    ran = export("no-such-model", *arguments)
    assert ran.code == 2
    assert message in ran.err
    assert "no-such-model" not in ran.err


def test_an_existing_output_is_left_unchanged(
    hubopt: Callable[..., Ran], tiny: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("precious")
    ran = hubopt("export", tiny, "-t", "onnx", "-o", tmp_path / "out")
    assert ran.code == 2
    assert "out: it exists already" in ran.err
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out" / "mine").read_text() == "precious"


def test_an_unknown_output_key_lists_the_existing_keys(
    export: Callable[..., Ran], tiny: Path
) -> None:
    ran = export(tiny, "--output-key", "nope")
    assert ran.code == 2
    assert "output nope: KerasLayer output does not contain the output key nope" in ran.err
    ran = export(tiny, "--output-key", "nope", "--signature", "serving_default")
    assert ran.code == 2
    assert "expected: one of: difference, sum" in ran.err


def test_an_output_inside_the_model_is_refused(hubopt: Callable[..., Ran], tiny: Path) -> None:
    before = sorted(tiny.rglob("*"))
    ran = hubopt("export", tiny, "-t", "onnx", "-o", tiny / "out")
    assert ran.code == 2
    assert "it is inside the model's folder" in ran.err
    assert sorted(tiny.rglob("*")) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_output_in_a_read_only_folder(
    hubopt: Callable[..., Ran], tiny: Path, tmp_path: Path
) -> None:
    tmp_path.chmod(0o555)
    ran = hubopt("export", tiny, "-t", "onnx", "-o", tmp_path / "out")
    assert ran.code == 2
    assert "cannot be written: Permission denied" in ran.err


def test_integers_outside_a_table_are_reported_as_the_models_refusal(
    export: Callable[..., Ran], hubopt: Callable[..., Ran], tmp_path: Path
) -> None:
    import tensorflow as tf

    root = tf.Module()
    table = tf.constant([[1.0], [2.0], [3.0], [4.0]])
    spec = tf.TensorSpec([8], tf.int32, name="ids")
    # Squares exceed the table, which the graph does not reveal.
    root.__call__ = tf.function(lambda ids: tf.gather(table, ids * ids), input_signature=[spec])
    tf.saved_model.save(root, str(tmp_path / "m"))
    ran = export(tmp_path / "m")
    assert ran.code == 5
    assert "layer: it refuses sample 0: InvalidArgumentError: " in ran.err
    assert "pass inputs of your own with --data" in ran.err
    np.save(tmp_path / "ids.npy", np.int32([[0, 1, 1, 0, 1, 0, 0, 0]]))
    own = hubopt(
        *("export", tmp_path / "m", "-t", "onnx", "-o", tmp_path / "out", "--rounds", 0),
        *("--data", tmp_path / "ids.npy"),
    )
    assert own.code == 0, own.err


def test_an_output_that_cannot_be_written(
    hubopt: Callable[..., Ran], tiny: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    ran = hubopt("export", tiny, "-t", "onnx", "-o", tmp_path / "file" / "out")
    assert ran.code == 2
    assert "cannot be written" in ran.err


@pytest.mark.real
def test_a_string_model_is_refused_and_its_operations_are_named(
    export: Callable[..., Ran], quickspacer: Path
) -> None:
    ran = export(
        quickspacer, "--signature", "serving_default", "--xla", "require",
        target="savedmodel,tflite,onnx,trt",
    )  # fmt: skip
    assert ran.code == 5
    for refusal in (
        "savedmodel: XLA has no kernel for it; without --xla require it stays uncompiled: "
        "LookupTableFindV2 (x1)",
        "tflite: TFLite holds no strings: RaggedTensorToTensor (x2)",
        "onnx: ONNX holds no strings: RaggedTensorToTensor (x2)",
    ):
        assert refusal in ran.err
    assert "UnicodeDecode (x2)" in ran.err


@pytest.mark.real
def test_a_string_model_is_exported_to_targets_that_support_strings(
    hubopt: Callable[..., Ran], quickspacer: Path, tmp_path: Path
) -> None:
    ran = hubopt(
        "export", quickspacer, "-t", "savedmodel,onnx", "-o", tmp_path / "out", "--json",
        "--signature", "serving_default", "--rounds", 0, "--output-shape", 1,
    )  # fmt: skip
    assert ran.code == 5
    targets = ran.json["targets"]
    assert targets["savedmodel"]["status"] == "verified"
    details = targets["savedmodel"]["result"]["details"]
    assert details["jit_compile"] is False
    assert details["xla"].startswith("off: XLA has no kernel for LookupTableFindV2")
    assert targets["onnx"]["status"] == "failed"
    assert targets["onnx"]["stage"] == "obstacles"
    assert not (tmp_path / "out" / "onnx").exists()


def test_an_error_is_also_written_as_json(hubopt: Callable[..., Ran]) -> None:
    ran = hubopt("export", "nowhere", "-t", "onnx", "-o", "never", "--json")
    assert ran.code == 2
    assert ran.json["exit_code"] == 2
    assert ran.json["error"]["type"] == "NoSuchHandleError"
    assert ran.json["error"]["found"] == "does not exist: no such file or folder"
    assert ran.json["error"]["way_out"]


@pytest.mark.parametrize("verb", ["verify", "bench"])
def test_a_folder_that_is_not_a_bundle(
    hubopt: Callable[..., Ran], tmp_path: Path, verb: str
) -> None:
    ran = hubopt(verb, tmp_path)
    assert ran.code == 2
    assert "hubopt.json cannot be read" in ran.err


def test_texts_are_printed_verbatim(hubopt: Callable[..., Ran], tmp_path: Path) -> None:
    """Text between colons does not become an emoji, and markup is not interpreted."""
    (tmp_path / "a.py").write_text("1 / 0\n")
    ran = hubopt("inspect", "a:x", cwd=tmp_path)
    assert ran.code == 2
    assert "error: handle a:x: importing it fails: ZeroDivisionError" in ran.err
