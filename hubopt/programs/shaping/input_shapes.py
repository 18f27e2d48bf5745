"""The part of `hubopt.programs.shaping.shapes.resolve` that settles the inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hubopt._platform.tf_private import layer_input_hint
from hubopt._util.structure import leaves, unpack
from hubopt.hints import Hints
from hubopt.layers.claims import Claim, by_name, merge
from hubopt.layers.interface import Declared, Interface
from hubopt.spec import Bounds, Dim, MaybeShape, Origin, TensorSpec, format_shape

_DEFAULT_BATCH = 1
_MAX_INPUT_BYTES = 2**31 - 1
"""The limit for one input of one sample: parity draws several and keeps them in the bundle."""


@dataclass(frozen=True, slots=True)
class Partial:
    """What is known of an input that is not settled.

    Attributes:
        name: Its name.
        dtype: None if unknown.
        shape: Its sizes, None for open dimensions; None for unknown rank, or if claims conflict.
    """

    name: str
    dtype: str | None
    shape: tuple[int | None, ...] | None


def settle_inputs(
    layer: Any, interface: Interface, hints: Hints, data: Any, problems: list[str]
) -> list[TensorSpec | Partial]:
    """Return each input as far as the sources settle it.

    Args:
        layer: A `hubopt.KerasLayer`.
        interface: The layer's declared interface.
        hints: What the user specified.
        data: The user's own inputs, packed as the layer takes them, or None.
        problems: A message is added for each conflict and each open dimension.
    """
    names = [declared.name for declared in interface.inputs]
    bounds = dict(hints.bounds)
    shapes = by_name("--input-shape", dict(hints.input_shapes), names, "input", problems)
    dtypes = by_name("--dtype", dict(hints.dtypes), names, "input", problems)
    _check_names(shapes, bounds, problems)
    arrays = _read_data(data, interface, problems)
    settled = []
    for declared in interface.inputs:
        claims = _shape_claims(declared, layer, interface, shapes, arrays)
        dims = _settle_shape(declared.name, claims, hints, problems)
        dtype = _settle_dtype(declared, layer, dtypes.get(declared.name), arrays, problems)
        settled.append(_settle(declared.name, dims, dtype, hints, problems))
    return settled


def _check_names(
    shapes: Mapping[str, MaybeShape], bounds: Mapping[str, Bounds], problems: list[str]
) -> None:
    used = {size: name for name, shape in shapes.items() for size in shape if isinstance(size, str)}
    problems.extend(
        f"input {tensor}: dimension {name} has no bounds; say --dim {name}=1:8:32, min:opt:max"
        for name, tensor in used.items()
        if name not in bounds
    )
    problems.extend(
        f"--dim {name}={bounds[name]}: no --input-shape has a dimension {name}"
        for name in bounds
        if name not in used
    )


def _read_data(data: Any, interface: Interface, problems: list[str]) -> dict[str, Any]:
    import numpy as np

    if data is None:
        return {}
    try:
        arrays = unpack(interface.structure, data)
    except ValueError as error:
        problems.append(f"data: {error}; inputs: {', '.join(leaves(interface.structure))}")
        return {}
    return {name: np.asarray(array) for name, array in arrays.items()}


def _shape_claims(
    declared: Declared,
    layer: Any,
    interface: Interface,
    shapes: Mapping[str, MaybeShape],
    arrays: Mapping[str, Any],
) -> list[Claim]:
    hint = layer_input_hint(layer) if len(interface.inputs) == 1 else None
    found: list[tuple[MaybeShape | None, Origin]] = [
        (shapes.get(declared.name), "flag"),
        (hint, "layer"),
        (declared.shape, "signature"),
        (arrays[declared.name].shape if declared.name in arrays else None, "sample"),
    ]
    return [Claim(tuple(shape), origin) for shape, origin in found if shape is not None]


def _settle(
    name: str,
    dims: Sequence[Dim | None] | None,
    dtype: tuple[str, Origin] | None,
    hints: Hints,
    problems: list[str],
) -> TensorSpec | Partial:
    settled = None if dims is None else tuple(dim for dim in dims if dim is not None)
    if settled is None or dtype is None or dims is None or len(settled) < len(dims):
        shape = None if dims is None else tuple(dim.size if dim else None for dim in dims)
        return Partial(name, dtype[0] if dtype else None, shape)
    spec = TensorSpec(name, dtype[0], settled, dtype[1])
    largest = spec.size_bytes_at({dim: bounds.max for dim, bounds in hints.bounds})
    if largest > _MAX_INPUT_BYTES:
        problems.append(
            f"input {name}: {format_shape(spec.named_shape)} is {largest / 1e9:.1f} GB a sample; "
            f"at most {_MAX_INPUT_BYTES / 1e9:.1f} GB; reduce it with --batch or --input-shape"
        )
        return Partial(name, dtype[0], spec.open_shape)
    return spec


def _settle_shape(
    name: str, claims: Sequence[Claim], hints: Hints, problems: list[str]
) -> list[Dim | None] | None:
    flag = f"--input-shape {name}="
    if not claims:
        problems.append(f"input {name}: nothing declares its rank; say {flag}... (such as 1x8)")
        return None
    merged = merge(f"input {name}", claims, dict(hints.bounds), problems)
    if merged is None:
        return None
    if merged:
        merged[0] = _settle_batch(name, merged[0], hints.batch, problems)
    known = [(dim.name or dim.size) if dim else None for dim in merged]
    problems.extend(
        f"input {name}: dimension {at} of {format_shape(known)} is unknown; "
        f"say {flag}{example(known)}"
        for at, dim in enumerate(merged)
        if dim is None
    )
    return merged


def _settle_batch(name: str, first: Dim | None, batch: int | None, problems: list[str]) -> Dim:
    if batch is None:
        return first or Dim(_DEFAULT_BATCH, "default")
    if first is not None and (first.name or first.size != batch):
        problems.append(
            f"input {name}: --batch {batch}, but dimension 0 is "
            f"{first.name or first.size} ({first.origin})"
        )
        return first
    return Dim(batch, "flag")


def example(known: Sequence[int | str | None]) -> str:
    """Write a shape for a flag, with ``N`` for each dimension that the user must fill in."""
    return format_shape(size or "N" for size in known)


def _settle_dtype(
    declared: Declared,
    layer: Any,
    flag: str | None,
    arrays: Mapping[str, Any],
    problems: list[str],
) -> tuple[str, Origin] | None:
    # A layer's dtype is also its compute dtype, so it only fills a gap and never conflicts.
    if declared.dtype is not None:
        if flag is not None and flag != declared.dtype:
            problems.append(
                f"input {declared.name}: --dtype {flag}, "
                f"but the signature takes {declared.dtype} only"
            )
            return None
        return declared.dtype, "flag" if flag else "signature"
    if flag is not None:
        return flag, "flag"
    hint = getattr(layer, "dtype_hint", None)
    if hint is not None:
        return str(hint), "layer"
    if declared.name in arrays:
        array = arrays[declared.name]
        return "string" if array.dtype.kind in "OSU" else array.dtype.name, "sample"
    problems.append(
        f"input {declared.name}: nothing declares its dtype; "
        f"say --dtype {declared.name}=... (such as float32)"
    )
    return None
