"""Checks untrusted folders for files that must not be opened: reading a pipe may never end."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

_KINDS = (
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def real_path(path: Path) -> Path:
    """Return a path with its links resolved, as far as their targets exist.

    `Path.resolve` raises for a link that leads to itself and for names that no file can have.
    """
    try:
        return Path(os.path.realpath(path))
    except ValueError:  # a null character
        return path.absolute()


def irregular_files(path: Path, inside: Path | None = None) -> list[str]:
    """Return a description of every entry that is not a regular file or folder.

    Args:
        path: A file, or a folder, which is checked with everything in it.
        inside: A folder above ``path`` that links must not leave: all links below it then count as
            irregular, whatever their target. None if links to regular files are accepted.
    """
    between = [] if inside is None else list(path.relative_to(inside).parents)[-2::-1]
    above = [] if inside is None else [inside / parent for parent in between]
    links = inside is None
    try:
        return [*_irregular(above, links)] or [*_irregular([path, *_below(path, links)], links)]
    except OSError as error:
        return [f"{error.filename}: {error.strerror}"]


def _irregular(paths: Iterable[Path], links: bool) -> Iterator[str]:
    for path in paths:
        try:
            mode = (path.stat() if links else path.lstat()).st_mode
        except FileNotFoundError:
            if not (links and path.is_symlink()):  # a dangling link cannot be opened
                yield f"{path}: missing"
            continue
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            kind = next((name for test, name in _KINDS if test(mode)), "not a regular file")
            yield f"{path}: {kind}"


def _below(path: Path, links: bool) -> Iterator[Path]:
    if not path.is_dir() or (path.is_symlink() and not links):
        return
    for folder, folders, files in os.walk(path, onerror=_raise):
        yield from (Path(folder) / name for name in (*folders, *files))


def _raise(error: OSError) -> None:
    raise error
