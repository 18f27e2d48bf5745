"""`check_fingerprint`: checks that a SavedModel is unchanged since it was saved.

TensorFlow 2.11 and later write ``fingerprint.pb`` next to ``saved_model.pb``. Two of its fields
are compared; both are 64-bit FarmHashes:

- ``saved_model_checksum``: of the whole ``saved_model.pb``, serialized in a fixed order;
- ``checkpoint_hash``: of the bytes of ``variables/variables.index``, 0 without variables. The
  index holds a checksum of each variable, which TensorFlow compares when it restores them.

The other fields hash parts of the simplified first graph, and the simplification has changed
between versions. No field covers ``assets/``. A model computes without a fingerprint, so a missing
one is accepted. An unreadable one is refused: it was damaged, and ``assets/`` may have been damaged
with it.
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
"""Attributes that TensorFlow's fingerprinting reads; it ends the process if one is missing."""


def check_fingerprint(folder: Path, saved_model: Any) -> None:
    """Compare the files in ``folder`` with the fingerprint that was saved with them.

    Args:
        folder: The SavedModel.
        saved_model: Its parsed file, a ``SavedModel`` message.

    Raises:
        LoadError: The files differ from it, or the fingerprint cannot be read.
    """
    if not (folder / FINGERPRINT_FILE).is_file() or not (folder / _GRAPH_FILE).is_file():
        return
    stored = _read(folder)
    _check_attributes(folder, saved_model)
    current = fingerprint_of(folder)
    if stored.version.producer != current.version.producer:  # computed by another algorithm
        return
    pairs = (
        (_GRAPH_FILE, stored.saved_model_checksum, current.saved_model_checksum),
        (_INDEX_FILE, stored.checkpoint_hash, current.checkpoint_hash),
    )
    # A missing file has no checksum; the loader has a better message for it.
    differing = [pair for pair in pairs if pair[1] != pair[2] and (folder / pair[0]).is_file()]
    if differing:
        raise LoadError(
            f"model {folder}",
            "changed or damaged since it was saved: "
            + ", ".join(f"{file} has checksum {now:016x}" for file, _, now in differing),
            f"the checksums in {FINGERPRINT_FILE}: "
            + ", ".join(f"{file} {then:016x}" for file, then, _ in differing),
            f"fetch or save the model again; if the change was intended, delete {FINGERPRINT_FILE}",
        )


def _read(folder: Path) -> Any:
    import tensorflow as tf

    try:
        fingerprint = tf.saved_model.experimental.read_fingerprint(str(folder))
    except Exception as error:  # protobuf and TensorFlow raise errors of their own
        raise _unreadable(folder) from error
    if not fingerprint.saved_model_checksum:
        raise _unreadable(folder)
    return fingerprint


def _unreadable(folder: Path) -> LoadError:
    return LoadError(
        f"model {folder}",
        f"{FINGERPRINT_FILE} cannot be read: it is damaged, and other files may be too",
        f"{FINGERPRINT_FILE} as TensorFlow wrote it",
        f"fetch or save the model again; if the other files are intact, delete {FINGERPRINT_FILE}",
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
