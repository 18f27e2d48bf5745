"""Attributes are read only if they are literals."""

import numpy as np
import pytest
import tensorflow as tf

from hubopt.scanning.attributes import literal, strings


def node(op: str = "Const") -> tf.compat.v1.NodeDef:
    return tf.compat.v1.NodeDef(name="a", op=op)


def test_a_missing_attribute_has_its_default_and_is_not_added() -> None:
    empty = node()
    assert literal(empty, "text", "s", b"default") == b"default"
    assert literal(empty, "text", "s") is None
    assert "text" not in empty.attr


def test_only_a_literal_of_the_requested_type_is_read() -> None:
    made = node()
    made.attr["text"].s = b"x"
    made.attr["number"].i = 1
    made.attr["filled"].placeholder = "x"
    made.attr["empty"].Clear()
    assert literal(made, "text", "s", b"default") == b"x"
    for name in ("number", "filled", "empty"):
        assert literal(made, name, "s", b"default") is None, name


@pytest.mark.parametrize("value", ["", "a", ["a", "b"], np.zeros([0], object)])
def test_the_strings_of_a_constant_are_read(value: object) -> None:
    with tf.Graph().as_default() as graph:
        tf.constant(value, tf.string)
    (made,) = graph.as_graph_def().node
    expected = tuple(str(element).encode() for element in np.ravel(np.array(value, object)))
    assert strings(made) == expected


def test_numbers_and_other_nodes_have_no_strings() -> None:
    with tf.Graph().as_default() as graph:
        tf.constant(1.0)
        tf.constant(["a"], name="text")
    number, text = graph.as_graph_def().node
    assert strings(number) is None
    text.attr["value"].tensor.tensor_content = b"b"
    assert strings(text) is None
    assert strings(node("Identity")) is None
    assert strings(None) is None
