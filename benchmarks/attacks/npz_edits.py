"""Edits of an ``.npz``: another header, dtype, shape or number of samples, a pickle, a bomb."""

from __future__ import annotations

import io
import pickle
import random
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from benchmarks.attacks.byte_edits import Edit, edit_bytes, edit_member

Arrays = dict[str, Any]
_DTYPES = ("float64", "float16", "int32", "uint8", "bool", "complex64", "S4", "U4", "datetime64[s]")


class _Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("import pathlib; pathlib.Path('ran').write_text('a pickle ran')",)


def edit_npz(draw: random.Random, data: bytes) -> Edit:
    """Apply one edit: to an array, a member's bytes, a member's header, or the whole file."""
    kind = draw.choice(("array", "array", "member", "header", "file"))
    if kind == "file":
        return edit_bytes(draw, data)
    if kind == "member":
        return edit_member(draw, data, lambda draw, _, member: edit_bytes(draw, member))
    if kind == "header":
        return edit_member(draw, data, _edit_header)
    with np.load(io.BytesIO(data)) as archive:
        arrays: Arrays = {name: archive[name] for name in archive.files}
    name = draw.choice(sorted(arrays))
    edit = draw.choice(sorted(_ARRAY_EDITS))
    detail = _ARRAY_EDITS[edit](draw, arrays, name)
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue(), f"{name}: {detail}"


def _dtype(draw: random.Random, arrays: Arrays, name: str) -> str:
    kind = draw.choice(_DTYPES)
    arrays[name] = np.zeros(arrays[name].shape, kind)
    return f"dtype {kind}"


def _shape(draw: random.Random, arrays: Arrays, name: str) -> str:
    old = arrays[name]
    shapes = ((0, *old.shape[1:]), old.shape[1:], (1, *old.shape), (old.size,), (), (3, 5))
    arrays[name] = np.ones(draw.choice(shapes), old.dtype)
    return f"shape {arrays[name].shape}"


def _value(draw: random.Random, arrays: Arrays, name: str) -> str:
    edited = np.array(arrays[name])
    number = draw.choice((float("nan"), float("inf"), 1e30, -1e30, 0.0, 1.0))
    at = draw.randrange(max(1, edited.size))
    if edited.dtype.kind == "f":
        edited.reshape(-1)[at : at + 1] = number
    arrays[name] = edited
    return f"element {at} = {number}"


def _drop(draw: random.Random, arrays: Arrays, name: str) -> str:
    del draw, arrays[name]
    return "dropped"


def _rename(draw: random.Random, arrays: Arrays, name: str) -> str:
    new = draw.choice(("0/other", "nine/left", "-1/left", "99999999999/left", "left", "é/x", "0/"))
    arrays[new] = arrays.pop(name)
    return f"named {new}"


def _exchange(draw: random.Random, arrays: Arrays, name: str) -> str:
    other = draw.choice(sorted(arrays))
    arrays[name], arrays[other] = arrays[other], arrays[name]
    return f"exchanged with {other}"


def _add(draw: random.Random, arrays: Arrays, name: str) -> str:
    sample = draw.choice(("8", "9", "100"))
    new = f"{sample}/{name.partition('/')[2]}"
    arrays[new] = arrays[name]
    return f"{new} added"


def _pickled(draw: random.Random, arrays: Arrays, name: str) -> str:
    del draw
    arrays[name] = np.array([_Bomb()], dtype=object)
    return "a pickle that runs code"


def _strings(draw: random.Random, arrays: Arrays, name: str) -> str:
    del draw
    arrays[name] = np.array([b"", b"\x1b[2J"])
    return "strings"


_ARRAY_EDITS: Mapping[str, Callable[[random.Random, Arrays, str], str]] = {
    "dtype": _dtype, "shape": _shape, "value": _value, "drop": _drop, "rename": _rename,
    "exchange": _exchange, "add": _add, "pickle": _pickled, "strings": _strings,
}  # fmt: skip


def _edit_header(draw: random.Random, name: str, data: bytes) -> Edit:
    """Replace the header of a member, and keep the end of its data or replace it by a pickle."""
    del name
    headers = (
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000, 1000000), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 8), }",
        "{'descr': '<f4', 'fortran_order': True, 'shape': (8, 1), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (1, 8), }",
        "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1, 8), }",
        "{'descr': '<f4', 'fortran_order': 7, 'shape': 'x', }",
        "__import__('os').system('touch ran')",
        "{" * 5000,
        " " * 60000,
    )
    header = draw.choice(headers).encode()
    size = len(header).to_bytes(2, "little")
    body = draw.choice((data[-32:], pickle.dumps(_Bomb())))
    return b"\x93NUMPY\x01\x00" + size + header + body, f"header {header[:60].decode()}"
