"""Placeholders for weights are turned into variables."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from hubopt.programs.graphs.variables import read_variable


def test_a_placeholder_reads_a_variable_after_its_assignment() -> None:
    graph = tf.Graph()
    with graph.as_default():
        weight = tf.compat.v1.placeholder(tf.float32, [2], "weight")
        tf.multiply(weight, 3.0, "product")
        tf.constant([1.0, 2.0], name="value")
    graph_def = graph.as_graph_def()
    node = next(node for node in graph_def.node if node.name == "weight")
    assign = read_variable(graph_def, node, "value")
    with tf.Graph().as_default():
        tf.import_graph_def(graph_def, name="")
        with tf.compat.v1.Session() as session:
            session.run(assign)
            np.testing.assert_array_equal(session.run("product:0"), [3.0, 6.0])


def test_control_inputs_stay_after_the_data_input() -> None:
    graph_def = tf.compat.v1.GraphDef()
    node = graph_def.node.add(name="weight", op="Placeholder", input=["^before"])
    read_variable(graph_def, node, "value")
    assert node.input == ["weight/hubopt/handle", "^before"]
