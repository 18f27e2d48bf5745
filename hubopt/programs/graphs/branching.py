"""Rewrite ``Case``, a choice between many branches, as nested ``If``, which converters know.

Exporters may use this module: it changes a ``GraphDef`` and depends on no stage of the export.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

_IF = {"Case": "If", "StatelessCase": "StatelessIf"}
_INT32, _BOOL = 3, 10
"""The numbers of TensorFlow's types.proto, which never change."""
_SHAPES = "_input_shapes"
"""The attribute of a function with the shapes of its arguments."""


def replace_cases(graph_def: Any) -> None:
    """Replace each ``Case`` in a graph and its functions by nested ``If``, in place.

    Outputs keep their names. As for ``Case``, an index that no branch has chooses the last one.

    Args:
        graph_def: A ``GraphDef``.
    """
    rewriting = _Rewriting(graph_def.library)
    rewriting.replace(graph_def.node, in_function=False)
    for function in rewriting.functions():
        rewriting.replace(function.node_def, in_function=True)


class _Rewriting:
    """Turns ``Case`` into ``If`` and adds functions to the library for this.

    Each branch gets the index as its last argument, because the branches of an ``If`` take the
    same arguments, and all but the first one are chosen by a further ``If``.
    """

    def __init__(self, library: Any) -> None:
        self._library = library
        self._suffix = uuid.uuid4().hex  # the process keeps the first function of a name

    def functions(self) -> Any:
        """Yield every function, those that are added meanwhile included."""
        at = 0
        while at < len(self._library.function):
            yield self._library.function[at]
            at += 1

    def replace(self, members: Any, in_function: bool) -> None:
        """Replace each ``Case`` among the nodes of a graph or of a function."""
        for node in [node for node in members if node.op in _IF]:
            branches = [reference.name for reference in node.attr["branches"].list.func]
            del node.attr["branches"]
            node.op = _IF[node.op]
            node.attr["Tcond"].type = _BOOL
            node.attr["Tin"].list.type.append(_INT32)
            index, *arguments = [name for name in node.input if not name.startswith("^")]
            after = [name for name in node.input if name.startswith("^")]
            if not in_function and ":" not in index:
                index = f"{index}:0"
            chosen = _equals(members, node.name, index, 0, in_function)
            node.input[:] = [chosen, *arguments, index, *after]
            self._fill(node, branches, 0)

    def _fill(self, node: Any, branches: Sequence[str], first: int) -> None:
        """Give an ``If`` the branch ``first`` and a choice among those that follow."""
        then = self._taking_index(branches[first])
        rest = branches[first + 1 :] or branches[first:]
        otherwise = (
            self._taking_index(rest[0])
            if len(rest) == 1
            else self._choosing(node, branches, first + 1)
        )
        node.attr["then_branch"].func.name = then
        node.attr["else_branch"].func.name = otherwise

    def _taking_index(self, name: str) -> str:
        """Add a copy of the branch ``name`` that takes the index too."""
        (branch,) = (item for item in self._library.function if item.signature.name == name)
        copy = self._added(name)
        own = copy.signature.name
        copy.CopyFrom(branch)
        copy.signature.name = own
        taken = {item.name for item in (*copy.signature.input_arg, *copy.node_def)}
        free = "hubopt_index"
        while free in taken:
            free += "_"
        copy.signature.input_arg.add(name=free, type=_INT32)
        if _SHAPES in copy.attr:
            copy.attr[_SHAPES].list.shape.add()
        return str(own)

    def _choosing(self, like: Any, branches: Sequence[str], first: int) -> str:
        """Add a function that chooses among the branches from ``first`` on.

        Args:
            like: The ``If`` that calls it.
            branches: The names of all branches.
            first: The number of the first branch to choose from.
        """
        function = self._added(branches[first])
        signature = function.signature
        for at, dtype in enumerate(like.attr["Tin"].list.type):
            signature.input_arg.add(name=f"x{at}", type=dtype)
        arguments = [argument.name for argument in signature.input_arg]
        node = type(like)(name="choice", op=like.op)
        for name in ("Tin", "Tout", "output_shapes", "Tcond"):
            if name in like.attr:
                node.attr[name].CopyFrom(like.attr[name])
        chosen = _equals(function.node_def, node.name, arguments[-1], first, in_function=True)
        node.input.extend((chosen, *arguments))
        for at, dtype in enumerate(like.attr["Tout"].list.type):
            signature.output_arg.add(name=f"y{at}", type=dtype)
            function.ret[f"y{at}"] = f"{node.name}:output:{at}"
        self._fill(node, branches, first)
        function.node_def.append(node)
        return str(signature.name)

    def _added(self, like: str) -> Any:
        function = self._library.function.add()
        function.signature.name = f"{like}_{len(self._library.function)}_{self._suffix}"
        return function


def _equals(members: Any, name: str, index: str, value: int, in_function: bool) -> str:
    """Add nodes that compare an index with ``value``; return the tensor with the result."""
    constant = members.add(name=f"{name}/hubopt/number", op="Const")
    constant.attr["dtype"].type = _INT32
    tensor = constant.attr["value"].tensor
    tensor.dtype = _INT32
    tensor.tensor_shape.SetInParent()  # a scalar
    tensor.int_val.append(value)
    equal = members.add(name=f"{name}/hubopt/equal", op="Equal")
    equal.attr["T"].type = _INT32
    number = f"{constant.name}:output:0" if in_function else constant.name
    equal.input.extend((index, number))
    return f"{equal.name}:z:0" if in_function else str(equal.name)
