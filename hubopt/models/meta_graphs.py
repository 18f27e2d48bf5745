"""Reads the graphs of a SavedModel from its file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hubopt._platform.tf_private import read_saved_model


@dataclass(frozen=True, slots=True)
class MetaGraph:
    """The description of one graph in the file of a SavedModel.

    Attributes:
        tags: The tags of the graph.
        signatures: The names of the outputs of each signature, by its name.
        can_be_called: Whether the restored object has a ``__call__``.
    """

    tags: frozenset[str]
    signatures: dict[str, tuple[str, ...]]
    can_be_called: bool


def read_meta_graphs(folder: Path) -> list[MetaGraph]:
    """Return the graphs of a SavedModel from its file, without loading it.

    Raises:
        LoadError: As for `hubopt._platform.tf_private.read_saved_model`.
    """
    return [
        MetaGraph(
            frozenset(graph.meta_info_def.tags),
            {
                name: tuple(sorted(graph.signature_def[name].outputs))
                for name in sorted(graph.signature_def)
                if not name.startswith("__")
            },
            any(
                child.local_name == "__call__"
                for root in graph.object_graph_def.nodes[:1]
                for child in root.children
            ),
        )
        for graph in read_saved_model(folder).meta_graphs
    ]
