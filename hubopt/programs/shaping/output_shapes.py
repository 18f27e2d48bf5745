"""The part of `hubopt.programs.shaping.shapes.resolve` that settles the outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hubopt._platform.tf_private import layer_output_hint
from hubopt._util.structure import Structure, leaves, unpack
from hubopt.errors import TraceError
from hubopt.hints import Hints
from hubopt.layers.claims import Claim, by_name, merge
from hubopt.layers.interface import Interface
from hubopt.programs.shaping.input_shapes import Partial, example
from hubopt.programs.shaping.outputs import Call, Traced, call_layer, trace_outputs, trace_shapes
from hubopt.spec import Dim, MaybeShape, TensorSpec, format_shape


def settle_outputs(
    layer: Any,
    interface: Interface,
    inputs: Sequence[TensorSpec],
    hints: Hints,
    data: Any,
    problems: list[str],
) -> tuple[Structure, tuple[TensorSpec, ...]]:
    """Return the structure of the outputs, and each output that the sources settle.

    Args:
        layer: A `hubopt.KerasLayer`.
        interface: The layer's declared interface.
        inputs: Its settled inputs.
        hints: What the user specified.
        data: The user's own inputs, or None.
        problems: A message is added for each conflict and each open dimension.

    Raises:
        TraceError: TensorFlow cannot trace the layer with these inputs.
    """
    structure, traced = trace_shapes(layer, interface, inputs, dict(hints.bounds))
    names = leaves(structure)
    if not names:
        problems.append("outputs: the model returns nothing")
    if len(set(names)) != len(names):
        problems.append(f"outputs: two of them would have one name: {', '.join(names)}")
        return structure, ()
    stated = _stated_shapes(layer, structure, inputs, hints, problems)
    proven = all(
        output.shape is not None and None not in output.shape for output in traced.values()
    )
    calls = (
        [] if proven else call_layer(layer, interface, inputs, structure, dict(hints.bounds), data)
    )
    specs = [
        _settle(name, trace, stated[name], hints, calls, data is not None, problems)
        for name, trace in traced.items()
    ]
    return structure, tuple(spec for spec in specs if spec is not None)


def add_conflicts(
    layer: Any,
    interface: Interface,
    inputs: Sequence[TensorSpec | Partial],
    hints: Hints,
    problems: list[str],
) -> None:
    """Add the conflicts of the outputs that do not depend on the unsettled ``inputs``."""
    import tensorflow as tf

    signature = [
        tf.TensorSpec(
            tensor.open_shape if isinstance(tensor, TensorSpec) else tensor.shape, tensor.dtype
        )
        for tensor in inputs
        if tensor.dtype is not None
    ]
    if len(signature) < len(inputs):
        return
    try:
        structure, outputs = trace_outputs(layer, interface, signature)
    except TraceError:  # unsettled inputs may cause this, not the model
        return
    stated = _stated_shapes(layer, structure, inputs, hints, problems)
    for name, output in outputs.items():
        claims = list(stated[name])
        if output.shape.rank is not None:
            claims.append(Claim(tuple(output.shape.as_list()), "trace"))
        if claims:
            merge(f"output {name}", claims, dict(hints.bounds), problems)


def _stated_shapes(
    layer: Any,
    structure: Structure,
    inputs: Sequence[TensorSpec | Partial],
    hints: Hints,
    problems: list[str],
) -> dict[str, list[Claim]]:
    """Return the shapes that the user and the layer state for each output, by name."""
    names = leaves(structure)
    flags = by_name("--output-shape", dict(hints.output_shapes), names, "output", problems)
    known = {name for name, _ in hints.bounds}
    for name, shape in list(flags.items()):
        unknown = [size for size in shape if isinstance(size, str) and size not in known]
        if unknown:
            problems.append(f"output {name}: no input has a dimension {', '.join(unknown)}")
            del flags[name]
    own = _layer_hints(layer, structure, _batch(inputs), problems)
    return {
        name: [
            *([Claim(flags[name], "flag")] if name in flags else []),
            *([Claim(own[name], "layer")] if name in own else []),
        ]
        for name in names
    }


def _batch(inputs: Sequence[TensorSpec | Partial]) -> int | str | None:
    """Return the first dimension of the first input; `KerasLayer` prepends it to its hints."""
    first = inputs[0] if inputs else None
    shape = first.named_shape if isinstance(first, TensorSpec) else first and first.shape
    return shape[0] if shape else None


def _layer_hints(
    layer: Any, structure: Structure, batch: int | str | None, problems: list[str]
) -> dict[str, MaybeShape]:
    """Return the layer's ``output_shape=`` by output, with the batch dimension in front."""
    hint = layer_output_hint(layer)
    if hint is None:
        return {}
    try:
        shapes = unpack(structure, hint)
    except ValueError as error:
        problems.append(f"output_shape of the layer: {error}")
        return {}
    return {
        name: (batch, *shape.as_list()) for name, shape in shapes.items() if shape.rank is not None
    }


