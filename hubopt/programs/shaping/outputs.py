"""The outputs of a layer: structure, names, dtypes and shapes from traces and from calls."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hubopt._platform.causes import first_line
from hubopt._platform.tf_private import layer_callable, layer_output_key
from hubopt._util.structure import Structure, name_leaves, pack, unpack
from hubopt.errors import HuboptError, TraceError
from hubopt.layers.interface import Interface
from hubopt.sampling.samples import draw
from hubopt.spec import Bounds, MaybeShape, TensorSpec, format_shape

_log = logging.getLogger(__name__)
_CALLS = 4
"""The number of drawn samples on which the claimed output shapes are checked."""


def trace_outputs(
    layer: Any, interface: Interface, signature: Sequence[Any]
) -> tuple[Structure, dict[str, Any]]:
    """Return the structure and the symbolic outputs that TensorFlow infers.

    Args:
        layer: A `hubopt.KerasLayer`.
        interface: The layer's declared interface.
        signature: A ``tf.TensorSpec`` for each input; its dimensions may be open.

    Raises:
        TraceError: TensorFlow cannot trace the layer, or it returns something other than tensors.
    """
    import tensorflow as tf

    names = [declared.name for declared in interface.inputs]

    def call(*tensors: Any) -> Any:
        packed = pack(interface.structure, dict(zip(names, tensors, strict=True)))
        return call_as_is(layer, packed)

    try:
        outputs = (
            tf.function(call, input_signature=list(signature), autograph=False)
            .get_concrete_function()
            .structured_outputs
        )
    except HuboptError:
        raise
    except Exception as error:  # whatever the layer's own Python code raises
        given = ", ".join(
            f"{name}: {tensor.dtype.name} {_format_shape(tensor.shape)}"
            for name, tensor in zip(names, signature, strict=True)
        )
        raise TraceError(
            "layer",
            f"calling it with {given} fails: {type(error).__name__}: {first_line(error)}",
            "inputs that the model accepts",
            "compare the flags with what `hubopt inspect HANDLE` shows",
        ) from error
    odd = sorted({type(leaf).__name__ for leaf in tf.nest.flatten(outputs) if not _is_tensor(leaf)})
    if odd:
        raise TraceError(
            "layer",
            f"it returns {', '.join(odd)}",
            "dense tensors, alone or in lists and mappings",
            "wrap it in a function that returns dense tensors",
        )
    structure = name_leaves(outputs, single=_only_name(layer, interface, outputs), prefix="output")
    structure = _own_names(layer, structure)
    return structure, unpack(structure, outputs)


def _own_names(layer: Any, structure: Structure) -> Structure:
    """Use a Keras model's own output names where it returns a list or a tensor."""
    names = getattr(layer_callable(layer), "output_names", None)
    if isinstance(structure, str) and names and len(names) == 1 and not layer_output_key(layer):
        return str(names[0])
    if (
        isinstance(structure, list)
        and all(isinstance(leaf, str) for leaf in structure)
        and names
        and len(set(names)) == len(structure)
    ):
        return [str(name) for name in names]
    return structure


def _format_shape(shape: Any) -> str:
    return "of unknown rank" if shape.rank is None else format_shape(shape.as_list())


def _is_tensor(leaf: Any) -> bool:
    import tensorflow as tf

    return isinstance(leaf, tf.Tensor | tf.TensorSpec)


def _only_name(layer: Any, interface: Interface, nest: Any) -> str:
    """Return the name for a single output that the layer returns outside any mapping."""
    chosen = layer_output_key(layer)
    if chosen:
        return chosen
    declared = interface.only_output
    same_dtype = declared and declared.dtype == getattr(getattr(nest, "dtype", None), "name", None)
    return declared.name if declared and same_dtype else "output_0"


@dataclass(frozen=True, slots=True)
class Traced:
    """An output as TensorFlow's shape inference sees it.

    Attributes:
        dtype: TensorFlow's name of the dtype.
        shape: For each dimension its size, the name of an input dimension, or None if it is
            unknown; None for unknown rank.
        varying: The usual size, by axis, of dimensions that vary with the inputs' dynamic
            dimensions but equal none of them.
    """

    dtype: str
    shape: MaybeShape | None
    varying: Mapping[int, int]


