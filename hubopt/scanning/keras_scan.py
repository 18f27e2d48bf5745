"""Everything in a Keras config that is more than a layer that computes, told at once."""

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
"""What both generations write for values that JSON lacks."""
_DTYPE = re.compile(
    r"[a-z]{2,}[0-9]{0,3}(_[a-z0-9]{1,12})?|[<>=|]?[bcfiu][0-9]{1,2}|[<>=|]?[OSU][0-9]{0,4}"
)
"""Dtypes with elements of bounded size; one of ``S2000000000`` or ``a2000000000`` is not."""
_NAMED = ("activation", "initializer", "regularizer", "constraint")
"""How the keys of a layer's config end under which a text is the name of a function or class."""
_TENSORFLOW = "tensorflow."


@dataclass(frozen=True, slots=True)
class KerasFindings:
    """What a config holds that is not to be loaded.

    Attributes:
        dangers: Lines, by the name under which a caller allows what they tell.
        unregistered: Objects of others that are not registered with Keras.
    """

    dangers: dict[str, list[str]]
    unregistered: tuple[str, ...]


def scan_config(config: Any, keras: Any) -> KerasFindings:
    """Look through a config, without building anything of it.

    Args:
        config: Nested dicts, lists and values.
        keras: The generation of Keras that reads it, imported.
    """
    known = known_objects(keras)
    dangers: dict[str, set[str]] = {}
    unregistered: set[str] = set()
    for each in serialized_objects(config):
        danger = danger_of_layer(each)
        label = _label(each)
        if danger is None and not is_registered(each, keras):
            danger = _unknown_part(each, known)
            unregistered.update(_unregistered_names(each, known, keras))
        if danger is not None:
            line = f"{danger.layer}{label}: {danger.ability}"
            dangers.setdefault(danger.layer, set()).add(line)
    found = {name: sorted(lines) for name, lines in dangers.items()}
    return KerasFindings(found, tuple(sorted(unregistered)))


def serialized_objects(config: Any) -> Iterator[dict[str, Any]]:
    """Give every serialized object at any depth, in wrappers and models within models too."""
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
    """Whether Keras takes a serialized object from those that Python code has registered."""
    if serialized["class_name"] == "function":
        name = serialized.get("config")
    else:  # without a module it is the older format, which does not read registered_name
        newer = serialized.get("registered_name") if "module" in serialized else None
        name = newer or serialized["class_name"]
    return isinstance(name, str) and keras.saving.get_registered_object(name) is not None


def _label(serialized: dict[str, Any]) -> str:
    config = serialized.get("config")
    name = config.get("name") if isinstance(config, dict) else None
    return f" {name}" if name else ""


def _unknown_part(serialized: dict[str, Any], known: KerasObjects) -> LayerDanger | None:
    """Return what of Keras's own packages is named and is no part of a model."""
    module = serialized.get("module")
    if not module or str(module).split(".")[0] not in _KERAS_PACKAGES:
        return None
    names = _looked_up(serialized)
    refused = [name for name in names if not known.allows(str(module), name)]
    there = [name for name in refused if known.holds(str(module), name)]
    if not there and len(refused) < len(names):
        return None  # the other name leads nowhere
    name = (there or refused)[0]
    return LayerDanger(
        bare_name(name),
        f"{name} of {module} is no part of a model: no layer, no initializer, no activation or "
        "the like",
    )


def _looked_up(serialized: dict[str, Any]) -> list[str]:
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
    """Give what Keras would take from elsewhere, or would not find."""
    if not _is_kerass_own(serialized, known):
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


def _is_kerass_own(serialized: dict[str, Any], known: KerasObjects) -> bool:
    name, module = serialized["class_name"], serialized.get("module")
    if name == "__typespec__":
        return _is_type_spec(serialized)
    if name in _VALUES:
        return not module and _is_bounded(serialized)
    if not module:  # nothing else is looked up than what Keras has under that name
        return isinstance(name, str) and name != "function" and known.knows(name)
    if str(module) == "builtins":
        if name == "function":  # of Keras by its bare name; or so it should be
            function = str(serialized.get("config"))
            return known.knows(function) and not hasattr(builtins, function)
        return name in _BUILTIN_VALUES
    return str(module).split(".")[0] in _KERAS_PACKAGES  # see `_unknown_part`


def _is_type_spec(serialized: dict[str, Any]) -> bool:
    """Whether a type of TensorFlow's own is described, by a class that is imported already."""
    import tensorflow as tf

    module, name = str(serialized.get("module")), str(serialized.get("spec_name"))
    found = inspect.getattr_static(sys.modules.get(module), name, None)
    return (
        module.startswith(_TENSORFLOW)
        and serialized.get("registered_name") is None
        and isinstance(found, type)
        and issubclass(found, tf.TypeSpec)
    )


def _is_bounded(serialized: dict[str, Any]) -> bool:
    config = serialized.get("config")
    dtype = config.get("dtype") if isinstance(config, dict) else None
    return dtype is None or isinstance(dtype, dict) or _DTYPE.fullmatch(str(dtype)) is not None
