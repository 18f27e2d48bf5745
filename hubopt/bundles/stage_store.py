"""The cache of stage results: entries appear and vanish atomically and hold their files' digests.

<key>/entry.json    the `Entry`: its kind, when and where it was made, the digests of its files
<key>/value.json    the stage's value
<key>/files/        the stage's files
.draft-<random>/    an entry that is being written or removed
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import platform
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

from hubopt._platform.resources import is_shortage
from hubopt._util.digest import sha256, size_bytes
from hubopt._util.owned_folders import owned_folder, sweep

_ENTRY, _VALUE, _FILES = "entry.json", "value.json", "files"
_DRAFT = ".draft-"
_DAMAGE = (ValueError, TypeError, KeyError, AttributeError, RecursionError)
"""The exceptions that reading a damaged file can raise."""
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Label:
    """A description of an entry for people.

    Attributes:
        kind: ``trace``, ``reference``, ``artifact`` or ``run``.
        handle: The handle of the model when the entry was made.
        target: The target's id, for an ``artifact`` or a ``run``.
    """

    kind: str
    handle: str
    target: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A stored stage result.

    Attributes:
        key: The digest of everything the result depends on, see `hubopt.exporting.stage_keys`.
        kind: See `Label`.
        handle: See `Label`.
        target: See `Label`.
        made: When it was made, in UTC.
        machine: The name of the machine that made it.
        size_bytes: The size of its value and its files.
        digests: SHA-256 of the value, under ``""``, and of each file or folder, by its name.
    """

    key: str
    kind: str
    handle: str
    target: str | None
    made: str
    machine: str
    size_bytes: int
    digests: Mapping[str, str]

    @property
    def provenance(self) -> str:
        """When and where it was made, such as ``2026-11-25 on this machine``."""
        here = self.machine == platform.node()
        return f"{self.made[:10]} on {'this machine' if here else self.machine or 'another one'}"


