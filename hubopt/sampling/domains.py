"""`read_domains`: what values each input takes, as far as the graph tells.

An index is known by the table that it is looked up in, a picture by the arithmetic that first
brings it into the range of the network. What the graph does not tell is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from hubopt.sampling.images import channel_axis
from hubopt.sampling.lookups import constant, lookup_bounds
from hubopt.spec import ValueRange


def read_domains(graph: Any, tensors: Mapping[str, str]) -> dict[str, ValueRange]:
    """Return the domain of each input of which ``graph`` tells one.

    Args:
        graph: A ``tf.Graph`` with the weights as constants.
        tensors: The name of each input's tensor in it, by the input's name.
    """
    found = {
        name: _read_domain(name, graph.get_tensor_by_name(tensor))
        for name, tensor in tensors.items()
    }
    return {name: domain for name, domain in found.items() if domain is not None}


def _read_domain(name: str, tensor: Any) -> ValueRange | None:
    if not (tensor.dtype.is_integer or tensor.dtype.is_floating):
        return None
    domain = _tightest(list(lookup_bounds(tensor))) or _picture_range(tensor)
    if domain is None and tensor.dtype.is_integer and "mask" in name.lower():
        return ValueRange(0, 1, "its name says mask")
    return domain


def _tightest(bounds: list[ValueRange]) -> ValueRange | None:
    """Return the range that is inside all of ``bounds``, or None if there is none."""
    if not bounds:
        return None
    low = max(each.low for each in bounds)
    tightest = min(bounds, key=lambda each: each.high)
    if low > tightest.high:
        return None
    return replace(tightest, low=low, strict=all(each.strict for each in bounds))


def _picture_range(tensor: Any) -> ValueRange | None:
    """Return the range of a picture; None if ``tensor`` is none, or its arithmetic tells nothing.

    Where several operations are the first to compute on the pixels, those that tell must agree.
    """
    if tensor.shape.rank is None or channel_axis(tensor.shape.as_list()) is None:
        return None
    read = [_range_by(op, position) for op, position in _first_arithmetic(tensor)]
    told = sorted(filter(None, read), key=lambda each: each.why)
    return told[0] if len({(each.low, each.high) for each in told}) == 1 else None


def _first_arithmetic(tensor: Any) -> Iterator[tuple[Any, int]]:
    """Yield each operation that first computes on the pixels, and which input they are."""
    tensors, seen = [tensor], set()
    while tensors:
        tensor = tensors.pop()
        if tensor.name in seen:
            continue
        seen.add(tensor.name)
        for op in tensor.consumers():
            for position, each in enumerate(op.inputs):
                if each is not tensor or op.type in _SHAPES:
                    continue
                if op.type in _KEEP_PIXELS:
                    tensors.extend(op.outputs)
                else:
                    yield op, position


def _range_by(op: Any, position: int) -> ValueRange | None:
    """Return the range of the pixels that ``op`` takes at ``position``."""
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
    if op.type == "Mul" and smallest == largest == 2 and _loses_one(op.outputs[0]):
        return ValueRange(0, 1, f"{why}, less 1")
    return None


def _loses_one(tensor: Any) -> bool:
    """Whether 1 is taken from ``tensor``: what brings [0, 1] to [-1, 1]."""
    for op in tensor.consumers():
        if op.type in _SUMS and op.inputs[0] is tensor:
            value = constant(op.inputs[1])
            if value is not None and value.item() == (1 if op.type == "Sub" else -1):
                return True
    return False


_ARITHMETIC = ("Mul", "RealDiv", "AddV2", "Add", "BiasAdd", "Sub")
_SUMS = ("AddV2", "Add", "BiasAdd", "Sub")
_MAX_ELEMENTS = 1 << 22
"""Of a constant: a mean picture may be as large as the input."""
_DIVISORS = (64, 1024)
"""What brings levels of 0 to 255 near 1, such as 255 and 127.5; more is for finer levels."""
_SHIFTS = (10, 255)
"""What makes sense for levels of 0 to 255 only, such as a mean of 103.939, or 127.5."""
_SHAPES = ("Shape", "ShapeN", "Size", "Rank")
_KEEP_PIXELS = frozenset(
    ("Identity", "Snapshot", "StopGradient", "EnsureShape", "Cast", "Transpose", "Reshape",
     "ExpandDims", "Squeeze", "Pad", "PadV2", "MirrorPad", "ReverseV2", "Slice", "StridedSlice",
     "Split", "SplitV", "Unpack", "Pack", "ConcatV2", "GatherV2", "Tile", "ResizeBilinear",
     "ResizeBicubic", "ResizeArea", "ResizeNearestNeighbor")
)  # fmt: skip
"""Operations after which the pixels are in the same range."""
