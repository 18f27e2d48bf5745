"""Samples on disk: named tensors of a list of samples in one ``.npz``, without pickle."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hubopt._util.dtypes import numpy_dtype
from hubopt.exporter import Tensors
from hubopt.spec import TensorSpec, format_shape

_WIDE = ("float64", "complex128")
"""The dtypes that are also allowed for a float output if it was computed in float64."""
_MOST_HEADER_BYTES = 10_000
_CHUNK_BYTES = 1 << 20


def write_samples(path: Path, samples: Sequence[Tensors] | Mapping[int, Tensors]) -> None:
    """Write samples; the array of tensor ``x`` in sample 0 is named ``0/x``.

    Strings are stored as fixed-width bytes, bfloat16 values as their bits.

    Args:
        path: The file.
        samples: The samples in order, or by number if some numbers are left out.
    """
    numbered = samples.items() if isinstance(samples, Mapping) else enumerate(samples)
    arrays = {
        f"{number}/{name}": _plain(np.asarray(array))
        for number, sample in numbered
        for name, array in sample.items()
    }
    with path.open("wb") as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]  # numpy's stub wants a bool here


def read_samples(
    path: Path, specs: Sequence[TensorSpec], numbers: Sequence[int] | None = None
) -> list[dict[str, NDArray[Any]]]:
    """Read a file that `write_samples` wrote.

    Args:
        path: The file.
        specs: The specs of the tensors, for the dtypes that NumPy cannot store.
        numbers: The numbers of the samples to read, in the order to return them; by default all,
            sorted.
    """
    by_name = {spec.name: spec for spec in specs}
    samples: dict[int, dict[str, NDArray[Any]]] = {}
    with np.load(path, allow_pickle=False) as archive:
        for key in archive.files:
            number, _, name = key.partition("/")
            if numbers is None or int(number) in numbers:
                array = _restore(archive[key], by_name.get(name))
                samples.setdefault(int(number), {})[name] = array
    return [samples.get(number, {}) for number in (sorted(samples) if numbers is None else numbers)]


def sample_numbers(path: Path) -> tuple[int, ...]:
    """Return the sample numbers in a file that `write_samples` wrote, without reading arrays."""
    with zipfile.ZipFile(path) as archive:
        return tuple(sorted({int(name.partition("/")[0]) for name in archive.namelist()}))


def sample_problems(
    path: Path, specs: Sequence[TensorSpec], numbers: Sequence[int], wide: bool = False
) -> list[str]:
    """Return why a file is not one that `write_samples` wrote, without loading its arrays.

    Each array must have as many bytes of data as its header declares, so that a header cannot
    cause a large allocation without data.

    Args:
        path: The file.
        specs: The tensors of each sample.
        numbers: The numbers of the required samples.
        wide: Whether floats may be float64 regardless of the specs.
    """
    wanted = {f"{at}/{spec.name}.npy": spec for at in numbers for spec in specs}
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename: info for info in archive.infolist()}
            problems = [f"{name!r} is missing" for name in wanted if name not in members]
            problems += [f"{name!r} belongs to no sample" for name in members if name not in wanted]
            if len(members) != len(archive.infolist()):
                problems.append("it has two arrays of the same name")
            for name in wanted.keys() & members.keys():
                problems += [
                    f"{name!r}: {problem}"
                    for problem in _array_problems(archive, members[name], wanted[name], wide)
                ]
    except MemoryError:
        raise
    except Exception as error:  # zipfile raises exceptions of many types on a damaged archive
        return [f"it cannot be read as a NumPy archive: {error}"]
    return sorted(problems)


def _array_problems(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, spec: TensorSpec, wide: bool
) -> Iterator[str]:
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
        yield "it is compressed or encrypted"
        return
    try:
        with archive.open(info) as stream:
            shape, dtype = _read_header(stream)
            header_bytes = stream.tell()
            while stream.read(_CHUNK_BYTES):  # zipfile compares the checksum at the end
                continue
    except ValueError as error:
        yield f"its header cannot be read: {error}"
        return
    if dtype.hasobject:
        yield "it holds pickled Python objects"
        return
    if not _fits(dtype, spec, wide):
        yield f"it is {dtype.name if dtype.isnative else dtype.str}, not {spec.dtype}"
    if not spec.admits(shape):
        yield f"its shape is {format_shape(shape)}, not {format_shape(spec.named_shape)}"
    declared = math.prod(shape) * dtype.itemsize
    if info.file_size - header_bytes != declared:
        yield f"it has {info.file_size - header_bytes:,} bytes of data and declares {declared:,}"


def _read_header(stream: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return an array's shape and dtype.

    Raises:
        ValueError: There is no header, or it is not one that NumPy writes for plain arrays.
    """
    version = np.lib.format.read_magic(stream)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read is None:
        raise ValueError(f"format {version}")
    try:
        shape, _, dtype = read(stream, max_header_size=_MOST_HEADER_BYTES)
    except zipfile.BadZipFile:
        raise
    except Exception as error:  # NumPy evaluates a Python literal, which can raise many types
        raise ValueError(f"{type(error).__name__}: {error}") from error
    if any(size < 0 for size in shape):
        raise ValueError(f"shape {shape}")
    return shape, dtype


def _fits(dtype: np.dtype[Any], spec: TensorSpec, wide: bool) -> bool:
    if spec.dtype == "string":
        return dtype.kind == "S"
    if spec.dtype == "bfloat16" and dtype == np.uint16:
        return True
    expected = numpy_dtype(spec.dtype)
    return dtype == expected or (wide and dtype.name in _WIDE and expected.kind in "fcV")


def _plain(array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype.kind in "OSU":
        texts = (
            text.encode() if isinstance(text, str) else text for text in array.ravel().tolist()
        )
        # The appended "." protects trailing zero bytes, which NumPy's bytes dtype drops.
        return np.array([text + b"." for text in texts], dtype=bytes).reshape(array.shape)
    if array.dtype.name == "bfloat16":
        return array.view(np.uint16)
    return array


def _restore(array: NDArray[Any], spec: TensorSpec | None) -> NDArray[Any]:
    if array.dtype.kind == "S":
        texts = np.empty(array.shape, dtype=object)
        texts.ravel()[:] = [bytes(text)[:-1] for text in array.ravel()]
        return texts
    if spec is not None and spec.dtype == "bfloat16" and array.dtype == np.uint16:
        return array.view(numpy_dtype("bfloat16"))
    return array
