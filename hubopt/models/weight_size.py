"""The size of the weights that a call of a SavedModel uses, read from its file.

Nothing is loaded: for a model of several GB, this is faster than loading it to find that it is
too large for all targets.
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
    """Check that the weights are not larger than a target can hold.

    Raises:
        ExportError: They are larger.
    """
    if most_bytes is not None and size_bytes > most_bytes:
        raise ExportError(
            "weights",
            f"{size_bytes / 1e9:.1f} GB, and none of the targets holds more than "
            f"{most_bytes / 1e9:.1f}",
            "a target that can hold the weights of the model",
            "see `hubopt targets`; savedmodel and onnx hold any size",
        )


def weight_size_bytes(folder: Path, tags: tuple[str, ...], signature: str | None) -> int:
    """Return the fewest bytes of variables that a call uses; 0 if that is unknown.

    If a call has several traces, the one that uses the fewest bytes counts. Constants and the
    variables of a TensorFlow 1 model are not counted.

    Args:
        folder: The SavedModel.
        tags: The tags of the graph; without tags, the only graph.
        signature: The signature that is called; None for the model's own call.

    Raises:
        LoadError: The file of the SavedModel is damaged.
    """
    graph = choose_graphs(read_saved_model(folder), tags)[0]
    objects = graph.object_graph_def
    library = {function.signature.name: function for function in graph.graph_def.library.function}
    try:
        traces = list(_traces(objects, signature))
        return min((_used_bytes(objects, library, trace) for trace in traces), default=0)
    except (IndexError, KeyError, ValueError):  # a damaged file: the loader reports the details
        return 0


def _traces(objects: Any, signature: str | None) -> Iterator[str]:
    """Yield the names of the functions that a call may run."""
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
    return objects.nodes[{child.local_name: child.node_id for child in node.children}[name]]


def _used_bytes(objects: Any, library: Any, name: str) -> int:
    """Return the bytes of the variables that are bound to a function and that it reads."""
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
    """Return whether an operation uses the argument; passing it to a function does not count."""
    pending, seen = [(name, argument)], set()
    while pending:
        place = pending.pop()
        if place in seen:
            continue
        seen.add(place)
        for node, at in _consumers(library[place[0]], place[1]):
            if node.op not in _CALLS:
                return True
            callee = node.attr["f"].func.name
            pending.append((callee, library[callee].signature.input_arg[at].name))
    return False


def _consumers(function: Any, argument: str) -> Iterator[tuple[Any, int]]:
    """Yield the nodes that take an argument of ``function``, and its position in their inputs."""
    for node in function.node_def:
        for at, tensor in enumerate(node.input):
            if not tensor.startswith("^") and node_name(tensor) == argument:
                yield node, at


def _bytes(node: Any) -> int:
    import tensorflow as tf

    if node.WhichOneof("kind") != "variable":
        return 0
    sizes = [dim.size for dim in node.variable.shape.dim]
    if node.variable.shape.unknown_rank or min(sizes, default=0) < 0:
        return 0
    item_bytes = int(tf.as_dtype(node.variable.dtype).size)
    return int(math.prod(sizes)) * item_bytes
