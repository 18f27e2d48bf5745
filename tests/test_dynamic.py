"""Named dimensions with bounds, from the command line to an artifact that runs at any size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tensorflow as tf

import hubopt
from hubopt.bundles.bundle import read_bundle
from hubopt.errors import UsageError
from tests.layers.models import save

DYNAMIC = ("--input-shape", "tokens=BxT", "--dim", "B=1:2:4", "--dim", "T=3:5:16")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Model from ``[batch, time] int32`` to states ``[batch, time, 4]``, mean ``[batch, 4]``."""
    table = tf.Variable(tf.random.stateless_normal([8, 4], [1, 2]))
    spec = tf.TensorSpec([None, None], tf.int32, "tokens")

    @tf.function(input_signature=[{"tokens": spec}])
    def call(inputs: Any) -> Any:
        states = tf.gather(table, inputs["tokens"])
        return {"states": states, "mean": tf.reduce_mean(states, 1)}

    return save(call, tmp_path_factory.mktemp("encoder") / "model", variables=[table])


@pytest.fixture(scope="module")
def exported(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    from tests.conftest import run_hubopt

    output = tmp_path_factory.mktemp("dynamic") / "bundle"
    ran = run_hubopt(
        *("export", encoder, "-t", "savedmodel,onnx,trt", "-o", output, "--rounds", 0),
        *("--json", *DYNAMIC),
    )
    return ran, output


def test_each_target_reports_its_status(exported: tuple[Any, Path]) -> None:
    ran, _ = exported
    results = ran.json["targets"]
    assert results["savedmodel"]["status"] == "verified"
    assert results["onnx"]["status"] == "verified"
    assert results["trt"]["status"] in ("verified", "unverified")  # built; it runs only with a GPU
    assert ran.code in (0, 3)


def test_parity_was_judged_at_several_sizes(exported: tuple[Any, Path]) -> None:
    _, output = exported
    with np.load(output / "verification" / "inputs.npz") as inputs:
        shapes = [inputs[f"{at}/tokens"].shape for at in range(4)]
    assert shapes[:3] == [(2, 5), (1, 3), (4, 16)]


def test_the_onnx_model_names_its_dimensions(exported: tuple[Any, Path]) -> None:
    _, output = exported
    graph = onnx.load(str(output / "onnx" / "model.onnx")).graph
    found = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }
    assert found == {"tokens": ["B", "T"], "states": ["B", "T", 4], "mean": ["B", 4]}


@pytest.mark.parametrize("target", ["onnx", "savedmodel"])
def test_an_artifact_runs_at_other_sizes(
    exported: tuple[Any, Path], encoder: Path, target: str
) -> None:
    _, output = exported
    artifact = hubopt.load(output, target)
    layer = hubopt.KerasLayer(encoder)
    for shape in ((1, 16), (3, 7)):
        inputs = {"tokens": np.arange(np.prod(shape), dtype="int32").reshape(shape) % 8}
        expected, found = layer(inputs), artifact(inputs)
        for name in ("states", "mean"):
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-6)
    with pytest.raises(UsageError, match="expected: int32 BxT"):
        artifact({"tokens": np.zeros(3, "int32")})


def test_the_bundle_keeps_the_bounds(exported: tuple[Any, Path]) -> None:
    _, output = exported
    spec = read_bundle(output).manifest.spec
    assert str(spec) == (
        "in  tokens: int32 BxT\nout mean: float32 Bx4\nout states: float32 BxTx4\n"
        "dim B: 1:2:4\ndim T: 3:5:16"
    )


@pytest.mark.parametrize("targets", ["tflite", "onnx,tflite"])
def test_static_targets_are_refused_before_any_work(
    encoder: Path, tmp_path: Path, hubopt: Callable[..., Any], targets: str
) -> None:
    ran = hubopt("export", encoder, "-t", targets, "-o", tmp_path / "b", *DYNAMIC)
    assert ran.code == 2
    assert "error: target tflite: holds static shapes only, and B, T of --dim" in ran.err
    assert "load the layer" not in ran.err
    assert not (tmp_path / "b").exists()


def test_inspect_shows_declared_and_resolved(encoder: Path, hubopt: Callable[..., Any]) -> None:
    ran = hubopt("inspect", encoder, *DYNAMIC)
    rows = [line.split() for line in ran.out.splitlines()]
    assert ["", "name", "dtype", "declared", "resolved", "from"][1:] in rows
    assert ["in", "tokens", "int32", "?x?", "BxT", "flag"] in rows
    assert ["out", "mean", "float32", "?x4", "Bx4", "trace"] in rows
    assert ["dim", "T", "3:5:16", "flag"] in rows
    assert "tflite: blocked: tflite holds static shapes only" in ran.out
