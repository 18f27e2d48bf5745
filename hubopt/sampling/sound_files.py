"""`read_sound`: a sound file as the input of a model, by soundfile (libsndfile)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hubopt.errors import RuntimeMissingError
from hubopt.sampling.user_data import DataError
from hubopt.spec import TensorSpec, format_shape

SOUND_SUFFIXES = (".wav", ".flac", ".ogg")
_MOST_VALUES = 1 << 28
"""The most values that are decoded; the header says how many there are."""


@dataclass(frozen=True, slots=True)
class Sound:
    """A sound as a model takes it.

    Attributes:
        array: The windows: a new first axis, then the input's shape.
        note: What was read, and what was left over.
    """

    array: NDArray[Any]
    note: str


def read_sound(path: Path, spec: TensorSpec) -> Sound:
    """Return a sound in windows of an input's length, without overlap.

    Values are -1 to 1 for an input of floats, and 16-bit for one of ``int16``. The sample rate
    stays as it is: no model states its own, so the note says what the file has.

    Args:
        path: The file.
        spec: The input: ``time``, ``batch time`` or ``batch time channels``.

    Raises:
        DataError: It is no sound, or it does not fit the input.
        RuntimeMissingError: The package soundfile is not installed.
    """
    time_at, channels = _form(path, spec)
    values, rate = _decode(path, "int16" if spec.dtype == "int16" else "float32")
    frames, found = values.shape
    if found != channels:
        raise _misfit(
            path,
            f"found {found} channels; expected {channels} for {spec.name}, "
            f"{format_shape(spec.named_shape)}",
            f"convert it, as in: ffmpeg -i {path.name} -ac {channels} converted.wav",
        )
    dim = spec.dims[time_at]
    window = frames if dim.name else dim.size
    count = frames // window if window else 0
    if count == 0:
        raise _misfit(
            path,
            f"found {frames:,} samples at {rate:,} Hz; expected at least {window:,} for "
            f"{spec.name}",
            "pass a longer sound, or pad it with silence if the model is made for that",
        )
    rest = frames - count * window
    shape = tuple(window if at == time_at else 1 for at in range(len(spec.dims)))
    if len(spec.dims) == 3:
        shape = (*shape[:2], channels)
    note = f"{path.name}: {frames:,} samples at {rate:,} Hz, {count} of {window:,}"
    if rest:
        note += f"; the last {rest:,} samples are left out"
    return Sound(values[: count * window].reshape(count, *shape), note)


def _form(path: Path, spec: TensorSpec) -> tuple[int, int]:
    """Return the axis of time and the number of channels."""
    rank = len(spec.dims)
    is_sound = rank in (1, 2, 3) and (spec.dtype == "int16" or spec.dtype.startswith("float"))
    if not is_sound or (rank == 3 and spec.dims[2].name):
        raise _misfit(path, f"input {spec.name} is {spec}, no sound", "pass the array as .npy")
    return min(rank - 1, 1), spec.dims[2].size if rank == 3 else 1


def _decode(path: Path, dtype: str) -> tuple[NDArray[Any], int]:
    """Return the values, ``frames channels``, and the sample rate in hertz."""
    try:
        import soundfile
    except (ImportError, OSError) as error:  # OSError without libsndfile
        raise RuntimeMissingError(
            f"input {path}", "no soundfile is installed here", "a package that reads sounds",
            "pip install 'hubopt[media]', or save the array with numpy.save",
        ) from error  # fmt: skip
    try:
        with soundfile.SoundFile(path) as file:
            total = file.frames * file.channels
            if total > _MOST_VALUES:
                raise _misfit(
                    path,
                    f"found {total:,} values; expected at most {_MOST_VALUES:,}",
                    "pass a part of it",
                )
            return np.asarray(file.read(dtype=dtype, always_2d=True)), int(file.samplerate)
    except soundfile.SoundFileError as error:
        raise _misfit(path, f"it cannot be decoded: {error}", "save it again as .wav") from error


def _misfit(path: Path, problem: str, way_out: str) -> DataError:
    return DataError(
        f"input {path}", (f"{path.name}: {problem}",), "a sound that fits the input", way_out
    )
