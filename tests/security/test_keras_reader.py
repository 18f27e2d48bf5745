"""hubopt survives damaged files on which the HDF5 library crashes or never returns."""

import os
from pathlib import Path
from typing import Any

import pytest

from hubopt.errors import LoadError
from hubopt.models import keras_files
from hubopt.models.keras_files import load_keras_file


def never_ends(path: Path, limits: Any) -> None:
    while True:
        pass


def crashes(path: Path, limits: Any) -> None:
    os.abort()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.h5"
    path.write_bytes(b"\x89HDF\r\n\x1a\n")
    return path


def test_a_file_whose_reader_never_ends_is_refused(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keras_files, "read_keras_file", never_ends)
    monkeypatch.setattr(keras_files, "_LONGEST_READ_S", 0.5)
    with pytest.raises(LoadError, match="takes longer than"):
        load_keras_file(file)


def test_a_file_whose_reader_crashes_is_refused(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keras_files, "read_keras_file", crashes)
    with pytest.raises(LoadError, match="the library that reads such files crashes on it"):
        load_keras_file(file)


def test_an_error_of_the_reader_is_passed_on(file: Path) -> None:
    with pytest.raises(LoadError, match="it is not a Keras model, or damaged"):
        load_keras_file(file)
