"""`scan`: refuses a SavedModel that could do more than compute, before anything of it runs."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from hubopt.errors import UnsafeModelError
from hubopt.models.file_names import FileNames
from hubopt.models.op_packages import package_of
from hubopt.scanning.asset_files import outside_assets
from hubopt.scanning.attributes import strings
from hubopt.scanning.dangers import (
    CHECKPOINT_INPUT,
    DANGEROUS_IF,
    FILE_INPUT,
    FOREST_INPUT,
    UNKNOWN,
    VOCABULARY_INPUT,
    danger_of,
)
from hubopt.scanning.fingerprint import check_fingerprint
from hubopt.scanning.operation_groups import Danger
from hubopt.scanning.saved_graphs import (
    PlacedNode,
    choose_graphs,
    node_name,
    nodes,
    reach,
    restoring,
)
from hubopt.tf_private import is_registered, read_saved_model

_ASSET = "AssetFileDef"


def scan(folder: Path, tags: tuple[str, ...] = (), allow: Collection[str] = ()) -> None:
    """Look through a SavedModel's file, without loading it.

    Args:
        folder: The SavedModel.
        tags: Look at the graph with these tags only; by default at every graph.
        allow: Names of operations that the caller accepts.

    Raises:
        UnsafeModelError: Operations read or write files, run Python, reach the network or are
            not known; all of them are named.
        LoadError: The file is damaged, or not the one that was saved with its fingerprint.
    """
    saved_model = read_saved_model(folder)
    check_fingerprint(folder, saved_model)
    found: dict[str, list[str]] = {}
    abilities: dict[str, str] = {}
    for graph in choose_graphs(saved_model, tags):
        for placed, danger in _dangers(graph):
            if placed.node.op not in allow:
                found.setdefault(placed.node.op, []).append(placed.place)
                abilities[placed.node.op] = danger.ability
        for name in outside_assets(folder, graph):
            if _ASSET not in allow:
                found.setdefault(_ASSET, []).append(repr(name))
                abilities[_ASSET] = "names a file outside the model's folder assets"
    if not found:
        return
    raise UnsafeModelError(
        f"model {folder}",
        tuple(
            f"{op} (x{len(places)}, {places[0]}): {abilities[op]}"
            for op, places in sorted(found.items())
        ),
        "operations that only compute",
        "load it only if you trust whoever wrote it: "
        + " ".join(f"--allow-op {op}" for op in sorted(found))
        + f" (allow_ops={sorted(found)!r})",
    )


def _dangers(meta_graph: Any) -> Iterator[tuple[PlacedNode, Danger]]:
    runs = reach(meta_graph)
    restores = restoring(meta_graph)
    names = FileNames(meta_graph)
    dangers = _op_dangers(meta_graph)
    for placed in nodes(meta_graph):
        danger = dangers[placed.node.op]
        if danger is None:
            continue
        if danger.only_if_run and not runs.holds(placed):
            # Every SavedModel holds some; the loader runs those that restore its variables.
            if not restores.holds(placed):
                continue
            at = CHECKPOINT_INPUT.get(placed.node.op)
            if at is not None and names.is_checkpoint(placed, at):
                continue
        if _is_dangerous_here(placed, names):
            yield placed, danger


def _op_dangers(meta_graph: Any) -> dict[str, Danger | None]:
    functions = {each.signature.name for each in meta_graph.graph_def.library.function}
    ops = {placed.node.op for placed in nodes(meta_graph)}
    return {op: _op_danger(op, functions) for op in ops}


def _op_danger(op: str, functions: Collection[str]) -> Danger | None:
    # A function has the name of no operation: TensorFlow refuses to add it.
    if op in functions and not is_registered(op):
        return None
    danger = danger_of(op)
    if danger is UNKNOWN and not is_registered(op) and package_of(op) is None:
        return None  # it cannot run; `hubopt.models.op_packages` tells what is missing
    return danger


def _is_dangerous_here(placed: PlacedNode, names: FileNames) -> bool:
    node = placed.node
    if node.op in DANGEROUS_IF:
        return DANGEROUS_IF[node.op](node)
    if node.op in VOCABULARY_INPUT:
        return not names.is_asset(placed, VOCABULARY_INPUT[node.op])
    if node.op in FOREST_INPUT:
        return not names.is_assets_folder(placed, FOREST_INPUT[node.op])
    if node.op in FILE_INPUT:
        at = FILE_INPUT[node.op]
        source = node_name(node.input[at]) if at < len(node.input) else ""
        texts = strings(placed.siblings.get(source))
        return texts is None or any(texts)
    return True
