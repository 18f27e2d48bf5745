from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hubopt import registry
from hubopt.exporter import Artifact, Exporter, ExportTask, Tensors
from hubopt.testing import assert_conforms
from hubopt_exporters.onnx import OnnxExporter


@pytest.mark.parametrize("name", ["savedmodel", "tflite", "onnx", "trt"])
def test_the_built_in_exporters_conform(name: str, tmp_path: Path) -> None:
    exporter = registry.get(name)
    parity = assert_conforms(exporter, tmp_path)
    if name == "trt" and parity is None:
        return  # built, but there is no GPU to run it, see test_tensorrt
    assert parity is not None
    assert parity.samples >= 8


class Swapped(OnnxExporter):
    """A faulty ONNX exporter: its runner exchanges the two outputs."""

    def runner(self, artifact: Artifact) -> Any:
        inner = super().runner(artifact)

        class Runner:
            device = "CPU"

            def run(self, inputs: Tensors) -> dict[str, Any]:
                outputs = inner.run(inputs)
                return {"sum": outputs["difference"], "difference": outputs["sum"]}

        return Runner()


class Elsewhere(OnnxExporter):
    """Writes to a path other than the requested one."""

    def export(self, task: ExportTask) -> Artifact:
        return super().export(replace(task, path=task.path.with_suffix(".other")))


class Overwriting(OnnxExporter):
    """Returns the same memory from every call."""

    def runner(self, artifact: Artifact) -> Any:
        inner = super().runner(artifact)
        kept: dict[str, Any] = {}

        class Runner:
            device = "CPU"

            def run(self, inputs: Tensors) -> dict[str, Any]:
                for name, array in inner.run(inputs).items():
                    kept.setdefault(name, array)[...] = array
                return dict(kept)

        return Runner()


@pytest.mark.parametrize(
    ("exporter", "message"),
    [
        (Swapped(), "the artifact is not the layer"),
        (Elsewhere(), "the artifact says it is at .*nothing was written at the requested path"),
        (Overwriting(), "the artifact is not the layer"),
    ],
    ids=["swapped", "elsewhere", "overwriting"],
)
def test_a_faulty_exporter_does_not_conform(
    exporter: Exporter, message: str, tmp_path: Path
) -> None:
    with pytest.raises(AssertionError, match=message):
        assert_conforms(exporter, tmp_path)


def test_an_incomplete_exporter_does_not_conform(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="object lacks Options, builds_with, dynamic, "):
        assert_conforms(object(), tmp_path)  # type: ignore[arg-type]
