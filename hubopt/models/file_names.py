"""Whether an operation of a SavedModel takes the name of a file that the loader gives it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hubopt.scanning.asset_files import assets
from hubopt.scanning.saved_graphs import PlacedNode, node_name, reach, restoring, without_assets
from hubopt.scanning.saved_origins import Origin, Origins


class FileNames:
    """Judges the names of files that a ``MetaGraphDef`` computes with."""

    def __init__(self, meta_graph: Any) -> None:
        self._origins = Origins(meta_graph)
        self._runs = (reach(meta_graph), restoring(meta_graph))
        self._without_assets = without_assets(meta_graph)
        checkpoint = node_name(meta_graph.saver_def.filename_tensor_name)
        self._checkpoint = frozenset({checkpoint} - {""})
        self._assets = frozenset(node_name(each.tensor_info.name) for each in assets(meta_graph))

    def is_checkpoint(self, placed: PlacedNode, at: int) -> bool:
        """Whether a node's input is the path of the checkpoint that the loader restores."""
        return all(
            origin.main_node in self._checkpoint
            for origin in self._of(placed, at, self._checkpoint)
        )

    def is_asset(self, placed: PlacedNode, at: int) -> bool:
        """Whether a node's input is the path of one of the model's own files."""
        if self._without_assets.holds(placed):
            return False
        return all(
            origin.main_node in self._assets
            or (
                origin.saved_object is not None
                and origin.saved_object.WhichOneof("kind") == "asset"
            )
            for origin in self._of(placed, at, self._assets)
        )

    def _of(self, placed: PlacedNode, at: int, fed: frozenset[str]) -> Iterator[Origin]:
        if at >= len(placed.node.input):
            yield Origin()
            return
        none = True
        for origin in self._origins.of(placed.function, placed.node.input[at], fed):
            none = False
            yield origin
        if none and any(each.holds(placed) for each in self._runs):
            yield Origin()  # it runs, though by no call that can be followed
