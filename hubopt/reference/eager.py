"""The eager layer in inference mode: the reference for parity and the baseline for latency."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import tensorflow as tf
from numpy.typing import NDArray

from hubopt._util.structure import pack, unpack
from hubopt.exporter import Tensors
from hubopt.spec import ModelSpec


def infer(layer: Callable[..., Any], spec: ModelSpec, tensors: Tensors) -> dict[str, Any]:
    """Call ``layer`` in inference mode with tensors by name; return its outputs by name."""
    return unpack(spec.output_structure, layer(pack(spec.input_structure, tensors), training=False))


@contextmanager
def full_float32() -> Iterator[None]:
    """Compute float32 as float32 on a GPU: TF32 would lose 13 bits of each product."""
    config = tf.config.experimental
    before = config.tensor_float_32_execution_enabled()
    config.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        config.enable_tensor_float_32_execution(before)


class LayerRunner:
    """The eager layer as a `hubopt.exporter.Runner`: the reference and the baseline.

    Its inputs and outputs are arrays, as for every artifact.
    """

    def __init__(self, layer: Callable[..., Any], spec: ModelSpec) -> None:
        self._layer = layer
        self._spec = spec
        self.device = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"

    def run(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """Call the layer eagerly."""
        tensors = {
            spec.name: tf.constant(inputs[spec.name], dtype=spec.dtype)
            for spec in self._spec.inputs
        }
        outputs = infer(self._layer, self._spec, tensors)
        return {name: tensor.numpy() for name, tensor in outputs.items()}
