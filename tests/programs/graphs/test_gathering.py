"""Rows of a variable are gathered in branches and loops of a frozen graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from hubopt.programs.graphs.freezing import freeze
from hubopt.programs.graphs.frozen_graph import LARGE_BYTES
from hubopt.programs.graphs.graph_runs import GraphRunner

ROWS = np.arange(24, dtype="float32").reshape(6, 4)
AT = np.array([3, 1], "int32")


def answer(call: Callable[[Any], Any]) -> Any:
    function = tf.function(call, [tf.TensorSpec([2], tf.int32, name="at")], autograph=False)
    frozen = freeze(function.get_concrete_function())
    graph_def = frozen.graph.as_graph_def()
    weights = {name: value.numpy() for name, value in frozen.weights.items()}
    runner = GraphRunner(graph_def, {"at": "at:0"}, weights)
    return runner.run({"at": AT}, [frozen.outputs[0].name])[0]


def in_a_branch(table: Any) -> Callable[[Any], Any]:
    return lambda at: tf.cond(
        at[0] > 2, lambda: tf.gather(table, at) * 2, lambda: tf.gather(table, at)
    )


def in_a_loop(table: Any) -> Callable[[Any], Any]:
    """Twice the rows, added up one turn at a time."""

    def call(at: Any) -> Any:
        start = (0, tf.zeros([2, 4]))
        return tf.while_loop(
            lambda turn, _: turn < 2,
            lambda turn, total: (turn + 1, total + tf.gather(table, at)),
            start,
        )[1]

    return call


def in_a_call(table: Any) -> Callable[[Any], Any]:
    return tf.function(lambda at: tf.gather(table, at) * 2)  # type: ignore[no-any-return]


@pytest.mark.parametrize("large", [False, True], ids=["constant", "apart"])
@pytest.mark.parametrize("place", [in_a_branch, in_a_loop, in_a_call])
def test_rows_are_gathered(place: Callable[[Any], Callable[[Any], Any]], large: bool) -> None:
    rows = np.tile(ROWS, [LARGE_BYTES // ROWS.nbytes + 1, 1]) if large else ROWS
    np.testing.assert_array_equal(answer(place(tf.Variable(rows))), 2 * ROWS[AT])


def test_rows_are_gathered_by_batch() -> None:
    """Row 3 of the first table and row 1 of the second; inside a branch, as an operation."""
    tables = tf.Variable(np.stack([ROWS, ROWS + 100]))

    def gather(at: Any) -> Any:
        return tf.raw_ops.ResourceGather(
            resource=tables.handle, indices=at[:, None], dtype=tf.float32, batch_dims=1
        )

    def call(at: Any) -> Any:
        tables.read_value()  # lets the function know the variable, not only its handle
        return tf.cond(at[0] > 2, lambda: gather(at), lambda: -gather(at))

    np.testing.assert_array_equal(answer(call), [[ROWS[3]], [ROWS[1] + 100]])


def test_elements_are_gathered() -> None:
    table = tf.Variable(ROWS)

    def call(at: Any) -> Any:
        places = tf.stack([at, at], 1)
        return tf.cond(at[0] > 2, lambda: table.gather_nd(places), lambda: -table.gather_nd(places))

    np.testing.assert_array_equal(answer(call), [ROWS[3, 3], ROWS[1, 1]])
