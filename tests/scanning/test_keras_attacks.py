"""Keras files that would do more than compute while they load are refused and do nothing."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from hubopt.errors import LoadError, UnsafeModelError
from hubopt.models.keras_files import load_keras_file
from hubopt.scanning.keras_calls import computes

pytestmark = pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5")
GENERATIONS = [keras, tf_keras]


def refuse(path: Path) -> str:
    with pytest.raises(UnsafeModelError) as caught:
        load_keras_file(path)
    return str(caught.value)


def edit_zip(path: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    with zipfile.ZipFile(path) as archive:
        files = {member: archive.read(member) for member in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in files.items():
            archive.writestr(member, change(content) if member == name else content)


def save_calls(path: Path, layer: dict[str, Any]) -> Path:
    """Write a model with a second TensorFlow layer that is called while the model loads."""
    x = tf_keras.Input((1,), name="x")
    model = tf_keras.Model(x, tf.nn.relu(x))

    def add(content: bytes) -> bytes:
        config = json.loads(content)
        layers = config["config"]["layers"]
        first = next(entry for entry in layers if entry["class_name"] == "TFOpLambda")
        evil = json.loads(json.dumps(first))
        evil["name"] = evil["config"]["name"] = "evil"
        evil["class_name"] = layer.get("class_name", "TFOpLambda")
        evil["config"].update(layer.get("config", {}))
        evil["inbound_nodes"] = [["_CONSTANT_VALUE", -1, layer["argument"], layer.get("kw", {})]]
        layers.insert(0, evil)
        return json.dumps(config).encode()

    if path.suffix == ".keras":
        model.save(path)
        edit_zip(path, "config.json", add)
    else:
        model.save(path)
        with h5py.File(path, "a") as file:
            text = file.attrs["model_config"]
            file.attrs["model_config"] = add(text.encode()).decode()
    return path


@pytest.mark.parametrize("suffix", ["keras", "h5"])
@pytest.mark.parametrize("kind", ["TFOpLambda", "SlicingOpLambda"])
def test_a_call_while_loading_writes_nothing(suffix: str, kind: str, tmp_path: Path) -> None:
    stolen = tmp_path / "stolen"
    for function, argument, keywords in (
        ("print", "text", {"output_stream": f"file://{stolen}"}),
        ("debugging.experimental.enable_dump_debug_info", str(stolen), {}),
        ("experimental.register_filesystem_plugin", str(stolen), {}),
    ):
        layer = {
            "class_name": kind,
            "config": {"function": function},
            "argument": argument,
            "kw": keywords,
        }
        path = save_calls(tmp_path / f"model.{suffix}", layer)
        text = refuse(path)
        assert f"{kind} evil: calls tf.{function}" in text
        assert f"--allow-op {kind}" in text
        assert not stolen.exists()


@pytest.mark.parametrize(
    ("kind", "config", "called"),
    [
        ("ClassMethod", {"cls_symbol": "data.TextLineDataset", "method_name": "range"}, "tf.data"),
        ("ClassMethod", {"cls_symbol": "io.gfile.GFile", "method_name": "write"}, "tf.io.gfile"),
        ("InstanceMethod", {"attr_name": "__class__"}, "__class__ of a tensor"),
        ("InstanceProperty", {"attr_name": "graph"}, "graph of a tensor"),
        ("TensorFlowOpLayer", {"node_def": {"op": "ReadFile"}}, "the operation ReadFile"),
        ("TensorFlowOpLayer", {"node_def": "\n\u0001a\u0012\tWriteFile"}, "operation WriteFile"),
        ("TensorFlowOpLayer", {"node_def": "no node"}, "the operation (unreadable)"),
    ],
)
def test_other_layers_of_plain_tensorflow_are_scanned(
    kind: str, config: dict[str, Any], called: str, tmp_path: Path
) -> None:
    layer = {"class_name": kind, "config": config, "argument": "text"}
    text = refuse(save_calls(tmp_path / "model.keras", layer))
    assert f"{kind} evil: calls " in text
    assert called in text


@pytest.mark.parametrize(
    "function",
    [
        "print",
        "experimental.register_filesystem_plugin",
        "import_graph_def",
        "lookup.TextFileInitializer",
        "compat.v1.WholeFileReader",
        "compat.v1.Print",
        "compat.v1.read_file",
        "v1.io.read_file",
        "io.read_file",
        "io.write_file",
        "io.decode_proto",
        "io.TFRecordWriter",
        "keras.datasets.mnist.load_data",
        "keras.preprocessing.image.save_img",
        "keras.utils.get_file",
        "keras.models.load_model",
        "raw_ops.ReadFile",
        "config.experimental_connect_to_host",
        "load_library",
        "load_op_library",
        "py_function",
        "numpy_function",
        "nn.fixed_unigram_candidate_sampler",
        "random.fixed_unigram_candidate_sampler",
        "map_fn",
        "compat.v1.nn.fixed_unigram_candidate_sampler",
        "d_tensor_restore_v2",
        "data.TextLineDataset",
        "resource_loader.load_resource",
        "summary.create_file_writer",
        "saved_model.load",
        "function",
        "keras.losses.deserialize",
        "keras.backend.set_session",
        "nn.relu.print",
        "math",
        "random.set_seed",
    ],
)
def test_a_function_that_does_more_than_compute_is_not_called(function: str) -> None:
    assert not computes(function)


@pytest.mark.parametrize(
    "function",
    [
        "nn.relu",
        "math.reduce_mean",
        "reduce_mean",
        "reshape",
        "concat",
        "cast",
        "compat.v1.nn.relu",
        "image.resize",
        "compat.v1.transpose",
        "compat.v2.nn.silu",
        "strings.lower",
        "linalg.matmul",
        "signal.stft",
        "sparse.to_dense",
        "ragged.boolean_mask",
        "bitwise.invert",
        "__operators__.add",
        "__operators__.getitem",
        "dtypes.cast",
        "where",
        "random.normal",
        "random.stateless_uniform",
        "keras.activations.relu",
        "keras.backend.mean",
        "one_hot",
        "clip_by_value",
        "debugging.check_numerics",
        "io.decode_png",
        "compat.v1.gather",
        "nn.depth_to_space",
    ],
)
def test_a_function_that_models_compute_with_is_called(function: str) -> None:
    assert computes(function)


def test_models_of_plain_operations_load(tmp_path: Path) -> None:
    x = tf_keras.Input((4, 4, 3))
    y = tf.image.resize(tf.concat([x[:, :2], x[:, 2:] * 2], 1), [2, 2])
    y = tf.reshape(tf.transpose(y, [0, 2, 1, 3]), [-1, 12]) - tf.cast(tf.shape(x)[0], tf.float32)
    dense = tf_keras.Model(x, tf.clip_by_value(tf.where(y > 0, y, tf.zeros_like(y)), 0, 1))
    r = tf_keras.Input((None,), ragged=True)
    ragged = tf_keras.Model(r, r.to_tensor() + 1)
    for name, model in (("dense", dense), ("ragged", ragged)):
        for suffix in ("keras", "h5"):
            model.save(tmp_path / f"{name}.{suffix}")
            load_keras_file(tmp_path / f"{name}.{suffix}")


@pytest.mark.parametrize("generation", GENERATIONS, ids=lambda package: package.__name__)
@pytest.mark.parametrize(
    ("layer", "key"),
    [
        ("StringLookup", "vocabulary"),
        ("IntegerLookup", "vocabulary"),
        ("TextVectorization", "vocabulary"),
        ("TextVectorization", "idf_weights"),
    ],
)
def test_a_vocabulary_is_not_read_from_a_path(
    generation: Any, layer: str, key: str, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("1\n2\n")
    made = getattr(generation.layers, layer)(
        vocabulary=[7, 8] if layer == "IntegerLookup" else ["a", "b"]
    )
    dtype = "int64" if layer == "IntegerLookup" else "string"
    model = generation.Sequential([generation.layers.Input((1,), dtype=dtype), made])
    model.save(tmp_path / "model.keras")
    load_keras_file(tmp_path / "model.keras")

    def change(content: bytes) -> bytes:
        config = json.loads(content)
        for entry in config["config"]["layers"]:
            if entry["class_name"] == layer:
                entry["config"][key] = str(secret)
        return json.dumps(config).encode()

    edit_zip(tmp_path / "model.keras", "config.json", change)
    text = refuse(tmp_path / "model.keras")
    assert f"{layer} {made.name}: reads {str(secret)!r}" in text
    assert f"--allow-op {layer}" in text


def redirect(path: Path, kind: str, secret: Path) -> None:
    """Replace the kernel in an HDF5 file by a reference to ``secret``."""
    with h5py.File(path, "a") as file:
        names: list[str] = []
        file.visititems(
            lambda name, member: (
                names.append(name)
                if isinstance(member, h5py.Dataset) and member.shape == (1, 1)
                else None
            )
        )
        (name,) = names
        del file[name]
        if kind == "ExternalLink":
            file[name] = h5py.ExternalLink(str(secret), "/kernel")
        elif kind == "ExternalStorage":
            file.create_dataset(name, (1, 1), "f4", external=[(str(secret), 0, 4)])
        else:
            layout = h5py.VirtualLayout((1, 1), "f4")
            layout[:] = h5py.VirtualSource(str(secret), "kernel", (1, 1))
            file.create_virtual_dataset(name, layout)


@pytest.mark.parametrize("generation", GENERATIONS, ids=lambda package: package.__name__)
@pytest.mark.parametrize("suffix", ["keras", "h5"])
@pytest.mark.parametrize("kind", ["ExternalLink", "ExternalStorage", "VirtualDataset"])
def test_weights_are_not_read_from_another_file(
    generation: Any, suffix: str, kind: str, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    if kind == "ExternalStorage":
        secret.write_bytes(np.float32(42).tobytes())
    else:
        with h5py.File(secret, "w") as file:
            file["kernel"] = np.full((1, 1), 42, "float32")
    layers = generation.layers
    model = generation.Sequential([layers.Input((1,)), layers.Dense(1, use_bias=False)])
    path = tmp_path / f"model.{suffix}"
    model.save(path)
    load_keras_file(path)
    if suffix == "h5":
        redirect(path, kind, secret)
    else:
        weights = tmp_path / "weights.h5"

        def change(content: bytes) -> bytes:
            weights.write_bytes(content)
            redirect(weights, kind, secret)
            return weights.read_bytes()

        edit_zip(path, "model.weights.h5", change)
    text = refuse(path)
    assert f"{kind} " in text
    assert f"--allow-op {kind}" in text


def test_a_file_that_is_both_a_zip_and_hdf5_is_read_as_keras_reads_it(tmp_path: Path) -> None:
    layers = tf_keras.layers
    harmless = tf_keras.Sequential([layers.Input((1,)), layers.Dense(1)])
    harmless.save(tmp_path / "harmless.h5")
    evil = tf_keras.Sequential([layers.Input((1,)), layers.Lambda(lambda x: x + 1)])
    evil.save(tmp_path / "evil.keras")
    both = tmp_path / "both.keras"
    both.write_bytes(
        (tmp_path / "harmless.h5").read_bytes() + (tmp_path / "evil.keras").read_bytes()
    )
    with pytest.raises((UnsafeModelError, LoadError), match="Lambda"):
        load_keras_file(both)
