"""Store weights in TensorFlow checkpoints: written a batch at a time, read by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_OBJECTS = "_CHECKPOINTABLE_OBJECT_GRAPH"
_BATCH_BYTES = 2**26
"""The size limit of the arrays that are in memory together when they are loaded or written."""


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """One tensor of a checkpoint.

    Attributes:
        checkpoint: The prefix of the checkpoint's files.
        key: The tensor's name in the checkpoint.
    """

    checkpoint: Path
    key: str

    def read(self) -> NDArray[Any]:
        """Return its value."""
        array: NDArray[Any] = _open(self.checkpoint).get_tensor(self.key)
        return array


def variables_of(saved_model: Path) -> Path:
    """Return the prefix of the checkpoint of a SavedModel's variables."""
    return saved_model / "variables" / "variables"


def saved_variables(saved_model: Path) -> list[StoredTensor]:
    """Return the stored variables of the list ``variables`` of a SavedModel's root, in order."""
    from tensorflow.core.protobuf import trackable_object_graph_pb2

    place = variables_of(saved_model)
    objects = trackable_object_graph_pb2.TrackableObjectGraph()
    objects.ParseFromString(_open(place).get_tensor(_OBJECTS))

    def children(at: int) -> dict[str, int]:
        return {child.local_name: child.node_id for child in objects.nodes[at].children}

    listed = children(children(0)["variables"])
    return [
        StoredTensor(place, objects.nodes[listed[str(at)]].attributes[0].checkpoint_key)
        for at in range(len(listed))
    ]


def write_checkpoint(place: Path, tensors: Iterable[tuple[str, Any]]) -> None:
    """Write named tensors or arrays to a checkpoint; write no file if there are none.

    Args:
        place: The prefix of the checkpoint's files.
        tensors: Names and values. They are read one at a time, and released when their batch is
            written.
    """
    import tensorflow as tf

    parts = []
    for at, batch in enumerate(batches(tensors)):
        # Merging moves the files out of this folder and removes it.
        parts.append(str(place.with_name(f"{place.name}.parts") / str(at)))
        whole = [""] * len(batch)
        tf.raw_ops.SaveV2(
            prefix=parts[-1],
            tensor_names=list(batch),
            shape_and_slices=whole,
            tensors=list(batch.values()),
        )
    if parts:
        tf.raw_ops.MergeV2Checkpoints(
            checkpoint_prefixes=parts, destination_prefix=str(place), delete_old_dirs=True
        )


def batches(tensors: Iterable[tuple[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield batches of named tensors or arrays, each of at most 64 MB or of one larger tensor."""
    batch: dict[str, Any] = {}
    size = 0
    for name, tensor in tensors:
        own = np.asarray(tensor).nbytes  # no copy for a tensor in memory
        if batch and size + own > _BATCH_BYTES:
            yield batch
            batch, size = {}, 0
        batch[name] = tensor
        size += own
    if batch:
        yield batch


def _open(checkpoint: Path) -> Any:
    import tensorflow as tf

    return tf.train.load_checkpoint(str(checkpoint))
