"""`SavedVariable`: a variable of a SavedModel, read from there by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

_OBJECTS = "_CHECKPOINTABLE_OBJECT_GRAPH"


@dataclass(frozen=True, slots=True)
class SavedVariable:
    """One of a SavedModel's variables.

    Attributes:
        saved_model: The folder.
        key: The variable's name in the checkpoint.
    """

    saved_model: Path
    key: str

    def read(self) -> NDArray[Any]:
        """Return its value."""
        array: NDArray[Any] = _open(self.saved_model).get_tensor(self.key)
        return array


def saved_variables(saved_model: Path) -> list[SavedVariable]:
    """Return what the list ``variables`` of a SavedModel's root holds, in order."""
    from tensorflow.core.protobuf import trackable_object_graph_pb2

    checkpoint = _open(saved_model)
    objects = trackable_object_graph_pb2.TrackableObjectGraph()
    objects.ParseFromString(checkpoint.get_tensor(_OBJECTS))

    def children(at: int) -> dict[str, int]:
        return {each.local_name: each.node_id for each in objects.nodes[at].children}

    listed = children(children(0)["variables"])
    return [
        SavedVariable(saved_model, objects.nodes[listed[str(at)]].attributes[0].checkpoint_key)
        for at in range(len(listed))
    ]


def _open(saved_model: Path) -> Any:
    import tensorflow as tf

    return tf.train.load_checkpoint(str(saved_model / "variables" / "variables"))
