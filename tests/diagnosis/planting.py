"""A small residual network, and faults to plant in its artifacts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hubopt._util.digest import sha256
from hubopt.bundles.bundle import Bundle, read_bundle


def write_residual_model(folder: Path) -> Path:
    """Write a SavedModel of two convolutions around a shortcut, then a dense layer."""
    import tensorflow as tf
    import tf_keras

    tf_keras.utils.set_random_seed(3)
    layers = tf_keras.layers
    image = layers.Input((12, 12, 4), name="image")
    x = layers.Conv2D(8, 3, padding="same", name="stem")(image)
    x = layers.BatchNormalization(name="stem_norm")(x)
    shortcut = layers.ReLU(name="stem_relu")(x)
    x = layers.Conv2D(8, 3, padding="same", name="branch")(shortcut)
    x = layers.LayerNormalization(name="branch_norm")(x)
    x = layers.ReLU(name="branch_relu")(x)
    x = layers.Add(name="join")([x, shortcut])
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    model = tf_keras.Model(image, layers.Dense(5, name="head")(x))
    norm = model.get_layer("stem_norm")
    generator = np.random.default_rng(3)
    norm.set_weights([generator.uniform(0.5, 1.5, 8).astype("float32") for _ in range(4)])
    tf.saved_model.save(model, str(folder))
    return folder


def plant(bundle: Bundle, target: str, fault: Callable[[Path], str], folder: Path) -> Bundle:
    """Copy ``bundle`` to ``folder`` with a fault in one artifact, as if it had been exported."""
    shutil.copytree(bundle.path, folder)
    manifest = folder / "hubopt.json"
    document = json.loads(manifest.read_text())
    artifact = folder / document["targets"][target]["path"]
    fault(artifact)
    document["targets"][target]["sha256"] = sha256(artifact)
    manifest.write_text(json.dumps(document))
    return read_bundle(folder)


def onnx_weight_sign(layer: str, op: str = "Conv") -> Callable[[Path], str]:
    """Flip the sign of the largest weight of the node of ``layer``."""
    return _onnx_constant(layer, op, 1, _flip_largest)


def onnx_bias_dropped(layer: str, op: str = "Conv") -> Callable[[Path], str]:
    """Set the bias of the node of ``layer`` to zero."""
    return _onnx_constant(layer, op, 2, np.zeros_like)


def _onnx_constant(
    layer: str, op: str, position: int, change: Callable[[Any], Any]
) -> Callable[[Path], str]:
    def edit(path: Path) -> str:
        import onnx

        model = onnx.load(path)
        (node,) = (
            candidate
            for candidate in model.graph.node
            if candidate.op_type == op and f"/{layer}/" in f"/{candidate.output[0]}"
        )
        (weights,) = (
            candidate
            for candidate in model.graph.initializer
            if candidate.name == node.input[position]
        )
        array = change(onnx.numpy_helper.to_array(weights).copy())
        weights.CopyFrom(onnx.numpy_helper.from_array(array, weights.name))
        onnx.save(model, path)
        return str(node.output[0])

    return edit


def tflite_weight_sign(layer: str) -> Callable[[Path], str]:
    """Flip the sign of the largest weight of the convolution of ``layer``."""

    def edit(path: Path) -> str:
        import flatbuffers
        from ai_edge_litert import schema_py_generated as schema

        model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
        graph = model.subgraphs[0]
        (operator,) = (
            candidate
            for candidate in graph.operators
            if model.operatorCodes[candidate.opcodeIndex].builtinCode
            == schema.BuiltinOperator.CONV_2D
            and f"/{layer}/" in f"/{graph.tensors[candidate.outputs[0]].name.decode()}"
        )
        buffer = model.buffers[graph.tensors[operator.inputs[1]].buffer]
        array = _flip_largest(np.frombuffer(bytes(buffer.data), np.float32).copy())
        buffer.data = np.frombuffer(array.tobytes(), np.uint8)
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        path.write_bytes(bytes(builder.Output()))
        return str(graph.tensors[operator.outputs[0]].name.decode())

    return edit


def saved_model_weight_sign(name: str) -> Callable[[Path], str]:
    """Flip the sign of the largest element of the variable ``name``."""

    def edit(path: Path) -> str:
        import tensorflow as tf

        loaded = tf.saved_model.load(str(path))
        (variable,) = (
            candidate
            for candidate in loaded.signatures["serving_default"].variables
            if candidate.name.startswith(f"{name}:")
        )
        variable.assign(_flip_largest(variable.numpy()))
        changed = path.with_name("changed")
        tf.saved_model.save(loaded, str(changed), signatures=loaded.signatures)
        shutil.rmtree(path)
        changed.rename(path)
        return name

    return edit


def _flip_largest(array: Any) -> Any:
    array.flat[np.abs(array).argmax()] *= -1
    return array
