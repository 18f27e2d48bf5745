"""`write_answers`: the outputs of a run as a NumPy archive that anything reads."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hubopt.errors import UsageError


def write_answers(path: Path, samples: Sequence[Mapping[str, NDArray[Any]]]) -> None:
    """Write outputs to an ``.npz``, an array by output name.

    Several samples are stacked along a new first axis; if their shapes differ, the array of
    output ``x`` of sample 0 is called ``0/x``. Nothing is pickled: strings become ``bytes``
    arrays, bfloat16 becomes float32.

    Args:
        path: The file, which must not exist yet.
        samples: The outputs of each sample, at least one.

    Raises:
        UsageError: The file exists, or cannot be written.
    """
    try:
        with path.open("xb") as stream, zipfile.ZipFile(stream, "w") as archive:
            # Not numpy.savez: an output called "file" would be taken for its own argument.
            for name, array in _by_name(samples).items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, as_plain(array), allow_pickle=False)
    except OSError as error:
        raise UsageError(
            f"output {path}",
            f"it cannot be written: {error.strerror}",
            "a file that does not exist yet, in a folder that you may write to",
            "choose another --output",
        ) from error


def _by_name(samples: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    if len(samples) == 1:
        return dict(samples[0])
    if all(len({sample[name].shape for sample in samples}) == 1 for name in samples[0]):
        return {name: np.stack([sample[name] for sample in samples]) for name in samples[0]}
    return {
        f"{at}/{name}": array for at, sample in enumerate(samples) for name, array in sample.items()
    }


def as_plain(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array in a dtype that NumPy stores without pickling."""
    if array.dtype.kind == "O":
        return np.array(array.tolist(), dtype=bytes).reshape(array.shape)
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array
