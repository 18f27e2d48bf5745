"""SavedModels to attack with: saved by TensorFlow, then edited."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from hubopt._platform.tf_private import read_saved_model
from hubopt.errors import UnsafeModelError
from hubopt.scanning.scan import scan

FLOATS = tf.TensorSpec([None], tf.float32)
STRING = tf.TensorSpec([], tf.string)


def save(folder: Path, function: Callable[..., Any], *specs: tf.TensorSpec) -> Path:
    """Save a module whose only function is ``function``."""
    root = tf.Module()
    root.f = tf.function(function, input_signature=specs or [FLOATS])
    tf.saved_model.save(root, str(folder), signatures={"serving_default": root.f})
    return folder


def edit(folder: Path, change: Callable[[Any], None]) -> Path:
    """Change the ``MetaGraphDef`` of the model in ``folder``."""
    saved_model = read_saved_model(folder)
    change(saved_model.meta_graphs[0])
    (folder / "saved_model.pb").write_bytes(saved_model.SerializeToString())
    (folder / "fingerprint.pb").unlink(missing_ok=True)
    return folder


def members(meta_graph: Any, op: str) -> list[tuple[Any, Any]]:
    """Return every (function, node) pair whose node has the type ``op``."""
    return [
        (function, node)
        for function in meta_graph.graph_def.library.function
        for node in function.node_def
        if node.op == op
    ]


def refuse(folder: Path) -> str:
    """Return the message of the scan's refusal of the model."""
    with pytest.raises(UnsafeModelError) as caught:
        scan(folder)
    return str(caught.value)
