"""Every kind of model is opened from its handle and called as a layer."""

from __future__ import annotations

import shutil
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import hubopt
from hubopt.errors import LoadError
from hubopt.layers.opening import open_layer
from hubopt.models.handles import LayerOptions, LoadPolicy, locate
from tests.layers import models

FLOAT = tf.float32


def opened(handle: Any, load_policy: LoadPolicy | None = None, **options: Any) -> hubopt.KerasLayer:
    load_policy = load_policy or LoadPolicy()
    return open_layer(locate(handle, load_policy), LayerOptions(**options), load_policy)


def half(x: float) -> Any:
    return np.array([[x]], "float32")


def keras_model(generation: Any) -> Any:
    """Return a model with two outputs in a list, so that a swap or a lost name is noticed."""
    inputs = generation.Input((3,), name="image")
    dense = generation.layers.Dense
    outputs = [dense(2, name="boxes")(inputs), dense(2, name="scores")(inputs)]
    return generation.Model(inputs, outputs)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "cache"))


@pytest.mark.parametrize("form", ["str", "path", "url"])
def test_a_folder_is_opened(tmp_path: Path, form: str) -> None:
    folder = models.half_plus_one(tmp_path / "a model")
    handle = {"str": str(folder), "path": folder, "url": folder.as_uri()}[form]
    assert float(opened(handle)(half(8))[0, 0]) == 5


