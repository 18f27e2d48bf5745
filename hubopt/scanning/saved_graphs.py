"""The graphs in a SavedModel's file: their nodes, and which of these can run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from hubopt.scanning.saved_messages import parse_variable

_INIT_SIGNATURE = "__saved_model_init_op"
_INTERFACE = "api_implements"  # functions with the same value may replace each other


@dataclass(frozen=True, slots=True)
class PlacedNode:
    """A node and its place in the graph.

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
        """The place in words, for a message."""
        inside = f" of function {self.function}" if self.function is not None else ""
        return f"node {self.node.name}{inside}"


def choose_graphs(saved_model: Any, tags: tuple[str, ...]) -> list[Any]:
    """Return the ``MetaGraphDef`` with ``tags``; all if there are no tags or none matches."""
    graphs = list(saved_model.meta_graphs)
    chosen = [graph for graph in graphs if tags and set(graph.meta_info_def.tags) == set(tags)]
    return chosen or graphs


def nodes(meta_graph: Any) -> Iterator[PlacedNode]:
    """Yield every node of the main graph and of every function."""
    graph = meta_graph.graph_def
    parts = [(None, graph.node)]
    parts += [(body.signature.name, body.node_def) for body in graph.library.function]
    for function, members in parts:
        siblings = {node.name: node for node in members}
        for node in members:
            yield PlacedNode(node, function, siblings)


def called(node: Any) -> Iterator[str]:
    """Yield the names of the functions that ``node`` may call; its operation may be one of them."""
    yield node.op
    yield from _functions_in(node.attr.values())


def called_unseen(meta_graph: Any) -> dict[str, frozenset[str]]:
    """Return, for each function, those it may call although none of its nodes names them.

    There are three kinds: defaults of its attributes, which replace placeholders; functions that
    implement the same interface, which TensorFlow may call instead; and variants of the function,
    which its attributes name.
    """
    functions = meta_graph.graph_def.library.function
    names = {function.signature.name for function in functions}
    alike: dict[bytes, set[str]] = {}
    for function in functions:
        if _INTERFACE in function.attr:
            alike.setdefault(function.attr[_INTERFACE].s, set()).add(function.signature.name)
    unseen = {}
    for function in functions:
        callees = set(_functions_in(attr.default_value for attr in function.signature.attr))
        callees |= set(_functions_in(function.attr.values()))
        callees |= {value.s.decode(errors="replace") for value in function.attr.values() if value.s}
        if _INTERFACE in function.attr:
            callees |= alike[function.attr[_INTERFACE].s]
        callees = (callees & names) - {function.signature.name}
        if callees:
            unseen[function.signature.name] = frozenset(callees)
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
    """The nodes and functions that can run when a model is loaded or called in any way it offers.

    Attributes:
        nodes: Names of nodes of the main graph.
        functions: Names of functions; all nodes of a function count as run.
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

    The nodes that save and restore the variables are left out, unless one of these also leads to
    them. `restoring` follows those.
    """
    library = meta_graph.graph_def.library
    functions = {
        *meta_graph.object_graph_def.concrete_functions,
        *(
            saved.bare_concrete_function.concrete_function_name
            for saved in meta_graph.object_graph_def.nodes
        ),
        *(entry.gradient_func for entry in (*library.gradient, *library.registered_gradients)),
    }
    return _follow(
        meta_graph, {*_signature_nodes(meta_graph), *_collection_nodes(meta_graph)}, functions
    )


def restoring(meta_graph: Any) -> Reach:
    """Follow the nodes that the loaders run to restore the variables."""
    return _follow(meta_graph, {node_name(meta_graph.saver_def.restore_op_name)}, set())


def without_assets(meta_graph: Any) -> Reach:
    """Follow the nodes that do not receive the paths of the model's files from the loader.

    The loader feeds these paths to the initializers only. All other parts of a TensorFlow 1 graph
    use the paths that are stored in the graph.
    """
    if meta_graph.object_graph_def.nodes:  # the loader passes the paths to its functions
        return Reach(frozenset(), frozenset())
    entries = {
        node_name(meta_graph.saver_def.restore_op_name),
        *_signature_nodes(meta_graph, beside=_INIT_SIGNATURE),
    }
    return _follow(meta_graph, entries, set())


def _follow(meta_graph: Any, pending_nodes: set[str], pending_functions: set[str]) -> Reach:
    main = {node.name: node for node in meta_graph.graph_def.node}
    functions = {body.signature.name: body for body in meta_graph.graph_def.library.function}
    unseen = called_unseen(meta_graph)
    nodes_seen: set[str] = set()
    functions_seen: set[str] = set()
    while pending_nodes or pending_functions:
        if pending_nodes:
            name = pending_nodes.pop()
            if name in nodes_seen or name not in main:
                continue
            nodes_seen.add(name)
            pending_nodes |= {node_name(tensor) for tensor in main[name].input}
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
    for collection in meta_graph.collection_def.values():  # initializers, under several keys
        yield from map(node_name, collection.node_list.value)
        for content in collection.bytes_list.value:
            # In any collection, as its key may be one that only another loader knows.
            variable = parse_variable(content)
            if variable is not None:
                yield node_name(variable.initializer_name)
                yield node_name(variable.snapshot_name)
                yield node_name(variable.initial_value_name)


def node_name(tensor: str) -> str:
    """Return the name of the node that produces a tensor or a control input."""
    return tensor.removeprefix("^").partition(":")[0]
