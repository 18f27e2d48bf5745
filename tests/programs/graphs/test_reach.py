"""Outputs depend on data, not on when a node runs."""

import tensorflow as tf

from hubopt.programs.graphs.reach import unreached, weights


def test_a_control_edge_is_no_dependence() -> None:
    graph = tf.Graph()
    with graph.as_default():
        x = tf.compat.v1.placeholder(tf.float32, [2, 4], name="x")
        table = tf.constant([[1.0, 2.0]] * 4, name="table")
        tf.matmul(x, table, name="scores")
        with tf.control_dependencies([table, x]):
            tf.nn.relu(tf.identity(x), name="relu")
            tf.constant([7.0, 8.0], name="labels")
    graph_def = graph.as_graph_def()
    edges = {edge for node in graph_def.node for edge in node.input}
    assert {"^table", "^x"} <= edges, "the graph has the edges that must not count"
    outputs = {name: f"{name}:0" for name in ("scores", "relu", "labels")}
    assert weights(graph_def) == ["table", "labels"]
    assert unreached(graph_def, outputs, ["table"]) == ("relu", "labels")
    assert unreached(graph_def, outputs, ["x"]) == ("labels",)
