"""From a handle to a local SavedModel folder and its digest."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from hubopt.digest import sha256
from hubopt.errors import HandleError

TF1_MODULE_FILE = "tfhub_module.pb"
MODEL_FILES = ("saved_model.pb", "saved_model.pbtxt", TF1_MODULE_FILE)
"""A folder with one of these is a model: TF2 and TF1 SavedModels, TF1 Hub modules."""


@dataclass(frozen=True, slots=True)
class Handle:
    """A handle that led to a model.

    Attributes:
        text: The handle as the user wrote it.
        folder: The local folder with the model.
        digest: SHA-256 of the folder, see `hubopt.digest.sha256`.
    """

    text: str
    folder: Path
    digest: str

    @property
    def origin(self) -> str:
        """What leads to the model from anywhere: the URL, or the folder's absolute path."""
        return self.text if "://" in self.text else str(self.folder)


@dataclass(frozen=True, slots=True)
class LayerOptions:
    """Which part of a SavedModel becomes the layer.

    Attributes:
        signature: Call this signature and not the object itself.
        output_key: Keep this output only.
        tags: Load the graph with these tags.
    """

    signature: str | None = None
    output_key: str | None = None
    tags: tuple[str, ...] = ()


def locate(handle: str | os.PathLike[str]) -> Handle:
    """Find the model that ``handle`` names, fetching it first if it is a URL.

    Remote handles (``https://``, ``gs://``, tfhub.dev, Kaggle) go through tensorflow_hub's
    resolvers and its cache (``TFHUB_CACHE_DIR``).

    Raises:
        HandleError: Nothing is there, or it is no model.
    """
    text = os.fspath(handle)
    path = text.removeprefix("file://")
    folder = _fetch(text) if "://" in path else Path(path).expanduser()
    if not text or not folder.exists():
        raise HandleError(
            f"handle {text}",
            "no such file or folder",
            "a SavedModel folder, or a URL that leads to one",
            "check the path; URLs start with https://, http:// or gs://",
        )
    if folder.is_file():
        raise HandleError(
            f"handle {text}",
            "a file",
            "a SavedModel folder",
            "unpack an archive first; load a Keras file with Keras and call model.export()",
        )
    if not any((folder / name).is_file() for name in MODEL_FILES):
        raise HandleError(
            f"handle {text}",
            f"a folder without {MODEL_FILES[0]} ({_contents(folder)})",
            f"a SavedModel folder: {' or '.join(MODEL_FILES)} at its top",
            _nearby(folder),
        )
    return Handle(text, folder.resolve(), sha256(folder))


def _fetch(url: str) -> Path:
    import tensorflow_hub as hub

    try:
        return Path(hub.resolve(url))
    except Exception as error:  # urllib, tarfile, TensorFlow and Kaggle each raise their own
        raise HandleError(
            f"handle {url}",
            f"cannot be fetched: {type(error).__name__}: {error}",
            "a URL that answers with a SavedModel archive",
            "check the address and the network, or download the model and pass its folder",
        ) from error


def _contents(folder: Path) -> str:
    names = sorted(entry.name for entry in folder.iterdir())
    if not names:
        return "it is empty"
    shown = ", ".join(names[:5])
    return f"it holds {shown}" + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _nearby(folder: Path) -> str:
    models = sorted(
        file.parent
        for depth in ("*", "*/*")
        for name in MODEL_FILES
        for file in folder.glob(f"{depth}/{name}")
    )
    if models:
        return "pass the folder of one model: " + " or ".join(map(str, models[:3]))
    return "pass the folder that tf.saved_model.save or model.export wrote"
