"""Traces a tensor of a SavedModel back to its origins, also through function calls."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from hubopt.scanning.attributes import literal, strings
from hubopt.scanning.saved_graphs import PlacedNode, called, called_unseen, node_name, nodes

# Nodes that return their first input, or a file name built from it.
_PASSES_ON = frozenset({"Identity", "PlaceholderWithDefault", "ShardedFilename", "ShardedFilespec"})
_ARGUMENTS_AT = {
    "PartitionedCall": 0,
    "StatefulPartitionedCall": 0,
    "If": 1,
    "StatelessIf": 1,
    "Case": 1,
    "StatelessCase": 1,
}
_RESOURCE = 20  # DT_RESOURCE in tensorflow/core/framework/types.proto
"""Operations that call functions, and the index of the first input that they pass as argument."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The place where a tensor originates; both attributes are None if it is unknown.

    Attributes:
        main_node: The node of the main graph; None if the tensor originates elsewhere.
        saved_object: The ``SavedObject`` that the loader passes to a function, or None.
    """

    main_node: str | None = None
    saved_object: Any = None


class Origins:
    """Traces tensors back through one ``MetaGraphDef``."""

    def __init__(self, meta_graph: Any) -> None:
        self._objects = meta_graph.object_graph_def
        self._functions = {
            body.signature.name: body for body in meta_graph.graph_def.library.function
        }
        self._main = {node.name: node for node in meta_graph.graph_def.node}
        self._bodies = {
            name: {node.name: node for node in function.node_def}
            for name, function in self._functions.items()
        }
        self._calls: dict[str, list[tuple[PlacedNode, int | None]]] = {}
        self._unseen = frozenset[str]().union(*called_unseen(meta_graph).values())
        self._variables: list[PlacedNode] = []
        self._forged = False
        for placed in nodes(meta_graph):
            if placed.node.op == "VarHandleOp":
                self._variables.append(placed)
                self._forged = self._forged or _variable_name(placed.node) is None
            self._forged = self._forged or _may_be_a_handle(placed.node)
            direct = {placed.node.op: 0, **_direct_calls(placed.node)}
            for name in set(called(placed.node)) & self._functions.keys():
                self._calls.setdefault(name, []).append((placed, direct.get(name)))

    def of(self, function: str | None, tensor: str, fed: Collection[str] = ()) -> Iterator[Origin]:
        """Yield every origin of a tensor; none if nothing calls the function that contains it.

        Args:
            function: The function that contains the tensor; None for the main graph.
            tensor: The tensor's name.
            fed: Nodes of the main graph that the loader feeds; their own inputs do not matter.
        """
        pending = [(function, tensor)]
        seen = set(pending)
        while pending:
            inside, name = pending.pop()
            name = node_name(name)
            if inside is None and name in fed:
                yield Origin(main_node=name)
                continue
            origins, earlier = self._step(inside, name)
            yield from origins
            for source in earlier:
                if source not in seen:
                    seen.add(source)
                    pending.append(source)

    def _step(
        self, function: str | None, name: str
    ) -> tuple[list[Origin], list[tuple[str | None, str]]]:
        if function is not None:
            arguments = [
                argument.name for argument in self._functions[function].signature.input_arg
            ]
            if name in arguments:
                return self._argument(function, arguments.index(name), len(arguments))
        body = self._main if function is None else self._bodies[function]
        node = body.get(name)
        if function is None and node is not None and node.op == "ReadVariableOp":
            values = self._assigned(node_name(node.input[0]) if node.input else "")
            if values:
                return [], [(None, tensor) for tensor in values]
        if node is None or not _passes_first_input_on(node, body):
            return [Origin(main_node=name if function is None else None)], []
        return [], [(function, node.input[0])]

    def _assigned(self, handle: str) -> list[str]:
        """Return all tensors assigned to a variable of the main graph; none if that is uncertain.

        TensorFlow 2 keeps the paths of a model's files in such variables.
        """
        read = self._main.get(handle)
        if read is None or read.op != "VarHandleOp" or self._forged:
            return []
        name = _variable_name(read)
        same = {
            (placed.function, placed.node.name)
            for placed in self._variables
            if _variable_name(placed.node) == name
        }
        values = []
        for node in self._main.values():
            if not any((None, node_name(tensor)) in same for tensor in node.input):
                continue
            if node.op == "AssignVariableOp" and len(node.input) > 1:
                values.append(node.input[1])
            elif node.op not in ("ReadVariableOp", "VarIsInitializedOp"):
                return []  # the node may assign to the variable
        return values if all(function is None for function, _ in same) else []

    def _argument(
        self, function: str, at: int, count: int
    ) -> tuple[list[Origin], list[tuple[str | None, str]]]:
        origins = []
        earlier: list[tuple[str | None, str]] = []
        signature = self._functions[function].signature
        if any(argument.number_attr or argument.type_list_attr for argument in signature.input_arg):
            return [Origin()], []  # a list argument shifts the positions of the others
        if function in self._unseen:
            origins.append(Origin())
        if function in self._objects.concrete_functions:
            bound = self._objects.concrete_functions[function].bound_inputs
            at_bound = at - (count - len(bound))
            known = 0 <= at_bound < len(bound) and 0 <= bound[at_bound] < len(self._objects.nodes)
            saved = self._objects.nodes[bound[at_bound]] if known else None
            origins.append(Origin(saved_object=saved))
        for placed, first in self._calls.get(function, []):
            inputs = [tensor for tensor in placed.node.input if not tensor.startswith("^")]
            if first is None or first + at >= len(inputs):
                origins.append(Origin())
            else:
                earlier.append((placed.function, inputs[first + at]))
        return origins, earlier


def _variable_name(node: Any) -> bytes | None:
    """Return the name of a variable; None if the caller of a function provides it."""
    name = literal(node, "shared_name", "s", b"")
    return None if name is None else bytes(name or node.name.encode())


def _may_be_a_handle(node: Any) -> bool:
    """Whether a node may turn a value into a handle of any variable, by the variable's name."""
    if node.op in ("Const", "HostConst"):
        return literal(node, "dtype", "type") in (None, _RESOURCE)
    return node.op == "ParseTensor" and literal(node, "out_type", "type") in (None, _RESOURCE)


def _direct_calls(node: Any) -> dict[str, int | None]:
    """Return the functions that a node calls with its inputs, and the first input it passes."""
    if node.op not in _ARGUMENTS_AT:
        return {}
    direct: list[str] = []
    nested: list[str] = []
    for value in node.attr.values():
        for function in (value.func, *value.list.func):
            direct.append(function.name)
            for attribute in function.attr.values():
                nested += [attribute.func.name, *(inner.name for inner in attribute.list.func)]
    return {name: None if name in nested else _ARGUMENTS_AT[node.op] for name in direct}


def _passes_first_input_on(node: Any, body: dict[str, Any]) -> bool:
    if not node.input:
        return False
    if node.op == "StringJoin":
        joined = [body.get(node_name(part)) for part in node.input[1:] if part[:1] != "^"]
        separator = literal(node, "separator", "s", b"")
        return separator is not None and b"." not in separator and all(map(_keeps_folder, joined))
    return node.op in _PASSES_ON


def _keeps_folder(node: Any) -> bool:
    """Whether joining a constant to a path keeps its folder: without a dot it forms no ".."."""
    texts = strings(node)
    return texts is not None and not any(b"." in text for text in texts)
