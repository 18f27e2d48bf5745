"""`FrozenGraph`: a program's graph on disk, with its large constants in separate files.

A ``GraphDef`` that holds the weights is copied, parsed and serialized as a whole by everything
that uses it, and cannot exceed 2 GB. So a placeholder replaces each large constant, and work on
the graph alone does not pay for the weights. The weights are in a checkpoint beside the graph or
in that of the program's SavedModel, so that none is written twice.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hubopt.exporter import Program
from hubopt.programs.graphs.checkpoints import StoredTensor, variables_of, write_checkpoint

LARGE_BYTES = 2**16
"""A constant of at least this size is stored separately. Converters need the values of smaller
ones: shapes, axes, the scales of a normalization."""
NUMBERS = frozenset(
    ("float16", "bfloat16", "float32", "float64", "complex64", "complex128", "bool")  # noqa: RUF005
    + ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
)
"""TensorFlow's names of the dtypes of weights that can be stored separately."""
_INDEX = "weights.json"
_OWN, _SAVED_MODEL = "own", "saved_model"
"""The checkpoint that holds a weight: the graph's own or that of the SavedModel."""


@dataclass(frozen=True, slots=True)
class FrozenGraph:
    """A graph without variables.

    Attributes:
        graph_def: The ``GraphDef``, with a placeholder for each weight.
        weights: Where each weight is stored, by the placeholder's name.
    """

    graph_def: Any
    weights: Mapping[str, StoredTensor]

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """Return the weights; each weight is read on access and not kept in memory."""
        return _Arrays(self.weights)

    def whole(self) -> Any:
        """Return a ``GraphDef`` with the weights as constants.

        Raises:
            ValueError: It would exceed the 2 GB that a ``GraphDef`` can hold.
        """
        import tensorflow as tf

        whole = tf.compat.v1.GraphDef()
        whole.CopyFrom(self.graph_def)
        for node in whole.node:
            if node.name in self.weights:
                dtype = tf.as_dtype(node.attr["dtype"].type)
                array = self.weights[node.name].read()
                del node.attr["shape"]
                node.op = "Const"
                tensor = node.attr["value"].tensor
                tensor.dtype = dtype.as_datatype_enum
                tensor.tensor_shape.CopyFrom(tf.TensorShape(array.shape).as_proto())
                tensor.tensor_content = array.tobytes()
        return whole


class _Arrays(Mapping[str, NDArray[Any]]):
    """The weights of a graph, read on access so that only one need be in memory."""

    def __init__(self, weights: Mapping[str, StoredTensor]) -> None:
        self._weights = weights

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._weights[name].read()

    def __contains__(self, name: object) -> bool:
        return name in self._weights  # the default of Mapping would read the weight

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)


def read_frozen_graph(program: Program) -> FrozenGraph:
    """Read the graph of ``program``; the weights stay on disk.

    Raises:
        OSError: It has no graph on disk, see `Program.has_frozen_graph`.
    """
    from tensorflow.core.framework import graph_pb2

    graph_def = graph_pb2.GraphDef()
    graph_def.ParseFromString(program.frozen_graph.read_bytes())
    places = {_OWN: _own(program), _SAVED_MODEL: variables_of(program.saved_model)}
    index = json.loads((program.weights / _INDEX).read_text())
    weights = {name: StoredTensor(places[whose], key) for name, (whose, key) in index.items()}
    return FrozenGraph(graph_def, weights)


def _own(program: Program) -> Path:
    return program.weights / "weights"


