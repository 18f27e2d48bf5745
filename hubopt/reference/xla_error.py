"""`first_xla_error`: the operation in which a graph compiled by XLA goes wrong."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hubopt.exporter import Tensors
from hubopt.parity.metrics import compare
from hubopt.parity.tolerance import TOLERANCES
from hubopt.programs.graphs.compiled_graph import CompiledGraph
from hubopt.programs.graphs.graph_runs import GraphRunner
from hubopt.programs.graphs.reach import before

MOST_TENSORS = 500
"""The largest number of tensors that are compared: XLA must keep them all, and compiles longer."""
_PLAIN = ("Const", "Placeholder", "Identity", "NoOp", "ReadVariableOp", "VarHandleOp")


def first_xla_error(
    graph_def: Any,
    tensor: str,
    sample: Tensors,
    plain: GraphRunner | CompiledGraph,
    compiled: GraphRunner | CompiledGraph,
    weights: Collection[str],
) -> str | None:
    """Return the first operation before ``tensor`` whose result XLA gets wrong.

    Every operation before it agrees, so that the fault is its own. None if there is none, which
    is so if XLA is right where it keeps every tensor, or if there are too many of them.

    Args:
        graph_def: The graph.
        tensor: A tensor on which XLA is wrong.
        sample: An array for each input.
        plain: Runs the graph without XLA.
        compiled: Runs it with XLA.
        weights: The names of the placeholders that stand for weights.
    """
    nodes = [
        node
        for node in before(graph_def, tensor)
        if node.op not in _PLAIN and node.name not in weights
    ]
    if not nodes or len(nodes) > MOST_TENSORS:
        return None
    fetches = [f"{node.name}:0" for node in nodes]
    pairs = zip(compiled.run(sample, fetches), plain.run(sample, fetches), strict=True)
    for node, (found, wanted) in zip(nodes, pairs, strict=True):
        if _is_wrong(np.asarray(found), np.asarray(wanted)):
            return f"{node.op} (node {node.name})"
    return None


def _is_wrong(found: NDArray[Any], wanted: NDArray[Any]) -> bool:
    if found.shape != wanted.shape:
        return True
    difference = compare(found, wanted)
    if difference.exact:
        return bool(difference.unequal)
    return difference.problem is not None or difference.worst(TOLERANCES["xla"])[0] > 1
