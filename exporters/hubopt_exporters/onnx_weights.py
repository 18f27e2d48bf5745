"""The weights of an ONNX model: folded, and put in one at a time after the conversion.

The converter sees them as inputs, for it copies constants many times over. What it then does to
the weights alone, such as transposing a kernel, is done here once.
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
"""Operations that put the elements of a weight elsewhere; their result is no larger."""
_MOST_INLINE_BYTES = 3 * 2**29
"""Of weights in the model's own file: protobuf cannot hold 2 GB, and the graph takes some."""
_ALIGNMENT = 4096
"""Of each weight in a file of its own, so that runtimes can map it into memory."""


def too_large(size_bytes: int) -> bool:
    """Whether weights are more than the model's own file should hold."""
    return size_bytes > _MOST_INLINE_BYTES


@dataclass(frozen=True, slots=True)
class _Opset:
    """Runs one node by ONNX's own reference implementation."""

    versions: Mapping[str, int]

    def run(self, node: Any, inputs: Sequence[Load]) -> NDArray[Any]:
        from onnx.reference import ReferenceEvaluator

        given = {name: load() for name, load in zip(node.input, inputs, strict=True) if name}
        (result,) = ReferenceEvaluator(node, opsets=dict(self.versions)).run(None, given)
        return np.asarray(result)


def put_weights(
    model: Any, weights: Mapping[str, Load], path: Path, apart: bool = False
) -> tuple[str, ...]:
    """Put ``weights`` into ``model`` in place of inputs of their names, and write it to ``path``.

    Args:
        model: A ``ModelProto``; it is changed.
        weights: What gives the array of each; they are asked one after the other.
        path: The model's file.
        apart: Whether they go into a file of their own, as they must where they are
            `too_large` for the model's. In the model's they are in memory together, and twice.

    Returns:
        The names of further files in the folder of ``path``: that of the weights, if there is one.
    """
    graph = model.graph
    _keep(graph.input, lambda each: each.name not in weights)
    loads = _fold(model, weights)
    # A graph nested in a node may read a weight, too.
    read = {name for each in _nodes(graph) for name in each.input}
    read |= {each.name for each in graph.output}
    _keep(graph.initializer, lambda each: each.name in read)
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
    """Write an array into a ``TensorProto`` of its own, which is in the model already."""
    import onnx

    tensor.dims.extend(array.shape)
    tensor.data_type = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
    tensor.raw_data = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def _append(graph: Any, name: str, array: NDArray[Any], beside: Path) -> None:
    """Write an array behind those that ``beside`` holds already, and refer to it."""
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
    """Remove the nodes that only put weights elsewhere; return what gives each such tensor."""
    from onnx import numpy_helper

    graph = model.graph
    opset = _Opset({each.domain: each.version for each in model.opset_import})
    loads = dict(weights)
    constants: dict[str, Load] = {
        each.name: partial(numpy_helper.to_array, each) for each in graph.initializer
    }
    constants |= {
        node.output[0]: partial(numpy_helper.to_array, attribute.t)
        for node in graph.node
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.name == "value"
    }
    outputs = {each.name for each in graph.output}
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
    _keep(graph.node, lambda each: not folded.intersection(each.output))
    return loads


def _keep(repeated: Any, is_kept: Callable[[Any], bool]) -> None:
    """Remove the other elements of a protobuf's list, in place."""
    kept = [each for each in repeated if is_kept(each)]
    del repeated[:]
    repeated.extend(kept)


def _nodes(graph: Any) -> Iterable[Any]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner)
