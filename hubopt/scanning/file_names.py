"""Decides whether an operation of a SavedModel only uses file names that the loader provides."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from hubopt.scanning.asset_files import assets
from hubopt.scanning.attributes import literal
from hubopt.scanning.saved_graphs import PlacedNode, Reach, node_name, without_assets
from hubopt.scanning.saved_origins import Origin, Origins

_FOREST_MARK = re.compile(rb"\w*done")
"""The file by which tensorflow_decision_forests finds a model's folder: it cuts this name off."""


class FileNames:
    """Judges the file names that a ``MetaGraphDef`` uses."""

    def __init__(self, meta_graph: Any, runs: tuple[Reach, ...]) -> None:
        """Prepare to trace file names through the graph.

        Args:
            meta_graph: The graph.
            runs: The parts of it that can run.
        """
        self._origins = Origins(meta_graph)
        self._runs = runs
        self._without_assets = without_assets(meta_graph)
        checkpoint = node_name(meta_graph.saver_def.filename_tensor_name)
        self._checkpoint = frozenset({checkpoint} - {""})
        files = list(assets(meta_graph))
        self._assets = frozenset(node_name(asset.tensor_info.name) for asset in files)
        self._file_names = tuple(asset.filename for asset in files)

    def is_checkpoint(self, placed: PlacedNode, at: int) -> bool:
        """Whether a node's input is the path of the checkpoint that the loader restores."""
        return all(
            origin.main_node in self._checkpoint
            for origin in self._origins_of(placed, at, self._checkpoint)
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
            for origin in self._origins_of(placed, at, self._assets)
        )

    def is_assets_folder(self, placed: PlacedNode, at: int) -> bool:
        """Whether a node only reads files in the folder of the model's own files.

        The node loads a decision forest: it reads the files in its input folder that begin with
        a prefix.
        """
        inputs = placed.node.input
        cut = placed.siblings.get(node_name(inputs[at])) if at < len(inputs) else None
        if cut is None or cut.op != "StaticRegexReplace":
            return False
        mark = literal(cut, "pattern", "s")
        prefix = literal(placed.node, "file_prefix", "s", b"")
        if mark is None or not _FOREST_MARK.fullmatch(mark) or literal(cut, "rewrite", "s") != b"":
            return False
        if prefix is None or not re.fullmatch(rb"[\w-]*", prefix):
            return False
        names = {
            name.replace(mark.decode(), "", count) for name in self._file_names for count in (1, -1)
        }
        leaves_folder = any(".." in PurePosixPath(name).parts for name in names)
        return not leaves_folder and self.is_asset(
            PlacedNode(cut, placed.function, placed.siblings), 0
        )

    def _origins_of(self, placed: PlacedNode, at: int, fed: frozenset[str]) -> Iterator[Origin]:
        if at >= len(placed.node.input):
            yield Origin()
            return
        has_none = True
        for origin in self._origins.of(placed.function, placed.node.input[at], fed):
            has_none = False
            yield origin
        if has_none and any(run.holds(placed) for run in self._runs):
            yield Origin()  # it runs, but through no call that can be followed
