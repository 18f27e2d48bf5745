"""Copies files and folders that ``tf.io.gfile`` reads, piece by piece."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hubopt.models.watch import Meter, Watch

_CHUNK_BYTES = 1 << 20


def copy_files(location: str, folder: Path, file: Path, watch: Watch) -> bool:
    """Copy the file or folder at ``location`` and return whether it is a folder.

    It is copied piece by piece, because a copy that TensorFlow makes cannot be monitored.

    Args:
        location: A URL that ``tf.io.gfile`` reads.
        folder: The destination of a folder.
        file: The destination of a file.
        watch: The limits on time, size and rate.

    Raises:
        LimitError: The copy takes too long, is too large or too slow.
        tf.errors.OpError: The location cannot be read.
    """
    import tensorflow as tf

    gfile = tf.io.gfile
    meter = watch.meter()
    if not gfile.isdir(location):
        _copy(gfile, location, file, meter)
        return False
    for place, _, names in gfile.walk(location):
        watch.check()
        target = folder / place.removeprefix(location).strip("/")
        target.mkdir(parents=True, exist_ok=True)
        for name in filter(None, names):  # remote stores have entries without a name
            _copy(gfile, f"{place.rstrip('/')}/{name}", target / name, meter)
    return True


def _copy(gfile: Any, source: str, target: Path, meter: Meter) -> None:
    meter.declare(gfile.stat(source).length)
    with gfile.GFile(source, "rb") as reading, target.open("wb") as writing:
        while chunk := reading.read(_CHUNK_BYTES):
            meter.add(len(chunk))
            writing.write(chunk)
