"""Loads the model of a located handle, which `KerasLayer` wraps."""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

from hubopt._platform.causes import explain, first_line
from hubopt._platform.resources import resource_error
from hubopt.errors import HuboptError, LoadError
from hubopt.models.handles import TF1_MODULE_FILE, Handle, LoadPolicy
from hubopt.models.keras_files import load_keras_file
from hubopt.models.prune_saved_model import pruned_saved_model
from hubopt.scanning.op_packages import provide_ops
from hubopt.scanning.scan import scan

_PATTERN = re.compile(r"[*?\[\]]")


def load_model(
    handle: Handle,
    tags: Sequence[str] | None = None,
    load_options: Any = None,
    load_policy: LoadPolicy | None = None,
) -> Any:
    """Load the model of ``handle``.

    Args:
        handle: The result of `hubopt.models.handles.locate`.
        tags: The tags of the graph of a SavedModel to load; None for the only graph.
        load_options: A ``tf.saved_model.LoadOptions``.
        load_policy: The operations that are allowed in addition to the harmless ones.

    Raises:
        LoadError: The model cannot be loaded, or it has operations that are not allowed.
    """
    load_policy = load_policy or LoadPolicy()
    if handle.kind == "python":
        return _import(handle.text)
    assert handle.path is not None
    if handle.kind == "keras":
        return load_keras_file(handle.path, load_policy.allow_ops, load_policy.limits)
    return _load_saved_model(handle, tags, load_options, load_policy)


def _load_saved_model(
    handle: Handle, tags: Sequence[str] | None, load_options: Any, load_policy: LoadPolicy
) -> Any:
    import tensorflow as tf

    assert handle.path is not None
    if _PATTERN.search(str(handle.path)):
        raise LoadError(
            f"model {handle.text}",
            f"its path, {handle.path}, has one of * ? [ ], which TensorFlow reads as a pattern",
            "a path without these characters",
            "move or link the model to another path",
        )
    is_tf1_module = (handle.path / TF1_MODULE_FILE).is_file()
    if tags is None and is_tf1_module:
        tags = []
    scan(handle.path, tuple(tags or ()), load_policy.allow_ops)
    provide_ops(handle.path, tuple(tags or ()))
    whole = nullcontext(handle.path)
    try:
        with (
            pruned_saved_model(handle.path, tuple(tags or ()))
            if handle.only_calls
            else whole as folder
        ):
            loaded = tf.saved_model.load(str(folder), tags=tags, options=load_options)
    except Exception as error:  # TensorFlow's loader raises exceptions of many types
        raise load_error(handle.text, error) from error
    loaded._is_hub_module_v1 = is_tf1_module  # the attribute that tensorflow_hub sets
    return loaded


def load_error(text: str, error: BaseException) -> HuboptError:
    """Return the error for a model that TensorFlow cannot load, with the cause in plain words."""
    shortage = resource_error(error)
    if shortage is not None:
        return shortage
    known = explain(error)
    found, way_out = known or (
        f"TensorFlow cannot load it: {type(error).__name__}: {first_line(error)}",
        "check that all files are present and complete, including variables/; save the model again",
    )
    return LoadError(f"model {text}", found, "a complete SavedModel", way_out)


def _import(text: str) -> Any:
    module, _, attribute = text.partition(":")
    try:
        value: Any = importlib.import_module(module)
        for name in attribute.split("."):
            value = getattr(value, name)
    except (ImportError, AttributeError) as error:
        raise LoadError(
            f"handle {text}",
            f"cannot be imported: {error}",
            "package.module:attribute, importable from the current folder",
            "check the names, and install the package or go to its folder",
        ) from error
    except Exception as error:  # the module's own code may raise any exception
        raise LoadError(
            f"handle {text}",
            f"importing it fails: {type(error).__name__}: {error}",
            "a module that imports without an error",
            f"run python -c 'import {module}' to see the traceback",
        ) from error
    if not callable(value):
        raise LoadError(
            f"handle {text}",
            f"it is a {type(value).__name__}",
            "a callable: a function, a Keras model or layer, a tf.Module",
            "name an attribute that can be called with the inputs",
        )
    return value
