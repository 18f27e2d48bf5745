"""Finds everything in a Keras config that can do more than compute, in one report."""

from __future__ import annotations

import builtins
import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hubopt.scanning.keras_dangers import LayerDanger, bare_name, danger_of_layer
from hubopt.scanning.keras_objects import KerasObjects, known_objects

_KERAS_PACKAGES = frozenset({"keras", "tf_keras"})
_BUILTIN_VALUES = frozenset({"dict", "list", "tuple", "slice", "str", "int", "float"})
_VALUES = frozenset(
    {
        *("__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__"),
        *("__tuple__", "TensorShape", "TypeSpec", "CompositeTensor"),
    }
)
"""What both generations of Keras write for values that JSON lacks."""
_DTYPE = re.compile(
    r"[a-z]{2,}[0-9]{0,3}(_[a-z0-9]{1,12})?|[<>=|]?[bcfiu][0-9]{1,2}|[<>=|]?[OSU][0-9]{0,4}"
)
"""Dtypes with elements of bounded size, unlike ``S2000000000`` or ``a2000000000``."""
_NAMED = ("activation", "initializer", "regularizer", "constraint")
"""Endings of the keys in a layer's config whose string value names a function or class."""
_TENSORFLOW = "tensorflow."


@dataclass(frozen=True, slots=True)
class KerasFindings:
    """The contents of a config that must not be loaded.

    Attributes:
        dangers: Descriptions, keyed by the name under which a caller allows the danger.
        unregistered: Third-party objects that are not registered with Keras.
    """

    dangers: dict[str, list[str]]
    unregistered: tuple[str, ...]


def scan_config(config: Any, keras: Any) -> KerasFindings:
    """Scan a config without building any object from it.

    Args:
        config: Nested dicts, lists and values.
        keras: The imported generation of Keras that reads it.
    """
    known = known_objects(keras)
    dangers: dict[str, set[str]] = {}
    unregistered: set[str] = set()
    for serialized in serialized_objects(config):
        danger = danger_of_layer(serialized)
        label = _label(serialized)
        if danger is None and not is_registered(serialized, keras):
            danger = _unknown_part(serialized, known)
            unregistered.update(_unregistered_names(serialized, known, keras))
        if danger is not None:
            line = f"{danger.layer}{label}: {danger.ability}"
            dangers.setdefault(danger.layer, set()).add(line)
    found = {name: sorted(lines) for name, lines in dangers.items()}
    return KerasFindings(found, tuple(sorted(unregistered)))


def serialized_objects(config: Any) -> Iterator[dict[str, Any]]:
    """Yield every serialized object at any depth, also in wrappers and nested models."""
    pending = [config]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            if "class_name" in value:
                yield value
            pending.extend(value.values())
        elif isinstance(value, list):
            pending.extend(value)


def is_registered(serialized: dict[str, Any], keras: Any) -> bool:
    """Whether Keras resolves a serialized object among those that Python code has registered."""
    if serialized["class_name"] == "function":
        name = serialized.get("config")
    else:  # the older format has no module, and its reader ignores registered_name
        newer = serialized.get("registered_name") if "module" in serialized else None
        name = newer or serialized["class_name"]
    return isinstance(name, str) and keras.saving.get_registered_object(name) is not None


def _label(serialized: dict[str, Any]) -> str:
    config = serialized.get("config")
    name = config.get("name") if isinstance(config, dict) else None
    return f" {name}" if name else ""


def _unknown_part(serialized: dict[str, Any], known: KerasObjects) -> LayerDanger | None:
    """Return the danger of naming an object of Keras's packages that is not part of a model."""
    module = serialized.get("module")
    if not module or str(module).split(".")[0] not in _KERAS_PACKAGES:
        return None
    names = _lookup_names(serialized)
    refused = [name for name in names if not known.allows(str(module), name)]
    existing = [name for name in refused if known.holds(str(module), name)]
    if not existing and len(refused) < len(names):
        return None  # the refused name does not exist
    name = (existing or refused)[0]
    return LayerDanger(
        bare_name(name),
        f"{name} of {module} is not part of a model: not a layer, initializer, activation or "
        "the like",
    )


def _lookup_names(serialized: dict[str, Any]) -> list[str]:
    """Return the names that Keras may look up in the object's module."""
    if serialized["class_name"] == "function":
        keys = ("config", "registered_name")
    elif serialized["class_name"] == "__typespec__":
        keys = ("spec_name", "registered_name")
    else:
        keys = ("class_name", "registered_name")
    first, second = (serialized.get(key) for key in keys)
    return [str(first)] if second is None else list(dict.fromkeys((str(first), str(second))))


def _unregistered_names(
    serialized: dict[str, Any], known: KerasObjects, keras: Any
) -> Iterator[str]:
    """Yield the names that Keras would resolve outside its own packages, or would not find."""
    if not _belongs_to_keras(serialized, known):
        yield str(serialized.get("registered_name") or serialized["class_name"])
        return
    config = serialized.get("config")
    for key, value in config.items() if isinstance(config, dict) else ():
        if (
            key.endswith(_NAMED)
            and isinstance(value, str)
            and not known.knows(value)
            and keras.saving.get_registered_object(value) is None
        ):
            yield value


def _belongs_to_keras(serialized: dict[str, Any], known: KerasObjects) -> bool:
    name, module = serialized["class_name"], serialized.get("module")
    if name == "__typespec__":
        return _is_type_spec(serialized)
    if name in _VALUES:
        return not module and _is_bounded(serialized)
    if not module:  # Keras then looks only among its own objects
        return isinstance(name, str) and name != "function" and known.knows(name)
    if str(module) == "builtins":
        if name == "function":  # should be a function of Keras, by its bare name
            function = str(serialized.get("config"))
            return known.knows(function) and not hasattr(builtins, function)
        return name in _BUILTIN_VALUES
    return str(module).split(".")[0] in _KERAS_PACKAGES  # see `_unknown_part`


def _is_type_spec(serialized: dict[str, Any]) -> bool:
    """Whether this describes a ``TypeSpec`` of TensorFlow whose class is already imported."""
    import tensorflow as tf

    module, name = str(serialized.get("module")), str(serialized.get("spec_name"))
    kind = inspect.getattr_static(sys.modules.get(module), name, None)
    return (
        module.startswith(_TENSORFLOW)
        and serialized.get("registered_name") is None
        and isinstance(kind, type)
        and issubclass(kind, tf.TypeSpec)
    )


def _is_bounded(serialized: dict[str, Any]) -> bool:
    config = serialized.get("config")
    dtype = config.get("dtype") if isinstance(config, dict) else None
    return dtype is None or isinstance(dtype, dict) or _DTYPE.fullmatch(str(dtype)) is not None
