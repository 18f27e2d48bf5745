"""Whether an artifact's outputs have the names, dtypes and shapes of the layer's outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hubopt._util.dtypes import numpy_dtype
from hubopt._util.escaping import printable
from hubopt.exporter import Tensors
from hubopt.spec import ModelSpec, TensorSpec, format_shape


def form_problems(spec: ModelSpec, outputs: Tensors, reference: Tensors, at: int) -> list[str]:
    """Return how the outputs of one sample differ from the layer's in name, dtype or shape.

    Args:
        spec: The layer's outputs.
        outputs: The artifact's outputs for sample ``at``.
        reference: The layer's outputs for the same sample.
        at: The number of the sample.
    """
    names = [output.name for output in spec.outputs]
    if set(outputs) != set(names):
        return [f"sample {at}: outputs are {sorted(outputs)}, the layer's are {sorted(names)}"]
    return [
        f"sample {at}: output {printable(output.name)} is {found}, the layer's is {wanted}"
        for output in spec.outputs
        if (found := _form(np.asarray(outputs[output.name])))
        != (wanted := _spec_form(output, reference.get(output.name)))
    ]


def _form(array: NDArray[Any]) -> str:
    dtype = "string" if array.dtype.kind in "OSU" else array.dtype.name
    return f"{dtype} {format_shape(array.shape)}"


def _spec_form(spec: TensorSpec, reference: Any) -> str:
    """Format the dtype of the spec and the shape of ``reference``; of the spec without it."""
    dtype = "string" if spec.dtype == "string" else numpy_dtype(spec.dtype).name
    shape = spec.shape if reference is None else np.shape(reference)
    return f"{dtype} {format_shape(shape)}"
