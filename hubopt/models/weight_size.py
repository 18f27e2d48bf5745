"""How many weights a call of a SavedModel takes, read from its file: nothing is loaded.

To load a model of several GB takes longer than to say that no target could hold it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hubopt._platform.tf_private import read_saved_model
from hubopt.errors import ExportError
from hubopt.scanning.saved_graphs import choose_graphs, node_name

_CALL, _SIGNATURES = "__call__", "signatures"
_CALLS = ("PartitionedCall", "StatefulPartitionedCall")


def check_size(size_bytes: int, most_bytes: int | None) -> None:
    """Check that there are no more weights than a target holds.

    Raises:
        ExportError: There are.
    """
    if most_bytes is not None and size_bytes > most_bytes:
        raise ExportError(
            "weights",
            f"{size_bytes / 1e9:.1f} GB, and none of the targets holds more than "
            f"{most_bytes / 1e9:.1f}",
            "a target that holds as much as the model has",
            "see `hubopt targets`; savedmodel and onnx hold any size",
        )


def weight_size_bytes(folder: Path, tags: tuple[str, ...], signature: str | None) -> int:
    """Return how many bytes of variables a call takes at least; 0 where that is not known.

    Of several traces of a call, the one that takes least. Constants are not counted, nor is what
    a model of TensorFlow 1 holds.

    Args:
        folder: The SavedModel.
        tags: The graph; without tags, the only one.
        signature: Which is called; None for the model's own call.

    Raises:
        LoadError: Its file is damaged.
    """
    graph = choose_graphs(read_saved_model(folder), tags)[0]
    objects = graph.object_graph_def
    library = {each.signature.name: each for each in graph.graph_def.library.function}
    try:
        traces = list(_traces(objects, signature))
        return min((_taken(objects, library, each) for each in traces), default=0)
    except (IndexError, KeyError, ValueError):  # a damaged file, of which the loader says more
        return 0


def _traces(objects: Any, signature: str | None) -> Iterator[str]:
    """Give the names of the functions that a call may run."""
    if not objects.nodes:
        return
    if signature is None:
        called = _child(objects, objects.nodes[0], _CALL)
        yield from called.function.concrete_functions
    else:
        signatures = _child(objects, objects.nodes[0], _SIGNATURES)
        called = _child(objects, signatures, signature)
        yield called.bare_concrete_function.concrete_function_name


def _child(objects: Any, node: Any, name: str) -> Any:
    return objects.nodes[{each.local_name: each.node_id for each in node.children}[name]]


def _taken(objects: Any, library: Any, name: str) -> int:
    """Return the bytes of the variables that a function is bound to and does read."""
    bound = objects.concrete_functions[name].bound_inputs if name in library else ()
    if not bound:
        return 0
    arguments = library[name].signature.input_arg[-len(bound) :]
    read = {
        at
        for at, argument in zip(bound, arguments, strict=True)
        if _reads(library, name, argument.name)
    }
    return sum(_bytes(objects.nodes[at]) for at in read)


def _reads(library: Any, name: str, argument: str) -> bool:
    """Whether any operation takes the argument; to hand it on to a function is not enough."""
    pending, seen = [(name, argument)], set()
    while pending:
        place = pending.pop()
        if place in seen:
            continue
        seen.add(place)
        for node, at in _takers(library[place[0]], place[1]):
            if node.op not in _CALLS:
                return True
            callee = node.attr["f"].func.name
            pending.append((callee, library[callee].signature.input_arg[at].name))
    return False


def _takers(function: Any, argument: str) -> Iterator[tuple[Any, int]]:
    """Give the nodes that take an argument of their function, and as which of their inputs."""
    for node in function.node_def:
        for at, taken in enumerate(node.input):
            if not taken.startswith("^") and node_name(taken) == argument:
                yield node, at


def _bytes(node: Any) -> int:
    import tensorflow as tf

    if node.WhichOneof("kind") != "variable":
        return 0
    sizes = [each.size for each in node.variable.shape.dim]
    if node.variable.shape.unknown_rank or min(sizes, default=0) < 0:
        return 0
    each = int(tf.as_dtype(node.variable.dtype).size)
    return int(math.prod(sizes)) * each
