"""Whether what stands in a folder from elsewhere may be opened: a pipe or a device never ends."""

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
    """Return a path without links, as far as they lead somewhere.

    `Path.resolve` raises where a link leads to itself, and for names that no file can have.
    """
    try:
        return Path(os.path.realpath(path))
    except ValueError:  # a null character
        return path.absolute()


def irregular_files(path: Path, inside: Path | None = None) -> list[str]:
    """Return what is no regular file or folder, in words; empty if all may be opened.

    Args:
        path: A file, or a folder with all that is in it.
        inside: A folder above ``path`` that may not be left: links below it are no regular files
            then, wherever they lead. None where links to regular files will do.
    """
    between = [] if inside is None else list(path.relative_to(inside).parents)[-2::-1]
    above = [] if inside is None else [inside / each for each in between]
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
            if not (links and path.is_symlink()):  # what leads nowhere cannot be opened
                yield f"{path}: missing"
            continue
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            kind = next((name for test, name in _KINDS if test(mode)), "no regular file")
            yield f"{path}: {kind}"


def _below(path: Path, links: bool) -> Iterator[Path]:
    if not path.is_dir() or (path.is_symlink() and not links):
        return
    for folder, folders, files in os.walk(path, onerror=_raise):
        yield from (Path(folder) / name for name in (*folders, *files))


def _raise(error: OSError) -> None:
    raise error
