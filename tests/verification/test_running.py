"""`hubopt run`: a bundle or a bare file on the user's own files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hubopt
from hubopt.errors import NotRunnableHereError, UsageError
from hubopt.sampling.user_data import DataError
from hubopt.verification import running
from hubopt.verification.answer_files import write_answers
from hubopt.verification.inputs import InputFiles
from hubopt.verification.running import run_artifact
from tests.conftest import run_hubopt

LEFT = np.linspace(-1, 1, 24, dtype=np.float32).reshape(3, 8)
RIGHT = np.ones((3, 8), np.float32)


@pytest.fixture
def arrays(tmp_path: Path) -> Path:
    np.savez(tmp_path / "x.npz", left=LEFT, right=RIGHT)
    return tmp_path / "x.npz"


@pytest.fixture(scope="module")
def expected(tiny: Path) -> list[dict[str, Any]]:
    layer = hubopt.KerasLayer(str(tiny))
    return [
        {
            name: np.asarray(tensor)
            for name, tensor in layer({"left": LEFT[at, None], "right": RIGHT[at, None]}).items()
        }
        for at in range(3)
    ]


@pytest.mark.parametrize("source", [".", "onnx/model.onnx", "tflite/model.tflite", "savedmodel"])
def test_a_bundle_and_each_of_its_files_give_the_layers_outputs(
    tiny_bundle: hubopt.Bundle, arrays: Path, expected: list[dict[str, Any]], source: str
) -> None:
    answers = run_artifact(tiny_bundle.path / source, InputFiles([str(arrays)]))
    assert len(answers.samples) == 3
    for found, right in zip(answers.samples, expected, strict=True):
        assert found.keys() == right.keys()
        for name in right:
            np.testing.assert_allclose(found[name], right[name], rtol=1e-4, atol=1e-5)


def test_a_file_may_be_given_for_each_input(
    tiny_bundle: hubopt.Bundle, tmp_path: Path, expected: list[dict[str, Any]]
) -> None:
    np.save(tmp_path / "l.npy", LEFT)
    np.save(tmp_path / "r.npy", RIGHT)
    files = [f"left={tmp_path / 'l.npy'}", f"right={tmp_path / 'r.npy'}"]
    answers = run_artifact(tiny_bundle.path, InputFiles(files), target="onnx")
    np.testing.assert_allclose(answers.samples[2]["sum"], expected[2]["sum"], rtol=1e-4, atol=1e-5)
    (tmp_path / "x.png").write_bytes(b"")
    with pytest.raises(UsageError, match=r"which of 2 inputs it is for.*\n.*left, right"):
        run_artifact(tiny_bundle.path, InputFiles([str(tmp_path / "x.png")]), target="onnx")


def test_inputs_that_do_not_fit_are_all_named(tiny_bundle: hubopt.Bundle, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", left=np.zeros((3, 7), np.float32), right=np.zeros((3, 8), int))
    with pytest.raises(DataError) as caught:
        run_artifact(tiny_bundle.path, InputFiles([str(tmp_path / "x.npz")]), target="onnx")
    assert "input left: found 3x7; expected 1x8" in caught.value.found
    assert "input right: found integers (int64); expected floats (float32)" in caught.value.found


def test_the_target_is_the_first_one_that_runs_here(
    tiny_bundle: hubopt.Bundle, arrays: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lacking = {"savedmodel", "tflite"}
    real = running.registry.require_runtime

    def require(exporter: Any) -> None:
        if exporter.name in lacking:
            raise NotRunnableHereError(exporter.name, "nothing runs it", "a runtime", "install it")
        real(exporter)

    monkeypatch.setattr(running.registry, "require_runtime", require)
    assert run_artifact(tiny_bundle.path, InputFiles([str(arrays)])).target == "onnx"
    lacking |= {"onnx", "trt"}
    with pytest.raises(NotRunnableHereError, match="savedmodel: nothing runs it; install it; tf"):
        run_artifact(tiny_bundle.path, InputFiles([str(arrays)]))


def test_the_command_prints_a_table_or_json_and_writes_an_archive(
    tiny_bundle: hubopt.Bundle, arrays: Path, tmp_path: Path, expected: list[dict[str, Any]]
) -> None:
    ran = run_hubopt("run", tiny_bundle.path, "-t", "onnx", "--input", arrays)
    assert ran.code == 0, ran.err
    rows = ran.out.splitlines()
    assert rows[0].split() == [
        *("sample", "output", "dtype", "shape", "min", "max", "mean", "first", "values")
    ]
    assert len(rows) == 1 + 3 * 2
    assert "onnx/model.onnx on " in ran.err

    ran = run_hubopt("run", tiny_bundle.path, "-t", "onnx", "-i", arrays, "--json")
    document = json.loads(ran.out)
    values = document["samples"][1]["sum"]["values"]
    np.testing.assert_allclose(values, expected[1]["sum"], rtol=1e-4, atol=1e-5)

    output = tmp_path / "y.npz"
    ran = run_hubopt("run", tiny_bundle.path, "-t", "onnx", "-i", arrays, "--json", "-o", output)
    assert json.loads(ran.out)["samples"][1]["sum"]["values"] is None
    with np.load(output, allow_pickle=False) as archive:
        assert set(archive.files) == {"sum", "difference"}
        assert archive["sum"].shape == (3, *expected[0]["sum"].shape)
        np.testing.assert_allclose(archive["sum"][1], expected[1]["sum"], rtol=1e-4, atol=1e-5)
    again = run_hubopt("run", tiny_bundle.path, "-t", "onnx", "-i", arrays, "-o", output)
    assert again.code == 2
    assert "cannot be written: File exists" in again.err


def test_odd_outputs_are_written_without_pickling(tmp_path: Path) -> None:
    text = np.array([[b"a\xff", b"longer"]], object)
    write_answers(tmp_path / "one.npz", [{"file": np.arange(3), "a/b": text}])
    with np.load(tmp_path / "one.npz", allow_pickle=False) as archive:
        assert archive["file"].tolist() == [0, 1, 2]
        assert archive["a/b"].tolist() == [[b"a\xff", b"longer"]]
    write_answers(tmp_path / "two.npz", [{"x": np.zeros(2)}, {"x": np.zeros(3)}])
    with np.load(tmp_path / "two.npz", allow_pickle=False) as archive:
        assert archive.files == ["0/x", "1/x"]
