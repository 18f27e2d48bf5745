"""A description of a SavedModel's graphs is read from its file."""

from pathlib import Path

from hubopt.models.meta_graphs import read_meta_graphs


def test_a_saved_model_is_described_without_loading_it(tiny: Path) -> None:
    (graph,) = read_meta_graphs(tiny)
    assert graph.tags == {"serve"}
    assert graph.signatures == {"serving_default": ("difference", "sum")}
    assert graph.can_be_called
