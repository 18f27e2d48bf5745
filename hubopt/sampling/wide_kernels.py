"""The gradient of a convolution with a wide kernel, which oneDNN computes element by element.

Its slope towards the kernel takes fifty times as long as the convolution itself from some twenty
elements a side on. As a product of matrices, which is what it is, it takes three times as long.
"""

from __future__ import annotations

from functools import cache
from typing import Any

_WIDE = 16
"""Up to here oneDNN has a kernel of its own."""
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
    height, width, channels, _ = kernel.shape
    is_grouped = channels != image.shape[-1]
    return not is_grouped and max(height or 0, width or 0) > _WIDE


def _to_kernel(image: Any, kernel: Any, slope: Any, settings: dict[str, Any]) -> Any:
    """Multiply what each element of the kernel sees with what it moves."""
    import tensorflow as tf

    seen = tf.image.extract_patches(
        image,
        [1, *kernel.shape[:2], 1],
        settings["strides"],
        settings["dilations"],
        settings["padding"],
    )
    flat = [tf.reshape(each, [-1, each.shape[-1]]) for each in (seen, slope)]
    return tf.reshape(tf.matmul(*flat, transpose_a=True), kernel.shape)
