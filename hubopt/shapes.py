"""`resolve`: every dimension of every input and output, static, with its origin.

A dimension that nothing settles is an error that names the input, the dimension and the
flag; it is never guessed. All problems are collected and raised at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hubopt.errors import SpecError
from hubopt.interface import Declared, Interface, read_interface
from hubopt.outputs import sample_shapes, trace_outputs
from hubopt.spec import Dim, Hints, MaybeShape, ModelSpec, Origin, TensorSpec, format_shape
from hubopt.structure import Structure, leaves, unpack
from hubopt.tf_private import layer_input_hint, layer_output_hint

_DEFAULT_BATCH = 1
_MAX_INPUT_BYTES = 2**31 - 1
"""One input of one sample: parity draws several and keeps them in the bundle."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A shape that somebody stated, and who."""

    shape: MaybeShape
    origin: Origin


def resolve(layer: Any, hints: Hints | None = None) -> ModelSpec:
    """Settle the shape and dtype of every input and output of ``layer``.

    Args:
        layer: A `hubopt.KerasLayer`.
        hints: What the user said; it wins over the layer's own hints, which win over the
            signature. Shapes include the batch dimension.

    Raises:
        SpecError: Conflicts and unresolved dimensions, all of them.
        TraceError: TensorFlow cannot trace the layer with these inputs.
    """
    hints = hints or Hints()
    interface = read_interface(layer)
    problems: list[str] = []
    names = [each.name for each in interface.inputs]
    shapes = _by_name("--input-shape", dict(hints.input_shapes), names, "input", problems)
    dtypes = _by_name("--dtype", dict(hints.dtypes), names, "input", problems)
    inputs = tuple(
        spec
        for declared in interface.inputs
        if (spec := _input(declared, layer, interface, hints, shapes, dtypes, problems))
    )
    _raise(problems)
    outputs, structure = _outputs(layer, interface, inputs, hints, problems)
    _raise(problems)
    return ModelSpec(inputs, outputs, interface.structure, structure)


def _raise(problems: Sequence[str]) -> None:
    if problems:
        raise SpecError(
            "shapes",
            tuple(problems),
            "one static size for every dimension of every input and output",
            "see `hubopt inspect HANDLE` for what the model declares",
        )


def _by_name(
    flag: str, given: Mapping[str, Any], names: Sequence[str], kind: str, problems: list[str]
) -> dict[str, Any]:
    """Put a flag's values under tensor names; the empty name stands for the only tensor."""
    result: dict[str, Any] = {}
    for name, value in given.items():
        if name in names:
            result[name] = value
        elif name == "" and len(names) == 1:
            result[names[0]] = value
        elif name == "":
            problems.append(
                f"{flag} without a name, but there are {len(names)} {kind}s: "
                f"say {flag} NAME=... with one of {', '.join(names)}"
            )
        else:
            problems.append(
                f"{flag} {name}=...: no {kind} of this name; {kind}s: {', '.join(names)}"
            )
    return result


def _input(
    declared: Declared,
    layer: Any,
    interface: Interface,
    hints: Hints,
    shapes: Mapping[str, MaybeShape],
    dtypes: Mapping[str, str],
    problems: list[str],
) -> TensorSpec | None:
    name = declared.name
    claims: list[Claim] = []
    if name in shapes:
        claims.append(Claim(shapes[name], "flag"))
    layer_shape = layer_input_hint(layer)
    if layer_shape is not None and len(interface.inputs) == 1:
        claims.append(Claim(tuple(layer_shape), "layer"))
    if declared.shape is not None:
        claims.append(Claim(declared.shape, "signature"))
    dims = _settle_input(name, claims, hints.batch, problems)
    dtype = _settle_dtype(declared, dtypes.get(name), getattr(layer, "dtype_hint", None), problems)
    if dims is None or dtype is None:
        return None
    spec = TensorSpec(name, dtype[0], dims, dtype[1])
    if spec.size_bytes > _MAX_INPUT_BYTES:
        problems.append(
            f"input {name}: {format_shape(spec.shape)} is {spec.size_bytes / 1e9:.1f} GB a sample; "
            f"at most {_MAX_INPUT_BYTES / 1e9:.1f} GB, with --batch or --input-shape"
        )
        return None
    return spec


def _merge(label: str, claims: Sequence[Claim], problems: list[str]) -> list[Dim | None] | None:
    """Merge shapes, the strongest claim first; None where ranks or sizes conflict."""
    ranks = {len(claim.shape) for claim in claims}
    told = ", ".join(f"{format_shape(claim.shape)} ({claim.origin})" for claim in claims)
    if len(ranks) > 1:
        problems.append(f"{label}: ranks differ: {told}")
        return None
    merged: list[Dim | None] = []
    for at in range(ranks.pop()):
        known = [
            Dim(size, claim.origin) for claim in claims if (size := claim.shape[at]) is not None
        ]
        if len({dim.size for dim in known}) > 1:
            problems.append(f"{label}: dimension {at} differs: {told}")
            return None
        merged.append(known[0] if known else None)
    return merged


