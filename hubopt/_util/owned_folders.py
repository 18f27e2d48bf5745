"""Folders for incomplete output; the next process removes those that a killed process left.

Every such folder has a file that its process keeps locked. The system releases the lock however
the process ends, so a folder whose lock is free has no owner any more.
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
"""The prefix of hubopt's folders in the system's folder for temporary files."""
_LOCK = ".hubopt.lock"


@contextmanager
def owned_folder(parent: Path, prefix: str, suffix: str = "") -> Iterator[Path]:
    """Yield a new folder in ``parent`` that is removed when the context ends.

    Folders that killed processes left there are removed first.

    Args:
        parent: The folder that contains it; it must exist.
        prefix: The beginning of its name, which identifies leftover folders.
        suffix: The end of its name, which identifies them too.

    Raises:
        OSError: The folder cannot be written.
    """
    sweep(parent, prefix, suffix)
    # The name is chosen before the folder is made, so any later interruption removes the folder.
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
    """Remove this user's folders in ``parent`` that `owned_folder` made for a dead process.

    A folder that cannot be removed stays. A folder with content but without a lock file was not
    made by `owned_folder`.
    """
    with suppress(OSError), os.scandir(parent) as entries:
        for entry in entries:
            if entry.name.startswith(prefix) and entry.name.endswith(suffix):
                with suppress(OSError):
                    _sweep_one(parent / entry.name)


def _sweep_one(path: Path) -> None:
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or _belongs_to_another_user(status):
        return
    try:
        lock = os.open(path / _LOCK, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
    except FileNotFoundError:
        path.rmdir()  # its process died before it made the lock; fails if the folder has content
        return
    try:
        # Meanwhile another process may have swept the folder and its owner created it again.
        if _try_lock(lock) and _is_at(lock, path / _LOCK):
            _erase(path)
    finally:
        os.close(lock)


def _make(path: Path) -> int:
    """Make the folder and its lock, and return the lock; retry if a sweeping process interferes."""
    while True:
        with suppress(FileExistsError):  # exist_ok fails if the folder vanishes meanwhile
            path.mkdir(mode=0o700)
        try:
            lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        except FileNotFoundError:
            continue
        if _try_lock(lock) is not False and _is_at(lock, path / _LOCK):
            return lock
        os.close(lock)


def _try_lock(lock: int) -> bool | None:
    """Try to take the lock and return whether it is held; None if locks are not supported."""
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


def _belongs_to_another_user(found: os.stat_result) -> bool:
    return hasattr(os, "geteuid") and found.st_uid != os.geteuid()


def _erase(path: Path) -> None:
    """Remove the folder and its lock last: without the lock, the rest would never be swept."""
    with suppress(OSError):
        for entry in path.iterdir():
            if entry.name == _LOCK:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)
        if [entry.name for entry in path.iterdir()] == [_LOCK]:
            (path / _LOCK).unlink()
        path.rmdir()
