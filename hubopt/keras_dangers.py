"""What a Keras config can bring to run beside layers that compute, as data."""

from __future__ import annotations

import builtins
import re
from dataclasses import dataclass
from typing import Any


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
_TENSORFLOW_CALLS = frozenset({"TFOpLambda", "ClassMethod", "TensorFlowOpLayer"})
_REACHES_OUT = re.compile(
    r"(compat\.v[12]\.)?("
    r"io\.(gfile|match\w*|read_file|write_\w+|TFRecord\w*)|gfile|matching_files|read_file|"
    r"write_file|numpy_function|py_func\w*|load_\w+|raw_ops|data|saved_model|summary|train|"
    r"lite|profiler|distribute|test|keras\.(models|saving|utils))\b"
)
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
    if name in _TENSORFLOW_CALLS and isinstance(config, dict):
        called = str(config.get("function") or config.get("cls_symbol") or "")
        called = called.removeprefix("tensorflow.").removeprefix("tf.")
        if _REACHES_OUT.match(called):
            return LayerDanger(name, f"calls tf.{called}")
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
