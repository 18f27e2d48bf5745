from pathlib import Path
from typing import Any

import onnx
import pytest

from hubopt.errors import ExportError, NotRunnableHereError
from hubopt.exporter import Artifact, Program
from hubopt.testing import assert_conforms, make_task
from hubopt_exporters import tensorrt
from hubopt_exporters.gpu import gpu_problem
from hubopt_exporters.tensorrt import TensorRTExporter

needs_no_gpu = pytest.mark.skipif(gpu_problem() is None, reason="there is a GPU")


def onnx_artifact(folder: Path, program: Program, op: str) -> Artifact:
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 3])
    out = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 3])
    graph = onnx.helper.make_graph([onnx.helper.make_node(op, ["x"], ["y"])], "g", [value], [out])
    opsets = [onnx.helper.make_opsetid("", 18)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opsets), folder / "m.onnx")
    return Artifact("onnx", folder / "m.onnx", program.spec)


def to_engine(source: Artifact, path: Path) -> Artifact:
    exporter = TensorRTExporter()
    return exporter.export(make_task(exporter, source, path))


@needs_no_gpu
def test_without_a_gpu_tensorrt_for_rtx_builds_a_real_engine(
    tiny_program: tuple[Any, Program], tmp_path: Path
) -> None:
    source = onnx_artifact(tmp_path, tiny_program[1], "Tanh")
    artifact = to_engine(source, tmp_path / "m.engine")
    assert artifact.details["builder"] == "tensorrt_rtx"
    assert artifact.path.stat().st_size > 1000


@needs_no_gpu
def test_without_a_gpu_the_engine_is_not_runnable_and_says_why(
    tiny_program: tuple[Any, Program], tmp_path: Path
) -> None:
    artifact = Artifact("trt", tmp_path / "m.engine", tiny_program[1].spec)
    with pytest.raises(NotRunnableHereError, match="no NVIDIA|does not start") as caught:
        TensorRTExporter().runner(artifact)
    assert "hubopt verify" in caught.value.way_out


def test_an_operation_that_the_parser_refuses_is_named(
    tiny_program: tuple[Any, Program], tmp_path: Path
) -> None:
    source = onnx_artifact(tmp_path, tiny_program[1], "Det")
    with pytest.raises(ExportError, match="the parser refuses Det") as caught:
        to_engine(source, tmp_path / "m.engine")
    assert "pip install" not in caught.value.way_out, "nothing is missing"
    assert "the onnx artifact is not affected" in caught.value.way_out
    assert not (tmp_path / "m.engine").exists()


def test_tensorrt_itself_is_preferred_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt, "gpu_problem", lambda: None)
    installed = {"tensorrt", "tensorrt_rtx"}
    monkeypatch.setattr(tensorrt.importlib.util, "find_spec", lambda name: name in installed)
    assert tensorrt.choose_builder() == "tensorrt"
    installed.remove("tensorrt")
    assert tensorrt.choose_builder() == "tensorrt_rtx"


def test_tensorrt_itself_without_a_gpu_cannot_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt, "gpu_problem", lambda: "no NVIDIA GPU on this machine")
    monkeypatch.setattr(tensorrt.importlib.util, "find_spec", lambda name: name == "tensorrt")
    with pytest.raises(ExportError, match="needs a GPU to build"):
        tensorrt.choose_builder()


@pytest.mark.gpu
def test_the_engine_agrees_with_the_layer_on_the_gpu(tmp_path: Path) -> None:
    parity = assert_conforms(TensorRTExporter(), tmp_path)
    assert parity is not None
    assert parity.passed
