"""The inputs and outputs that files from anywhere declare, and a TFLite file without signature."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import hubopt
from hubopt.errors import ExportError
from hubopt.exporter import FileTensor
from hubopt_exporters.interfaces import onnx_interface, savedmodel_interface, tflite_interface


def double(x: Any) -> Any:
    return {"twice": 2.0 * x}


@pytest.fixture(scope="module")
def unsigned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TFLite file as old converters wrote it: no signature, names of the graph."""
    call = tf.function(
        lambda x: 2.0 * x, input_signature=[tf.TensorSpec([1, 3], tf.float32, name="x")]
    )
    converter = tf.lite.TFLiteConverter.from_concrete_functions([call.get_concrete_function()])
    file = tmp_path_factory.mktemp("unsigned") / "model.tflite"
    file.write_bytes(converter.convert())
    return file


def test_the_files_of_a_bundle_declare_the_layers_tensors(tiny_bundle: hubopt.Bundle) -> None:
    left, right = (FileTensor(name, "float32", (1, 8)) for name in ("left", "right"))
    found = {
        "onnx": onnx_interface(tiny_bundle.path / "onnx" / "model.onnx"),
        "tflite": tflite_interface(tiny_bundle.path / "tflite" / "model.tflite"),
        "savedmodel": savedmodel_interface(tiny_bundle.path / "savedmodel"),
    }
    for name, interface in found.items():
        assert set(interface.inputs) == {left, right}, name
        assert {tensor.name for tensor in interface.outputs} == {"sum", "difference"}, name


def test_open_sizes_are_open(tiny: Path) -> None:
    interface = savedmodel_interface(tiny)
    assert {tensor.shape for tensor in interface.inputs} == {(None, 8)}


def test_a_saved_model_without_the_signature_says_which_it_has(tmp_path: Path) -> None:
    root = tf.Module()
    call = tf.function(double, input_signature=[tf.TensorSpec([2], tf.float32, name="x")])
    tf.saved_model.save(root, str(tmp_path), signatures={"other": call})
    with pytest.raises(ExportError, match="no signature serving_default; there is: .*other"):
        savedmodel_interface(tmp_path)


@pytest.mark.parametrize("read", [onnx_interface, tflite_interface])
def test_a_file_that_is_no_model_is_an_error(read: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"this is no model")
    with pytest.raises(ExportError, match="does not load it"):
        read(tmp_path / "file")


def test_a_tflite_file_without_signature_is_verified_by_its_own_names(unsigned: Path) -> None:
    found = tflite_interface(unsigned)
    assert found.inputs == (FileTensor("x", "float32", (1, 3)),)
    assert found.outputs == (FileTensor("Identity", "float32", (1, 3)),)

    @tf.function(input_signature=[tf.TensorSpec([1, 3], tf.float32, name="x")])
    def layer(x: Any) -> Any:
        return 2.0 * x

    @tf.function(input_signature=[tf.TensorSpec([1, 3], tf.float32, name="x")])
    def other(x: Any) -> Any:
        return 2.1 * x

    assert hubopt.verify(unsigned, layer, noise="off").status == "verified"
    assert hubopt.verify(unsigned, other, noise="off").status == "failed"


def test_a_file_that_has_other_names_is_verified_without_naming_them(tmp_path: Path) -> None:
    import tf2onnx

    call = tf.function(double, input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    tf2onnx.convert.from_function(
        tf.function(double),
        [tf.TensorSpec([None, 3], tf.float32, name="theirs")],
        output_path=str(tmp_path / "model.onnx"),
    )
    (theirs,) = onnx_interface(tmp_path / "model.onnx").inputs
    assert theirs.shape == (None, 3)

    hints = hubopt.Hints.parse(["2x3"])
    parity = hubopt.verify(tmp_path / "model.onnx", call, hints=hints, noise="off")
    assert parity.status == "verified"
    assert [output.name for output in parity.outputs] == ["twice"]
    assert np.isfinite(parity.outputs[0].max_abs)
