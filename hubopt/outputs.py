"""What a layer gives: structure, names and dtypes from a trace, shapes as samples show them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from hubopt.errors import TraceError
from hubopt.interface import Interface
from hubopt.layer import first_line
from hubopt.samples import draw
from hubopt.spec import MaybeShape, TensorSpec, format_shape
from hubopt.structure import Structure, name_leaves, pack, unpack
from hubopt.tf_private import layer_output_key

_log = logging.getLogger(__name__)


def trace_outputs(
    layer: Any, interface: Interface, signature: Sequence[Any]
) -> tuple[Structure, dict[str, Any]]:
    """Return the structure and the symbolic outputs that TensorFlow infers.

    Args:
        layer: A `hubopt.KerasLayer`.
        interface: What it declares.
        signature: A ``tf.TensorSpec`` for each input; its dimensions may be open.

    Raises:
        TraceError: TensorFlow cannot trace the layer, or it returns something else than tensors.
    """
    import tensorflow as tf

    names = [each.name for each in interface.inputs]

    def call(*tensors: Any) -> Any:
        packed = pack(interface.structure, dict(zip(names, tensors, strict=True)))
        return layer(packed, training=False)

    try:
        outputs = (
            tf.function(call, input_signature=list(signature), autograph=False)
            .get_concrete_function()
            .structured_outputs
        )
    except Exception as error:  # whatever the layer's own Python code raises
        given = ", ".join(
            f"{name}: {each.dtype.name} {_tell_shape(each.shape)}"
            for name, each in zip(names, signature, strict=True)
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
    return structure, unpack(structure, outputs)


def _tell_shape(shape: Any) -> str:
    return "of unknown rank" if shape.rank is None else format_shape(shape.as_list())


def _is_tensor(leaf: Any) -> bool:
    import tensorflow as tf

    return isinstance(leaf, tf.Tensor | tf.TensorSpec)


def _only_name(layer: Any, interface: Interface, nest: Any) -> str:
    """Return the name of an output that the layer returns alone, outside any mapping."""
    chosen = layer_output_key(layer)
    if chosen:
        return chosen
    declared = interface.only_output
    same_dtype = declared and declared.dtype == getattr(getattr(nest, "dtype", None), "name", None)
    return declared.name if declared and same_dtype else "output_0"


def sample_shapes(
    layer: Any, interface: Interface, inputs: Sequence[TensorSpec], structure: Structure
) -> dict[str, MaybeShape]:
    """Return the output shapes on which calls with samples agree.

    They go into the error text and settle nothing: that four samples agree does not mean
    that the next one does.
    """
    import tensorflow as tf

    seen: dict[str, set[tuple[int, ...]]] = {}
    for sample in draw(inputs):
        tensors = {spec.name: tf.constant(sample[spec.name], spec.dtype) for spec in inputs}
        try:
            outputs = layer(pack(interface.structure, tensors), training=False)
        except tf.errors.OpError as error:  # such as an index outside its table
            _log.info("the layer refuses a sample: %s", first_line(error))
            return {}
        for name, tensor in unpack(structure, outputs).items():
            seen.setdefault(name, set()).add(tuple(tensor.shape))
    return {name: next(iter(shapes)) for name, shapes in seen.items() if len(shapes) == 1}
