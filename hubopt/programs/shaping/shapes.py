"""`resolve`: settle every dimension of every input and output, with its origin.

A dimension is never guessed. If no source settles it, the error names the tensor, the dimension
and the flag to pass. All problems are collected and raised at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hubopt.errors import SpecError
from hubopt.hints import Hints
from hubopt.layers.interface import read_interface
from hubopt.programs.shaping.advice import open_problems
from hubopt.programs.shaping.input_shapes import settle_inputs
from hubopt.programs.shaping.output_shapes import add_conflicts, settle_outputs
from hubopt.spec import ModelSpec, TensorSpec


def resolve(
    layer: Any, hints: Hints | None = None, data: Any = None, *, probe: bool = True
) -> ModelSpec:
    """Settle the shape and dtype of every input and output of ``layer``.

    The sources, strongest first, are: ``hints``; the layer's own ``input_shape``,
    ``output_shape`` and ``dtype``; what the model declares; the trace; XLA; ``data``;
    calls on drawn samples; and a batch of 1 if the first dimension of an input is open. Outputs
    that the trace leaves open are also checked against real calls. A size that depends on the data
    stays open, under a name of its own.

    Args:
        layer: A `hubopt.KerasLayer`.
        hints: What the user specified. Shapes include the batch dimension.
        data: The user's own inputs, packed as the layer takes them. The shapes and dtypes of
            these arrays settle what is still open.
        probe: Whether to ask XLA for sizes of outputs that the trace leaves open, and to try
            sizes of inputs before the error suggests them. Either can end the process.

    Raises:
        SpecError: Lists all conflicts and all unresolved dimensions.
        TraceError: TensorFlow cannot trace the layer with these inputs.
    """
    hints = hints or Hints()
    interface = read_interface(layer)
    problems: list[str] = []
    settled = settle_inputs(layer, interface, hints, data, problems)
    inputs = tuple(tensor for tensor in settled if isinstance(tensor, TensorSpec))
    if len(inputs) < len(settled) or problems:
        problems = [*open_problems(layer, interface, settled, probe), *problems]
        add_conflicts(layer, interface, settled, hints, problems)
        raise _spec_error(problems)
    structure, outputs = settle_outputs(layer, interface, inputs, hints, data, problems, probe)
    if problems:
        raise _spec_error(problems)
    return ModelSpec(inputs, outputs, interface.structure, structure, dict(hints.bounds))


def _spec_error(problems: Sequence[str]) -> SpecError:
    """Return the error that lists ``problems``."""
    return SpecError(
        "shapes",
        tuple(problems),
        "one size, or a name with bounds, for every dimension of every input and output",
        "see `hubopt inspect HANDLE` for what the model declares",
    )
