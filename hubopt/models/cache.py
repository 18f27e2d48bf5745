"""The cache of fetched models, in the layout of tensorflow_hub.

<sha1 of the handle>/                 the model, as tensorflow_hub stores it
<sha1 of the handle>.descriptor.txt   for people, as tensorflow_hub writes it
<sha1 of the handle>.hubopt.json      the handle, and the digest that each later use checks
<sha1 of the handle>.hubopt.lock      locked while a process fills the entry
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from hubopt._util.digest import sha256
from hubopt._util.owned_folders import owned_folder, sweep
from hubopt.errors import HandleError, RuntimeMissingError
from hubopt.models.formats import Found, models_in

CACHE_VARIABLE = "TFHUB_CACHE_DIR"

_UNFINISHED = ".hubopt.tmp"
_SHOWN = 8
_LOG = logging.getLogger(__name__)


def cache_folder() -> Path:
    """Return the folder of the cache: ``TFHUB_CACHE_DIR``, or the user's cache folder.

    Raises:
        HandleError: ``TFHUB_CACHE_DIR`` is a remote folder.
    """
    import platformdirs

    chosen = os.environ.get(CACHE_VARIABLE)
    if not chosen:
        return Path(platformdirs.user_cache_dir("hubopt")) / "handles"
    if "://" in chosen:
        raise HandleError(
            f"{CACHE_VARIABLE} {chosen}",
            "a remote folder",
            "a folder on this machine",
            f"set {CACHE_VARIABLE} to a local path",
        )
    return Path(chosen).expanduser().absolute()


@dataclass(frozen=True, slots=True)
class Cached:
    """A model in the cache.

    Attributes:
        found: The model.
        digest: Its SHA-256.
    """

    found: Found
    digest: str


def obtain(
    name: str, make: Callable[[Path], None], offline: bool = False, text: str | None = None
) -> Cached:
    """Return the model ``name`` from the cache, or make it.

    Processes that request the same model wait for the first of them and share its result.

    Args:
        name: The key of the entry: a URL, or any other name of its content.
        make: Writes the model to the folder that it is given, which does not exist yet.
        offline: Never call ``make``.
        text: The handle as the user wrote it, if that is not ``name``.

    Raises:
        HandleError: The model is not cached and ``offline`` is true, the fetched files do not
            contain exactly one model, or the cache cannot be written.
        RuntimeMissingError: A package needed to fetch models is missing.
    """
    text = text or name
    try:
        entry = Entry(name, text, cache_folder())
        cached = entry.look_up()
        if cached is not None:
            return cached
        if offline:
            raise entry.missing()
        with entry.locked():
            return entry.look_up() or entry.fill(make)
    except ImportError as error:
        raise RuntimeMissingError(
            f"handle {text}",
            f"no {error.name} is installed here",
            "the packages that fetch models",
            "pip install 'hubopt[export]'",
        ) from error
    except OSError as error:
        raise HandleError(
            f"handle {text}",
            f"cannot be put into the cache: {error}",
            "a writable folder with enough space for the model",
            f"set {CACHE_VARIABLE} to such a folder",
        ) from error


class Entry:
    """The entry of ``name`` in the folder ``cache``; errors name it ``text``."""

    def __init__(self, name: str, text: str, cache: Path) -> None:
        # SHA-1 because tensorflow_hub uses it: models that it has fetched are found.
        self._key = hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()
        self._text = text
        self._cache = cache
        self.folder = cache / self._key

    def look_up(self) -> Cached | None:
        """Return the model if it is cached and its digest is the recorded one.

        A model that tensorflow_hub fetched has no digest yet, so it is recorded now. Nothing is
        locked and nothing has to be written, so that a read-only cache works too.
        """
        try:
            models = models_in(self.folder, depth=1)
            if len(models) != 1:
                return None
            digest = sha256(models[0].path)
        except FileNotFoundError:  # another process is replacing it
            return None
        try:
            recorded = json.loads(self._beside("hubopt.json").read_text())["digest"]
        except FileNotFoundError:
            self._record(digest)
        except (OSError, ValueError, TypeError, KeyError):
            return None
        else:
            if recorded != digest:
                return None
        return Cached(models[0], digest)

    def missing(self) -> HandleError:
        """Return the error for an entry that is not cached and may not be fetched."""
        state = "damaged or not a model" if self.folder.exists() else "missing"
        return HandleError(
            f"handle {self._text}",
            f"offline, and its copy in the cache, {self.folder}, is {state}",
            "a model that was fetched before",
            "use it once on a machine with a network (`hubopt inspect HANDLE`) and copy "
            f"{self.folder.name}* from its cache to {self._cache}; {CACHE_VARIABLE} sets the place",
        )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the entry; the system releases the lock when this process ends for any reason."""
        import filelock

        self._cache.mkdir(parents=True, exist_ok=True)
        # Not tensorflow_hub's "<sha1>.lock": for it, the existence of that file is the lock.
        with filelock.FileLock(self._beside("hubopt.lock")):
            yield

    def fill(self, make: Callable[[Path], None]) -> Cached:
        """Store the model that ``make`` writes, completely or not at all.

        Call it while the entry is `locked`.

        Raises:
            HandleError: ``make`` did not write exactly one model.
        """
        if self.folder.exists():
            _LOG.warning(
                "%s: its copy in the cache, %s, is damaged or not a model and is replaced",
                self._text,
                self.folder,
            )
        sweep(self._cache, "", _UNFINISHED)
        with owned_folder(self._cache, f"{self._key}.", _UNFINISHED) as work:
            made = work / "made"
            make(made)
            model = self._only_model(made)
            digest = sha256(model.path)
            folder = model.path
            if model.kind == "keras":  # an entry is always a folder
                folder = work / "entry"
                folder.mkdir()
                model.path.rename(folder / model.path.name)
            if self.folder.exists():
                self.folder.rename(work / "old")
            self._record(digest)
            self._beside("descriptor.txt").write_text(_descriptor(self._text))
            folder.rename(self.folder)
        path = self.folder / model.path.name if model.kind == "keras" else self.folder
        return Cached(Found(model.kind, path), digest)

    def _only_model(self, made: Path) -> Found:
        models = models_in(made)
        if len(models) == 1:
            return models[0]
        paths = [model.path for model in models] or sorted(made.iterdir())
        names = [path.relative_to(made).as_posix() for path in paths[:_SHOWN]]
        listed = ", ".join(names) or "nothing"
        if len(paths) > _SHOWN:
            listed += f" and {len(paths) - _SHOWN} more"
        raise HandleError(
            f"handle {self._text}",
            f"{len(models)} models are in it: {listed}"
            if models
            else f"no model is in it; it holds {listed}",
            "exactly one SavedModel folder or Keras file",
            "unpack it by hand and pass the folder of one model",
        )

    def _record(self, digest: str) -> None:
        text = json.dumps({"handle": self._text, "digest": digest}, indent=2) + "\n"
        target = self._beside("hubopt.json")
        try:
            with owned_folder(self._cache, f"{self._key}.", _UNFINISHED) as work:
                draft = work / target.name
                draft.write_text(text)
                draft.replace(target)
        except OSError as error:  # a read-only cache, filled by an administrator
            _LOG.info("%s: its digest cannot be recorded: %s", self._text, error)

    def _beside(self, ending: str) -> Path:
        return self._cache / f"{self._key}.{ending}"


def _descriptor(name: str) -> str:
    return (
        f"Module: {name}\nDownload Time: {datetime.now()}\n"
        f"Downloader Hostname: {socket.gethostname()} (PID:{os.getpid()})"
    )
