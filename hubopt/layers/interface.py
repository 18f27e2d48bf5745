"""Reads the inputs that a layer declares, before any shape is resolved."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from hubopt._platform.tf_private import (
    layer_arguments,
    layer_callable,
    layer_signature,
    restored_signatures,
)
from hubopt._util.structure import Structure, leaves, name_leaves, unpack
from hubopt.errors import LoadError
from hubopt.spec import MaybeShape

Kind = Literal["dense", "ragged", "sparse"]


@dataclass(frozen=True, slots=True)
class Declared:
    """A declared tensor; attributes that are not declared are None.

    Attributes:
        name: The tensor's name.
        dtype: TensorFlow's name of the dtype.
        shape: The shape; None if the rank is unknown.
        kind: Whether it is one tensor, or a ragged or a sparse one made of several.
    """

    name: str
    dtype: str | None
    shape: MaybeShape | None
    kind: Kind = "dense"

    @property
    def may_be_length(self) -> bool:
        """Whether its only dimension is open and holds floats: a waveform, not a batch."""
        return self.shape == (None,) and is_float(self.dtype)


def is_float(dtype: str | None) -> bool:
    """Whether ``dtype`` is the name of a floating-point dtype."""
    return dtype is not None and "float" in dtype


@dataclass(frozen=True, slots=True)
class Interface:
    """The interface that a layer declares.

    Attributes:
        inputs: The inputs, in the order of the structure's leaves.
        structure: The structure in which the layer takes its inputs.
        only_output: The model's only output, if a signature with the same inputs names it.
    """

    inputs: tuple[Declared, ...]
    structure: Structure
    only_output: Declared | None = None


def read_interface(layer: Any) -> Interface:
    """Return the interface that ``layer``, a `KerasLayer`, declares."""
    function = layer_callable(layer)
    if layer_signature(layer):
        return _from_signature(function)
    signatures = [
        _from_signature(signature) for signature in getattr(function, "signatures", {}).values()
    ]
    traced = restored_signatures(function)
    if traced:
        _check_arguments(layer, traced, sorted(getattr(function, "signatures", {})))
        interface = _from_traces(traced, signatures)
    elif getattr(function, "input_signature", None):
        interface = _from_nest(function.input_signature[0])
    elif getattr(function, "inputs", None):
        interface = _from_nest(_keras_input(function))
    else:
        interface = Interface((Declared("input", None, None),), "input")
    # A signature with exactly the same inputs may name the output. If several such signatures
    # disagree, it is unknown which one is the model's own call.
    outputs = {
        signature.only_output
        for signature in signatures
        if set(signature.inputs) == set(interface.inputs)
    }
    only_output = outputs.pop() if len(outputs) == 1 else None
    return Interface(interface.inputs, interface.structure, only_output)


def _keras_input(model: Any) -> Any:
    """Return the nest of a Keras model's inputs; a Keras 3 Sequential has only a list."""
    try:
        return model.input
    except AttributeError:
        return model.inputs[0] if len(model.inputs) == 1 else model.inputs


def _from_signature(function: Any) -> Interface:
    _, keywords = function.structured_input_signature
    inputs = tuple(_declared(name, keywords[name]) for name in sorted(keywords))
    structure = (
        inputs[0].name if len(inputs) == 1 else {tensor.name: tensor.name for tensor in inputs}
    )
    outputs = [_declared(name, spec) for name, spec in function.structured_outputs.items()]
    return Interface(inputs, structure, outputs[0] if len(outputs) == 1 else None)


def _from_traces(traced: list[Any], signatures: list[Interface]) -> Interface:
    """Choose one of the traces of a restored ``__call__``.

    Traces for inference are preferred, then a trace whose input names are also those of a
    signature, then the trace with the most open dimensions, which accepts the inputs of the
    others too.
    """
    inference = [args for args, kwargs in traced if not _trains(args, kwargs)]
    candidates = [_from_nest(args[0]) for args in inference or [args for args, _ in traced] if args]
    signature_names = [{tensor.name for tensor in interface.inputs} for interface in signatures]

    def rank(interface: Interface) -> tuple[bool, int]:
        names = {tensor.name for tensor in interface.inputs}
        shapes = [tensor.shape for tensor in interface.inputs]
        open_dims = sum(99 if shape is None else shape.count(None) for shape in shapes)
        return names in signature_names, open_dims

    return max(candidates, key=rank)


def _check_arguments(layer: Any, traced: list[Any], signatures: Sequence[str]) -> None:
    """Check that the model's own call takes one nest of tensors, as hub.KerasLayer passes it.

    Further tensor arguments are allowed if they have defaults or if the layer was given them.
    """
    counts = [len(_tensors((*args, *kwargs.values()))) for args, kwargs in traced]
    parameters = inspect.signature(layer_callable(layer).__call__).parameters.values()
    needed = [
        parameter.name
        for parameter in parameters
        if parameter.default is parameter.empty and parameter.name not in layer_arguments(layer)
    ]
    if max(counts) == 1 or len(needed) == 1:
        return
    way_out = f"pass --signature with one of: {', '.join(signatures)}"
    raise LoadError(
        "model",
        f"its own call takes {max(counts)} separate tensor arguments",
        "one tensor, or one list or mapping of tensors, as hub.KerasLayer passes it",
        way_out if signatures else "save it with a call that takes one mapping of tensors",
    )


def _tensors(arguments: Any) -> list[Any]:
    import tensorflow as tf

    return [
        argument
        for argument in arguments
        if any(isinstance(leaf, tf.TypeSpec) for leaf in tf.nest.flatten(argument))
    ]


def _trains(args: Any, kwargs: Mapping[str, Any]) -> bool:
    return any(value is True for value in (*args[1:], *kwargs.values()))


def _from_nest(nest: Any) -> Interface:
    by_position = name_leaves(nest, single="input", prefix="input")
    specs = unpack(by_position, nest)
    own = {key: _clean(getattr(spec, "name", None)) or key for key, spec in specs.items()}
    if isinstance(nest, Mapping) or len(set(own.values())) != len(own):
        own = {key: key for key in specs}  # callers use the mapping keys as names
    inputs = tuple(_declared(own[key], specs[key]) for key in leaves(by_position))
    return Interface(inputs, _rename(by_position, own))


def _clean(name: str | None) -> str | None:
    return name.partition(":")[0] if name else None


def _rename(structure: Structure, names: Mapping[str, str]) -> Structure:
    if isinstance(structure, str):
        return names[structure]
    if isinstance(structure, Mapping):
        return {key: _rename(child, names) for key, child in structure.items()}
    return [_rename(child, names) for child in structure]


def _declared(name: str, spec: Any) -> Declared:
    import tensorflow as tf

    shape = tf.TensorShape(spec.shape)
    dims = None if shape.rank is None else tuple(shape.as_list())
    return Declared(name, tf.as_dtype(spec.dtype).name, dims, tensor_kind(spec))


def tensor_kind(spec: Any) -> Kind:
    """Return the kind of a TensorFlow spec, or of the symbolic input of a Keras model."""
    import tensorflow as tf

    own = getattr(spec, "type_spec", spec)  # a symbolic tensor of Keras 2 has a spec
    if isinstance(own, tf.RaggedTensorSpec) or getattr(spec, "ragged", False) is True:
        return "ragged"
    if isinstance(own, tf.SparseTensorSpec) or getattr(spec, "sparse", False) is True:
        return "sparse"
    return "dense"
