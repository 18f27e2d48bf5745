"""The arguments of `hub.KerasLayer`: checked, and what they lead to."""

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

    Frozen, so that Keras tracks none of it as state.

    Attributes:
        handle: As it goes into the config: a string, or a callable, which cannot go there.
        arguments: Keyword arguments for the callable.
        tags: The graph to load; None for the only one.
        signature: The signature to call.
        as_dict: Whether a call returns all of the signature's outputs.
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
    """What the arguments lead to.

    Attributes:
        arguments: With the defaults of a TF1 Hub module filled in.
        loaded: The object that the handle leads to.
        function: What is called: that object or one of its signatures.
        is_tf1: Whether it is a TF1 Hub module.
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
    """Load what ``handle`` leads to and choose what is called.

    Raises:
        HandleError: The handle leads to nothing.
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
        found = handle if isinstance(handle, Handle) else _locate(handle, load_policy)
        handle = found.text
        loaded = load_model(found, tags, load_options, load_policy)
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
    found = locate(handle, load_policy)
    if found.kind == "python":  # configs name their handles, and they must not import code
        raise ValueError(
            f"KerasLayer({found.text!r}): pass the callable itself; a module's attribute is a "
            "handle on the command line only"
        )
    return found


def _choose(loaded: Any, signature: str | None, handle: Any) -> Any:
    """Return what is called: the object itself, or one of its signatures."""
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
    """Return TensorFlow's name of a ``dtype`` argument; None for a policy, or if not given."""
    if dtype is None:
        return None
    try:
        found = tf.as_dtype(dtype)
    except TypeError:  # a policy, such as mixed_float16
        return None
    name: str = found.name
    return name
