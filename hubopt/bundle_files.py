"""`check_files`: whether what stands in a bundle may be opened."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from hubopt.errors import BundleError

_KINDS = (
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def check_files(bundle: Path, path: Path) -> None:
    """Check that a file, or a folder with all that is in it, lies in a bundle and is regular.

    A link may lead anywhere, and a pipe or a device never ends: neither is opened.

    Args:
        bundle: The bundle's folder, which itself may be reached through links.
        path: What is to be read: a path below ``bundle``.

    Raises:
        BundleError: Something is missing, no regular file or folder, or cannot be looked at; all
            of these at once.
    """
    inside = path.relative_to(bundle)
    above = [bundle.joinpath(*inside.parts[:end]) for end in range(1, len(inside.parts))]
    try:
        problems = [*_odd(above)] or [*_odd([path]), *_odd(_below(path))]
    except OSError as error:
        problems = [f"{error.filename}: {error.strerror}"]
    if problems:
        raise BundleError(
            f"bundle {bundle}",
            "the bundle is damaged" + "".join(f"\n  - {each}" for each in problems),
            "regular files and folders inside the bundle",
            "copy the bundle again, or export again",
        )


def _odd(paths: Iterator[Path] | list[Path]) -> Iterator[str]:
    for path in paths:
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            yield f"{path}: missing"
            continue
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            kind = next((name for test, name in _KINDS if test(mode)), "no regular file")
            yield f"{path}: {kind}"


def _below(path: Path) -> Iterator[Path]:
    if path.is_symlink() or not path.is_dir():
        return
    for folder, folders, files in os.walk(path, onerror=_raise):
        yield from (Path(folder) / name for name in (*folders, *files))


def _raise(error: OSError) -> None:
    raise error
