"""Samples on disk: a list of tensors by name in one ``.npz`` that needs no pickle."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hubopt.exporter import Tensors
from hubopt.sampling.samples import numpy_dtype
from hubopt.spec import TensorSpec


def write_samples(path: Path, samples: Sequence[Tensors]) -> None:
    """Write ``samples``; the array of tensor ``x`` in sample 0 is called ``0/x``.

    Strings become fixed-width bytes, bfloat16 its bits.
    """
    arrays = {
        f"{at}/{name}": _plain(np.asarray(array))
        for at, sample in enumerate(samples)
        for name, array in sample.items()
    }
    with path.open("wb") as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]  # numpy's stub wants a bool here


def read_samples(path: Path, specs: Sequence[TensorSpec]) -> list[dict[str, NDArray[Any]]]:
    """Read what `write_samples` wrote; ``specs`` give the dtypes that NumPy cannot store."""
    by_name = {spec.name: spec for spec in specs}
    samples: dict[int, dict[str, NDArray[Any]]] = {}
    with np.load(path, allow_pickle=False) as archive:
        for key in archive.files:
            at, _, name = key.partition("/")
            array = _restore(archive[key], by_name.get(name))
            samples.setdefault(int(at), {})[name] = array
    return [samples[at] for at in sorted(samples)]


def _plain(array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype.kind in "OSU":
        texts = (
            each.encode() if isinstance(each, str) else each for each in array.ravel().tolist()
        )
        # A closing mark keeps the trailing zero bytes that NumPy's bytes dtype drops.
        return np.array([text + b"." for text in texts], dtype=bytes).reshape(array.shape)
    if array.dtype.name == "bfloat16":
        return array.view(np.uint16)
    return array


def _restore(array: NDArray[Any], spec: TensorSpec | None) -> NDArray[Any]:
    if array.dtype.kind == "S":
        texts = np.empty(array.shape, dtype=object)
        texts.ravel()[:] = [bytes(each)[:-1] for each in array.ravel()]
        return texts
    if spec is not None and spec.dtype == "bfloat16" and array.dtype == np.uint16:
        return array.view(numpy_dtype("bfloat16"))
    return array
