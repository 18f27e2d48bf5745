"""The gradient of a convolution with a wide kernel, which oneDNN computes element by element.

From some twenty elements a side on, the gradient of the kernel takes fifty times as long as the
convolution itself. Computed as a matrix product, it takes three times as long.
"""

from __future__ import annotations

from functools import cache
from typing import Any

_WIDE = 16
"""The largest side of a kernel for which oneDNN has an implementation of its own."""
_PART_BYTES = 2**26
"""The largest size of extracted image patches that are in memory at once."""
_NAME = "hubopt/Conv2D"


def mark_convolutions(graph_def: Any) -> None:
    """Make TensorFlow use this module's gradient for the convolutions of a graph, in place."""
    _register()
    for node in graph_def.node:
        if node.op == "Conv2D":
            node.attr["_gradient_op_type"].s = _NAME.encode()


@cache
def _register() -> None:
    import tensorflow as tf

    tf.RegisterGradient(_NAME)(_gradient)


def _gradient(op: Any, slope: Any) -> list[Any]:
    """Return the gradients of a convolution's input and of its kernel."""
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
    """Return the kernel's gradient: image patches times output slopes, a few channels at once."""
    import tensorflow as tf

    height, width, channels, outputs = kernel.shape
    output_slope = tf.reshape(slope, [-1, outputs])
    places = slope.shape[:3].num_elements() or 1
    step = max(1, _PART_BYTES // (places * height * width * image.dtype.size))
    parts: list[Any] = []
    for first in range(0, channels, step):
        with tf.control_dependencies(parts[-1:]):  # one after the other: patches are large
            part = image[..., first : first + step]
            patches = tf.image.extract_patches(
                part,
                [1, height, width, 1],
                settings["strides"],
                settings["dilations"],
                settings["padding"],
            )
            flat = tf.reshape(patches, [-1, patches.shape[-1]])
            slopes = tf.matmul(flat, output_slope, transpose_a=True)
            parts.append(tf.reshape(slopes, [height, width, part.shape[-1], outputs]))
    return tf.concat(parts, axis=2)
