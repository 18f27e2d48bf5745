"""The part of `hubopt.programs.shaping.shapes.resolve` that settles the inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hubopt._platform.tf_private import layer_input_hint
from hubopt._util.structure import leaves, unpack
from hubopt.hints import Hints
from hubopt.layers.claims import Claim, by_name, merge, spread
from hubopt.layers.interface import Declared, Interface, is_float
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
        shape: Its sizes, names for dynamic dimensions, None for open ones; None for unknown rank,
            or if claims conflict.
        is_open: Whether it lacks sizes, its rank or its dtype, and no claims of its shape conflict.
        conflicts: Whether it has another problem.
        is_length: Whether its only dimension is open and seems to be a length.
    """

    name: str
    dtype: str | None
    shape: MaybeShape | None
    is_open: bool = False
    conflicts: bool = True
    is_length: bool = False

    @property
    def static_shape(self) -> tuple[int | None, ...] | None:
        """The shape with None for dynamic dimensions, too."""
        if self.shape is None:
            return None
        return tuple(size if isinstance(size, int) else None for size in self.shape)


def settle_inputs(
    layer: Any, interface: Interface, hints: Hints, data: Any, problems: list[str]
) -> list[TensorSpec | Partial]:
    """Return each input as far as the sources settle it.

    Args:
        layer: A `hubopt.KerasLayer`.
        interface: The layer's declared interface.
        hints: What the user specified.
        data: The user's own inputs, packed as the layer takes them, or None.
        problems: A message is added for each conflict. What is open is in the result alone.
    """
    names = [declared.name for declared in interface.inputs]
    bounds = dict(hints.bounds)
    hinted = spread(
        dict(hints.input_shapes), {declared.name: declared.shape for declared in interface.inputs}
    )
    shapes = by_name("--input-shape", hinted, names, "input", problems)
    dtypes = by_name("--dtype", dict(hints.dtypes), names, "input", problems)
    _check_names(shapes, bounds, problems)
    arrays = _read_data(data, interface, problems)
    settled: list[TensorSpec | Partial] = []
    for declared in interface.inputs:
        if declared.kind != "dense":
            problems.append(_composite_problem(declared))
            settled.append(Partial(declared.name, None, None))
            continue
        claims = _shape_claims(declared, layer, interface, shapes, arrays)
        given = _dtype(declared, layer, dtypes.get(declared.name), arrays, problems)
        settled.append(_settle(declared, claims, given, hints, problems))
    return settled


def _composite_problem(declared: Declared) -> str:
    parts = (
        "its values and row splits, and makes it by tf.RaggedTensor.from_row_splits"
        if declared.kind == "ragged"
        else "its indices, values and dense shape, and makes it by tf.SparseTensor"
    )
    shape = "" if declared.shape is None else f" {format_shape(declared.shape)}"
    return (
        f"input {declared.name}: it is a {declared.kind} tensor ({declared.dtype}{shape}), which "
        "is several dense ones; no target takes it as an input; export a function that takes "
        f"{parts}"
    )


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
    declared: Declared,
    claims: Sequence[Claim],
    dtype: _Dtype | None,
    hints: Hints,
    problems: list[str],
) -> TensorSpec | Partial:
    name, dtype_name = declared.name, dtype.name if dtype else None
    is_length = is_float(dtype_name) and not any(claim.origin == "layer" for claim in claims)
    merged = None
    if claims:
        merged = merge(f"input {name}", claims, dict(hints.bounds), problems)
        if merged is None:
            return Partial(name, dtype_name, None)
        if len(merged) == 1 and is_length:
            merged[0] = _settle_length(name, merged[0], hints.batch, problems)
        elif merged:
            merged[0] = _settle_batch(name, merged[0], hints.batch, problems)
    settled = None if merged is None else tuple(dim for dim in merged if dim is not None)
    if dtype is None or dtype.name is None or merged is None or len(settled or ()) < len(merged):
        shape = (
            None
            if merged is None
            else tuple((dim.name or dim.size) if dim else None for dim in merged)
        )
        return Partial(
            name,
            dtype_name,
            shape,
            is_open=shape is None or None in shape or dtype is not None,
            conflicts=dtype is None,
            is_length=is_length and shape == (None,),
        )
    assert settled is not None
    spec = TensorSpec(name, dtype.name, settled, dtype.origin)
    largest = spec.size_bytes_at({dim: bounds.max for dim, bounds in hints.bounds})
    if largest > _MAX_INPUT_BYTES:
        problems.append(
            f"input {name}: {format_shape(spec.named_shape)} is {largest / 1e9:.1f} GB a sample; "
            f"at most {_MAX_INPUT_BYTES / 1e9:.1f} GB; reduce it with --batch or --input-shape"
        )
        return Partial(name, dtype.name, spec.named_shape)
    return spec


def _settle_length(
    name: str, first: Dim | None, batch: int | None, problems: list[str]
) -> Dim | None:
    """Settle the only dimension of floats, which may be a length: it has no default."""
    if first is not None and first.origin == "flag":  # it is stated, so --batch is of other inputs
        return first
    return None if first is None and batch is None else _settle_batch(name, first, batch, problems)


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


@dataclass(frozen=True, slots=True)
class _Dtype:
    """The dtype of an input; the name is None if nothing declares it."""

    name: str | None
    origin: Origin = "signature"


def _dtype(
    declared: Declared,
    layer: Any,
    flag: str | None,
    arrays: Mapping[str, Any],
    problems: list[str],
) -> _Dtype | None:
    """Return the dtype; None in a conflict."""
    # A layer's dtype is also its compute dtype, so it only fills a gap and never conflicts.
    if declared.dtype is not None:
        if flag is not None and flag != declared.dtype:
            problems.append(
                f"input {declared.name}: --dtype {flag}, "
                f"but the signature takes {declared.dtype} only"
            )
            return None
        return _Dtype(declared.dtype, "flag" if flag else "signature")
    if flag is not None:
        return _Dtype(flag, "flag")
    hint = getattr(layer, "dtype_hint", None)
    if hint is not None:
        return _Dtype(str(hint), "layer")
    if declared.name in arrays:
        array = arrays[declared.name]
        return _Dtype("string" if array.dtype.kind in "OSU" else array.dtype.name, "sample")
    return _Dtype(None)
