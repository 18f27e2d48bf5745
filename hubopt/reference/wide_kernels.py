"""The gradient of a convolution with a wide kernel, which oneDNN computes element by element.

Its slope towards the kernel takes fifty times as long as the convolution itself from some twenty
elements a side on. As a product of matrices, which is what it is, it takes three times as long.
"""

from __future__ import annotations

from functools import cache
from typing import Any

_WIDE = 16
"""Up to here oneDNN has a kernel of its own."""
_PART_BYTES = 2**26
"""Of what a kernel sees that is in memory at once."""
_NAME = "hubopt/Conv2D"


def mark_convolutions(graph_def: Any) -> None:
    """Let TensorFlow take the gradient of this module for the convolutions of a graph, in place."""
    _register()
    for node in graph_def.node:
        if node.op == "Conv2D":
            node.attr["_gradient_op_type"].s = _NAME.encode()


@cache
def _register() -> None:
    import tensorflow as tf

    tf.RegisterGradient(_NAME)(_gradient)


def _gradient(op: Any, slope: Any) -> list[Any]:
    """Return the slopes towards a convolution's input and its kernel."""
    import tensorflow as tf

    image, kernel = op.inputs
    names = ("strides", "padding", "data_format", "dilations", "explicit_paddings")
    settings = {name: op.get_attr(name) for name in names}
    settings = {
        name: value.decode() if isinstance(value, bytes) else value
        for name, value in settings.items()
    }
    to_image = tf.raw_ops.Conv2DBackpropInput(
        input_sizes=tf.shape(image), filter=kernel, out_backprop=slope, **settings
    )
    if _is_wide(image, kernel, settings):
        return [to_image, _to_kernel(image, kernel, slope, settings)]
    to_kernel = tf.raw_ops.Conv2DBackpropFilter(
        input=image, filter_sizes=tf.shape(kernel), out_backprop=slope, **settings
    )
    return [to_image, to_kernel]


def _is_wide(image: Any, kernel: Any, settings: dict[str, Any]) -> bool:
    if settings["padding"] == "EXPLICIT" or settings["data_format"] != "NHWC":
        return False
    if not kernel.shape.is_fully_defined():
        return False
    height, width, channels, _ = kernel.shape
    is_grouped = channels != image.shape[-1]
    return not is_grouped and max(height, width) > _WIDE


def _to_kernel(image: Any, kernel: Any, slope: Any, settings: dict[str, Any]) -> Any:
    """Multiply what each element of the kernel sees with what it moves, a few channels at once."""
    import tensorflow as tf

    height, width, channels, outputs = kernel.shape
    moved = tf.reshape(slope, [-1, outputs])
    places = slope.shape[:3].num_elements() or 1
    step = max(1, _PART_BYTES // (places * height * width * image.dtype.size))
    parts: list[Any] = []
    for first in range(0, channels, step):
        with tf.control_dependencies(parts[-1:]):  # what it sees is as large as many images
            part = image[..., first : first + step]
            seen = tf.image.extract_patches(
                part,
                [1, height, width, 1],
                settings["strides"],
                settings["dilations"],
                settings["padding"],
            )
            flat = tf.reshape(seen, [-1, seen.shape[-1]])
            slopes = tf.matmul(flat, moved, transpose_a=True)
            parts.append(tf.reshape(slopes, [height, width, part.shape[-1], outputs]))
    return tf.concat(parts, axis=2)
