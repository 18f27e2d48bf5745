"""The part of `hubopt.programs.shaping.shapes.resolve` that settles the outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hubopt._platform.tf_private import layer_output_hint
from hubopt._util.structure import Structure, leaves, unpack
from hubopt.errors import TraceError
from hubopt.hints import Hints, flag
from hubopt.layers.claims import Claim, by_name, merge
from hubopt.layers.interface import Interface
from hubopt.programs.shaping.advice import batch_that_works
from hubopt.programs.shaping.calls import Calls, call_layer
from hubopt.programs.shaping.input_shapes import Partial
from hubopt.programs.shaping.outputs import trace_outputs
from hubopt.programs.shaping.traced_shapes import Traced, own_name, trace_shapes
from hubopt.spec import Dim, MaybeShape, Origin, TensorSpec, format_shape


def settle_outputs(
    layer: Any,
    interface: Interface,
    inputs: Sequence[TensorSpec],
    hints: Hints,
    data: Any,
    problems: list[str],
    probe: bool = True,
) -> tuple[Structure, tuple[TensorSpec, ...]]:
    """Return the structure of the outputs, and each output that the sources settle.

    Args:
        layer: A `hubopt.KerasLayer`.
        interface: The layer's declared interface.
        inputs: Its settled inputs.
        hints: What the user specified.
        data: The user's own inputs, or None.
        problems: A message is added for each conflict and each open dimension.
        probe: Whether to ask XLA for sizes that shape inference leaves open.

    Raises:
        TraceError: TensorFlow cannot trace the layer with these inputs.
    """
    bounds = dict(hints.bounds)
    defaults = [spec.name for spec in inputs if any(dim.origin == "default" for dim in spec.dims)]
    try:
        structure, traced = trace_shapes(layer, interface, inputs, bounds, probe)
    except TraceError as error:
        batch = batch_that_works(layer, interface, inputs) if defaults and probe else None
        raise _name_defaults(error, defaults, batch) from error
    names = leaves(structure)
    if not names:
        problems.append("outputs: the model returns nothing")
    if len(set(names)) != len(names):
        problems.append(f"outputs: two of them would have one name: {', '.join(names)}")
        return structure, ()
    stated = _stated_shapes(layer, structure, inputs, hints, problems)
    calls = Calls()
    if not all(output.is_proven for output in traced.values()):
        calls = call_layer(layer, interface, inputs, structure, bounds, data)
    unsettled: list[str] = []
    specs = [
        _settle(name, trace, stated[name], hints, calls, problems, unsettled)
        for name, trace in traced.items()
    ]
    if unsettled and defaults and calls.refused:
        batch = batch_that_works(layer, interface, inputs) if probe else None
        problems.append(
            f"input {', '.join(defaults)}: dimension 0 is open, and the layer refuses every "
            f"sample with 1 ({calls.refused}); {_way_to_a_batch(batch)}"
        )
    else:
        problems.extend(unsettled)
    return structure, tuple(spec for spec in specs if spec is not None)


def _name_defaults(error: TraceError, defaults: Sequence[str], batch: int | None) -> TraceError:
    """Return ``error`` with the sizes that nobody stated, which may be its cause."""
    if not defaults:
        return error
    return TraceError(
        error.thing,
        f"{error.found}; dimension 0 of {', '.join(defaults)} is open, and 1 was taken",
        error.expected,
        error.way_out if batch is None else _way_to_a_batch(batch),
    )


def _way_to_a_batch(batch: int | None) -> str:
    if batch is None:
        return "pass inputs of your own with --data"
    return f"say --batch {batch}, or another size that it takes"


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
            tensor.open_shape if isinstance(tensor, TensorSpec) else tensor.static_shape,
            tensor.dtype,
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
            problems.append(
                f"output {name}: no input has a dimension {', '.join(unknown)}; "
                f"say {flag('--output-shape', name, _with_unknown(shape, unknown))} for sizes "
                "that depend on the data"
            )
            del flags[name]
    own = _layer_hints(layer, structure, _batch(inputs), problems)
    return {
        name: [
            *([Claim(flags[name], "flag")] if name in flags else []),
            *([Claim(own[name], "layer")] if name in own else []),
        ]
        for name in names
    }


def _with_unknown(shape: MaybeShape, names: Sequence[str]) -> MaybeShape:
    return tuple(None if size in names else size for size in shape)


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
    calls: Calls,
    problems: list[str],
    unsettled: list[str],
) -> TensorSpec | None:
    """Return an output; add conflicts to ``problems`` and what nothing shows to ``unsettled``."""
    claims = [*stated, *_known_claims(name, traced, calls)]
    if not claims:
        unsettled.append(f"output {name}: nothing shows its rank: {_why_no_calls(calls)}")
        return None
    merged = merge(f"output {name}", claims, dict(hints.bounds), problems)
    if merged is None:
        return None
    against = _contradictions(name, merged, traced, calls)
    if against:
        problems.extend(against)
        return None
    left_open = _left_open(stated, hints)
    filled = [
        dim or _fill(name, at, traced, calls, hints, at in left_open)
        for at, dim in enumerate(merged)
    ]
    dims = tuple(dim for dim in filled if dim is not None)
    if len(dims) == len(filled):
        return TensorSpec(name, traced.dtype, dims, "trace")
    known = tuple((dim.name or dim.size) if dim else None for dim in filled)
    unsettled.append(
        f"output {name}: the trace gives {format_shape(known)}, and {_why_no_calls(calls)}, "
        f"or say {flag('--output-shape', name, known)} to leave it open"
    )
    return None


def _known_claims(name: str, traced: Traced, calls: Calls) -> list[Claim]:
    """Return what the trace, XLA and, for lack of both, the calls say of an output's shape."""
    claims = []
    if traced.shape is not None:
        claims.append(Claim(traced.shape, "trace"))
    if traced.compiled is not None:
        claims.append(Claim(_uncontradicted(name, traced.compiled, calls), "xla"))
    rank = calls.rank(name)
    if not claims and rank is not None:
        claims.append(Claim((None,) * rank, "sample" if calls.on_data else "run"))
    return claims


