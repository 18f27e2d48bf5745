"""`pruned_saved_model`: a SavedModel without the functions that the model's own call does not use.

Keras 2 saves every inner layer of a model with functions of its own: one to call it and one to
call it in training, both twice. Loading them takes two thirds of the loading time of a
MobileNetV2. They are only needed to use the inner layers by themselves; the model's own call does
not use them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hubopt._platform.tf_private import read_saved_model
from hubopt._util.regular_files import real_path
from hubopt.scanning.saved_graphs import choose_graphs, reach

_KERAS = "_tf_keras_"
"""The prefix of the identifiers of Keras objects."""
_KERAS_PARTS = "keras_api"
"""The attribute in which Keras 2 lists the layers of a model a second time."""
_PLAIN = "_generic_user_object"
_FUNCTIONS = ("function", "bare_concrete_function")
_MOST_BYTES = 2**28
"""The largest SavedModel proto that is pruned; the pruned one is written to disk."""


@contextmanager
def pruned_saved_model(folder: Path, tags: tuple[str, ...] = ()) -> Iterator[Path]:
    """Yield a SavedModel to load instead of ``folder``: a temporary smaller one, or ``folder``.

    The smaller one has the same root, variables and signatures, but its inner layers cannot be
    called. A model that is not from Keras has no such layers. A model with asset files is not
    pruned, because it reads them later, when the smaller one is already deleted.

    Args:
        folder: The SavedModel, which `hubopt.scanning.scan` has already checked.
        tags: The tags of the graph to load; without tags, the only graph.
    """
    saved_model = read_saved_model(folder)
    graph, *others = choose_graphs(saved_model, tags)
    if others or graph.asset_file_def or saved_model.ByteSize() > _MOST_BYTES or not _prune(graph):
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="hubopt-") as smaller:
        place = Path(smaller)
        (place / "variables").symlink_to(real_path(folder) / "variables")
        (place / "saved_model.pb").write_bytes(saved_model.SerializeToString())
        yield place


def _prune(meta_graph: Any) -> bool:
    """Remove the functions of inner layers from ``meta_graph``; return whether there were any."""
    objects = meta_graph.object_graph_def
    needed = _reached(objects)
    dropped = [
        node
        for at, node in enumerate(objects.nodes)
        if node.WhichOneof("kind") in _FUNCTIONS and at not in needed
    ]
    if not dropped:
        return False
    dropped_names = {name for node in dropped for name in _functions_of(node)}
    for node in dropped:
        node.Clear()
        node.user_object.identifier = _PLAIN
        node.user_object.version.producer = node.user_object.version.min_consumer = 1
    for name in dropped_names - {name for node in objects.nodes for name in _functions_of(node)}:
        del objects.concrete_functions[name]
    library = meta_graph.graph_def.library
    wanted = reach(meta_graph).functions
    kept = [function for function in library.function if function.signature.name in wanted]
    del library.function[:]
    library.function.extend(kept)
    return True


def _functions_of(node: Any) -> Iterator[str]:
    """Yield the names of the functions that an object is, has, or captures a tensor of."""
    yield from node.function.concrete_functions
    yield node.bare_concrete_function.concrete_function_name
    yield node.captured_tensor.concrete_function


def _reached(objects: Any) -> set[int]:
    """Return the objects that are reachable from the root without passing through a Keras layer.

    Objects that are not plain, such as tables, are starting points too, because they have
    functions of their own.
    """
    starts = []  # a model of TensorFlow 1 has no objects
    for at, node in enumerate(objects.nodes):
        if at == 0 or node.WhichOneof("kind") not in ("user_object", *_FUNCTIONS):
            starts.append(at)
        for saver in node.saveable_objects.values():
            starts += (saver.save_function, saver.restore_function)
    reached: set[int] = set()
    while starts:
        at = starts.pop()
        if at in reached:
            continue
        reached.add(at)
        node = objects.nodes[at]
        if at and node.user_object.identifier.startswith(_KERAS):
            continue
        for child in (*node.children, *node.dependencies):
            if child.local_name != _KERAS_PARTS:
                starts.append(child.node_id)
    return reached
