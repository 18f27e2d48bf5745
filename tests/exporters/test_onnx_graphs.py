"""The names of tensors in ONNX graphs."""

from hubopt_exporters.onnx_graphs import nodes, rename_tensors
from tests.exporters.onnx_making import graph_with, node


def test_renaming_reaches_nested_graphs_and_resolves_name_conflicts() -> None:
    inner = graph_with(node("Neg", ["x:0"], ["inner"]), inputs=(), outputs=("inner",))
    graph = graph_with(
        node("Not", ["c"], ["y"]),  # an inner tensor already has the new name
        node("If", ["y"], ["y:0"], then_branch=inner, else_branch=inner),
    )
    rename_tensors(graph, {"x:0": "x", "y:0": "y"})
    assert [value.name for value in graph.input] == ["x"]
    assert [value.name for value in graph.output] == ["y"]
    renamed = graph.node[0].output[0]
    assert renamed not in ("x", "y")
    assert list(graph.node[1].input) == [renamed]
    assert list(graph.node[1].output) == ["y"]
    negations = [found for found in nodes(graph) if found.op_type == "Neg"]
    assert [list(negation.input) for negation in negations] == [["x"], ["x"]]


def test_two_names_can_be_swapped() -> None:
    graph = graph_with(node("Neg", ["a"], ["b"]), inputs=("a",), outputs=("b",))
    rename_tensors(graph, {"a": "b", "b": "a"})
    assert (graph.input[0].name, graph.output[0].name) == ("b", "a")
    assert (list(graph.node[0].input), list(graph.node[0].output)) == (["b"], ["a"])
