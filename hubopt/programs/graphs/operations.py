"""The operations of a graph, and whether XLA can compile them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from hubopt._platform import tf_private
from hubopt.errors import UncompilableError
from hubopt.exporter import OpUse, culprits
from hubopt.programs.graphs.functions import nodes

_INERT_OPS = frozenset({"Const", "Assert", "NoOp"})
"""Operations that hold strings only as messages; every converter drops them."""
_LOOKUP = "LookupTableFindV2"
SELECTING = frozenset(
    {
        "Where",
        "Unique",
        "UniqueV2",
        "UniqueWithCounts",
        "UniqueWithCountsV2",
        "NonMaxSuppression",
        "NonMaxSuppressionV2",
        "NonMaxSuppressionV3",
        "NonMaxSuppressionV4",
        "NonMaxSuppressionV5",
        "NonMaxSuppressionWithOverlaps",
        "DynamicPartition",
        "ListDiff",
        "DenseToDenseSetOperation",
        "StringSplit",
        "StringSplitV2",
    }
)
"""Operations that select elements by value, so the size of their output depends on the data."""


def uses(graph_def: Any) -> Iterator[OpUse]:
    """Yield one `OpUse` for each operation of a graph and of its functions."""
    groups: dict[str, list[Any]] = defaultdict(list)
    for node in nodes(graph_def):
        groups[node.op].append(node)
    functions = {function.signature.name for function in graph_def.library.function}
    for op, members in sorted(groups.items()):
        blocked = [node for node in members if not _xla_compiles(node, functions)]
        yield OpUse(
            op=op,
            count=len(members),
            example=(blocked or members)[0].name,
            string=op not in _INERT_OPS and any(_touches(node, "DT_STRING") for node in members),
            resource=any(_touches(node, "DT_RESOURCE") for node in members),
            xla=not blocked,
            generic=_is_generic(op),
            lookups=tuple(sorted({_lookup(node) for node in members})) if op == _LOOKUP else (),
        )


def _lookup(node: Any) -> str:
    import tensorflow as tf

    keys, values = (tf.as_dtype(node.attr[name].type).name for name in ("Tin", "Tout"))
    return f"{keys}->{values}"


def _is_generic(op: str) -> bool:
    special = tf_private.fixed_dtypes(op) & {_enum("DT_STRING"), _enum("DT_RESOURCE")}
    return not special and (op == "Placeholder" or bool(tf_private.xla_kernel_constraints(op)))


def _enum(dtype: str) -> int:
    from tensorflow.core.framework import types_pb2

    return int(types_pb2.DataType.Value(dtype))


def _dtypes(node: Any) -> dict[str, set[int]]:
    return {
        name: {value.type} if value.type else set(value.list.type)
        for name, value in node.attr.items()
        if value.type or value.list.type
    }


def _touches(node: Any, dtype: str) -> bool:
    wanted = _enum(dtype)
    return wanted in tf_private.fixed_dtypes(node.op) or any(
        wanted in dtypes for dtypes in _dtypes(node).values()
    )


def _xla_compiles(node: Any, functions: set[str]) -> bool:
    if node.op in _INERT_OPS or node.op in functions:
        return True
    if node.op == "Placeholder":  # an argument of the function; XLA takes all but strings
        return not _touches(node, "DT_STRING")
    dtypes = _dtypes(node)
    return any(
        all(dtypes.get(name, set()) <= set(allowed) for name, allowed in limits.items())
        for limits in tf_private.xla_kernel_constraints(node.op)
    )


def uncompilable(ops: Iterable[OpUse]) -> UncompilableError:
    """Return the error that names the operations in ``ops`` without an XLA kernel."""
    return UncompilableError(
        "layer",
        tuple(
            f"{use.op} (x{use.count}, {use.example})"
            for use in culprits(use for use in ops if not use.xla)
        ),
        "operations with an XLA kernel on this machine",
        "leave out --xla require (xla='require') to write it uncompiled",
    )
