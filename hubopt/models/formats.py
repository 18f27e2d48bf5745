"""Recognizes models on disk: SavedModel folders, TF1 Hub modules, Keras files."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hubopt.errors import HuboptError
from hubopt.models.bounded import open_zip
from hubopt.models.limits import UNLIMITED

Kind = Literal["saved_model", "keras", "python"]
TF1_MODULE_FILE = "tfhub_module.pb"
MODEL_FILES = ("saved_model.pb", "saved_model.pbtxt", TF1_MODULE_FILE)
"""A folder with one of these is a model: TF2 and TF1 SavedModels, TF1 Hub modules."""
KERAS_SUFFIXES = (".keras", ".h5", ".hdf5")
"""Keras chooses its reader by these suffixes, so it cannot load a file with another suffix."""

_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_KERAS_MEMBERS = {"config.json", "metadata.json"}
_DEPTH = 2
"""How many levels below a folder models are searched for: ``name/1/saved_model.pb``."""


@dataclass(frozen=True, slots=True)
class Found:
    """A model on disk.

    Attributes:
        kind: ``saved_model`` or ``keras``.
        path: The folder or the file.
    """

    kind: Kind
    path: Path


def recognize(path: Path) -> Found | None:
    """Return the model at ``path``; None if ``path`` itself is not a model."""
    if any((path / name).is_file() for name in MODEL_FILES):
        return Found("saved_model", path)
    if path.suffix.lower() in KERAS_SUFFIXES and path.is_file() and keras_suffix(path):
        return Found("keras", path)
    return None


def keras_suffix(file: Path) -> str | None:
    """Return the suffix of a Keras file by its content; None if it is not a Keras file."""
    with file.open("rb") as stream:
        if stream.read(len(_HDF5_MAGIC)) == _HDF5_MAGIC:
            return ".h5"
    if not zipfile.is_zipfile(file):
        return None
    try:
        with open_zip(file, f"file {file}", UNLIMITED) as archive:
            names = set(archive.namelist())
    except HuboptError:
        raise
    except (zipfile.BadZipFile, ValueError, LookupError, NotImplementedError, EOFError):
        return None
    return ".keras" if names >= _KERAS_MEMBERS and names.isdisjoint(MODEL_FILES) else None


def models_in(folder: Path, depth: int = _DEPTH) -> list[Found]:
    """Return ``folder`` itself if it is a model, else the models up to ``depth`` levels below."""
    found = recognize(folder)
    if found is not None:
        return [found]
    if depth == 0 or not folder.is_dir():
        return []
    return [model for path in sorted(folder.iterdir()) for model in models_in(path, depth - 1)]
