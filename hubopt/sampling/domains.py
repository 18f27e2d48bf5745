"""`read_domains`: the range of values of each input, as far as the graph shows it.

The range of indices follows from the size of the table that they are looked up in. The range of
pixels follows from the arithmetic that first normalizes an image. Inputs whose range the graph
does not show are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from hubopt.sampling.images import channel_axis
from hubopt.sampling.lookups import constant, lookup_bounds
from hubopt.spec import ValueRange


def read_domains(graph: Any, tensors: Mapping[str, str]) -> dict[str, ValueRange]:
    """Return the domain of each input for which ``graph`` shows one.

    Args:
        graph: A ``tf.Graph`` with the weights as constants.
        tensors: The name of each input's tensor in the graph, by the input's name.
    """
    domains = {
        name: _read_domain(name, graph.get_tensor_by_name(tensor))
        for name, tensor in tensors.items()
    }
    return {name: domain for name, domain in domains.items() if domain is not None}


def _read_domain(name: str, tensor: Any) -> ValueRange | None:
    if not (tensor.dtype.is_integer or tensor.dtype.is_floating):
        return None
    domain = _tightest(list(lookup_bounds(tensor))) or _picture_range(tensor)
    if domain is None and tensor.dtype.is_integer and "mask" in name.lower():
        return ValueRange(0, 1, "its name says mask")
    return domain


def _tightest(bounds: list[ValueRange]) -> ValueRange | None:
    """Return the intersection of ``bounds``; None if it is empty or there are no bounds."""
    if not bounds:
        return None
    low = max(bound.low for bound in bounds)
    tightest = min(bounds, key=lambda bound: bound.high)
    if low > tightest.high:
        return None
    return replace(tightest, low=low, strict=all(bound.strict for bound in bounds))


def _picture_range(tensor: Any) -> ValueRange | None:
    """Return the range of an image's pixels.

    None if ``tensor`` is not an image or the arithmetic on it does not show a range. If several
    operations are the first to compute on the pixels, those that show a range must agree.
    """
    if tensor.shape.rank is None or channel_axis(tensor.shape.as_list()) is None:
        return None
    by_operation = [_range_by(op, position) for op, position in _first_arithmetic(tensor)]
    ranges = sorted(filter(None, by_operation), key=lambda bound: bound.why)
    return ranges[0] if len({(bound.low, bound.high) for bound in ranges}) == 1 else None


def _first_arithmetic(tensor: Any) -> Iterator[tuple[Any, int]]:
    """Yield each operation that is the first to compute on the pixels, and their input position."""
    tensors, seen = [tensor], set()
    while tensors:
        tensor = tensors.pop()
        if tensor.name in seen:
            continue
        seen.add(tensor.name)
        for op in tensor.consumers():
            for position, operand in enumerate(op.inputs):
                if operand is not tensor or op.type in _SHAPES:
                    continue
                if op.type in _KEEP_PIXELS:
                    tensors.extend(op.outputs)
                else:
                    yield op, position


def _range_by(op: Any, position: int) -> ValueRange | None:
    """Return the range of the pixels that ``op`` takes at ``position``; None if unknown."""
    if op.type not in _ARITHMETIC or len(op.inputs) != 2:
        return None
    values = constant(op.inputs[1 - position], _MAX_ELEMENTS)
    if values is None or values.size == 0:
        return None
    smallest, largest = float(abs(values).min()), float(abs(values).max())
    why = f"{op.type} by {largest:.4g} ({op.name})"
    if (
        (op.type == "Mul" and 1 / _DIVISORS[1] <= largest <= 1 / _DIVISORS[0])
        or (op.type == "RealDiv" and position == 0 and _DIVISORS[0] <= smallest <= _DIVISORS[1])
        or (op.type in _SUMS and _SHIFTS[0] <= largest <= _SHIFTS[1])
    ):
        return ValueRange(0, 255, why)
    if op.type == "Mul" and smallest == largest == 2 and _is_reduced_by_one(op.outputs[0]):
        return ValueRange(0, 1, f"{why}, minus 1")
    return None


def _is_reduced_by_one(tensor: Any) -> bool:
    """Return whether 1 is subtracted from ``tensor``, which maps [0, 2] to [-1, 1]."""
    for op in tensor.consumers():
        if op.type in _SUMS and op.inputs[0] is tensor:
            value = constant(op.inputs[1])
            if value is not None and value.item() == (1 if op.type == "Sub" else -1):
                return True
    return False


_ARITHMETIC = ("Mul", "RealDiv", "AddV2", "Add", "BiasAdd", "Sub")
_SUMS = ("AddV2", "Add", "BiasAdd", "Sub")
_MAX_ELEMENTS = 1 << 22
"""The largest number of elements of a constant that is read, such as a full-size mean image."""
_DIVISORS = (64, 1024)
"""The range of divisors that scale pixels of 0 to 255 to about 1, such as 255 and 127.5.

Larger divisors are for finer levels.
"""
_SHIFTS = (10, 255)
"""The range of offsets that only fit pixels of 0 to 255, such as a mean of 103.939, or 127.5."""
_SHAPES = ("Shape", "ShapeN", "Size", "Rank")
_KEEP_PIXELS = frozenset(
    ("Identity", "Snapshot", "StopGradient", "EnsureShape", "Cast", "Transpose", "Reshape",
     "ExpandDims", "Squeeze", "Pad", "PadV2", "MirrorPad", "ReverseV2", "Slice", "StridedSlice",
     "Split", "SplitV", "Unpack", "Pack", "ConcatV2", "GatherV2", "Tile", "ResizeBilinear",
     "ResizeBicubic", "ResizeArea", "ResizeNearestNeighbor")
)  # fmt: skip
"""Operations that keep the range of the pixels."""