def _uncontradicted(name: str, shape: MaybeShape, calls: Calls) -> MaybeShape:
    """Return the shape that XLA gives, None for a dimension that a real call does not have."""
    return tuple(
        size
        if all(
            len(call.shapes[name]) == len(shape)
            and call.shapes[name][at] == (call.sizes[size] if isinstance(size, str) else size)
            for call in calls.made
        )
        else None
        for at, size in enumerate(shape)
    )


def _left_open(stated: Sequence[Claim], hints: Hints) -> set[int]:
    """Return the axes for which the user wrote ``?``."""
    return {
        at
        for claim in stated
        if claim.origin == "flag"
        for at, size in enumerate(claim.shape)
        if size is None
    }


def _fill(
    name: str, at: int, traced: Traced, calls: Calls, hints: Hints, left_open: bool
) -> Dim | None:
    """Return a dimension that neither a hint, nor the trace, nor XLA settles; None if nobody does.

    What depends on the data, by XLA, by the operations or by the calls, stays open.
    """
    if at in traced.varying:
        return traced.varying[at]
    origin: Origin = "sample" if calls.on_data else "run"
    agreed = calls.agreed(name, at)
    depends = at in traced.bounds or traced.selected
    if agreed is not None and not depends and not left_open:
        if isinstance(agreed, int):
            return Dim(agreed, origin)
        return Dim(dict(hints.bounds)[agreed].opt, origin, agreed)
    if not (calls.made or depends or left_open):
        return None
    sizes = [call.shapes[name][at] for call in calls.made if at < len(call.shapes[name])]
    usual = sizes[0] if sizes else traced.bounds.get(at, 1)
    return Dim(usual, "flag" if left_open else "run", own_name(name, at))


def _why_no_calls(calls: Calls) -> str:
    """Say why the calls settle nothing, and what to do."""
    if calls.refused is not None and not calls.made:
        why = f"the layer refuses every drawn sample ({calls.refused})"
    else:
        why = "its number of dimensions differs from call to call"
    return f"{why}; pass inputs of your own with --data"


def _contradictions(
    name: str, merged: Sequence[Dim | None], traced: Traced, calls: Calls
) -> list[str]:
    """Return how the stated shape contradicts the trace at other sizes and the real calls."""
    for call in calls.made:
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
            for call in calls.made
            if call.shapes[name][at] != call.sizes.get(dim.name or "", dim.size)
        ]
        if not dim.name and at in traced.varying:
            found.append(f"{stated} it varies")
        elif off:
            found.append(f"{stated} a call gives {format_shape(off[0])}")
    return found