def trace_shapes(
    layer: Any,
    interface: Interface,
    inputs: Sequence[TensorSpec],
    bounds: Mapping[str, Bounds],
) -> tuple[Structure, dict[str, Traced]]:
    """Return the outputs' structure, and each output as shape inference sees it.

    The layer is traced with open dynamic dimensions, and again at their smallest, usual and
    largest sizes. This shows which output dimension follows which input dimension.

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
    return structure, {
        name: _read(tensor, [(sizes, probe[name].shape) for sizes, probe in probes])
        for name, tensor in outputs.items()
    }


def _probe_sizes(bounds: Mapping[str, Bounds]) -> list[dict[str, int]]:
    """Return the sizes to trace at: all usual first, then one dimension changed at a time."""
    usual = {name: bound.opt for name, bound in bounds.items()}
    changed = [
        {**usual, name: size} for name, bound in bounds.items() for size in (bound.min, bound.max)
    ]
    return [usual, *changed] if bounds else []


def _read(tensor: Any, probes: Sequence[tuple[Mapping[str, int], Any]]) -> Traced:
    if tensor.shape.rank is None:
        return Traced(tensor.dtype.name, None, {})
    shape: list[int | str | None] = list(tensor.shape.as_list())
    varying: dict[int, int] = {}
    for at, size in enumerate(shape):
        seen = [probe[at] for _, probe in probes if probe.rank == len(shape)]
        if size is not None or not seen or None in seen or len(seen) < len(probes):
            continue
        follows = [
            name
            for name in probes[0][0]
            if all(sizes[name] == size for (sizes, _), size in zip(probes, seen, strict=True))
        ]
        if follows:
            shape[at] = follows[0]
        else:
            varying[at] = seen[0]
    return Traced(tensor.dtype.name, tuple(shape), varying)


@dataclass(frozen=True, slots=True)
class Call:
    """The shapes of one real call.

    Attributes:
        sizes: The sizes of the inputs' dynamic dimensions.
        shapes: The outputs' shapes by name.
    """

    sizes: Mapping[str, int]
    shapes: Mapping[str, tuple[int, ...]]


def call_layer(
    layer: Any,
    interface: Interface,
    inputs: Sequence[TensorSpec],
    structure: Structure,
    bounds: Mapping[str, Bounds],
    data: Any = None,
) -> list[Call]:
    """Call the layer on ``data``, or on drawn samples; return no calls if it refuses one.

    Drawn samples do not settle a dimension: the next sample may differ even if several agree.
    """
    import tensorflow as tf

    drawn = draw(inputs, _CALLS, bounds=bounds) if data is None else []
    samples = [sample.tensors for sample in drawn if not sample.edge]
    if data is not None:
        samples = [unpack(interface.structure, data)]
    calls = []
    for sample in samples:
        tensors = {spec.name: tf.constant(sample[spec.name], spec.dtype) for spec in inputs}
        try:
            outputs = call_as_is(layer, pack(interface.structure, tensors))
        except tf.errors.OpError as error:  # such as an index outside its table
            _log.info("the layer refuses a sample: %s", first_line(error))
            return []
        sizes = {
            dim.name: int(size)
            for spec in inputs
            for dim, size in zip(spec.dims, tensors[spec.name].shape, strict=True)
            if dim.name
        }
        named = unpack(structure, outputs)
        calls.append(Call(sizes, {name: tuple(output.shape) for name, output in named.items()}))
    return calls


def call_as_is(layer: Any, inputs: Any) -> Any:
    """Call in inference mode, without checking the outputs against the layer's ``output_shape``.

    `hubopt.programs.shaping.shapes.resolve` checks the hint itself, to report every problem at
    once. Exported graphs contain no check.
    """
    infer = getattr(layer, "infer", None)  # a layer of tensorflow_hub has no such method
    return infer(inputs) if infer else layer(inputs, training=False)
