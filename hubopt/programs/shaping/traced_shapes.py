"""`trace_shapes`: the outputs' shapes as TensorFlow's shape inference and XLA see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hubopt._util.structure import Structure
from hubopt.layers.interface import Interface
from hubopt.programs.shaping.behind import XlaShape, look_behind
from hubopt.programs.shaping.calls import agreed_size
from hubopt.programs.shaping.outputs import trace_outputs
from hubopt.spec import Bounds, Dim, MaybeShape, TensorSpec


@dataclass(frozen=True, slots=True)
class Traced:
    """An output as it is known without calling the layer.

    Attributes:
        dtype: TensorFlow's name of the dtype.
        shape: By shape inference: for each dimension its size, the name of an input dimension, or
            None if it is unknown; None for unknown rank.
        compiled: The same by XLA; None if it was not asked, or does not compile the layer.
        varying: By axis, dimensions that vary with the inputs' dynamic dimensions but equal none
            of them.
        bounds: By axis, the largest size of dimensions that depend on the data, by XLA.
        selected: Whether it is behind an operation that picks elements by their values.
    """

    dtype: str
    shape: MaybeShape | None
    compiled: MaybeShape | None = None
    varying: Mapping[int, Dim] = field(default_factory=dict)
    bounds: Mapping[int, int] = field(default_factory=dict)
    selected: bool = False

    @property
    def is_proven(self) -> bool:
        """Whether shape inference alone knows every dimension."""
        return self.shape is not None and None not in self.shape


def trace_shapes(
    layer: Any,
    interface: Interface,
    inputs: Sequence[TensorSpec],
    bounds: Mapping[str, Bounds],
    probe: bool = True,
) -> tuple[Structure, dict[str, Traced]]:
    """Return the outputs' structure, and each output as shape inference and XLA see it.

    The layer is traced with open dynamic dimensions, and again at their smallest, usual and
    largest sizes. This shows which output dimension follows which input dimension. XLA is asked
    only where that leaves something open.

    Args:
        layer: A `hubopt.KerasLayer`.
        interface: The layer's declared interface.
        inputs: Its settled inputs.
        bounds: The bounds of the dynamic dimensions.
        probe: Whether to ask XLA.

    Raises:
        TraceError: TensorFlow cannot trace the layer.
    """
    import tensorflow as tf

    open_specs = [tf.TensorSpec(spec.open_shape, spec.dtype) for spec in inputs]
    structure, outputs = trace_outputs(layer, interface, open_specs)
    probes = []
    for sizes in _probe_sizes(bounds):
        specs = [tf.TensorSpec(spec.shape_at(sizes), spec.dtype) for spec in inputs]
        probes.append((sizes, trace_outputs(layer, interface, specs)[1]))
    traced = {
        name: _read(name, tensor, [(sizes, probe[name].shape) for sizes, probe in probes])
        for name, tensor in outputs.items()
    }
    if all(output.is_proven for output in traced.values()):
        return structure, traced
    asked = [sizes for sizes, _ in probes] or [{}]
    behind = look_behind(layer, interface, inputs, outputs, asked, structure, probe)
    return structure, {
        name: replace(
            _compiled(name, output, asked, [shapes[name] for shapes in behind.compiled]),
            selected=name in behind.selected,
        )
        for name, output in traced.items()
    }


def own_name(output: str, at: int) -> str:
    """Return the name of an output's dimension that follows no dimension of the inputs."""
    return f"{output}_{at}"


def _probe_sizes(bounds: Mapping[str, Bounds]) -> list[dict[str, int]]:
    """Return the sizes to trace at: all usual first, then one dimension changed at a time."""
    usual = {name: bound.opt for name, bound in bounds.items()}
    changed = [
        {**usual, name: size} for name, bound in bounds.items() for size in (bound.min, bound.max)
    ]
    return [usual, *changed] if bounds else []


def _read(name: str, tensor: Any, probes: Sequence[tuple[Mapping[str, int], Any]]) -> Traced:
    if tensor.shape.rank is None:
        return Traced(tensor.dtype.name, None)
    shape: list[int | str | None] = list(tensor.shape.as_list())
    varying: dict[int, Dim] = {}
    for at, size in enumerate(shape):
        seen = [(sizes, probe[at]) for sizes, probe in probes if probe.rank == len(shape)]
        if size is not None or not seen or len(seen) < len(probes):
            continue
        if any(found is None for _, found in seen):
            continue
        agreed = agreed_size(seen)
        if isinstance(agreed, str):
            shape[at] = agreed
        elif agreed is None:
            varying[at] = Dim(seen[0][1], "trace", own_name(name, at))
    return Traced(tensor.dtype.name, tuple(shape), varying=varying)


def _compiled(
    name: str, traced: Traced, asked: Sequence[Mapping[str, int]], shapes: Sequence[XlaShape]
) -> Traced:
    """Add what XLA says of an output at each of the sizes ``asked``."""
    if not shapes or len({len(shape) for shape in shapes}) > 1:
        return traced
    known: list[int | str | None] = []
    varying, bounds = dict(traced.varying), {}
    for at, dims in enumerate(zip(*shapes, strict=True)):
        agreed = agreed_size([(sizes, dim.size) for sizes, dim in zip(asked, dims, strict=True)])
        if any(dim.is_bound for dim in dims):
            bounds[at], agreed = max(dim.size for dim in dims), None
        elif agreed is None:
            varying.setdefault(at, Dim(dims[0].size, "xla", own_name(name, at)))
        known.append(None if at in varying else agreed)
    return replace(traced, compiled=tuple(known), varying=varying, bounds=bounds)
