"""Folders for what is not complete yet; what a killed process left is swept by the next one.

Each has a file on which its process holds a lock. The system lets go of the lock however the
process ends, so a folder whose lock is free is nobody's.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hubopt._util.signals import deferred_signals

TEMPORARY = "hubopt-run-"
"""How the names of hubopt's folders in the temporary folder begin."""
_LOCK = ".hubopt.lock"


@contextmanager
def owned_folder(parent: Path, prefix: str, suffix: str = "") -> Iterator[Path]:
    """Give a new folder in ``parent`` that goes when the context ends.

    Those that killed processes left there are removed first.

    Args:
        parent: Where; it must exist.
        prefix: The beginning of its name, by which those left behind are found.
        suffix: The end of its name, likewise.

    Raises:
        OSError: It cannot be written.
    """
    sweep(parent, prefix, suffix)
    # The name is there before the folder is: whatever interrupts from then on, it is removed.
    path = parent / f"{prefix}{secrets.token_hex(8)}{suffix}"
    lock: int | None = None
    try:
        lock = _make(path)
        yield path
    finally:
        with deferred_signals():
            _erase(path)
            if lock is not None:
                os.close(lock)


def sweep(parent: Path, prefix: str, suffix: str = "") -> None:
    """Remove the folders of this user in ``parent`` that `owned_folder` made for a dead process.

    What cannot be removed stays. A folder with content but without a lock is somebody else's.
    """
    with suppress(OSError), os.scandir(parent) as found:
        for each in found:
            if each.name.startswith(prefix) and each.name.endswith(suffix):
                with suppress(OSError):
                    _sweep_one(parent / each.name)


def _sweep_one(path: Path) -> None:
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or _is_others(found):
        return
    try:
        lock = os.open(path / _LOCK, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
    except FileNotFoundError:
        path.rmdir()  # killed before there was a lock; fails if anything is in it
        return
    try:
        # Another process may have swept the folder, and its owner made it anew, meanwhile.
        if _take(lock) and _is_at(lock, path / _LOCK):
            _erase(path)
    finally:
        os.close(lock)


def _make(path: Path) -> int:
    """Make the folder and its lock, and return the lock; a process that sweeps may interfere."""
    while True:
        with suppress(FileExistsError):  # not exist_ok, which fails if it vanishes meanwhile
            path.mkdir(mode=0o700)
        try:
            lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        except FileNotFoundError:
            continue
        if _take(lock) is not False and _is_at(lock, path / _LOCK):
            return lock
        os.close(lock)


def _take(lock: int) -> bool | None:
    """Return whether the lock is held from now on; None where the file system has no locks."""
    if sys.platform == "win32":
        return None
    import fcntl

    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _is_at(lock: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(lock), path.lstat())
    except FileNotFoundError:
        return False


def _is_others(found: os.stat_result) -> bool:
    return hasattr(os, "geteuid") and found.st_uid != os.geteuid()


def _erase(path: Path) -> None:
    """Remove the folder, its lock last: without that, the rest would never be swept."""
    with suppress(OSError):
        for each in path.iterdir():
            if each.name == _LOCK:
                continue
            if each.is_dir() and not each.is_symlink():
                shutil.rmtree(each, ignore_errors=True)
            else:
                each.unlink(missing_ok=True)
        if [each.name for each in path.iterdir()] == [_LOCK]:
            (path / _LOCK).unlink()
        path.rmdir()
