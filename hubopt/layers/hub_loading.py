"""Checks the arguments of `hub.KerasLayer` and loads the model that they name."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf

from hubopt.layers.shape_hint import to_shapes
from hubopt.models.handles import Handle, LoadPolicy, locate
from hubopt.models.loading import load_model


@dataclass(frozen=True, slots=True)
class HubArguments:
    """The arguments of `hub.KerasLayer`.

    It is frozen, so that Keras tracks none of it as state.

    Attributes:
        handle: A string, which goes into the config, or a callable, which cannot.
        arguments: Keyword arguments for the callable.
        tags: The tags of the graph to load; None for the only graph.
        signature: The signature to call.
        as_dict: Whether a call returns all outputs of the signature.
        output_key: The one output to return.
        output_shape: A nest of ``tf.TensorShape`` without the batch; None if not given.
    """

    handle: Any
    arguments: Mapping[str, Any] = field(default_factory=dict)
    tags: Sequence[str] | None = None
    signature: str | None = None
    as_dict: bool | None = None
    output_key: str | None = None
    output_shape: Any = None


@dataclass(frozen=True, slots=True)
class Opened:
    """A loaded model and the arguments it was loaded with.

    Attributes:
        arguments: The arguments, with the defaults of a TF1 Hub module filled in.
        loaded: The object that the handle names.
        function: The callable: that object or one of its signatures.
        is_tf1: Whether the object is a TF1 Hub module.
    """

    arguments: HubArguments
    loaded: Any
    function: Any
    is_tf1: bool


def open_hub(
    handle: Any,
    arguments: Mapping[str, Any] | None,
    tags: Sequence[str] | str | None,
    signature: str | None,
    as_dict: bool | None,
    output_key: str | None,
    output_shape: Any,
    load_options: Any,
    load_policy: LoadPolicy,
) -> Opened:
    """Load the object that ``handle`` names and choose the function to call.

    Raises:
        HandleError: The handle leads to no model.
        LoadError: The model cannot be loaded, or is not safe to load.
        ValueError: The arguments contradict each other or the model.
    """
    shape = None if output_shape is None else to_shapes(output_shape)
    if callable(handle):
        for name, value in (("tags", tags), ("load_options", load_options)):
            if value is not None:
                raise ValueError(
                    f"Passing a callable handle is mutually exclusive with setting {name}."
                )
        loaded = handle
    elif not isinstance(handle, str | os.PathLike | Handle):
        raise ValueError(
            f"Expected a string, got {handle!r}: a handle is a string, a path or a callable."
        )
    else:
        located = handle if isinstance(handle, Handle) else _locate(handle, load_policy)
        handle = located.text
        loaded = load_model(located, tags, load_options, load_policy)
    is_tf1 = getattr(loaded, "_is_hub_module_v1", False)
    if is_tf1:
        signature = signature or "default"
        output_key = output_key or (None if as_dict else "default")
    if signature and (output_key is not None) == bool(as_dict):
        raise ValueError(
            "When using a signature, either output_key or "
            "signature_outputs_as_dict=True should be set."
        )
    if not signature and as_dict:
        raise ValueError(
            "signature_outputs_as_dict is only valid if specifying "
            "a signature (or using a legacy TF1 Hub format)."
        )
    given = HubArguments(
        handle,
        dict(arguments or {}),
        None if tags is None else sorted([tags] if isinstance(tags, str) else tags),
        signature,
        as_dict,
        output_key,
        shape,
    )
    return Opened(given, loaded, _choose(loaded, signature, handle), is_tf1)


def _locate(handle: Any, load_policy: LoadPolicy) -> Handle:
    located = locate(handle, load_policy)
    if located.kind == "python":  # a config contains its handle, and must not import code
        raise ValueError(
            f"KerasLayer({located.text!r}): pass the callable itself; a module's attribute is a "
            "handle on the command line only"
        )
    return located


def _choose(loaded: Any, signature: str | None, handle: Any) -> Any:
    """Return the function to call: the object itself, or one of its signatures."""
    if callable(loaded) and not signature:
        return loaded
    if not hasattr(loaded, "signatures"):
        raise ValueError(
            "Loaded object has no signatures."
            if signature
            else "Loaded object is not callable and has no signatures."
        )
    available = ", ".join(sorted(loaded.signatures))
    if signature is None:
        raise ValueError(
            "Signature name has to be specified for non-callable saved models "
            f"(if not legacy TF1 Hub format); available signatures: {available}."
        )
    if signature not in loaded.signatures:
        raise ValueError(
            f"Unknown signature {signature} in {handle} (available signatures: {available})."
        )
    return loaded.signatures[signature]


def dtype_name(dtype: Any) -> str | None:
    """Return TensorFlow's name of a ``dtype`` argument; None if it is a policy or missing."""
    if dtype is None:
        return None
    try:
        tf_dtype = tf.as_dtype(dtype)
    except TypeError:  # a policy, such as mixed_float16
        return None
    name: str = tf_dtype.name
    return name