class StageStore:
    """A folder of stage results that several processes may use at once.

    An unreadable entry counts as missing. A failed write is reported once and never fails an
    export.

    Args:
        folder: The folder of the entries; it is created when the first entry is written.
        limit_bytes: The limit for the size of all entries together. The least recently used
            entries are removed to stay below it.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.folder = folder
        self.limit_bytes = limit_bytes
        self._unwritable = False

    def look_up(self, key: str) -> tuple[Entry, str] | None:
        """Return the entry and its value, and mark the entry as used; None if it is missing.

        A damaged entry is removed and reported.
        """
        try:
            entry = self._read(key)
            value = (self.folder / key / _VALUE).read_text()
            if _sha256(value) != entry.digests[""]:
                raise ValueError(f"{_VALUE} has changed")
        except FileNotFoundError as error:
            if (self.folder / key).is_dir():
                self.discard(key, f"{error}")
            return None
        except OSError as error:
            self._pass_over(key, error)
            return None
        except _DAMAGE as error:
            self.discard(key, f"{error}")
            return None
        with suppress(OSError):  # a read-only store can still be used
            os.utime(self.folder / key / _ENTRY)
        return entry, value

    def take(self, entry: Entry, places: Mapping[str, Path]) -> bool:
        """Copy files of ``entry`` to new paths and check the digests of the copies.

        Args:
            entry: The entry that `look_up` returned.
            places: The new path of each file or folder, by its name in the entry.

        Returns:
            Whether all of them were copied. If not, no copy is left, and a damaged entry has been
            removed and reported.

        Raises:
            OSError: The copies cannot be written. The entry is left as it is.
        """
        try:
            for name, place in places.items():
                if not self._copy_out(entry, name, place):
                    for path in places.values():
                        _erase(path)
                    return False
        except BaseException:
            for path in places.values():
                _erase(path)
            raise
        return True

    def discard(self, key: str, problem: str) -> None:
        """Remove a damaged entry and report it.

        Args:
            key: The entry's key.
            problem: What is wrong with it.
        """
        with suppress(OSError):  # in a read-only store the entry stays and is reported every time
            self._remove(key)
        _LOG.warning("an entry of the cache is damaged and is made anew: %s: %s", key, problem)

    def remove(self, key: str) -> None:
        """Remove an entry, if it exists."""
        with suppress(OSError):
            self._remove(key)

    def put(self, key: str, label: Label, value: str, files: Mapping[str, Path]) -> None:
        """Store a complete result, and remove old entries if the limit is exceeded.

        The entry appears by a rename. If another process was faster, its entry stays.

        Args:
            key: The digest of everything the result depends on.
            label: The description of the entry.
            value: The stage's value, as JSON.
            files: The stage's files and folders, by their names in the entry.
        """
        if self._unwritable:
            return
        try:
            size = len(value) + sum(size_bytes(path) for path in files.values())
            if size > self.limit_bytes:
                return
            self.folder.mkdir(parents=True, exist_ok=True)
            with owned_folder(self.folder, _DRAFT) as work:
                draft = work / key
                self._write(draft, _entry(key, label, value, files, size), value, files)
                self._place(draft, key)
            self._make_room()
        except OSError as error:
            self._unwritable = True
            _LOG.warning("the cache cannot be written, and the export goes on without: %s", error)

    def entries(self) -> list[tuple[Entry, float]]:
        """Return each entry and the time of its last use, in seconds since 1970; oldest first.

        Damaged entries are removed and reported.
        """
        entries = []
        for path in self.folder.iterdir() if self.folder.is_dir() else ():
            if path.name.startswith("."):
                continue
            try:
                entries.append((self._read(path.name), (path / _ENTRY).stat().st_mtime))
            except OSError as error:
                if path.exists():
                    self._pass_over(path.name, error)
            except _DAMAGE as error:
                self.discard(path.name, f"{error}")
        return sorted(entries, key=lambda entry: entry[1])

    def clear(self) -> list[Entry]:
        """Remove every entry and the drafts of killed processes; return the entries.

        Raises:
            OSError: The folder is not writable.
        """
        removed = [entry for entry, _ in self.entries()]
        for entry in removed:
            self._remove(entry.key)
        sweep(self.folder, _DRAFT)
        return removed

    def _read(self, key: str) -> Entry:
        path = self.folder / key / _ENTRY
        if not path.parent.is_dir():
            raise FileNotFoundError(path)
        if not path.is_file():
            raise ValueError(f"{_ENTRY} is missing")
        sealed = json.loads(path.read_text())
        if _sha256(json.dumps(sealed["entry"])) != sealed["sha256"]:
            raise ValueError(f"{_ENTRY} has changed")
        entry = Entry(**sealed["entry"])
        if entry.key != key:
            raise ValueError(f"it is the entry {entry.key}")
        if type(entry.size_bytes) is not int or not isinstance(entry.digests, dict):
            raise TypeError(f"{_ENTRY} is of another format")
        return entry

    def _write(self, draft: Path, entry: Entry, value: str, files: Mapping[str, Path]) -> None:
        (draft / _FILES).mkdir(parents=True)
        for name, path in files.items():
            _copy(path, draft / _FILES / name)
        (draft / _VALUE).write_text(value)
        (draft / _ENTRY).write_text(_sealed(entry))

    def _place(self, draft: Path, key: str) -> None:
        try:
            draft.rename(self.folder / key)
        except OSError:
            if not (self.folder / key).is_dir():
                raise

    def _make_room(self) -> None:
        entries = [entry for entry, _ in self.entries()]
        excess = sum(entry.size_bytes for entry in entries) - self.limit_bytes
        for entry in entries:
            if excess <= 0:
                break
            self._remove(entry.key)
            excess -= entry.size_bytes

    def _remove(self, key: str) -> None:
        """Remove an entry atomically, by a rename."""
        with (
            suppress(FileNotFoundError),  # another process has removed it
            owned_folder(self.folder, _DRAFT) as work,
        ):
            (self.folder / key).rename(work / key)

    def _copy_out(self, entry: Entry, name: str, place: Path) -> bool:
        """Copy one file or folder; return whether the copy has the digest in the entry."""
        stored = self.folder / entry.key / _FILES / name
        failure: OSError | None = None
        try:
            _copy(stored, place)
            if sha256(place) == entry.digests.get(name):
                return True
        except OSError as error:
            failure = error
        # The copy failed. The entry is damaged only if the stored file is unreadable or changed.
        try:
            is_whole = sha256(stored) == entry.digests.get(name)
            problem = f"{name} has changed"
        except OSError as error:
            if is_shortage(error):
                raise
            is_whole, problem = False, f"{error}"
        if is_whole:
            raise failure or OSError(errno.EIO, "the copy is not what was written", str(place))
        # If another process has removed the entry meanwhile, it is not damaged.
        if (self.folder / entry.key).exists():
            self.discard(entry.key, problem)
        return False

    def _pass_over(self, key: str, error: OSError) -> None:
        """Report an unreadable entry; keep it if the machine or a permission is the cause."""
        if not is_shortage(error):
            self.discard(key, f"{error}")
            return
        _LOG.warning("an entry of the cache cannot be read and is made anew: %s: %s", key, error)


def _entry(key: str, label: Label, value: str, files: Mapping[str, Path], size: int) -> Entry:
    """Return an entry with the current digests of the files; copies are checked against them."""
    made = datetime.now(timezone.utc).isoformat(timespec="seconds")
    digests = {"": _sha256(value)} | {name: sha256(path) for name, path in files.items()}
    return Entry(key, label.kind, label.handle, label.target, made, platform.node(), size, digests)


def _sealed(entry: Entry) -> str:
    """Return an entry as JSON with its own digest, so that damage is detected."""
    raw = asdict(entry)
    return json.dumps({"entry": raw, "sha256": _sha256(json.dumps(raw))})


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _copy(source: Path, destination: Path) -> None:
    """Copy a file or a folder without hard links, so that editing the copy keeps the store."""
    if source.is_dir():
        shutil.copytree(source, destination, copy_function=shutil.copyfile)
    else:
        shutil.copyfile(source, destination)


def _erase(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
