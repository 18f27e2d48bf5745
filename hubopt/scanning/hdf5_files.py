"""HDF5 files that take values from other files, at any path."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any

_ABILITIES = {
    "ExternalLink": "links to another file, at a path in this one",
    "ExternalStorage": "takes its values from another file, at a path in this one",
    "VirtualDataset": "takes its values from other datasets, at paths in this file",
}


def outside_storage(file: Path | IO[bytes]) -> dict[str, list[str]]:
    """Return the members of an HDF5 file that lie in other files, without reading these.

    Args:
        file: Its path, or the open file.

    Returns:
        Lines of text, keyed by the name of the ability under which a caller allows it.
    """
    import h5py

    found: dict[str, list[str]] = {}
    with h5py.File(file, "r") as opened:

        def look(name: str | bytes, link: Any) -> None:
            kind = _kind(opened, name, link)
            if kind is not None:
                label = name if isinstance(name, str) else name.decode(errors="replace")
                found.setdefault(kind, []).append(f"{kind} {label}: {_ABILITIES[kind]}")

        opened.visititems_links(look)
    return found


def _kind(opened: Any, name: str | bytes, link: Any) -> str | None:
    import h5py

    if isinstance(link, h5py.ExternalLink):
        return "ExternalLink"
    if not isinstance(link, h5py.HardLink):
        return None  # links within the same file; its target is visited under its own name
    member = opened[name]
    if not isinstance(member, h5py.Dataset):
        return None
    if member.is_virtual:
        return "VirtualDataset"
    return "ExternalStorage" if member.external else None
