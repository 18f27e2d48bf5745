"""The functions of a graph's library are renamed and pruned together with their callers."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from hubopt.programs.graphs.functions import nodes, prune_functions, rename_functions
from hubopt.programs.graphs.graph_runs import GraphRunner


def branching() -> Any:
    """Return a graph with ``If`` in ``If``: 2x above 0, 3x above -1, else 5x."""

    def call(x: Any) -> Any:
        def lower() -> Any:
            return tf.cond(x > -1, lambda: x * 3, lambda: x * 5)

        return tf.cond(x > 0, lambda: x * 2, lower)

    spec = tf.TensorSpec([], tf.float32, name="x")
    return tf.function(call, [spec]).get_concrete_function().graph.as_graph_def()


def names(graph_def: Any) -> set[str]:
    return {function.signature.name for function in graph_def.library.function}


def answers(graph_def: Any) -> list[float]:
    (output,) = (node.name for node in graph_def.node if node.op.endswith("If"))
    runner = GraphRunner(graph_def, {"x": "x:0"})
    return [float(runner.run({"x": np.float32(x)}, [f"{output}:0"])[0]) for x in (4, -0.5, -2)]


def test_nodes_of_functions_are_among_the_nodes() -> None:
    assert sum(node.op == "Mul" for node in nodes(branching())) == 3


def test_a_renamed_function_is_still_called() -> None:
    graph_def = branching()
    before = names(graph_def)
    rename_functions(graph_def, "_new")
    assert names(graph_def) == {f"{name}_new" for name in before}
    assert answers(graph_def) == [8, -1.5, -10]


def test_only_the_chosen_functions_are_renamed() -> None:
    graph_def = branching()
    before = sorted(names(graph_def))
    rename_functions(graph_def, "_new", before[:1])
    assert names(graph_def) == {f"{before[0]}_new", *before[1:]}
    assert answers(graph_def) == [8, -1.5, -10]


def test_a_function_without_a_caller_is_removed() -> None:
    graph_def = branching()
    before = names(graph_def)
    for name in ("caller", "callee"):  # neither is called by the graph
        added = graph_def.library.function.add()
        added.signature.name = name
    graph_def.library.function[-2].node_def.add(name="call", op="callee")
    prune_functions(graph_def)
    assert names(graph_def) == before
    assert answers(graph_def) == [8, -1.5, -10]
    del graph_def.node[:]
    prune_functions(graph_def)
    assert not names(graph_def)
