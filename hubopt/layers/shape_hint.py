"""The ``output_shape`` of a `KerasLayer`: nests of shapes, and checks of outputs against them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf


def with_batch(hint: Any, input_shapes: Sequence[Any]) -> Any:
    """Return ``hint`` with the batch size of the first input prepended to each shape."""
    batch = batch_size(input_shapes)
    return tf.nest.map_structure(lambda shape: tf.TensorShape([batch]).concatenate(shape), hint)


def hold(label: str, hint: Any, inputs: Any, outputs: Any) -> Any:
    """Return ``outputs`` with the shapes of ``hint``, checked now or when the graph runs.

    Args:
        label: The name of the layer, for the error.
        hint: A nest of ``tf.TensorShape`` without the batch, structured like ``outputs``.
        inputs: The tensors that have the batch.
        outputs: A nest of tensors.

    Raises:
        ValueError: Structure, rank or a size differs, as far as the shapes are static.
    """
    input_shapes = [tf.TensorShape(tensor.shape) for tensor in tf.nest.flatten(inputs)]
    shapes = check(label, hint, input_shapes, tf.nest.map_structure(_shape_of, outputs))
    checked = [
        _hold(tensor, shape)
        for tensor, shape in zip(tf.nest.flatten(outputs), tf.nest.flatten(shapes), strict=True)
    ]
    return tf.nest.pack_sequence_as(outputs, checked)


def check(label: str, hint: Any, input_shapes: Sequence[Any], found: Any) -> Any:
    """Return ``hint`` with the batch size prepended, if it is compatible with ``found``.

    Args:
        label: The name of the layer, for the error.
        hint: A nest of ``tf.TensorShape`` without the batch.
        input_shapes: The shapes of the inputs.
        found: The nest of the shapes of the outputs.

    Raises:
        ValueError: Structure, rank or a size differs.
    """
    stated = f"output_shape={from_shapes(hint)} of {label}"
    try:
        tf.nest.assert_same_structure(found, hint, check_types=False)
    except (TypeError, ValueError):
        shapes = tf.nest.map_structure(lambda shape: tuple(shape), found)
        raise ValueError(f"{stated} has another structure than the outputs, {shapes}") from None
    shapes = with_batch(hint, input_shapes)
    for shape, given in zip(tf.nest.flatten(shapes), tf.nest.flatten(found), strict=True):
        if not shape.is_compatible_with(given):
            raise ValueError(f"{stated} asks for {shape}, but the model returns {given}")
    return shapes


def _shape_of(tensor: Any) -> Any:
    return tf.TensorShape(tensor.shape)


def _hold(tensor: Any, shape: Any) -> Any:
    merged = shape.merge_with(tensor.shape)
    if tensor.shape.rank is not None and merged.as_list() == tensor.shape.as_list():
        return tensor  # the static shape is at least as specific: no check is needed
    return tf.ensure_shape(tensor, merged, name="output_shape_of_KerasLayer")


def batch_size(shapes: Sequence[Any]) -> int | None:
    """Return the first dimension of the first shape; None if unknown."""
    if not shapes or not shapes[0].rank:
        return None
    size: int | None = shapes[0][0]
    return size


def to_shapes(nest: Any) -> Any:
    """Convert tuples and lists of ``int | None`` in a nest to ``tf.TensorShape``.

    >>> to_shapes({"a": [20], "b": (None, 3)})
    {'a': TensorShape([20]), 'b': TensorShape([None, 3])}
    """
    if isinstance(nest, Mapping):
        return {key: to_shapes(child) for key, child in nest.items()}
    try:
        return tf.TensorShape(nest)
    except (TypeError, ValueError):
        if not isinstance(nest, list | tuple):
            raise TypeError(
                "Cannot convert to nest of TensorShapes, "
                f"found none of TensorShape, dict, list, tuple: {nest!r}"
            ) from None
    children = [to_shapes(child) for child in nest]
    return children if isinstance(nest, list) else tuple(children)


def from_shapes(nest: Any) -> Any:
    """Convert the ``tf.TensorShape`` in a nest to tuples, which JSON can represent.

    >>> from_shapes(to_shapes([[1], [2, None]]))
    [(1,), (2, None)]
    """
    return tf.nest.map_structure(
        lambda shape: None if shape.rank is None else tuple(shape.as_list()), nest
    )
