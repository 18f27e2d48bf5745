"""`scan_artifact`: scans the SavedModels of an artifact like a model, whatever its origin."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

_FILES = ("saved_model.pb", "saved_model.pbtxt")


def scan_artifact(path: Path, allow: Collection[str] = ()) -> None:
    """Scan an artifact that is or contains SavedModels; other formats hold no program.

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
    from hubopt.scanning.scan import scan  # imports TensorFlow, which other runtimes do not need

    for folder in folders:
        scan(folder, allow=allow)
