"""Bounds on the values of an input, from the table lookups that use it as indices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from hubopt.spec import ValueRange

_MAX_OFFSETS = 1 << 20
"""The largest number of elements of a constant that is added to indices and read."""


@dataclass(frozen=True, slots=True)
class _Trail:
    """A tensor that holds elements of an input, and the constants that were added to them.

    Attributes:
        tensor: The tensor.
        low: The smallest number that was added to an element.
        high: The largest number that was added to an element.
        exact: Whether it holds every element of the input, all shifted by the same number.
    """

    tensor: Any
    low: float = 0
    high: float = 0
    exact: bool = True


@dataclass(frozen=True, slots=True)
class _Lookup:
    """An operation that takes indices.

    Attributes:
        position: The position of the indices among its inputs.
        noun: The name of the indexed elements, such as ``rows``.
        size: Returns the number of indexed elements of an operation; None if it is not static.
        strict: Whether the operation fails on an index out of range.
    """

    position: int
    noun: str
    size: Callable[[Any], int | None]
    strict: bool = True


def lookup_bounds(placeholder: Any) -> Iterator[ValueRange]:
    """Yield the bounds on the values of ``placeholder`` from each lookup that it reaches.

    Its elements are followed through operations that keep them or add a constant. They are not
    followed through other arithmetic (a remainder, a clip), after which a lookup does not bound
    them, nor into function calls and loops.

    Args:
        placeholder: A tensor of a ``tf.Graph`` with the weights as constants.
    """
    trails = [_Trail(placeholder)]
    seen = set()
    while trails:
        trail = trails.pop()
        key = (trail.tensor.name, trail.low, trail.high, trail.exact)
        if key in seen:
            continue
        seen.add(key)
        for op in trail.tensor.consumers():
            for position, tensor in enumerate(op.inputs):
                if tensor is trail.tensor:
                    yield from _lookup_bounds(trail, op, position)
                    trails.extend(_follow(trail, op, position))


def _lookup_bounds(trail: _Trail, op: Any, position: int) -> Iterator[ValueRange]:
    lookup = _LOOKUPS.get(op.type)
    if lookup is None or position != lookup.position or not trail.tensor.dtype.is_integer:
        return
    size = lookup.size(op)
    if size:
        why = f"{op.type} of {size} {lookup.noun} ({op.name})"
        low, high = -trail.low, size - 1 - trail.high
        if low <= high:
            yield ValueRange(low, high, why, trail.exact and lookup.strict)


def _follow(trail: _Trail, op: Any, position: int) -> Iterator[_Trail]:
    """Yield the outputs of ``op`` that hold elements of what it takes at ``position``."""
    if op.type in _SHIFTS:
        yield from _follow_shift(trail, op, position)
    elif op.type == "Cast":
        source, target = op.inputs[0].dtype, op.outputs[0].dtype
        if target.is_floating or target.size >= min(4, source.size):  # no wrapping into 8 bits
            yield replace(trail, tensor=op.outputs[0])
    elif op.type in _CHOICES:
        # The operation replaces the elements for which a condition holds, mostly those outside
        # the table. Values in the range of the table are valid, but others may be valid too.
        if position > 0 and not (trail.low or trail.high):
            yield replace(trail, tensor=op.outputs[0], exact=False)
    elif position in _KEEP_ALL.get(op.type, ()) or op.type in _JOINS:
        yield replace(trail, tensor=op.outputs[0])
    elif position in _KEEP_SOME.get(op.type, ()):
        yield from (replace(trail, tensor=tensor, exact=False) for tensor in op.outputs)


def _follow_shift(trail: _Trail, op: Any, position: int) -> Iterator[_Trail]:
    shift = _shift(op, position)
    if shift is not None:
        low, high = trail.low + shift[0], trail.high + shift[1]
        yield _Trail(op.outputs[0], low, high, trail.exact and low == high)


def _shift(op: Any, position: int) -> tuple[float, float] | None:
    if op.type == "Sub" and position == 1:
        return None
    values = constant(op.inputs[1 - position], _MAX_OFFSETS)
    if values is None or values.size == 0:
        return None
    low, high = values.min().item(), values.max().item()
    return (-high, -low) if op.type == "Sub" else (low, high)


def constant(tensor: Any, most_elements: int = 1) -> Any:
    """Return the value of a constant tensor as an array; None if not constant or too large."""
    import tensorflow as tf

    while tensor.op.type in ("Identity", "ReadVariableOp", "Snapshot", "StopGradient"):
        tensor = tensor.op.inputs[0]
    count = tensor.shape.num_elements()
    if count is None or count > most_elements or tensor.dtype.size == 0:
        return None
    return tf.get_static_value(tensor)


def _integer(tensor: Any) -> int | None:
    value = constant(tensor)
    return None if value is None else int(value.item())


def _rows(tensor: Any, axis: int | None = 0) -> int | None:
    shape = tensor.shape
    if shape.rank is None or axis is None or not -shape.rank <= axis < shape.rank:
        return None
    return shape.as_list()[axis]  # type: ignore[no-any-return]  # TensorFlow has no types


def _smallest(params: Any, indices: Any) -> int | None:
    """Return the smallest of the dimensions of ``params`` that ``indices`` index."""
    depth = _rows(indices, -1)
    if depth is None or params.shape.rank is None:
        return None
    sizes = params.shape.as_list()[:depth]
    return None if not sizes or None in sizes else min(sizes)


def _variable_rows(op: Any) -> int | None:
    handle = op.inputs[0].op
    if handle.type != "VarHandleOp":
        return None
    dims = handle.get_attr("shape").dim
    axis = op.get_attr("batch_dims")
    return dims[axis].size if axis < len(dims) and dims[axis].size > 0 else None


def _scatter_rows(op: Any) -> int | None:
    shape, depth = constant(op.inputs[2], 16), _rows(op.inputs[0], -1)
    return None if shape is None or not depth else int(min(shape[:depth]))


_LOOKUPS = {
    "GatherV2": _Lookup(1, "rows", lambda op: _rows(op.inputs[0], _integer(op.inputs[2]))),
    "Gather": _Lookup(1, "rows", lambda op: _rows(op.inputs[0])),
    "GatherNd": _Lookup(1, "rows", lambda op: _smallest(op.inputs[0], op.inputs[1]), strict=False),
    "ResourceGather": _Lookup(1, "rows", _variable_rows),
    "OneHot": _Lookup(0, "classes", lambda op: _integer(op.inputs[1]), strict=False),
    "Bincount": _Lookup(0, "bins", lambda op: _integer(op.inputs[1]), strict=False),
    "DenseBincount": _Lookup(0, "bins", lambda op: _integer(op.inputs[1]), strict=False),
    "DynamicPartition": _Lookup(1, "parts", lambda op: int(op.get_attr("num_partitions"))),
    "ScatterNd": _Lookup(0, "rows", _scatter_rows, strict=False),
    **{
        f"TensorScatter{kind}": _Lookup(
            1, "rows", lambda op: _smallest(op.inputs[0], op.inputs[1]), strict=False
        )
        for kind in ("Add", "Max", "Min", "Sub", "Update")
    },
    **{
        f"SparseSegment{kind}": _Lookup(1, "rows", lambda op: _rows(op.inputs[0]))
        for kind in ("Mean", "MeanWithNumSegments", "SqrtN", "SqrtNWithNumSegments", "Sum",
                     "SumWithNumSegments")
    },
    **{
        f"UnsortedSegment{kind}": _Lookup(
            1, "segments", lambda op: _integer(op.inputs[2]), strict=False
        )
        for kind in ("Max", "Min", "Prod", "Sum")
    },
}  # fmt: skip
_SHIFTS = ("Add", "AddV2", "Sub")
_CHOICES = ("Select", "SelectV2")
_JOINS = ("Concat", "ConcatV2", "Pack", "ParallelConcat")
"""Operations whose output holds every input; the axis of a concatenation is not tracked."""
_KEEP_ALL = {
    **dict.fromkeys(
        ("Identity", "Snapshot", "StopGradient", "PreventGradient", "EnsureShape", "Reshape",
         "ExpandDims", "Squeeze", "Transpose", "Tile", "BroadcastTo", "Reverse", "ReverseV2",
         "Pad", "PadV2", "MirrorPad", "Roll", "Unique", "UniqueV2", "DeepCopy"),
        (0,),
    ),
    "RaggedTensorToTensor": (1,),
}  # fmt: skip
"""By operation, the positions of the inputs whose elements are all in the first output."""
_KEEP_SOME = {
    **dict.fromkeys(
        ("Slice", "StridedSlice", "SplitV", "Unpack", "Gather", "GatherV2", "GatherNd",
         "DynamicPartition"),
        (0,),
    ),
    "Split": (1,),
}  # fmt: skip
"""By operation, the positions of the inputs of which each output holds some elements."""
