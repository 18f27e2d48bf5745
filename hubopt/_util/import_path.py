"""Imports modules from the installed environment, not from the current folder.

A user may run `hubopt inspect .` inside a downloaded model's folder. A module in that folder
belongs to the model, whatever its name. So the current folder is searched only for a
``module:attribute`` that the user typed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

_HOME = Path(__file__).resolve().parents[2]
"""The folder from which hubopt was imported; in a checkout this may be the current folder."""


def installed_path() -> list[str]:
    """Return Python's import path without the current folder."""
    return list(_without(tuple(sys.path), _current_folder()))


@cache
def _without(entries: tuple[str, ...], here: Path | None) -> tuple[str, ...]:
    """Return ``entries`` but for the current folder; links are resolved, which takes a while."""
    return tuple(
        entry
        for entry in entries
        if entry and (_same(entry, _HOME) or here is None or not _same(entry, here))
    )


@contextmanager
def installed_only() -> Iterator[None]:
    """Import only from the installed environment in this context."""
    with _import_path(installed_path()):
        yield


@contextmanager
def current_folder_too() -> Iterator[None]:
    """Search the current folder too, after all others, in this context."""
    here = _current_folder()
    with _import_path([*sys.path, *([] if here is None else [str(here)])]):
        yield


def look_in_current_folder() -> None:
    """Search the current folder too, after all others, because the user named a module in it."""
    here = _current_folder()
    if here is not None and not any(_same(entry, here) for entry in sys.path):
        sys.path.append(str(here))


@contextmanager
def _import_path(entries: list[str]) -> Iterator[None]:
    before = list(sys.path)
    sys.path[:] = entries
    try:
        yield
    finally:
        sys.path[:] = before


def _current_folder() -> Path | None:
    try:
        return Path.cwd()
    except FileNotFoundError:  # it was removed
        return None


def _same(entry: str, folder: Path) -> bool:
    return os.path.realpath(entry or ".") == os.path.realpath(folder)