def write_frozen_graph(
    program: Program,
    graph_def: Any,
    weights: Iterable[tuple[str, Any]],
    saved: Mapping[str, StoredTensor] | None = None,
) -> Program:
    """Write the graph of ``program`` and its weights, a batch at a time.

    Large constants of the graph itself are stored separately as well.

    Args:
        program: Where to write.
        graph_def: The ``GraphDef``; it is changed.
        weights: Tensors or arrays for the placeholders that stand for weights, by their names.
        saved: The weights that the program's SavedModel already holds, which are not written
            again.

    Returns:
        The program, with the size of its graph and weights.
    """
    shutil.rmtree(program.weights, ignore_errors=True)  # left by an earlier trace
    program.weights.mkdir()
    saved = saved or {}
    index: dict[str, tuple[str, str]] = {}
    sizes: list[int] = []

    def unsaved() -> Iterator[tuple[str, Any]]:
        for name, value in chain(weights, _large_constants(graph_def)):
            sizes.append(np.asarray(value).nbytes)
            if name in saved:
                index[name] = (_SAVED_MODEL, saved[name].key)
            else:
                index[name] = (_OWN, name)
                yield name, value

    write_checkpoint(_own(program), unsaved())
    program.frozen_graph.write_bytes(graph_def.SerializeToString())
    (program.weights / _INDEX).write_text(json.dumps(index))
    return replace(program, frozen_bytes=program.frozen_graph.stat().st_size + sum(sizes))


def import_function(graph_def: Any, inputs: Sequence[str], outputs: Sequence[str]) -> Any:
    """Return a function from the placeholders ``inputs`` to the tensors ``outputs``, in order.

    The process keeps the first function of a name, so the functions in the library need unique
    names.

    Args:
        graph_def: The graph; it is not changed.
        inputs: Names of tensors, such as ``x:0``. All become arguments, even if no output needs
            them.
        outputs: Names of tensors likewise.

    Raises:
        ValueError: TensorFlow finds an error in the graph.
    """
    import tensorflow as tf

    places = {name.partition(":")[0]: at for at, name in enumerate(inputs)}
    specs: list[Any] = [None] * len(inputs)
    own = tf.compat.v1.GraphDef()
    own.library.CopyFrom(graph_def.library)
    own.versions.CopyFrom(graph_def.versions)
    read: set[str] = set()
    for node in graph_def.node:
        if node.name in places:
            shape, dtype = node.attr["shape"].shape, tf.as_dtype(node.attr["dtype"].type)
            at = places[node.name]
            specs[at] = tf.TensorSpec(tf.TensorShape(shape), dtype, f"hubopt/input_{at}")
            continue
        kept = own.node.add()
        kept.CopyFrom(node)
        kept.attr.pop("_class", None)  # it may colocate the node with a placeholder
        # Drop control inputs from placeholders, which have no computation to wait for.
        kept.input[:] = [
            name for name in node.input if name.lstrip("^") not in places or "^" not in name
        ]
        read.update(name.partition(":")[0] for name in kept.input)

    def call(*tensors: Any) -> list[Any]:
        given = dict(zip(inputs, tensors, strict=True))
        mapped = {name: tensor for name, tensor in given.items() if name.partition(":")[0] in read}
        wanted = [name for name in outputs if name not in given]
        imported = tf.import_graph_def(own, mapped, wanted, name="")
        computed = dict(zip(wanted, imported, strict=True))
        return [tf.identity(given[name]) if name in given else computed[name] for name in outputs]

    return tf.compat.v1.wrap_function(call, specs)


def _large_constants(graph_def: Any) -> Iterator[tuple[str, NDArray[Any]]]:
    """Replace the large constants of a graph by placeholders, and yield them."""
    import tensorflow as tf

    for node in graph_def.node:
        # A tensor of equal elements may store only one, so its serialized size counts.
        if node.op != "Const" or node.attr["value"].tensor.ByteSize() < LARGE_BYTES:
            continue
        tensor = node.attr["value"].tensor
        if tf.as_dtype(tensor.dtype).name not in NUMBERS:
            continue
        array = tf.make_ndarray(tensor)
        del node.attr["value"]
        node.op = "Placeholder"
        node.attr["shape"].shape.CopyFrom(tf.TensorShape(array.shape).as_proto())
        yield node.name, array