def _settle_input(
    name: str, claims: Sequence[Claim], batch: int | None, problems: list[str]
) -> tuple[Dim, ...] | None:
    flag = f"--input-shape {name}="
    if not claims:
        problems.append(f"input {name}: nothing declares its rank; say {flag}... (such as 1x8)")
        return None
    merged = _merge(f"input {name}", claims, problems)
    if merged is None:
        return None
    if merged and batch is not None:
        first = merged[0]
        if first is not None and first.size != batch:
            problems.append(
                f"input {name}: --batch {batch}, but dimension 0 is {first.size} ({first.origin})"
            )
            return None
        merged[0] = Dim(batch, "flag")
    elif merged and merged[0] is None:
        merged[0] = Dim(_DEFAULT_BATCH, "default")
    missing = [at for at, dim in enumerate(merged) if dim is None]
    if missing:
        known = [dim.size if dim else None for dim in merged]
        problems.extend(
            f"input {name}: dimension {at} of {format_shape(known)} is unknown; "
            f"say {flag}{_example(known)}"
            for at in missing
        )
        return None
    return tuple(dim for dim in merged if dim is not None)


def _example(known: Sequence[int | None]) -> str:
    return "x".join("N" if not size else str(size) for size in known) or format_shape(())


def _settle_dtype(
    declared: Declared, flag: str | None, hint: str | None, problems: list[str]
) -> tuple[str, Origin] | None:
    # A layer's dtype is also its compute dtype, so it only fills a gap and never conflicts.
    if declared.dtype is None:
        if flag or hint:
            return (flag, "flag") if flag else (str(hint), "layer")
        problems.append(
            f"input {declared.name}: nothing declares its dtype; "
            f"say --dtype {declared.name}=... (such as float32)"
        )
        return None
    if flag is not None and flag != declared.dtype:
        problems.append(
            f"input {declared.name}: --dtype {flag}, but the signature takes {declared.dtype} only"
        )
        return None
    return declared.dtype, "flag" if flag else "signature"


def _outputs(
    layer: Any,
    interface: Interface,
    inputs: Sequence[TensorSpec],
    hints: Hints,
    problems: list[str],
) -> tuple[tuple[TensorSpec, ...], Structure]:
    import tensorflow as tf

    signature = [tf.TensorSpec(spec.shape, spec.dtype) for spec in inputs]
    structure, traced = trace_outputs(layer, interface, signature)
    names = leaves(structure)
    if not names:
        problems.append("outputs: the model returns nothing")
    if len(set(names)) != len(names):
        problems.append(f"outputs: two of them would have one name: {', '.join(names)}")
        return (), structure
    flags = _by_name("--output-shape", dict(hints.output_shapes), names, "output", problems)
    layer_hints = _layer_output_hints(layer, structure, problems)
    fully_traced = all(traced[name].shape.is_fully_defined() for name in names)
    sampled = {} if fully_traced else sample_shapes(layer, interface, inputs, structure)
    specs = []
    for name in names:
        claims = []
        if name in flags:
            claims.append(Claim(flags[name], "flag"))
        if name in layer_hints:
            claims.append(Claim(layer_hints[name], "layer"))
        shape = traced[name].shape
        if shape.rank is not None:
            claims.append(Claim(tuple(shape.as_list()), "trace"))
        if spec := _output(name, traced[name].dtype.name, claims, sampled.get(name), problems):
            specs.append(spec)
    return tuple(specs), structure


def _output(
    name: str,
    dtype: str,
    claims: Sequence[Claim],
    sampled: MaybeShape | None,
    problems: list[str],
) -> TensorSpec | None:
    flag = f"--output-shape {name}="
    seen = f"; every sample gave {format_shape(sampled)}" if sampled is not None else ""
    if not claims:
        problems.append(
            f"output {name}: the trace gives no rank{seen}; "
            f"if it is the same for every input, say {flag}"
            + (_example(sampled) if sampled is not None else "... (such as 1x20)")
        )
        return None
    merged = _merge(f"output {name}", claims, problems)
    if merged is None:
        return None
    known = [dim.size if dim else None for dim in merged]
    if None in known:
        problems.append(
            f"output {name}: the trace gives {format_shape(known)}{seen}; "
            f"if it is the same for every input, say {flag}{_example(sampled or known)}"
        )
        return None
    return TensorSpec(name, dtype, tuple(dim for dim in merged if dim is not None), "trace")


def _layer_output_hints(
    layer: Any, structure: Structure, problems: list[str]
) -> dict[str, MaybeShape]:
    """Return the layer's ``output_shape=`` by output, with an open batch dimension in front."""
    hint = layer_output_hint(layer)
    if hint is None:
        return {}
    try:
        shapes = unpack(structure, hint)
    except ValueError as error:
        problems.append(f"output_shape of the layer: {error}")
        return {}
    return {
        name: (None, *shape.as_list()) for name, shape in shapes.items() if shape.rank is not None
    }
