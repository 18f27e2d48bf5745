"""Resolves a handle to a model on this machine and its digest."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from hubopt._util.digest import sha256
from hubopt._util.regular_files import irregular_files, real_path
from hubopt._util.short_repr import short_repr
from hubopt.errors import HandleError, NoSuchHandleError, PinError, UsageError
from hubopt.models.archives import is_archive, unpack
from hubopt.models.cache import Cached, obtain
from hubopt.models.fetch import fetch, kaggle_url
from hubopt.models.formats import (
    KERAS_SUFFIXES,
    MODEL_FILES,
    Kind,
    models_in,
    recognize,
)
from hubopt.models.formats import TF1_MODULE_FILE as TF1_MODULE_FILE
from hubopt.models.limits import DEFAULT_LIMITS, Limits

_FILE_SCHEME = "file://"
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_PYTHON = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_PIN = re.compile(r"(?:sha256:)?([0-9a-fA-F]{64})")


@dataclass(frozen=True, slots=True)
class Handle:
    """A handle that was resolved to a model.

    Attributes:
        text: The handle as the user wrote it; the URL for Kaggle's short form.
        kind: ``saved_model``, a folder (TF2, TF1, TF1 Hub module); ``keras``, a Keras file;
            ``python``, an attribute of a module.
        path: The local folder or file; None for ``python``.
        digest: SHA-256 of ``path``, see `hubopt._util.digest.sha256`; None for ``python``.
        archive: The local archive that ``path`` was unpacked from, if any.
        only_calls: Whether only the parts of a SavedModel that a call needs are loaded, see
            `hubopt.models.prune_saved_model`.
    """

    text: str
    kind: Kind
    path: Path | None
    digest: str | None
    archive: Path | None = None
    only_calls: bool = False

    @property
    def origin(self) -> str:
        """A handle that is valid in any folder: the URL, the module, or an absolute path."""
        if self.path is None or is_remote(self.text):
            return self.text
        return str(self.archive or self.path)


@dataclass(frozen=True, slots=True)
class LoadPolicy:
    """What is allowed when a handle is fetched and its model loaded.

    Attributes:
        pin: The digest that the model must have, ``sha256:<64 hexadecimal digits>``.
        offline: Never use the network; take remote models from the cache.
        allow_ops: Operations that the model may have although they reach outside of it.
        limits: The size limits of the model, and the limits on the time and rate of the download.
    """

    pin: str | None = None
    offline: bool = False
    allow_ops: tuple[str, ...] = ()
    limits: Limits = DEFAULT_LIMITS

    __repr__ = short_repr

    def __post_init__(self) -> None:
        if self.pin is not None and not _PIN.fullmatch(self.pin):
            raise UsageError(
                f"pin {self.pin}",
                "not a SHA-256 digest",
                "sha256: and 64 hexadecimal digits",
                "`hubopt inspect HANDLE` prints a model's digest",
            )

    @property
    def pinned_digest(self) -> str | None:
        """The pin in the form of `Handle.digest`; None if nothing is pinned."""
        match = _PIN.fullmatch(self.pin or "")
        return match.group(1).lower() if match else None


DEFAULT_POLICY = LoadPolicy()
"""Nothing is pinned, the network may be used, and no further operations are allowed."""


@dataclass(frozen=True, slots=True)
class LayerOptions:
    """The part of a SavedModel that becomes the layer.

    Attributes:
        signature: The signature to call instead of the object itself.
        output_key: The only output to keep.
        tags: The tags of the graph to load.
    """

    signature: str | None = None
    output_key: str | None = None
    tags: tuple[str, ...] = ()


def locate(handle: str | os.PathLike[str], load_policy: LoadPolicy = DEFAULT_POLICY) -> Handle:
    """Find the model that ``handle`` names, and fetch or unpack it first if needed.

    A handle is a SavedModel folder, a Keras file, a tar or zip of either, a URL of any of them
    (``https://``, tfhub.dev, Kaggle, ``gs://`` and any other scheme that ``tf.io.gfile`` reads),
    Kaggle's short form (``google/yamnet/tensorFlow2/yamnet``, if that is no path here), a
    repository of the Hugging Face hub (``hf://owner/name``), or ``package.module:attribute``.
    Fetched and unpacked models are kept in the cache (``TFHUB_CACHE_DIR``).

    Raises:
        HandleError: The handle does not exist, is not a model, or cannot be reached.
        PinError: The model is not the one that ``load_policy`` pins.
        LimitError: The model is larger or slower than ``load_policy`` allows.
    """
    text = long_form(os.fspath(handle))
    try:
        if is_remote(text):
            located = _handle(text, fetch(text, load_policy.offline, limits=load_policy.limits))
        else:
            located = _locate_here(text, local_path(text), load_policy.limits)
    except HandleError:
        raise
    except OSError as error:
        raise HandleError(
            f"handle {text}",
            f"cannot be read: {error}",
            "files and folders that you may read",
            "check the path and its permissions",
        ) from error
    _check_pin(located, load_policy)
    return located


def long_form(text: str) -> str:
    """Return the URL of a model in Kaggle's short form; any other handle, and a path, as it is."""
    url = kaggle_url(text)
    return text if url is None or local_path(text).exists() else url


def is_remote(text: str) -> bool:
    """Return whether a handle is a URL of a model that is not on this machine."""
    return bool(_SCHEME.match(text)) and not text.startswith(_FILE_SCHEME)


def is_python(text: str) -> bool:
    """Return whether a handle has the form ``package.module:attribute`` and no such path exists."""
    return bool(_PYTHON.fullmatch(text)) and not local_path(text).exists()


def local_path(text: str) -> Path:
    """Return the path that a handle on this machine names."""
    if text.startswith(_FILE_SCHEME):
        text = unquote(text.removeprefix(_FILE_SCHEME).removeprefix("localhost"))
    try:
        return Path(text).expanduser()
    except RuntimeError:  # ~user of an unknown user
        return Path(text)


def _locate_here(text: str, path: Path, limits: Limits) -> Handle:
    if not text or not path.exists():
        if is_python(text):
            return Handle(text, "python", None, None)
        raise NoSuchHandleError(
            f"handle {text}",
            "does not exist: no such file or folder",
            "a SavedModel folder, a Keras file, an archive, or a URL that leads to one",
            "check the path; URLs start with https://, http://, gs:// or hf://, and a Python "
            "object is package.module:attribute; Kaggle's short form is "
            "owner/model/tensorFlow2/variation",
        )
    path = real_path(path)
    _check_regular(text, path)
    found = recognize(path)
    if found is not None:
        return Handle(text, found.kind, path, sha256(path))
    if path.is_dir():
        raise _no_model(text, path)
    if path.suffix.lower() in KERAS_SUFFIXES or not is_archive(path):
        raise HandleError(
            f"handle {text}",
            f"a file that is not a model: {path.stat().st_size:,} bytes, neither a Keras file "
            "(.keras, .h5, .hdf5) nor a tar or zip archive",
            "a SavedModel folder, an archive of one, or a Keras file",
            "pass the folder that saved_model.pb is in; get the file again if it was cut off",
        )
    cached = obtain(
        f"sha256:{sha256(path)}",  # a changed archive gets another entry in the cache
        lambda folder: unpack(path, folder, f"handle {text}", limits),
        text=text,
    )
    return _handle(text, cached, path)


def _check_regular(text: str, path: Path) -> None:
    is_model = any((path / name).exists() for name in MODEL_FILES)
    # A folder that is not a model may be large, so it is not searched; its error lists its entries.
    problems = irregular_files(path) if is_model or not path.is_dir() else []
    if problems:
        raise HandleError(
            f"handle {text}",
            "it has files that are not regular" + "".join(f"\n  - {line}" for line in problems),
            "regular files and folders, or links to them",
            "copy only the files of the model to another folder, and pass that folder",
        )


def _handle(text: str, cached: Cached, archive: Path | None = None) -> Handle:
    path = real_path(cached.found.path)
    return Handle(text, cached.found.kind, path, cached.digest, archive)


def _check_pin(handle: Handle, load_policy: LoadPolicy) -> None:
    pinned = load_policy.pinned_digest
    if pinned in (None, handle.digest):
        return
    if handle.digest is None:
        raise PinError(
            f"handle {handle.text}",
            "a Python object, which has no digest",
            f"a model with sha256:{pinned}",
            "pin a SavedModel or a Keras file; a Python object depends on its package",
        )
    raise PinError(
        f"handle {handle.text}",
        f"sha256:{handle.digest}",
        f"sha256:{pinned}, as pinned",
        f"if the change is intended, pin the new digest; the model is in {handle.path}",
    )


def _no_model(text: str, folder: Path) -> HandleError:
    return HandleError(
        f"handle {text}",
        f"a folder without {MODEL_FILES[0]} ({_contents(folder)}). Trying to load a model of "
        f"incompatible/unknown type. '{folder}' contains neither 'saved_model.pb' nor "
        "'saved_model.pbtxt'",  # TensorFlow's own message, for which people search
        f"a SavedModel folder: {' or '.join(MODEL_FILES)} at its top",
        _nearby(folder),
    )


def _contents(folder: Path) -> str:
    names = sorted(entry.name for entry in folder.iterdir())
    if not names:
        return "it is empty"
    shown = ", ".join(names[:5])
    return f"it holds {shown}" + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _nearby(folder: Path) -> str:
    models = models_in(folder)
    if not models:
        return "pass the folder that tf.saved_model.save or model.export wrote"
    what = "the Keras file" if models[0].kind == "keras" else "the folder of one model"
    return f"pass {what}: " + " or ".join(str(model.path) for model in models[:3])
