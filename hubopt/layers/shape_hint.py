"""The ``output_shape`` of a `KerasLayer`: nests of shapes, and holding outputs to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf


def with_batch(hint: Any, input_shapes: Sequence[Any]) -> Any:
    """Return ``hint`` with the batch size of the first input in front of each shape."""
    batch = batch_size(input_shapes)
    return tf.nest.map_structure(lambda shape: tf.TensorShape([batch]).concatenate(shape), hint)


def hold(label: str, hint: Any, inputs: Any, outputs: Any) -> Any:
    """Return ``outputs`` with the shapes of ``hint``, checked now or when the graph runs.

    Args:
        label: What gives the outputs, for the error.
        hint: A nest of ``tf.TensorShape`` without the batch, structured like ``outputs``.
        inputs: The tensors that have the batch.
        outputs: A nest of tensors.

    Raises:
        ValueError: Structure, rank or a size differs, and TensorFlow knows it already.
    """
    input_shapes = [tf.TensorShape(each.shape) for each in tf.nest.flatten(inputs)]
    shapes = check(label, hint, input_shapes, tf.nest.map_structure(_shape_of, outputs))
    held = [
        _hold(tensor, shape)
        for tensor, shape in zip(tf.nest.flatten(outputs), tf.nest.flatten(shapes), strict=True)
    ]
    return tf.nest.pack_sequence_as(outputs, held)


def check(label: str, hint: Any, input_shapes: Sequence[Any], found: Any) -> Any:
    """Return ``hint`` with the batch in front, if the shapes that were found allow it.

    Args:
        label: What gives the outputs, for the error.
        hint: A nest of ``tf.TensorShape`` without the batch.
        input_shapes: The shapes of the inputs.
        found: The nest of the outputs' shapes.

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
            raise ValueError(f"{stated} asks for {shape}, and the model gives {given}")
    return shapes


def _shape_of(tensor: Any) -> Any:
    return tf.TensorShape(tensor.shape)


def _hold(tensor: Any, shape: Any) -> Any:
    merged = shape.merge_with(tensor.shape)
    if tensor.shape.rank is not None and merged.as_list() == tensor.shape.as_list():
        return tensor  # TensorFlow knows as much or more: nothing is left to check
    return tf.ensure_shape(tensor, merged, name="output_shape_of_KerasLayer")


def batch_size(shapes: Sequence[Any]) -> int | None:
    """Return the first dimension of the first shape; None if unknown."""
    if not shapes or not shapes[0].rank:
        return None
    size: int | None = shapes[0][0]
    return size


def to_shapes(nest: Any) -> Any:
    """Turn tuples and lists of ``int | None`` in a nest into ``tf.TensorShape``.

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
    """Turn the ``tf.TensorShape`` in a nest into what JSON can hold.

    >>> from_shapes(to_shapes([[1], [2, None]]))
    [(1,), (2, None)]
    """
    return tf.nest.map_structure(
        lambda shape: None if shape.rank is None else tuple(shape.as_list()), nest
    )
