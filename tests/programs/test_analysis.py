"""The facts about a graph can be computed for any graph."""

import tensorflow as tf

from hubopt.exporter import Program
from hubopt.programs.analysis import analyze
from hubopt.programs.graphs.frozen_graph import read_frozen_graph


def test_the_facts_of_a_program_are_those_of_its_frozen_graph(
    tiny_program: tuple[object, Program],
) -> None:
    program = tiny_program[1]
    frozen = read_frozen_graph(program)
    inputs = dict(
        zip((spec.name for spec in program.spec.inputs), program.input_tensors, strict=True)
    )
    outputs = dict(zip(program.spec.output_names, program.output_tensors, strict=True))
    facts = analyze(frozen.graph_def, inputs, outputs, tuple(frozen.weights))
    assert facts.ops == program.ops
    assert (facts.constant, facts.weightless) == (program.constant, program.weightless)
    assert facts.is_compilable
    assert not facts.has_tables


def test_constant_and_weightless_outputs_are_detected() -> None:
    graph = tf.Graph()
    with graph.as_default():
        ids = tf.compat.v1.placeholder(tf.int32, [4], name="ids")
        table = tf.constant([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], name="table")
        tf.gather(table, ids, name="looked_up")
        tf.identity(ids, name="same")
        tf.constant([7.0], name="fixed")
    outputs = {"looked_up": "looked_up:0", "same": "same:0", "fixed": "fixed:0"}
    facts = analyze(graph.as_graph_def(), {"ids": "ids:0"}, outputs)
    assert facts.constant == ("fixed",)
    assert set(facts.weightless) == {"same", "fixed"}
    assert (facts.domains["ids"].low, facts.domains["ids"].high) == (0, 2)
    assert "GatherV2" in {use.op for use in facts.ops}
