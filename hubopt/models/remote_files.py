"""Files and folders that ``tf.io.gfile`` reads, copied piece by piece."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hubopt.models.watch import Meter, Watch

_CHUNK_BYTES = 1 << 20


def copy_files(location: str, folder: Path, file: Path, watch: Watch) -> bool:
    """Copy what is at ``location`` and return whether that is a folder.

    Piece by piece, because nothing can look at a copy that TensorFlow makes at once.

    Args:
        location: A URL that ``tf.io.gfile`` reads.
        folder: Where a folder goes.
        file: Where a file goes.
        watch: How long it may take, how large and how slow it may be.

    Raises:
        LimitError: It takes too long, is too large or too slow.
        tf.errors.OpError: It cannot be read.
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
        for name in filter(None, names):  # stores have nameless entries
            _copy(gfile, f"{place.rstrip('/')}/{name}", target / name, meter)
    return True


def _copy(gfile: Any, source: str, target: Path, meter: Meter) -> None:
    meter.declare(gfile.stat(source).length)
    with gfile.GFile(source, "rb") as reading, target.open("wb") as writing:
        while chunk := reading.read(_CHUNK_BYTES):
            meter.add(len(chunk))
            writing.write(chunk)
