"""`check_fingerprint`: whether a SavedModel is still what was saved.

From version 2.11 on TensorFlow writes ``fingerprint.pb`` beside ``saved_model.pb``. Of its
fields, two are compared, each a 64-bit FarmHash:

- ``saved_model_checksum``: of the whole ``saved_model.pb``, serialized in a fixed order;
- ``checkpoint_hash``: of the bytes of ``variables/variables.index``, 0 without variables. The
  index holds a checksum of each variable, which TensorFlow compares when it restores them.

The others hash parts of the first graph after simplifying it; how has changed between
versions. No field covers ``assets/``. A model needs no fingerprint to compute, so one that is
missing is nothing to check. One that cannot be read is refused all the same: it was damaged,
and ``assets/`` may have been with it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hubopt._platform.tf_private import fingerprint_of
from hubopt.errors import LoadError

FINGERPRINT_FILE = "fingerprint.pb"
_GRAPH_FILE = "saved_model.pb"
_INDEX_FILE = "variables/variables.index"
_NEEDED_ATTRIBUTES = {
    "Const": ("dtype", "value"),
    "PartitionedCall": ("f",),
    "StatefulPartitionedCall": ("f",),
}
"""What TensorFlow's fingerprinting reads of a node; it ends the process where one lacks."""


def check_fingerprint(folder: Path, saved_model: Any) -> None:
    """Compare the files in ``folder`` with the fingerprint that was saved with them.

    Args:
        folder: The SavedModel.
        saved_model: Its file, parsed.

    Raises:
        LoadError: They differ, or the fingerprint cannot be read.
    """
    if not (folder / FINGERPRINT_FILE).is_file() or not (folder / _GRAPH_FILE).is_file():
        return
    stored = _read(folder)
    _check_attributes(folder, saved_model)
    current = fingerprint_of(folder)
    if stored.version.producer != current.version.producer:  # computed in another way
        return
    pairs = (
        (_GRAPH_FILE, stored.saved_model_checksum, current.saved_model_checksum),
        (_INDEX_FILE, stored.checkpoint_hash, current.checkpoint_hash),
    )
    # A file that is missing has no checksum; the loader tells that better.
    differing = [pair for pair in pairs if pair[1] != pair[2] and (folder / pair[0]).is_file()]
    if differing:
        raise LoadError(
            f"model {folder}",
            "changed or damaged since it was saved: "
            + ", ".join(f"{file} has checksum {now:016x}" for file, _, now in differing),
            f"what {FINGERPRINT_FILE} says: "
            + ", ".join(f"{file} {then:016x}" for file, then, _ in differing),
            f"fetch or save the model again; if the change was meant, delete {FINGERPRINT_FILE}",
        )


def _read(folder: Path) -> Any:
    import tensorflow as tf

    try:
        fingerprint = tf.saved_model.experimental.read_fingerprint(str(folder))
    except Exception as error:  # protobuf and TensorFlow each raise their own
        raise _unreadable(folder) from error
    if not fingerprint.saved_model_checksum:
        raise _unreadable(folder)
    return fingerprint


def _unreadable(folder: Path) -> LoadError:
    return LoadError(
        f"model {folder}",
        f"{FINGERPRINT_FILE} cannot be read: it was damaged, and other files may have been",
        f"{FINGERPRINT_FILE} as TensorFlow wrote it",
        f"fetch or save the model again; if the other files are whole, delete {FINGERPRINT_FILE}",
    )


def _check_attributes(folder: Path, saved_model: Any) -> None:
    for node in saved_model.meta_graphs[0].graph_def.node:
        missing = [name for name in _NEEDED_ATTRIBUTES.get(node.op, ()) if name not in node.attr]
        if missing:
            raise LoadError(
                f"model {folder}",
                f"{_GRAPH_FILE} is damaged: node {node.name} ({node.op}) has no {missing[0]}",
                "a graph as TensorFlow wrote it",
                "fetch or save the model again",
            )
