"""`read_data`: reads the user's own inputs from files or Python, unchecked against a model."""

from __future__ import annotations

import importlib
import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from hubopt._util.import_path import current_folder_too
from hubopt.errors import SpecError, UsageError
from hubopt.sampling.arrays import read_samples

Data: TypeAlias = "str | os.PathLike[str] | Mapping[str, Any] | Iterable[Any] | Callable[[], Any]"
"""The sources that `read_data` accepts."""

_ATTRIBUTE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_SAMPLE_KEY = re.compile(r"\d+/.+", re.DOTALL)
"""The names that `hubopt.sampling.arrays.write_samples` gives to arrays."""
_SUFFIXES = (".npz", ".npy", ".txt")
_EXPECTED = (
    "a .npz, .npy or .txt file, a folder of them, module:attribute, or from Python an iterable, "
    "a generator function or a mapping of arrays"
)


class DataError(SpecError):
    """Data that cannot be read or does not fit the model; all problems at once."""


@dataclass(frozen=True, slots=True)
class Item:
    """One item of the source: the inputs of one sample, or of several samples stacked.

    Attributes:
        origin: Where the item was read from, for messages.
        value: A mapping of arrays by input name, arrays in the structure of the layer's inputs,
            or one array.
        texts: Whether the value is lines of text, each of which is a whole string input.
    """

    origin: str
    value: Any
    texts: bool = False


def read_data(source: Data, limit: int) -> list[Item]:
    """Read at most ``limit`` items of data.

    Nothing is unpickled. `hubopt.programs.data_fit` checks later whether the data fit the model.

    Args:
        source: The path of a ``.npz`` (arrays by input name), a ``.npy`` (one array) or a
            ``.txt`` (one text per line) file, or of a folder of such files, which are read in
            the order of their names; or ``package.module:attribute``. From Python also a mapping
            of arrays, one array, an iterable of items, or a function without arguments that
            returns one of these. An iterable may be infinite.
        limit: The number of items to take, at least 1.

    Raises:
        UsageError: ``source`` leads to no data.
        DataError: Some files cannot be read; the error names all of them.
    """
    problems: list[str] = []
    if isinstance(source, str | os.PathLike):
        name = os.fspath(source)
        items = _from_name(name, problems)
    else:
        name, items = "data", _from_python("data", source)
    taken = list(itertools.islice(items, limit))
    if problems:
        raise DataError(
            f"data {name}" if name != "data" else name,
            tuple(problems),
            "NumPy files of plain arrays, by input name in a .npz, and text files",
            "save arrays with numpy.save or numpy.savez; save strings as bytes or str arrays",
        )
    if not taken:
        raise _usage(name, "it has no items", "make it yield at least one")
    return taken


def describe_data(source: Data) -> str:
    """Return the name of ``source`` in a report: its path or name, or its type."""
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    if callable(source) and hasattr(source, "__qualname__"):
        return f"{source.__module__}:{source.__qualname__}"
    return f"a {type(source).__name__} in Python"


def _usage(name: str, found: str, way_out: str) -> UsageError:
    return UsageError(f"data {name}" if name != "data" else name, found, _EXPECTED, way_out)


def _from_name(name: str, problems: list[str]) -> Iterator[Item]:
    path = Path(name)
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in _SUFFIXES)
        if not files:
            raise _usage(name, "the folder has no such file", "save samples as .npz files in it")
        return itertools.chain.from_iterable(_read_file(file, problems) for file in files)
    if path.exists():
        if path.suffix.lower() not in _SUFFIXES:
            raise _usage(
                name, f"files {path.suffix or 'without a suffix'} are not read", "save its arrays"
            )
        return _read_file(path, problems)
    if _ATTRIBUTE.fullmatch(name):
        return _from_python(name, _load_attribute(name))
    raise _usage(name, "it does not exist", "check the path")


def _read_file(path: Path, problems: list[str]) -> Iterator[Item]:
    try:
        yield from _read_text(path) if path.suffix.lower() == ".txt" else _read_numpy(path)
    except Exception as error:  # readers raise exceptions of many types on a damaged archive
        problems.append(f"{path.name}: {_reason(error)}")


def _read_text(path: Path) -> list[Item]:
    lines = path.read_bytes().replace(b"\r\n", b"\n").removesuffix(b"\n").split(b"\n")
    texts = np.empty(len(lines), object)
    texts[:] = lines
    return [Item(path.name, texts, texts=True)]


def _read_numpy(path: Path) -> list[Item]:
    with path.open("rb") as stream:
        loaded = np.load(stream, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return [Item(path.name, loaded)]
        if loaded.files and all(map(_SAMPLE_KEY.fullmatch, loaded.files)):
            samples = enumerate(read_samples(path, ()))
            return [Item(f"{path.name}, sample {at}", sample) for at, sample in samples]
        return [Item(path.name, {name: loaded[name] for name in loaded.files})]


def _reason(error: Exception) -> str:
    if isinstance(error, ValueError) and "Object arrays" in str(error):
        return "found pickled Python objects, expected arrays of numbers, bytes or str"
    return f"found no NumPy data that can be read ({type(error).__name__}: {error})"


def _load_attribute(name: str) -> Any:
    module, _, attribute = name.partition(":")
    try:
        with current_folder_too():
            value: Any = importlib.import_module(module)
        for part in attribute.split("."):
            value = getattr(value, part)
    except Exception as error:  # the user's module may raise any exception
        raise _usage(
            name,
            f"{type(error).__name__}: {error}",
            "run it in the module's folder or put that on PYTHONPATH, and check the names",
        ) from error
    return value


def _from_python(name: str, source: Any) -> Iterator[Item]:
    """Yield the items of ``source``, with arrays of any library converted to NumPy arrays."""
    if callable(source) and not isinstance(source, Iterable):
        try:
            source = source()
        except Exception as error:
            raise _raised(name, error) from error
    if isinstance(source, Mapping) or hasattr(source, "__array__"):
        yield Item(name, _plain(source))
        return
    if not isinstance(source, Iterable) or isinstance(source, str | bytes):
        raise _usage(name, f"it is of type {type(source).__name__}", "make it an iterable")
    values = iter(source)
    for at in itertools.count():
        try:
            value = _plain(next(values))
        except StopIteration:
            return
        except Exception as error:
            raise _raised(name, error) from error
        yield Item(f"{name}, item {at}", value)


def _raised(name: str, error: Exception) -> UsageError:
    return _usage(name, f"it raises {type(error).__name__}: {error}", "run it to see the traceback")


def _plain(nest: Any) -> Any:
    if isinstance(nest, Mapping):
        return {key: _plain(value) for key, value in nest.items()}
    if isinstance(nest, list | tuple):
        return [_plain(value) for value in nest]
    return np.asarray(nest) if hasattr(nest, "__array__") else nest
