"""Fold the weights of an ONNX model, and insert them one at a time after the conversion.

The converter sees the weights as inputs, because it copies constants many times. The operations
that it adds on weights alone, such as the transposition of a kernel, are computed here once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Load = Callable[[], NDArray[Any]]

_FOLDED = frozenset(
    ("Identity", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Cast", "Concat", "Slice")
)
"""Operations that rearrange the elements of a weight; their result is no larger."""
_MOST_INLINE_BYTES = 3 * 2**29
"""The most bytes of weights inline: protobuf cannot hold 2 GB, and the graph takes some of it."""
_ALIGNMENT = 4096
"""The alignment of each weight in a separate file, so that runtimes can map it into memory."""


def too_large(size_bytes: int) -> bool:
    """Whether weights of this size are more than the model's own file should hold."""
    return size_bytes > _MOST_INLINE_BYTES


@dataclass(frozen=True, slots=True)
class _Opset:
    """Runs one node with ONNX's own reference implementation."""

    versions: Mapping[str, int]

    def run(self, node: Any, inputs: Sequence[Load]) -> NDArray[Any]:
        from onnx.reference import ReferenceEvaluator

        given = {name: load() for name, load in zip(node.input, inputs, strict=True) if name}
        (result,) = ReferenceEvaluator(node, opsets=dict(self.versions)).run(None, given)
        return np.asarray(result)


def put_weights(
    model: Any, weights: Mapping[str, Load], path: Path, apart: bool = False
) -> tuple[str, ...]:
    """Replace the inputs of ``model`` that are ``weights`` by these, and write it to ``path``.

    Args:
        model: A ``ModelProto``; it is changed.
        weights: Functions that load the arrays, by name; they are called one after the other.
        path: The model's file.
        apart: Whether the weights go into a separate file, as they must if they are `too_large`
            for the model's file. In the model's file, all are in memory at once, and twice.

    Returns:
        The names of further files in the folder of ``path``: the weights' file, if there is one.
    """
    graph = model.graph
    _keep(graph.input, lambda value: value.name not in weights)
    loads = _fold(model, weights)
    # A graph nested in a node may read a weight, too.
    read = {name for node in _nodes(graph) for name in node.input}
    read |= {output.name for output in graph.output}
    _keep(graph.initializer, lambda tensor: tensor.name in read)
    beside = path.with_name(f"{path.name}.data")
    for name, load in loads.items():
        if name not in read:
            continue
        if apart:
            _append(graph, name, load(), beside)
        else:
            _put(graph.initializer.add(name=name), load())
    path.write_bytes(model.SerializeToString())
    return (beside.name,) if beside.exists() else ()


def _put(tensor: Any, array: NDArray[Any]) -> None:
    """Write an array into ``tensor``, a ``TensorProto`` that is in the model already."""
    import onnx

    tensor.dims.extend(array.shape)
    tensor.data_type = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
    tensor.raw_data = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def _append(graph: Any, name: str, array: NDArray[Any], beside: Path) -> None:
    """Append an array to the file ``beside``, and add an initializer that refers to it."""
    import onnx

    with beside.open("ab") as stream:
        offset = -(-stream.tell() // _ALIGNMENT) * _ALIGNMENT
        stream.write(b"\0" * (offset - stream.tell()))
        array.tofile(stream)
    tensor = graph.initializer.add(name=name, dims=array.shape)
    tensor.data_type = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", beside.name), ("offset", offset), ("length", array.nbytes)):
        tensor.external_data.add(key=key, value=str(value))


def _fold(model: Any, weights: Mapping[str, Load]) -> dict[str, Load]:
    """Remove the nodes that only rearrange weights; return the functions that load the weights.

    Among these are functions that compute the outputs of the removed nodes.
    """
    from onnx import numpy_helper

    graph = model.graph
    opset = _Opset({entry.domain: entry.version for entry in model.opset_import})
    loads = dict(weights)
    constants: dict[str, Load] = {
        tensor.name: partial(numpy_helper.to_array, tensor) for tensor in graph.initializer
    }
    constants |= {
        node.output[0]: partial(numpy_helper.to_array, attribute.t)
        for node in graph.node
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.name == "value"
    }
    outputs = {output.name for output in graph.output}
    folded = set()
    for node in graph.node:  # in topological order
        inputs = [name for name in node.input if name]
        foldable = node.op_type in _FOLDED and not outputs.intersection(node.output)
        if (
            foldable
            and any(name in loads for name in inputs)
            and all(name in loads or name in constants for name in inputs)
        ):
            given = [loads.get(name) or constants[name] for name in inputs]
            loads[node.output[0]] = partial(opset.run, node, given)
            folded.add(node.output[0])
    _keep(graph.node, lambda candidate: not folded.intersection(candidate.output))
    return loads


def _keep(repeated: Any, is_kept: Callable[[Any], bool]) -> None:
    """Remove the elements of a protobuf's list for which ``is_kept`` is false, in place."""
    kept = [element for element in repeated if is_kept(element)]
    del repeated[:]
    repeated.extend(kept)


def _nodes(graph: Any) -> Iterable[Any]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner)
