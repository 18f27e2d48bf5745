"""What a Keras config can run besides layers that compute, as data."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hubopt.scanning.dangers import danger_of
from hubopt.scanning.keras_calls import ATTRIBUTES, builds_tensor, computes


@dataclass(frozen=True, slots=True)
class LayerDanger:
    """What a kind of layer can do besides computing.

    Attributes:
        layer: The kind's name, under which a caller allows it.
        ability: What it can do, as a predicate.
    """

    layer: str
    ability: str


_ANOTHER_SAVED_MODEL = "loads another SavedModel, from a path in the file"
_PYTHON_FUNCTION = "calls Python functions that the file names"
_DANGEROUS = {
    "Lambda": LayerDanger("Lambda", "runs Python code from the file"),
    # A function without a name, wherever Keras accepts one, such as an activation.
    "__lambda__": LayerDanger("Lambda", "runs Python code from the file"),
    "TorchModuleWrapper": LayerDanger(
        "TorchModuleWrapper", "unpickles a PyTorch module, which runs Python code from the file"
    ),
    "TFSMLayer": LayerDanger("TFSMLayer", _ANOTHER_SAVED_MODEL),
    "ReloadedLayer": LayerDanger("TFSMLayer", _ANOTHER_SAVED_MODEL),  # its name in Keras 2
    "JaxLayer": LayerDanger("JaxLayer", _PYTHON_FUNCTION),
    "FlaxLayer": LayerDanger("FlaxLayer", _PYTHON_FUNCTION),
    # hubopt's own KerasLayer is registered; its config also names the allowed operations.
    "KerasLayer": LayerDanger("KerasLayer", "loads another model, from a handle in the file"),
}
# A string under these keys is the path of a file to read; Keras saves the words themselves.
_PATHS = ("vocabulary", "idf_weights", "vocabulary_file", "vocabulary_path")
_SEPARATORS = re.compile(r"[.>]")


def is_dangerous(name: str) -> bool:
    """Whether a class of this name can do more than compute, whatever its config."""
    return name in _DANGEROUS


def bare_name(name: object) -> str:
    """Return the last part of a dotted path, or of a name with its package: ``Custom>Mine``."""
    return _SEPARATORS.split(str(name))[-1]


def danger_of_layer(serialized: dict[str, Any]) -> LayerDanger | None:
    """Return what a serialized object can do besides computing, or None.

    Args:
        serialized: A dict with ``class_name`` and usually ``config``.
    """
    return next(filter(None, (_danger(name, serialized) for name in _names(serialized))), None)


def _names(serialized: dict[str, Any]) -> Iterator[str]:
    """Yield every name under which Keras may look up the object."""
    for key in ("class_name", "registered_name", "spec_name"):
        if serialized.get(key) is not None:
            yield bare_name(serialized[key])
    if serialized["class_name"] == "function":
        yield bare_name(serialized.get("config"))


def _danger(name: str, serialized: dict[str, Any]) -> LayerDanger | None:
    if name in _DANGEROUS:
        return _DANGEROUS[name]
    config = serialized.get("config")
    if not isinstance(config, dict):
        return None
    for key in _PATHS:
        if isinstance(config.get(key), str) and config[key]:
            return LayerDanger(name, f"reads {config[key]!r}, a path in the file, as its {key}")
    called = _dangerous_call(name, config)
    return LayerDanger(name, f"calls {called}") if called else None


def _dangerous_call(layer: str, config: dict[str, Any]) -> str | None:
    """Return what a layer that wraps TensorFlow calls; None if that is known to only compute."""
    if layer in ("TFOpLambda", "SlicingOpLambda"):
        function = str(config.get("function"))
        return None if computes(function) else f"tf.{function}"
    if layer == "ClassMethod":
        method = f"{config.get('cls_symbol')}.{config.get('method_name')}"
        return None if builds_tensor(method) else f"tf.{method}"
    if layer in ("InstanceProperty", "InstanceMethod"):
        attribute = str(config.get("attr_name"))
        return None if attribute in ATTRIBUTES else f"{attribute} of a tensor"
    if layer == "TensorFlowOpLayer":
        op = _operation(config.get("node_def"))
        return None if op and danger_of(op) is None else f"the operation {op or '(unreadable)'}"
    return None


def _operation(node: Any) -> str | None:
    if isinstance(node, dict):
        return str(node["op"]) if "op" in node else None
    import tensorflow as tf
    from google.protobuf.message import DecodeError

    try:
        return tf.compat.v1.NodeDef.FromString(str(node).encode()).op or None
    except DecodeError:
        return None