@pytest.mark.parametrize("suffix", [".tar.gz", ".tar", ".zip"])
def test_an_archive_is_opened(tmp_path: Path, suffix: str) -> None:
    folder = models.half_plus_one(tmp_path / "model")
    archive = tmp_path / f"model{suffix}"
    if suffix == ".zip":
        with zipfile.ZipFile(archive, "w") as zipped:
            for file in folder.rglob("*"):
                zipped.write(file, file.relative_to(folder))
    else:
        with tarfile.open(archive, "w:gz" if suffix == ".tar.gz" else "w") as tar:
            tar.add(folder, arcname=".")
    layer = opened(archive)
    assert float(layer(half(8))[0, 0]) == 5
    assert float(hubopt.KerasLayer(archive)(half(8))[0, 0]) == 5


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("generation", [tf_keras, keras], ids=["keras2", "keras3"])
def test_a_keras_file_is_opened(tmp_path: Path, generation: Any, suffix: str) -> None:
    model = keras_model(generation)
    model.save(tmp_path / f"model{suffix}")
    layer = opened(tmp_path / f"model{suffix}")
    spec = hubopt.resolve(layer)
    assert [tensor.name for tensor in spec.inputs] == ["image"]
    assert [tensor.name for tensor in spec.outputs] == ["boxes", "scores"]
    x = np.ones([1, 3], "float32")
    for ours, theirs in zip(layer(x), model(x), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_a_tf1_hub_module_is_opened(tmp_path: Path) -> None:
    layer = opened(models.tf1_module(tmp_path / "m", False))
    assert np.asarray(layer(np.ones([1, 3], "float32"))).tolist() == [[7, 10]]
    assert str(hubopt.resolve(layer)) == "in  x: float32 1x3\nout default: float32 1x2"


def test_a_tf1_saved_model_with_several_graphs_needs_tags(tmp_path: Path) -> None:
    v1 = tf.compat.v1
    builder = v1.saved_model.Builder(str(tmp_path / "m"))
    for at, (tags, factor) in enumerate(((["serve"], 2.0), (["serve", "gpu"], 3.0))):
        with v1.Graph().as_default(), v1.Session() as session:
            x = v1.placeholder(FLOAT, [None], name="x")
            weight = v1.get_variable("w", initializer=tf.constant(factor), use_resource=True)
            signature = v1.saved_model.predict_signature_def({"x": x}, {"y": x * weight})
            session.run(v1.global_variables_initializer())
            signatures = {"serving_default": signature}
            if at == 0:
                builder.add_meta_graph_and_variables(session, tags, signatures)
            else:
                builder.add_meta_graph(tags, signatures)
    builder.save()
    with pytest.raises(LoadError, match=r"2 graphs and no --tag\n.*serve; gpu,serve|gpu,serve"):
        opened(tmp_path / "m")
    layer = opened(tmp_path / "m", tags=("serve", "gpu"))
    assert np.asarray(layer(np.ones(1, "float32"))["y"]).tolist() == [
        2
    ]  # both graphs share one set of variables


def test_a_model_without_a_call_uses_its_only_signature(tmp_path: Path) -> None:
    layer = opened(models.signatures_only(tmp_path / "m", "predict"))
    outputs = layer({"a": np.array([2.0], "float32"), "b": np.array([3.0], "float32")})
    assert {name: float(value[0]) for name, value in outputs.items()} == {"sum": 5, "product": 6}


def test_a_model_without_a_call_and_with_several_signatures_needs_a_choice(tmp_path: Path) -> None:
    folder = models.signatures_only(tmp_path / "m", "first", "second")
    with pytest.raises(LoadError, match="one of: first, second"):
        opened(folder)
    layer = opened(folder, signature="second", output_key="sum")
    assert [tensor.name for tensor in hubopt.resolve(layer, hubopt.Hints(batch=1)).outputs] == [
        "sum"
    ]


def test_a_model_without_a_signature_is_called(tmp_path: Path) -> None:
    layer = opened(models.batch_norm(tmp_path / "m"))
    assert not layer.resolved_object.signatures
    assert float(layer(half(0))[0, 0]) == 0


def test_a_model_without_call_and_signature_is_an_error(tmp_path: Path) -> None:
    tf.saved_model.save(tf.train.Checkpoint(step=tf.Variable(1)), str(tmp_path / "m"))
    with pytest.raises(LoadError, match="none; the model has none"):
        opened(tmp_path / "m")


def test_inputs_may_be_a_list_a_dict_or_a_nest(tmp_path: Path) -> None:
    two = [tf.TensorSpec([None], FLOAT, name) for name in ("a", "b")]
    difference = tf.function(lambda pair: pair[0] - pair[1], input_signature=[two])
    layer = opened(models.save(difference, tmp_path / "list"))
    assert float(layer([np.float32([5]), np.float32([3])])[0]) == 2
    nested = opened(models.nested(tmp_path / "nest"))
    sums, rest = nested({"x": half(11), "y": half(1)})
    assert np.asarray(sums).tolist() == [[12, 13]]
    assert float(rest["difference"][0, 0]) == 10


def test_outputs_of_unknown_rank_are_resolved(tmp_path: Path) -> None:
    root = tf.function(lambda x: x, input_signature=[tf.TensorSpec(None, FLOAT)])
    layer = opened(models.save(root, tmp_path / "m"))
    spec = hubopt.resolve(layer, hubopt.Hints.parse(["2x3"]))
    assert spec.outputs[0].shape == (2, 3)


def test_a_python_attribute_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_models.py").write_text(
        "class net:\n    @staticmethod\n    def double(x):\n        return x * 2\nanswer = 42\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    layer = opened("my_models:net.double")
    assert float(layer(half(4))[0, 0]) == 8
    with pytest.raises(LoadError, match="cannot be imported: .*has no attribute 'triple'"):
        opened("my_models:net.triple")
    with pytest.raises(LoadError, match="cannot be imported: No module named 'no_such_module'"):
        opened("no_such_module:f")
    with pytest.raises(LoadError, match="it is a int"):
        opened("my_models:answer")
    with pytest.raises(LoadError, match="--signature and --tag given, but it is not a SavedModel"):
        opened("my_models:net.double", signature="a", tags=("b",))


def test_a_module_that_fails_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_models.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(LoadError, match="importing it fails: ZeroDivisionError"):
        opened("broken_models:f")


def test_a_config_cannot_import_code() -> None:
    with pytest.raises(ValueError, match="pass the callable itself"):
        hubopt.KerasLayer("os:abort")
    with pytest.raises((TypeError, ValueError), match="pass the callable itself"):
        hubopt.KerasLayer.from_config({"handle": "os:abort"})


Reader = Callable[[Path], Path]


def reader(folder: Path) -> Path:
    read = tf.function(tf.io.read_file, input_signature=[tf.TensorSpec([], tf.string)])
    return models.save(read, folder)


def test_a_model_that_reads_files_is_refused_unless_allowed(tmp_path: Path) -> None:
    folder = reader(tmp_path / "m")
    with pytest.raises(LoadError, match="ReadFile"):
        opened(folder)
    with pytest.raises(LoadError, match="ReadFile"):
        hubopt.KerasLayer(folder)
    secret = tmp_path / "secret"
    secret.write_text("42")
    for layer in (
        opened(folder, LoadPolicy(allow_ops=("ReadFile",))),
        hubopt.KerasLayer(folder, allow_ops=["ReadFile"]),
    ):
        assert layer(tf.constant(str(secret))).numpy() == b"42"


def test_a_model_with_an_unknown_operation_is_reported_with_its_name(tmp_path: Path) -> None:
    """Replace the name of an operation in the file by one that is not registered."""
    if "tensorflow_text" in sys.modules:
        pytest.skip("tensorflow_text is imported here")
    folder = models.half_plus_one(tmp_path / "m")
    (folder / "fingerprint.pb").unlink()
    file = folder / "saved_model.pb"
    # The new name has the length of the old one, so the length fields in the file stay right.
    assert b"MatMul" in file.read_bytes()
    file.write_bytes(file.read_bytes().replace(b"\x12\x06MatMul", b"\x12\x06NoSuch"))
    with pytest.raises(LoadError, match="NoSuch"):
        opened(folder)


def test_missing_variables_are_reported(tmp_path: Path) -> None:
    folder = models.half_plus_one(tmp_path / "m")
    shutil.rmtree(folder / "variables")
    with pytest.raises(LoadError, match="files of the variables are missing"):
        opened(folder)


def test_a_keras_layer_as_a_handle_keeps_its_own_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = models.signatures_only(tmp_path / "m", "predict")
    (tmp_path / "my_layers.py").write_text(
        "import hubopt\n"
        f"layer = hubopt.KerasLayer({str(folder)!r}, signature='predict', output_key='sum')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    layer = opened("my_layers:layer")
    spec = hubopt.resolve(layer, hubopt.Hints(batch=1))
    assert [tensor.name for tensor in (*spec.inputs, *spec.outputs)] == ["a", "b", "sum"]
    with pytest.raises(LoadError, match="the attribute is a KerasLayer already"):
        opened("my_layers:layer", output_key="product")


def test_an_output_key_for_a_model_that_returns_a_tensor_is_an_error(tmp_path: Path) -> None:
    layer = opened(models.half_plus_one(tmp_path / "m"), output_key="y")
    with pytest.raises(LoadError, match="forbidden if output type .* is not a dict") as caught:
        hubopt.resolve(layer)
    assert caught.value.exit_code == 2


def test_a_path_that_tensorflow_reads_as_a_pattern_is_reported(tmp_path: Path) -> None:
    folder = models.half_plus_one(tmp_path / "plain").rename(tmp_path / "m[1]")
    with pytest.raises(LoadError, match=r"has one of \* \? \[ \], which"):
        opened(folder)
