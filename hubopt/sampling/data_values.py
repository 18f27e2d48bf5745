"""Checks and converts the user's arrays: kind of values, range, and finiteness."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hubopt._util.dtypes import numpy_dtype
from hubopt.spec import TensorSpec, ValueRange

_KINDS = {"i": "integers", "u": "integers", "f": "floats", "c": "complex numbers", "b": "booleans",
          "S": "texts", "U": "texts"}  # fmt: skip


def kind_problem(array: NDArray[Any], spec: TensorSpec) -> str | None:
    """Return why ``array`` cannot be converted to the input's dtype; None if it can.

    The values are not considered. The width of the numbers may differ, but floats are never
    converted to integers, nor integers to floats.
    """
    if _is_stored_bfloat16(array, spec):
        return None
    wanted = "texts" if spec.dtype == "string" else _kind(np.empty(0, numpy_dtype(spec.dtype)))
    found = _kind(array)
    if found == wanted:
        return None
    dtype = "" if array.dtype.kind in "OSU" else f" ({array.dtype.name})"
    return f"found {found}{dtype}; expected {wanted} ({spec.dtype})"


def _kind(array: NDArray[Any]) -> str:
    if array.dtype.name == "bfloat16":
        return "floats"
    if array.dtype.kind == "O" and all(isinstance(item, bytes | str) for item in array.ravel()):
        return "texts"
    return _KINDS.get(array.dtype.kind, "Python objects" if array.dtype.hasobject else "other data")


def _is_stored_bfloat16(array: NDArray[Any], spec: TensorSpec) -> bool:
    """Return whether ``array`` has bfloat16 bits, as `write_samples` stores them."""
    return spec.dtype == "bfloat16" and array.dtype == np.uint16


def convert(
    array: NDArray[Any],
    spec: TensorSpec,
    domain: ValueRange | None,
    label: str,
    problems: list[str],
) -> NDArray[Any]:
    """Return ``array``, which has the input's kind of values, in the input's dtype.

    Args:
        array: The values.
        spec: The input.
        domain: The known range of the input's values. If it is strict, it is checked.
        label: The prefix of the problems.
        problems: Problems are appended to it.
    """
    if spec.dtype == "string":
        return _texts(array)
    dtype = numpy_dtype(spec.dtype)
    if _is_stored_bfloat16(array, spec):
        array = array.view(dtype)
    if array.dtype.kind in "iu":
        limits = np.iinfo(dtype)
        why = f"the range of {spec.dtype}"
        _check_range(array, int(limits.min), int(limits.max), why, label, problems)
    elif array.dtype.kind != "b":
        _check_finite(array, label, problems)
    if domain is not None and domain.strict:
        _check_range(array, domain.low, domain.high, domain.why, label, problems)
    with np.errstate(over="ignore", invalid="ignore"):
        converted = np.ascontiguousarray(array).astype(dtype).reshape(array.shape)
    if array.dtype.kind not in "iub" and np.isfinite(array).all():
        lost = int((~np.isfinite(converted)).sum())
        if lost:
            problems.append(f"{label}: found {lost} values too large for {spec.dtype}")
    return converted


def _texts(array: NDArray[Any]) -> NDArray[Any]:
    texts = np.empty(array.size, object)
    texts[:] = [
        text.encode("utf-8", "surrogatepass") if isinstance(text, str) else bytes(text)
        for text in array.ravel().tolist()
    ]
    return texts.reshape(array.shape)


def _check_range(
    array: NDArray[Any], low: float, high: float, why: str, label: str, problems: list[str]
) -> None:
    if not array.size:
        return
    smallest, largest = array.min().item(), array.max().item()
    if smallest < low or largest > high:
        found = f"found values from {smallest} to {largest}"
        problems.append(f"{label}: {found}; expected {low} to {high}, {why}")


def _check_finite(array: NDArray[Any], label: str, problems: list[str]) -> None:
    counts = {"NaN": int(np.isnan(array).sum()), "infinite": int(np.isinf(array).sum())}
    found = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    if found:
        problems.append(f"{label}: found {found}; expected finite numbers")