def _settle(
    name: str,
    traced: Traced,
    stated: Sequence[Claim],
    hints: Hints,
    calls: Sequence[Call],
    has_data: bool,
    problems: list[str],
) -> TensorSpec | None:
    claims = [*stated, *([Claim(traced.shape, "trace")] if traced.shape is not None else [])]
    if not claims and has_data and calls:
        claims = [Claim(calls[0].shapes[name], "sample")]
    seen = _format_calls(name, calls)
    flag = f"--output-shape {name}="
    if not claims:
        wanted = _agreed(name, calls)
        problems.append(
            f"output {name}: the trace gives no rank{seen}; if this holds for every input, "
            f"say {flag}" + (example(wanted) if wanted is not None else "... (such as 1x20)")
        )
        return None
    merged = merge(f"output {name}", claims, dict(hints.bounds), problems)
    if merged is None:
        return None
    against = _contradictions(name, merged, traced, calls)
    if against:
        problems.extend(against)
        return None
    filled = [
        dim or _fill(name, at, traced, calls if has_data else ()) for at, dim in enumerate(merged)
    ]
    dims = tuple(dim for dim in filled if dim is not None)
    if len(dims) == len(filled):
        return TensorSpec(name, traced.dtype, dims, "trace")
    known = [(dim.name or dim.size) if dim else None for dim in filled]
    problems.append(
        f"output {name}: the trace gives {format_shape(known)}{seen}; if this holds for "
        f"every input, say {flag}{example(_agreed(name, calls) or known)}"
    )
    return None


def _fill(name: str, at: int, traced: Traced, calls: Sequence[Call]) -> Dim | None:
    """Return a dimension that nobody states, from the trace if it varies, else from the data."""
    if at in traced.varying:
        return Dim(traced.varying[at], "trace", f"{name}_{at}")
    return Dim(calls[0].shapes[name][at], "sample") if calls else None


def _contradictions(
    name: str, merged: Sequence[Dim | None], traced: Traced, calls: Sequence[Call]
) -> list[str]:
    """Return how the stated shape contradicts the trace at other sizes and the real calls."""
    for call in calls:
        shape = call.shapes[name]
        if len(shape) != len(merged):
            seen = f"but a call gives {format_shape(shape)}"
            return [f"output {name}: {len(merged)} dimensions are stated, {seen}"]
    found = []
    for at, dim in enumerate(merged):
        if dim is None:
            continue
        stated = f"output {name}: dimension {at} is {dim.name or dim.size} ({dim.origin}), but"
        off = [
            call.shapes[name]
            for call in calls
            if call.shapes[name][at] != call.sizes.get(dim.name or "", dim.size)
        ]
        if not dim.name and at in traced.varying:
            found.append(f"{stated} it varies")
        elif off:
            found.append(f"{stated} a call gives {format_shape(off[0])}")
    return found


def _agreed(name: str, calls: Sequence[Call]) -> tuple[int | str, ...] | None:
    """Return the shape on which all calls agree, dynamic dimensions by name; None if none."""
    ranks = {len(call.shapes[name]) for call in calls}
    if len(ranks) != 1:
        return None
    shape = [
        _agreed_dim([(call.sizes, call.shapes[name][at]) for call in calls])
        for at in range(ranks.pop())
    ]
    return None if None in shape else tuple(size for size in shape if size is not None)


def _agreed_dim(seen: Sequence[tuple[Mapping[str, int], int]]) -> int | str | None:
    for name in seen[0][0]:
        if all(sizes[name] == size for sizes, size in seen):
            return name
    sizes = {size for _, size in seen}
    return sizes.pop() if len(sizes) == 1 else None


def _format_calls(name: str, calls: Sequence[Call]) -> str:
    shape = _agreed(name, calls)
    return "" if shape is None else f"; every sample gave {format_shape(shape)}"
