"""What a Keras config can bring to run beside layers that compute, as data."""

from __future__ import annotations

import builtins
from dataclasses import dataclass
from typing import Any

from hubopt.scanning.dangers import danger_of
from hubopt.scanning.keras_calls import ATTRIBUTES, builds_tensor, computes


@dataclass(frozen=True, slots=True)
class LayerDanger:
    """What a kind of layer can do beside computing.

    Attributes:
        layer: The kind's name, as a caller allows it.
        ability: What it can do, as a predicate.
    """

    layer: str
    ability: str


_DANGEROUS = {
    "Lambda": LayerDanger("Lambda", "runs Python code from the file"),
    # Any function without a name, wherever Keras takes one: an activation, say.
    "__lambda__": LayerDanger("Lambda", "runs Python code from the file"),
    "TorchModuleWrapper": LayerDanger(
        "TorchModuleWrapper", "unpickles a PyTorch module, which runs Python code from the file"
    ),
    "TFSMLayer": LayerDanger("TFSMLayer", "loads another SavedModel, from a path in the file"),
}
# A text there is the path of a file to read; a file that Keras saved holds the words themselves.
_PATHS = ("vocabulary", "idf_weights", "vocabulary_file", "vocabulary_path")
_KERAS_MODULES = frozenset({"keras", "tf_keras"})
_BUILTIN_VALUES = frozenset({"dict", "list", "tuple", "slice", "str", "int", "float"})


def danger_of_layer(serialized: dict[str, Any]) -> LayerDanger | None:
    """Return what a serialized object can do beside computing, or None.

    Args:
        serialized: A dict with ``class_name`` and, nearly always, ``config``.
    """
    name = str(serialized["class_name"]).rpartition(">")[2]
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
    """Return what a layer of plain TensorFlow calls, unless that is known to compute only."""
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
        return None if op and danger_of(op) is None else f"the operation {op or 'it hides'}"
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


def is_foreign(serialized: dict[str, Any]) -> bool:
    """Whether Keras would take a serialized object from a module other than its own."""
    module = serialized.get("module")
    if module is None:  # of Keras or registered: nothing else is looked up
        return False
    if str(module) == "builtins":
        if serialized["class_name"] == "function":  # of Keras by its bare name; or so it should be
            return hasattr(builtins, str(serialized.get("config")))
        return serialized["class_name"] not in _BUILTIN_VALUES
    if str(module).split(".")[0] not in _KERAS_MODULES:
        return True
    # A function of Keras by its path could be any, get_file for one.
    return serialized["class_name"] == "function" and ".utils" in str(module)
