"""The functions in a graph's library: their nodes, their names, and which of them are called."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any


def nodes(graph_def: Any) -> Iterator[Any]:
    """Yield every node of a graph and of its functions."""
    yield from graph_def.node
    for function in graph_def.library.function:
        yield from function.node_def


def rename_functions(graph_def: Any, suffix: str, only: Collection[str] | None = None) -> None:
    """Rename functions in place, because TensorFlow keeps the old ones in this process.

    Args:
        graph_def: The graph.
        suffix: What is added to the names.
        only: The functions to rename; by default all.
    """
    new_names = {
        function.signature.name: f"{function.signature.name}{suffix}"
        for function in graph_def.library.function
        if only is None or function.signature.name in only
    }
    for function in graph_def.library.function:
        name = function.signature.name
        function.signature.name = new_names.get(name, name)
    for node in nodes(graph_def):
        node.op = new_names.get(node.op, node.op)
        for reference in _references(node):
            reference.name = new_names.get(reference.name, reference.name)


def prune_functions(graph_def: Any) -> None:
    """Remove the functions that no node of the graph leads to, in place."""
    library = {function.signature.name: function for function in graph_def.library.function}
    called: set[str] = set()
    waiting = [graph_def.node]
    while waiting:
        names = set(_callees(waiting.pop())) & library.keys() - called
        called |= names
        waiting += [library[name].node_def for name in names]
    for at in reversed(range(len(graph_def.library.function))):
        if graph_def.library.function[at].signature.name not in called:
            del graph_def.library.function[at]


def _callees(members: Iterable[Any]) -> Iterator[str]:
    for node in members:
        yield node.op
        for reference in _references(node):
            yield reference.name


def _references(node: Any) -> Iterator[Any]:
    for value in node.attr.values():
        if value.func.name:
            yield value.func
        yield from value.list.func
