"""`read_inputs`: files of a user's own as the samples of an artifact."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hubopt._util.regular_files import irregular_files
from hubopt.errors import UsageError
from hubopt.exporter import FileInterface, FileTensor
from hubopt.programs.data_fit import Arrays, fit_data
from hubopt.sampling.picture_files import PICTURE_SUFFIXES, read_picture
from hubopt.sampling.sound_files import SOUND_SUFFIXES, read_sound
from hubopt.sampling.user_data import Item, read_data
from hubopt.spec import Bounds, Dim, ModelSpec, TensorSpec

_LARGEST = 2**31 - 1
_MOST_FILE_BYTES = 4 << 30


@dataclass(frozen=True, slots=True)
class InputFiles:
    """The files to run on.

    Attributes:
        files: ``[NAME=]FILE`` texts; a name says which input a file is for.
        pixels: The values of black and white in a picture.
        resize: Whether pictures of another size are scaled.
        note: Called with a sentence about a file that was read.
    """

    files: Sequence[str]
    pixels: tuple[float, float] | None = None
    resize: bool = False
    note: Callable[[str], None] = lambda text: None


@dataclass(frozen=True, slots=True)
class _File:
    name: str
    path: Path
    items: tuple[Item, ...] | None


def interface_spec(interface: FileInterface, arrays: Mapping[str, int]) -> ModelSpec:
    """Return a spec with a dynamic dimension for each size that a file leaves open.

    Args:
        interface: What the file declares.
        arrays: The ranks of the user's arrays by input name, for inputs of unknown rank; ``""``
            stands for the only input.
    """
    names: dict[str, Bounds] = {}

    def dims(tensor: FileTensor, is_input: bool) -> tuple[Dim, ...]:
        rank = arrays.get(tensor.name, arrays.get("", 0))
        shape = tensor.shape if tensor.shape is not None else (None,) * rank
        found = []
        for at, size in enumerate(shape):
            name = f"{tensor.name}_{at}" if size is None else None
            if name and is_input:
                names[name] = Bounds(1, 1, _LARGEST)
            found.append(Dim(1 if size is None else size, "signature", name))
        return tuple(found)

    inputs = tuple(TensorSpec(one.name, one.dtype, dims(one, True)) for one in interface.inputs)
    outputs = tuple(TensorSpec(one.name, one.dtype, dims(one, False)) for one in interface.outputs)
    return ModelSpec(inputs, outputs, _structure(inputs), _structure(outputs), names)


def _structure(specs: Sequence[TensorSpec]) -> Any:
    names = [spec.name for spec in specs]
    return names[0] if len(names) == 1 else {name: name for name in names}


def open_inputs(given: InputFiles) -> tuple[list[_File], dict[str, int]]:
    """Read the files that need no spec; return all files, and the ranks of the arrays in them."""
    if not given.files:
        raise UsageError(
            "--input", "nothing is given", "[NAME=]FILE", "pass --input x.npz, x.wav or x.png"
        )
    files = [_open(text) for text in given.files]
    ranks: dict[str, int] = {}
    for file in files:
        for item in (file.items or ())[:1]:
            values = item.value if isinstance(item.value, Mapping) else {file.name: item.value}
            ranks |= {name: np.ndim(array) for name, array in values.items()}
    return files, ranks


def read_inputs(files: Sequence[_File], given: InputFiles, spec: ModelSpec) -> list[Arrays]:
    """Return the samples in ``files``.

    Raises:
        DataError: They are not what the inputs take.
        UsageError: A file names an input that there is not.
    """
    specs = {tensor.name: tensor for tensor in spec.inputs}
    merged: dict[str, Any] = {}
    items: list[Item] = []
    for file in files:
        if file.items is not None and not file.name:
            items += file.items
            continue
        tensor = _named(file, specs)
        if file.items is not None:
            merged[tensor.name] = _only(file)
        else:
            merged[tensor.name] = _media(file.path, tensor, given)
    if merged:
        for item in items:
            merged |= item.value if isinstance(item.value, Mapping) else {}
        items = [Item(", ".join(file.path.name for file in files), merged)]
    return fit_data(items, spec, sys.maxsize)


def _open(text: str) -> _File:
    name, _, rest = text.rpartition("=")
    path = Path(rest)
    if not path.exists() and Path(text).exists():  # a file with = in its own name
        name, path = "", Path(text)
    if not path.exists():
        raise UsageError(f"--input {text}", "no such file", "[NAME=]FILE", "check the path")
    problems = irregular_files(path)
    if problems:
        raise UsageError(f"--input {text}", problems[0], "a regular file", "copy it first")
    if path.is_file() and path.stat().st_size > _MOST_FILE_BYTES:
        found = f"{path.stat().st_size:,} bytes"
        raise UsageError(
            f"--input {text}", found, f"at most {_MOST_FILE_BYTES:,}", "pass a part of it"
        )
    if path.suffix.lower() in (*PICTURE_SUFFIXES, *SOUND_SUFFIXES):
        return _File(name, path, None)
    return _File(name, path, tuple(read_data(path, sys.maxsize)))


def _named(file: _File, specs: Mapping[str, TensorSpec]) -> TensorSpec:
    """Return the input that a file is for."""
    if not file.name and len(specs) == 1:
        return next(iter(specs.values()))
    if file.name in specs:
        return specs[file.name]
    raise UsageError(
        f"--input {file.path}",
        f"no input {file.name!r}" if file.name else f"which of {len(specs)} inputs it is for",
        f"NAME=FILE with one of: {', '.join(specs)}",
        f"write --input {next(iter(specs))}={file.path}",
    )


def _only(file: _File) -> Any:
    """Return the one array in a file that is for one input."""
    items = file.items or ()
    values = items[0].value
    if isinstance(values, Mapping):
        values = next(iter(values.values())) if len(values) == 1 else None
    if len(items) != 1 or values is None:
        raise UsageError(
            f"--input {file.name}={file.path}", "several arrays", "one array", "pass a .npy"
        )
    return values


def _media(path: Path, spec: TensorSpec, given: InputFiles) -> Any:
    if path.suffix.lower() in PICTURE_SUFFIXES:
        return read_picture(path, spec, given.pixels, given.resize)
    sound = read_sound(path, spec)
    given.note(sound.note)
    return sound.array
