"""One SHA-256 for a file or a folder."""

from __future__ import annotations

import hashlib
from pathlib import Path

_CHUNK_BYTES = 1 << 20


def sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file, or of a folder's listing.

    A file's digest is what ``sha256sum`` prints. A folder's digest is that of a listing with one
    line ``<file digest>  <path in the folder>`` for each file, sorted by path.
    """
    if path.is_file():
        state = hashlib.sha256()
        with path.open("rb") as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                state.update(chunk)
        return state.hexdigest()
    if not path.is_dir():
        raise FileNotFoundError(path)
    files = sorted(
        (file.relative_to(path).as_posix(), file) for file in path.rglob("*") if file.is_file()
    )
    listing = "".join(f"{sha256(file)}  {name}\n" for name, file in files)
    return hashlib.sha256(listing.encode()).hexdigest()


def size_bytes(path: Path) -> int:
    """Return the size in bytes of a file, or of all files in a folder."""
    if not path.is_dir():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
