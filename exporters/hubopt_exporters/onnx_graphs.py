"""Names and shapes in ONNX graphs, nested ones included."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hubopt.exporter import Program
from hubopt.spec import ModelSpec
from hubopt_exporters.output_names import choose_names, format_names


def graphs(graph: Any) -> Iterator[Any]:
    """Yield ``graph`` and every graph nested in its nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                if inner.ByteSize():
                    yield from graphs(inner)


def nodes(graph: Any) -> Iterator[Any]:
    """Yield every node of ``graph``, nested ones included."""
    for inner in graphs(graph):
        yield from inner.node


def taken_names(graph: Any) -> set[str]:
    """Return the names of all tensors of ``graph``, nested graphs included."""
    return {name for inner in graphs(graph) for name in _tensor_names(inner)}


def free_name(name: str, taken: set[str]) -> str:
    """Return ``name``, or a name like it that is not in ``taken``."""
    while name in taken:
        name += "_"
    return name


def name_tensors(model: Any, program: Program) -> None:
    """Give the inputs and outputs of ``model`` the layer's names, sizes and dimensions, in place.

    An output with an input's name gets another one, which the model's metadata state.

    Args:
        model: A ``ModelProto`` with the names of the program's graph.
        program: The program that it was converted from.
    """
    spec = program.spec
    renamed = choose_names(spec)
    outputs = [renamed.get(name, name) for name in spec.output_names]
    given = [tensor.name for tensor in spec.inputs]
    tensors = (*program.input_tensors, *program.output_tensors)
    rename_tensors(model.graph, dict(zip(tensors, (*given, *outputs), strict=True)))
    name_dimensions(model.graph, spec, renamed)
    for key, text in format_names(renamed).items():
        model.metadata_props.add(key=key, value=text)


def rename_tensors(graph: Any, names: dict[str, str]) -> None:
    """Rename tensors in ``graph``, in place, wherever they are used.

    Another tensor that already has one of the new names gets a name that is free.
    """
    taken = taken_names(graph)
    new_names = dict(names)
    for new in names.values():
        if new in taken and new not in names:
            new_names[new] = free_name(f"{new}__inner", taken)
    for inner in graphs(graph):
        for value in (*inner.input, *inner.output, *inner.value_info, *inner.initializer):
            value.name = new_names.get(value.name, value.name)
        for node in inner.node:
            node.input[:] = [new_names.get(name, name) for name in node.input]
            node.output[:] = [new_names.get(name, name) for name in node.output]


def name_dimensions(graph: Any, spec: ModelSpec, renamed: Mapping[str, str]) -> None:
    """Set the sizes and names of the dimensions of the graph's inputs and outputs, in place.

    Args:
        graph: The graph.
        spec: The sizes and names.
        renamed: The graph's name for each output that does not have the layer's.
    """
    specs = {tensor.name: tensor for tensor in spec.inputs}
    specs |= {renamed.get(tensor.name, tensor.name): tensor for tensor in spec.outputs}
    for value in (*graph.input, *graph.output):
        if value.name not in specs:  # a weight
            continue
        shape = value.type.tensor_type.shape
        del shape.dim[:]
        for size in specs[value.name].named_shape:
            dim = shape.dim.add()
            if isinstance(size, str):
                dim.dim_param = size
            else:
                dim.dim_value = size


def _tensor_names(graph: Any) -> Iterator[str]:
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        yield value.name
    for node in graph.node:
        yield from node.input
        yield from node.output
