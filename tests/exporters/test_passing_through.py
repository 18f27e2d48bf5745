"""Outputs that are hard to hold in a file: inputs, constants, one tensor twice, no elements.

A runner, a probe, `verify` and `load` go by the layer's names, whatever the file's are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tensorflow as tf

import hubopt
from hubopt import registry
from hubopt.exporter import Artifact, Program
from hubopt.programs.tracing import trace
from hubopt.testing import make_task

INPUTS = {"k": np.array(3, np.int32), "x": np.arange(6, dtype=np.float32).reshape(2, 3)}


def passing() -> Any:
    kernel = tf.constant([[1.0, -2.0], [0.5, 3.0], [-1.0, 0.25]])

    def call(inputs: Any) -> Any:
        x, k = inputs["x"], inputs["k"]
        product = x @ kernel
        return {
            "again": product,
            "constant": tf.constant([1.0, 2.0]),
            "empty": product[:, :0],
            "k": k + 1,  # an input's name, but another value
            "k_output": k,
            "product": product,
            "x": x,
        }

    nest = {"k": tf.TensorSpec([], tf.int32), "x": tf.TensorSpec([2, 3], tf.float32)}
    return hubopt.KerasLayer(tf.function(call, input_signature=[nest]))


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Program]:
    layer = passing()
    folder = tmp_path_factory.mktemp("passing") / "program"
    return layer, trace(layer, hubopt.resolve(layer), folder, "auto")


@pytest.fixture(params=["savedmodel", "tflite", "onnx"])
def artifact(
    request: pytest.FixtureRequest, program: tuple[Any, Program], tmp_path: Path
) -> Artifact:
    exporter = registry.get(request.param)
    path = tmp_path / f"model{exporter.suffix}"
    return exporter.export(make_task(exporter, program[1], path))


def assert_is_the_layers(outputs: Any) -> None:
    x = INPUTS["x"]
    product = x @ np.float32([[1.0, -2.0], [0.5, 3.0], [-1.0, 0.25]])
    assert sorted(outputs) == ["again", "constant", "empty", "k", "k_output", "product", "x"]
    np.testing.assert_allclose(outputs["again"], product, rtol=1e-6)
    np.testing.assert_allclose(outputs["product"], product, rtol=1e-6)
    assert outputs["constant"].tolist() == [1, 2]
    assert (outputs["empty"].shape, outputs["empty"].dtype) == ((2, 0), np.float32)
    assert (outputs["k"], outputs["k_output"]) == (4, 3)
    assert outputs["k"].dtype == np.int32
    np.testing.assert_array_equal(outputs["x"], x)


def test_a_runner_gives_the_layers_outputs(artifact: Artifact) -> None:
    runner = registry.get(artifact.exporter).runner(artifact)
    first = runner.run(INPUTS)
    runner.run({name: np.asarray(array + 5) for name, array in INPUTS.items()})
    assert_is_the_layers(first)


def test_a_probe_finds_the_layers_tensors(artifact: Artifact) -> None:
    exporter: Any = registry.get(artifact.exporter)
    probe = exporter.probe(artifact)
    read = [name for name in probe.outputs if name != "empty"]
    arrays = probe.run(INPUTS, [probe.outputs[name] for name in read])
    given = exporter.runner(artifact).run(INPUTS)
    for name in read:
        np.testing.assert_allclose(arrays[probe.outputs[name]], given[name], rtol=1e-6)


def test_an_onnx_file_says_which_outputs_it_renamed(
    program: tuple[Any, Program], tmp_path: Path
) -> None:
    exporter = registry.get("onnx")
    artifact = exporter.export(make_task(exporter, program[1], tmp_path / "model.onnx"))
    model = onnx.load(artifact.path)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    stated = '{"k": "k_output_", "x": "x_output"}'
    assert metadata["hubopt.output_names"] == artifact.details["hubopt.output_names"] == stated
    assert [value.name for value in model.graph.input] == ["k", "x"]
    assert {"k_output", "k_output_", "x_output"} <= {value.name for value in model.graph.output}
    onnx.checker.check_model(model, full_check=True)


def test_the_bare_file_is_verified_by_the_layers_names(
    program: tuple[Any, Program], tmp_path: Path
) -> None:
    layer, traced = program
    exporter = registry.get("onnx")
    exporter.export(make_task(exporter, traced, tmp_path / "model.onnx"))
    parity = hubopt.verify(tmp_path / "model.onnx", layer, noise="off")
    assert parity.passed, parity


def test_outputs_without_elements_depend_on_nothing(program: tuple[Any, Program]) -> None:
    assert "empty" in program[1].constant
    assert "empty" in program[1].weightless


def test_a_trt_engine_is_built_and_its_outputs_are_named(
    program: tuple[Any, Program], tmp_path: Path
) -> None:
    onnx_exporter, exporter = registry.get("onnx"), registry.get("trt")
    if registry.missing(exporter.builds_with):
        pytest.skip("TensorRT is not installed")
    source = onnx_exporter.export(make_task(onnx_exporter, program[1], tmp_path / "m.onnx"))
    engine = exporter.export(make_task(exporter, source, tmp_path / "m.engine"))
    assert engine.path.stat().st_size > 1000
    assert engine.details["hubopt.output_names"] == source.details["hubopt.output_names"]


def test_a_bundle_is_loaded_and_verified_by_the_layers_names(tmp_path: Path) -> None:
    """An output has the input's name, which ONNX cannot have twice."""
    function = tf.function(
        lambda scores: {"scores": tf.sigmoid(scores["scores"]) * 2.0},
        input_signature=[{"scores": tf.TensorSpec([2, 3], tf.float32)}],
    )
    bundle = hubopt.export(
        hubopt.KerasLayer(function), ["onnx", "tflite"], tmp_path / "bundle", rounds=0
    )
    assert [result.status for result in bundle.results] == ["verified", "verified"]
    assert [found.status for found in hubopt.verify_bundle(bundle)] == ["verified", "verified"]
    for target in ("onnx", "tflite"):
        answer = hubopt.load(bundle, target)({"scores": np.zeros((2, 3), np.float32)})
        assert sorted(answer) == ["scores"]
        np.testing.assert_allclose(answer["scores"], np.ones((2, 3)))
