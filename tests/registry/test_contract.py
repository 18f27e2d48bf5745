"""What a stranger's exporter hands over is checked before anything relies on it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hubopt
from hubopt import registry
from hubopt.errors import ExportError
from hubopt.exporter import Artifact, Options, Program
from hubopt.runs import converting
from hubopt.runs.obstacles import find_obstacles
from hubopt_exporters.onnx import OnnxExporter


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
        converting.convert("onnx", tiny_program[1], tmp_path / "model.onnx", Options())
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


def test_weights_that_a_format_cannot_hold_are_told_before_any_work(
    tiny_program: tuple[Any, Program],
) -> None:
    _, program = tiny_program
    exporters = [registry.get("tflite"), registry.get("onnx")]
    found = find_obstacles(exporters, program.ops, Options(), weights_bytes=3 * 10**9)
    (obstacle,) = found["tflite"]
    assert obstacle.op == "weights of 3.0 GB"
    assert obstacle.reason == "tflite holds 2.1 GB at most"
    assert found["onnx"] == []
    assert find_obstacles(exporters, program.ops, Options(), weights_bytes=10**9)["tflite"] == []
