"""The outputs of a layer: structure, names and what TensorFlow infers of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hubopt._platform.causes import first_line
from hubopt._platform.tf_private import layer_callable, layer_output_key
from hubopt._util.structure import Structure, name_leaves, pack, unpack
from hubopt.errors import HuboptError, TraceError
from hubopt.layers.interface import Interface
from hubopt.spec import format_shape


def trace_outputs(
    layer: Any, interface: Interface, signature: Sequence[Any]
) -> tuple[Structure, dict[str, Any]]:
    """Return the structure and the symbolic outputs that TensorFlow infers.

    Args:
        layer: A `hubopt.KerasLayer`.
        interface: The layer's declared interface.
        signature: A ``tf.TensorSpec`` for each input; its dimensions may be open.

    Raises:
        TraceError: TensorFlow cannot trace the layer, or it returns something other than tensors.
    """
    import tensorflow as tf

    names = [declared.name for declared in interface.inputs]

    def call(*tensors: Any) -> Any:
        packed = pack(interface.structure, dict(zip(names, tensors, strict=True)))
        return call_as_is(layer, packed)

    try:
        outputs = (
            tf.function(call, input_signature=list(signature), autograph=False)
            .get_concrete_function()
            .structured_outputs
        )
    except HuboptError:
        raise
    except Exception as error:  # whatever the layer's own Python code raises
        given = ", ".join(
            f"{name}: {tensor.dtype.name} {_format_shape(tensor.shape)}"
            for name, tensor in zip(names, signature, strict=True)
        )
        raise TraceError(
            "layer",
            f"calling it with {given} fails: {type(error).__name__}: {first_line(error)}",
            "inputs that the model accepts",
            "compare the flags with what `hubopt inspect HANDLE` shows",
        ) from error
    odd = sorted({type(leaf).__name__ for leaf in tf.nest.flatten(outputs) if not _is_tensor(leaf)})
    if odd:
        raise TraceError(
            "layer",
            f"it returns {', '.join(odd)}",
            "dense tensors, alone or in lists and mappings",
            "wrap it in a function that returns dense tensors",
        )
    structure = name_leaves(outputs, single=_only_name(layer, interface, outputs), prefix="output")
    structure = _own_names(layer, structure)
    return structure, unpack(structure, outputs)


def _own_names(layer: Any, structure: Structure) -> Structure:
    """Use a Keras model's own output names where it returns a list or a tensor."""
    names = getattr(layer_callable(layer), "output_names", None)
    if isinstance(structure, str) and names and len(names) == 1 and not layer_output_key(layer):
        return str(names[0])
    if (
        isinstance(structure, list)
        and all(isinstance(leaf, str) for leaf in structure)
        and names
        and len(set(names)) == len(structure)
    ):
        return [str(name) for name in names]
    return structure


def _format_shape(shape: Any) -> str:
    return "of unknown rank" if shape.rank is None else format_shape(shape.as_list())


def _is_tensor(leaf: Any) -> bool:
    import tensorflow as tf

    return isinstance(leaf, tf.Tensor | tf.TensorSpec)


def _only_name(layer: Any, interface: Interface, nest: Any) -> str:
    """Return the name for a single output that the layer returns outside any mapping."""
    chosen = layer_output_key(layer)
    if chosen:
        return chosen
    declared = interface.only_output
    same_dtype = declared and declared.dtype == getattr(getattr(nest, "dtype", None), "name", None)
    return declared.name if declared and same_dtype else "output_0"


def call_as_is(layer: Any, inputs: Any) -> Any:
    """Call in inference mode, without checking the outputs against the layer's ``output_shape``.

    `hubopt.programs.shaping.shapes.resolve` checks the hint itself, to report every problem at
    once. Exported graphs contain no check.
    """
    infer = getattr(layer, "infer", None)  # a layer of tensorflow_hub has no such method
    return infer(inputs) if infer else layer(inputs, training=False)
