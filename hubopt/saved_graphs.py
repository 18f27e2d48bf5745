"""The graphs of a SavedModel's file: their nodes, and what of them can run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class PlacedNode:
    """A node and where it stands.

    Attributes:
        node: The ``NodeDef``.
        function: The function it is part of; None for the main graph.
        siblings: All nodes of that function or graph, by name.
    """

    node: Any
    function: str | None
    siblings: dict[str, Any]

    @property
    def place(self) -> str:
        """Where it is, in words."""
        inside = f" of function {self.function}" if self.function is not None else ""
        return f"node {self.node.name}{inside}"


def choose_graphs(saved_model: Any, tags: tuple[str, ...]) -> list[Any]:
    """Return the ``MetaGraphDef`` with ``tags``; without tags, or if none has these, all."""
    graphs = list(saved_model.meta_graphs)
    chosen = [graph for graph in graphs if tags and set(graph.meta_info_def.tags) == set(tags)]
    return chosen or graphs


def nodes(meta_graph: Any) -> Iterator[PlacedNode]:
    """Give every node of the main graph and of every function."""
    graph = meta_graph.graph_def
    parts = [(None, graph.node)]
    parts += [(each.signature.name, each.node_def) for each in graph.library.function]
    for function, members in parts:
        siblings = {node.name: node for node in members}
        for node in members:
            yield PlacedNode(node, function, siblings)


def called(node: Any) -> Iterator[str]:
    """Give the names of the functions that ``node`` may call; its own type may be one."""
    yield node.op
    pending = list(node.attr.values())
    while pending:
        value = pending.pop()
        for function in (value.func, *value.list.func):
            if function.name:
                yield function.name
                pending.extend(function.attr.values())


@dataclass(frozen=True, slots=True)
class Reach:
    """What loading a model, or calling it in any way it offers, can run.

    Attributes:
        nodes: Names of nodes of the main graph.
        functions: Names of functions; all of their nodes run.
    """

    nodes: frozenset[str]
    functions: frozenset[str]

    def holds(self, placed: PlacedNode) -> bool:
        """Whether the node can run."""
        if placed.function is None:
            return placed.node.name in self.nodes
        return placed.function in self.functions


def reach(meta_graph: Any) -> Reach:
    """Follow signatures, initializers and restored functions through the graph.

    What saves and restores the variables is left out unless one of them leads there too:
    the loader runs it with the path of the model itself.
    """
    graph = meta_graph.graph_def
    main = {node.name: node for node in graph.node}
    functions = {each.signature.name: each for each in graph.library.function}
    nodes_seen: set[str] = set()
    functions_seen: set[str] = set()
    pending_nodes = set(_entry_nodes(meta_graph))
    pending_functions = {
        *meta_graph.object_graph_def.concrete_functions,
        *(
            each.bare_concrete_function.concrete_function_name
            for each in meta_graph.object_graph_def.nodes
        ),
    }
    while pending_nodes or pending_functions:
        if pending_nodes:
            name = pending_nodes.pop()
            if name in nodes_seen or name not in main:
                continue
            nodes_seen.add(name)
            pending_nodes |= {_node_name(each) for each in main[name].input}
            pending_functions |= set(called(main[name]))
        else:
            name = pending_functions.pop()
            if name in functions_seen or name not in functions:
                continue
            functions_seen.add(name)
            for node in functions[name].node_def:
                pending_functions |= set(called(node))
    return Reach(frozenset(nodes_seen), frozenset(functions_seen))


def _entry_nodes(meta_graph: Any) -> Iterator[str]:
    for signature in meta_graph.signature_def.values():
        for output in signature.outputs.values():
            sparse = output.coo_sparse
            names = (
                output.name,
                sparse.values_tensor_name,
                sparse.indices_tensor_name,
                sparse.dense_shape_tensor_name,
                *(component.name for component in output.composite_tensor.components),
            )
            yield from map(_node_name, names)
    for collection in meta_graph.collection_def.values():  # initializers, by several names
        yield from map(_node_name, collection.node_list.value)


def _node_name(tensor: str) -> str:
    return tensor.removeprefix("^").partition(":")[0]
