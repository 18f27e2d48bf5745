"""The graphs of a SavedModel, as its file describes them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hubopt._platform.tf_private import read_saved_model


@dataclass(frozen=True, slots=True)
class MetaGraph:
    """One graph of a SavedModel, as its file describes it.

    Attributes:
        tags: Its tags.
        signatures: The names of its signatures, and of the outputs of each.
        can_be_called: Whether the object it restores has a ``__call__``.
    """

    tags: frozenset[str]
    signatures: dict[str, tuple[str, ...]]
    can_be_called: bool


def read_meta_graphs(folder: Path) -> list[MetaGraph]:
    """Describe a SavedModel's graphs from its file, without loading it.

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
