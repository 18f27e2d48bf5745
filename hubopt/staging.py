"""Folders that appear whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hubopt.errors import UsageError


@contextmanager
def staging(output: Path) -> Iterator[Path]:
    """Give a folder to fill; it becomes ``output`` in one step, or vanishes on an error.

    Raises:
        UsageError: ``output`` exists, or its place cannot be written.
    """
    if output.exists() or output.is_symlink():
        raise UsageError(
            f"output {output}",
            "it exists already",
            "a path where nothing is yet",
            "choose another --output, or remove it first",
        )
    new_parents = [each for each in output.parents if not each.exists()]
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        around = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
    except OSError as error:
        raise UsageError(
            f"output {output}",
            f"{error.filename or output.parent} cannot be written: {error.strerror}",
            "a folder that you may write",
            "choose another --output",
        ) from error
    try:
        folder = around / output.name  # mkdtemp's own folder is closed to everybody else
        folder.mkdir()
        yield folder
        _move(folder, output)
    finally:
        shutil.rmtree(around, ignore_errors=True)
        if not output.exists():
            for parent in new_parents:
                with suppress(OSError):  # somebody else has put something there meanwhile
                    parent.rmdir()


def _move(folder: Path, output: Path) -> None:
    try:
        if output.exists():  # rename would replace an empty folder without a word
            raise FileExistsError
        folder.rename(output)
    except OSError as error:
        raise UsageError(
            f"output {output}",
            "something has appeared there meanwhile",
            "a path where nothing is yet",
            "choose another --output",
        ) from error
