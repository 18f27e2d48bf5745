"""`scan_artifact`: artifacts are scanned as models are, wherever they come from."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

_FILES = ("saved_model.pb", "saved_model.pbtxt")


def scan_artifact(path: Path, allow: Collection[str] = ()) -> None:
    """Look through every SavedModel that an artifact is or holds; other formats hold no program.

    Args:
        path: The artifact's file or folder.
        allow: Names of operations that the user accepts.

    Raises:
        UnsafeModelError: A SavedModel could do more than compute.
        LoadError: A SavedModel cannot be read.
    """
    if not path.is_dir():
        return
    folders = sorted({file.parent for name in _FILES for file in path.rglob(name)})
    if not folders:
        return
    from hubopt.scanning.scan import scan  # brings TensorFlow, which other runtimes do without

    for folder in folders:
        scan(folder, allow=allow)
