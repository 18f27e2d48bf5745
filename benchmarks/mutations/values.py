"""Faults of arrays, such as a layer's weights, independent of the file format."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Precision = Literal["float16", "bfloat16", "int8"]
PRECISIONS: tuple[Precision, ...] = ("float16", "bfloat16", "int8")


@dataclass(frozen=True, slots=True)
class Layout:
    """The meaning of the axes of a weight.

    Attributes:
        outputs: The axis of the output channels.
        inputs: The axis of the input channels; None for a depthwise kernel.
        spatial: The two axes of the kernel's height and width; empty for a matrix.
    """

    outputs: int
    inputs: int | None
    spatial: tuple[int, int] | tuple[()] = ()


def flip_sign(weight: NDArray[Any], index: tuple[int, ...]) -> NDArray[Any]:
    """Return ``weight`` with the sign of one element flipped."""
    flipped: NDArray[Any] = weight.copy()
    flipped[index] = -flipped[index]
    return flipped


def transpose_kernel(weight: NDArray[Any], layout: Layout) -> NDArray[Any]:
    """Return ``weight`` as if two of its axes had been written in the wrong order.

    The axes are height and width of a kernel. If exchanging these changes nothing, they are inputs
    and outputs, or a side of the kernel and the outputs. The shape stays the same: if the axes
    differ in length, the transposed kernel is reshaped to the old shape. If no exchange changes
    anything, the returned array is equal to ``weight``.
    """
    pairs = [layout.spatial] if layout.spatial else []
    if layout.inputs is not None:
        pairs.append((layout.outputs, layout.inputs))
    pairs += [(layout.outputs, axis) for axis in reversed(layout.spatial)]
    for one, other in pairs:
        axes = list(range(weight.ndim))
        axes[one], axes[other] = axes[other], axes[one]
        transposed: NDArray[Any] = weight.transpose(axes).reshape(weight.shape)
        if not np.array_equal(transposed, weight):
            return transposed
    return weight


def swap_channels(array: NDArray[Any], axis: int, one: int, other: int) -> NDArray[Any]:
    """Return ``array`` with two of its channels exchanged."""
    order = np.arange(array.shape[axis])
    order[[one, other]] = order[[other, one]]
    return array.take(order, axis)


def round_to(weight: NDArray[Any], precision: Precision) -> NDArray[Any]:
    """Return ``weight`` rounded to ``precision``; int8 is symmetric with one scale per tensor."""
    if precision == "int8":
        scale = np.abs(weight).max() / 127 or 1.0
        return np.asarray(np.round(weight / scale) * scale, weight.dtype)
    import ml_dtypes

    narrow = ml_dtypes.bfloat16 if precision == "bfloat16" else np.float16
    return weight.astype(narrow).astype(weight.dtype)


def shift_padding(pads: list[int]) -> list[int]:
    """Return ``pads`` with one row or column moved from the end to the start of an axis.

    Args:
        pads: All starts, then all ends, as in ONNX. If an axis is padded only at its start, one row
            or column moves to the end instead.
    """
    shifted, rank = list(pads), len(pads) // 2
    for axis in range(rank):
        start, end = pads[axis], pads[axis + rank]
        move = 1 if end > 0 else -1 if start > 0 else 0
        shifted[axis], shifted[axis + rank] = start + move, end - move
    return shifted


def shift_slice(
    starts: list[int], ends: list[int], sizes: list[int]
) -> tuple[list[int], list[int]] | None:
    """Return starts and ends shifted by one to the right, or to the left if there is no room.

    Args:
        starts: By axis; negative ones count from the end.
        ends: By axis, exclusive.
        sizes: The sizes of these axes.

    Returns:
        None if the slice takes every axis whole.
    """
    shifted_starts, shifted_ends, changed = [], [], False
    for start, end, size in zip(starts, ends, sizes, strict=True):
        start = max(start + size, 0) if start < 0 else min(start, size)
        end = max(end + size, 0) if end < 0 else min(end, size)
        move = 1 if end < size else -1 if start > 0 else 0
        shifted_starts.append(start + move)
        shifted_ends.append(end + move)
        changed |= bool(move)
    return (shifted_starts, shifted_ends) if changed else None


def overflow_scale(largest: float) -> float:
    """Return the smallest power of two that scales ``largest`` beyond float16's 65504."""
    return float(2.0 ** np.floor(np.log2(65504 / largest) + 1))


def table_faults(table: NDArray[Any]) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield variants of a lookup table with wrongly counted rows, and their descriptions."""
    yield "every index one too high", np.roll(table, -1, axis=0)
    yield "every index one too low", np.roll(table, 1, axis=0)
    short = table.copy()
    short[-1] = table[-2]
    yield "the last row cannot be reached", short
