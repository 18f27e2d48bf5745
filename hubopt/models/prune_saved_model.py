"""`pruned_saved_model`: a SavedModel without the functions that no call of the model itself takes.

Keras 2 saves each layer inside of a model with functions of its own: to call it, to call it in
training, each twice. To load them takes two thirds of the time that a MobileNetV2 takes. They
are there for whoever takes the model apart; the model's own call has all it needs.
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
"""How the kinds of Keras's own objects begin."""
_KERAS_PARTS = "keras_api"
"""The attribute under which Keras 2 lists a model's layers once more."""
_PLAIN = "_generic_user_object"
_FUNCTIONS = ("function", "bare_concrete_function")
_MOST_BYTES = 2**28
"""Of a graph that is written once more to be loaded."""


@contextmanager
def pruned_saved_model(folder: Path, tags: tuple[str, ...] = ()) -> Iterator[Path]:
    """Give a SavedModel to load in place of ``folder``: itself, or for a while a smaller one.

    The smaller one has the same root, variables and signatures; the layers inside cannot be
    called. A model that is not Keras's has no such layers, and one that reads files of its own
    looks for them later, when a smaller one would be gone.

    Args:
        folder: The SavedModel, which has been looked through by `hubopt.scanning.scan`.
        tags: The graph to load; without tags, the only one.
    """
    saved_model = read_saved_model(folder)
    graph, *others = choose_graphs(saved_model, tags)
    if others or graph.asset_file_def or saved_model.ByteSize() > _MOST_BYTES or not _cut(graph):
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="hubopt-") as smaller:
        place = Path(smaller)
        (place / "variables").symlink_to(real_path(folder) / "variables")
        (place / "saved_model.pb").write_bytes(saved_model.SerializeToString())
        yield place


def _cut(meta_graph: Any) -> bool:
    """Take the functions of inner layers out of ``meta_graph``; return whether there were any."""
    objects = meta_graph.object_graph_def
    needed = _reached(objects)
    dropped = [
        node
        for at, node in enumerate(objects.nodes)
        if node.WhichOneof("kind") in _FUNCTIONS and at not in needed
    ]
    if not dropped:
        return False
    gone = {name for node in dropped for name in _functions_of(node)}
    for node in dropped:
        node.Clear()
        node.user_object.identifier = _PLAIN
        node.user_object.version.producer = node.user_object.version.min_consumer = 1
    for name in gone - {name for node in objects.nodes for name in _functions_of(node)}:
        del objects.concrete_functions[name]
    library = meta_graph.graph_def.library
    wanted = reach(meta_graph).functions
    kept = [each for each in library.function if each.signature.name in wanted]
    del library.function[:]
    library.function.extend(kept)
    return True


def _functions_of(node: Any) -> Iterator[str]:
    """Give the names of the functions that an object is, has, or takes a tensor of."""
    yield from node.function.concrete_functions
    yield node.bare_concrete_function.concrete_function_name
    yield node.captured_tensor.concrete_function


def _reached(objects: Any) -> set[int]:
    """Return the objects that are reached from the root without passing a layer of Keras's.

    And from whatever is no plain object, such as a table, which brings functions of its own.
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
