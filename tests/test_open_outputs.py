"""Outputs whose sizes depend on the data, from the command line to artifacts that give them."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tensorflow as tf

import hubopt
from hubopt.bundles.bundle import read_bundle
from hubopt.errors import TraceError
from tests.layers.models import save
from tests.layers.test_interface import ragged_and_sparse

UNCOMPILED = {"savedmodel.xla": "off"}


@pytest.fixture(scope="module")
def picker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Model from ``[3, 5]`` to the values above 0.5, where they are, and all doubled."""

    @tf.function(input_signature=[tf.TensorSpec([3, 5], tf.float32, name="x")])
    def call(x: tf.Tensor) -> Any:
        return {"kept": tf.boolean_mask(x, x > 0.5), "at": tf.where(x > 0.5), "all": x * 2.0}

    return save(call, tmp_path_factory.mktemp("picker") / "model")


@pytest.fixture(scope="module")
def exported(picker: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    from tests.conftest import run_hubopt

    output = tmp_path_factory.mktemp("open") / "bundle"
    targets = "savedmodel,tflite,onnx,trt"
    return run_hubopt(
        "export", picker, "-t", targets, "-o", output, "--rounds", 0, "--json"
    ), output


def test_targets_that_hold_open_outputs_are_verified(exported: tuple[Any, Path]) -> None:
    ran, output = exported
    results = json.loads(ran.out)["targets"]
    for target in ("savedmodel", "tflite", "onnx"):
        assert results[target]["status"] == "verified", results[target]["reason"]
    assert str(read_bundle(output).manifest.spec) == (
        "in  x: float32 3x5\nout all: float32 3x5\nout at: int64 at_0x2\nout kept: float32 kept_0"
    )


def test_the_target_that_holds_none_names_the_output(exported: tuple[Any, Path]) -> None:
    ran, _ = exported
    result = json.loads(ran.out)["targets"]["trt"]
    assert result["status"] == "failed"
    assert result["reason"] == (
        "its size depends on the data, and trt holds static outputs only: "
        "output at (x1), output kept (x1)"
    )


@pytest.mark.parametrize("target", ["savedmodel", "tflite", "onnx"])
def test_an_artifact_gives_as_many_elements_as_the_data_has(
    exported: tuple[Any, Path], target: str
) -> None:
    artifact = hubopt.load(exported[1], target)
    for above in (0, 4, 15):
        x = np.where(np.arange(15) < above, 1.5, 0.25).astype("float32").reshape(3, 5)
        found = artifact(x)
        np.testing.assert_array_equal(found["kept"], np.full(above, 1.5, "float32"))
        np.testing.assert_array_equal(found["at"], np.argwhere(x > 0.5))
        assert found["at"].shape == (above, 2)


def test_the_onnx_model_leaves_the_dimension_open(exported: tuple[Any, Path]) -> None:
    graph = onnx.load(str(exported[1] / "onnx" / "model.onnx")).graph
    found = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in graph.output
    }
    assert found == {"all": [3, 5], "at": ["at_0", 2], "kept": ["kept_0"]}


def test_advice_on_the_command_line_leads_on(
    picker: Path, tmp_path: Path, hubopt: Callable[..., Any]
) -> None:
    """The placeholder of an older version's advice is answered with what works."""
    export = ("export", picker, "-t", "onnx", "-o", tmp_path / "b", "--rounds", 0)
    ran = hubopt(*export, "--output-shape", "at=Nx2")
    assert ran.code == 2
    (advice,) = re.findall(r"say (--output-shape '[^']*')", ran.err)
    assert hubopt(*export, *shlex.split(advice)).code == 0


def test_a_waveforms_length_is_asked_for(tmp_path: Path, hubopt: Callable[..., Any]) -> None:
    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="waveform")])
    def call(waveform: tf.Tensor) -> Any:
        return {"score": tf.reduce_mean(tf.signal.frame(waveform, 400, 160), 1)}

    model = save(call, tmp_path / "m")
    export = ("export", model, "-t", "onnx", "-o", tmp_path / "b", "--rounds", 0)
    ran = hubopt(*export)
    assert ran.code == 2
    assert "input waveform: its only dimension is open and seems to be a length" in ran.err
    (advice,) = re.findall(r"say (--input-shape [^,]*),", ran.err)
    assert advice == "--input-shape waveform=16000"
    assert hubopt(*export, *shlex.split(advice)).code == 0


def test_inspect_names_ragged_and_sparse_inputs(tmp_path: Path, hubopt: Callable[..., Any]) -> None:
    tf.saved_model.save(ragged_and_sparse(), str(tmp_path / "m"))
    ran = hubopt("inspect", tmp_path / "m")
    rows = [line.split() for line in ran.out.splitlines()]
    assert ["in", "words", "float32", "ragged", "?x?", "?"] in rows
    assert ["in", "bag", "float32", "sparse", "?x9", "?"] in rows
    assert "input words: it is a ragged tensor" in " ".join(ran.out.split())
    assert hubopt("export", tmp_path / "m", "-t", "onnx", "-o", tmp_path / "b").code == 2


def test_a_sample_of_another_size_than_the_calls_gave_is_named(tmp_path: Path) -> None:
    """What calls settled is held against every sample; the way out works."""

    def call(x: tf.Tensor) -> tf.Tensor:
        count = 2 + tf.cast(tf.reduce_sum(x) > 1e6, tf.int32)
        text = tf.strings.as_string(tf.random.shuffle([count]))
        return tf.zeros([tf.strings.to_number(text[0], tf.int32), 3]) + tf.reduce_sum(x)

    layer = hubopt.KerasLayer(
        tf.function(call, input_signature=[tf.TensorSpec([4], tf.float32, name="x")])
    )
    data = [np.ones(4, "float32"), np.full(4, 1e6, "float32")]
    with pytest.raises(TraceError, match=r"it is 3x3 on sample 1, so its size depends") as caught:
        hubopt.export(
            layer, ["savedmodel"], tmp_path / "b", data=data, rounds=0, options=UNCOMPILED
        )
    assert caught.value.way_out == "pass --output-shape 'output_0=?x3', which leaves it open"
    hints = hubopt.Hints.parse(output_shapes=["output_0=?x3"])
    bundle = hubopt.export(
        layer,
        ["savedmodel"],
        tmp_path / "b",
        data=data,
        rounds=0,
        hints=hints,
        options=UNCOMPILED,
    )
    assert [result.status for result in bundle.manifest.targets.values()] == ["verified"]


def test_a_recurrent_network_is_verified_without_flags(
    tmp_path: Path, hubopt: Callable[..., Any]
) -> None:
    import tf_keras

    x = tf_keras.Input((4, 3), name="x")
    states = tf_keras.layers.Bidirectional(tf_keras.layers.GRU(5))(x)
    tf_keras.Model(x, {"score": tf_keras.layers.Dense(2)(states)}).export(str(tmp_path / "m"))
    ran = hubopt(
        *("export", tmp_path / "m", "-t", "savedmodel,onnx", "-o", tmp_path / "b"),
        *("--rounds", 0, "--json"),
    )
    assert ran.code == 0, ran.err
    spec = read_bundle(tmp_path / "b").manifest.spec
    (output,) = spec.outputs
    assert [(dim.size, dim.origin) for dim in output.dims] == [(1, "xla"), (2, "trace")]
    results = json.loads(ran.out)["targets"]
    assert {name: found["status"] for name, found in results.items()} == {
        "savedmodel": "verified",
        "onnx": "verified",
    }
