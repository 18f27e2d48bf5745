"""The graphs of a SavedModel's file: their nodes, and what of them can run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from hubopt.scanning.saved_messages import parse_variable

_INIT_SIGNATURE = "__saved_model_init_op"
_INTERFACE = "api_implements"  # functions that TensorFlow may call for one another


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
    yield from _functions_in(node.attr.values())


def called_unseen(meta_graph: Any) -> dict[str, frozenset[str]]:
    """Return the functions that a function may call though none of its nodes names them.

    Defaults of its attributes take the place of placeholders; what implements the same
    interface may be called in its stead; its own attributes name variants of it.
    """
    functions = meta_graph.graph_def.library.function
    names = {each.signature.name for each in functions}
    alike: dict[bytes, set[str]] = {}
    for each in functions:
        if _INTERFACE in each.attr:
            alike.setdefault(each.attr[_INTERFACE].s, set()).add(each.signature.name)
    unseen = {}
    for each in functions:
        found = set(_functions_in(attr.default_value for attr in each.signature.attr))
        found |= set(_functions_in(each.attr.values()))
        found |= {value.s.decode(errors="replace") for value in each.attr.values() if value.s}
        if _INTERFACE in each.attr:
            found |= alike[each.attr[_INTERFACE].s]
        found = (found & names) - {each.signature.name}
        if found:
            unseen[each.signature.name] = frozenset(found)
    return unseen


def _functions_in(values: Iterable[Any]) -> Iterator[str]:
    pending = list(values)
    while pending:
        value = pending.pop()
        kind = value.WhichOneof("value")
        if kind not in ("func", "list"):
            continue
        for function in (value.func,) if kind == "func" else value.list.func:
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
    """Follow signatures, initializers, gradients and restored functions through the graph.

    What saves and restores the variables is left out unless one of them leads there too:
    `restoring` follows it.
    """
    library = meta_graph.graph_def.library
    functions = {
        *meta_graph.object_graph_def.concrete_functions,
        *(
            each.bare_concrete_function.concrete_function_name
            for each in meta_graph.object_graph_def.nodes
        ),
        *(each.gradient_func for each in (*library.gradient, *library.registered_gradients)),
    }
    return _follow(
        meta_graph, {*_signature_nodes(meta_graph), *_collection_nodes(meta_graph)}, functions
    )


def restoring(meta_graph: Any) -> Reach:
    """Follow what the loaders run to restore the variables."""
    return _follow(meta_graph, {node_name(meta_graph.saver_def.restore_op_name)}, set())


def without_assets(meta_graph: Any) -> Reach:
    """Follow what runs without the loader's paths of the model's own files.

    Tensors that stand for such files are fed to the initializers only. Elsewhere a graph of
    TensorFlow 1 computes with the paths that it holds itself.
    """
    if meta_graph.object_graph_def.nodes:  # its functions are given the paths one by one
        return Reach(frozenset(), frozenset())
    entries = {
        node_name(meta_graph.saver_def.restore_op_name),
        *_signature_nodes(meta_graph, beside=_INIT_SIGNATURE),
    }
    return _follow(meta_graph, entries, set())


def _follow(meta_graph: Any, pending_nodes: set[str], pending_functions: set[str]) -> Reach:
    main = {node.name: node for node in meta_graph.graph_def.node}
    functions = {each.signature.name: each for each in meta_graph.graph_def.library.function}
    unseen = called_unseen(meta_graph)
    nodes_seen: set[str] = set()
    functions_seen: set[str] = set()
    while pending_nodes or pending_functions:
        if pending_nodes:
            name = pending_nodes.pop()
            if name in nodes_seen or name not in main:
                continue
            nodes_seen.add(name)
            pending_nodes |= {node_name(each) for each in main[name].input}
            pending_functions |= set(called(main[name]))
        else:
            name = pending_functions.pop()
            if name in functions_seen or name not in functions:
                continue
            functions_seen.add(name)
            pending_functions |= unseen.get(name, frozenset())
            for node in functions[name].node_def:
                pending_functions |= set(called(node))
    return Reach(frozenset(nodes_seen), frozenset(functions_seen))


def _signature_nodes(meta_graph: Any, beside: str = "") -> Iterator[str]:
    for name, signature in meta_graph.signature_def.items():
        if name == beside:
            continue
        for output in signature.outputs.values():
            sparse = output.coo_sparse
            names = (
                output.name,
                sparse.values_tensor_name,
                sparse.indices_tensor_name,
                sparse.dense_shape_tensor_name,
                *(component.name for component in output.composite_tensor.components),
            )
            yield from map(node_name, names)


def _collection_nodes(meta_graph: Any) -> Iterator[str]:
    for collection in meta_graph.collection_def.values():  # initializers, by several names
        yield from map(node_name, collection.node_list.value)
        for content in collection.bytes_list.value:
            # Whichever the collection: a loader goes by the names it knows, this does not.
            variable = parse_variable(content)
            if variable is not None:
                yield node_name(variable.initializer_name)
                yield node_name(variable.snapshot_name)
                yield node_name(variable.initial_value_name)


def node_name(tensor: str) -> str:
    """Return the name of the node that a tensor, or a control input, comes from."""
    return tensor.removeprefix("^").partition(":")[0]
