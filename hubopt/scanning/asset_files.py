"""The files in a SavedModel's ``assets`` folder, as its graph names them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from hubopt._util.regular_files import real_path
from hubopt.scanning.saved_messages import parse_asset

_COLLECTION = "saved_model_assets"  # where early versions of TensorFlow 1 kept them


def assets(meta_graph: Any) -> Iterator[Any]:
    """Yield every ``AssetFileDef``: a file's name, and the tensor that receives its path."""
    yield from meta_graph.asset_file_def
    if _COLLECTION in meta_graph.collection_def:
        for packed in meta_graph.collection_def[_COLLECTION].any_list.value:
            asset = parse_asset(packed)
            if asset is not None:
                yield asset


def outside_assets(folder: Path, meta_graph: Any) -> list[str]:
    """Return the names of asset files that lie outside the model.

    Args:
        folder: The SavedModel.
        meta_graph: One of its graphs.
    """
    return sorted(
        {asset.filename for asset in assets(meta_graph) if _is_outside(folder, asset.filename)}
    )


def _is_outside(folder: Path, name: str) -> bool:
    for kind in (PurePosixPath, PureWindowsPath):
        path = kind(name)
        if path.anchor or ".." in path.parts:
            return True
    if "://" in name or "\0" in name:
        return True
    # A cache that stores every content once replaces all of a model's files by links into it.
    stores = {
        real_path(file).parent
        for file in (folder / "saved_model.pb", folder / "saved_model.pbtxt")
        if file.is_symlink()
    }
    target = real_path(folder / "assets" / name)
    inside = real_path(folder) / "assets"
    return not target.is_relative_to(inside) and target.parent not in stores
