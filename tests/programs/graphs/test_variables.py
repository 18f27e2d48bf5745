"""Placeholders of weights become variables."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from hubopt.programs.graphs.variables import read_variable


def test_a_placeholder_reads_a_variable_once_that_is_assigned() -> None:
    graph = tf.Graph()
    with graph.as_default():
        weight = tf.compat.v1.placeholder(tf.float32, [2], "weight")
        tf.multiply(weight, 3.0, "product")
        tf.constant([1.0, 2.0], name="value")
    graph_def = graph.as_graph_def()
    node = next(each for each in graph_def.node if each.name == "weight")
    assign = read_variable(graph_def, node, "value")
    with tf.Graph().as_default():
        tf.import_graph_def(graph_def, name="")
        with tf.compat.v1.Session() as session:
            session.run(assign)
            np.testing.assert_array_equal(session.run("product:0"), [3.0, 6.0])


def test_what_it_waits_for_stays_behind_what_it_reads() -> None:
    graph_def = tf.compat.v1.GraphDef()
    node = graph_def.node.add(name="weight", op="Placeholder", input=["^before"])
    read_variable(graph_def, node, "value")
    assert node.input == ["weight/hubopt/handle", "^before"]
