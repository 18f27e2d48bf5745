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
    stated = f"output_shape={from_shapes(hint)} of {label}"
    try:
        tf.nest.assert_same_structure(outputs, hint, check_types=False)
    except (TypeError, ValueError):
        shapes = tf.nest.map_structure(lambda tensor: tuple(tensor.shape), outputs)
        raise ValueError(f"{stated} has another structure than the outputs, {shapes}") from None
    shapes = with_batch(hint, [tf.TensorShape(each.shape) for each in tf.nest.flatten(inputs)])
    held = [
        _hold(stated, tensor, shape)
        for tensor, shape in zip(tf.nest.flatten(outputs), tf.nest.flatten(shapes), strict=True)
    ]
    return tf.nest.pack_sequence_as(outputs, held)


def _hold(stated: str, tensor: Any, shape: Any) -> Any:
    if not tensor.shape.is_compatible_with(shape):
        raise ValueError(f"{stated} asks for {shape}, and the model gives {tensor.shape}")
    merged = shape.merge_with(tensor.shape)
    if tensor.shape.rank is not None and merged.as_list() == tensor.shape.as_list():
        return tensor  # TensorFlow knows as much or more: nothing is left to check
    return tf.ensure_shape(tensor, merged)


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
    if nest is None or isinstance(nest, tf.TensorShape):
        return tf.TensorShape(nest)
    if not isinstance(nest, list | tuple):
        raise TypeError(
            "Cannot convert to nest of TensorShapes, "
            f"found none of TensorShape, dict, list, tuple: {nest!r}"
        )
    if all(size is None or isinstance(size, int) for size in nest):
        return tf.TensorShape(nest)
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
