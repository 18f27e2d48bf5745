"""`scan`: refuses a SavedModel that could do more than compute, before any part of it runs."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from hubopt._platform.tf_private import is_registered, read_saved_model
from hubopt.errors import UnsafeModelError
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
from hubopt.scanning.file_names import FileNames
from hubopt.scanning.fingerprint import check_fingerprint
from hubopt.scanning.op_packages import package_of
from hubopt.scanning.operation_groups import Danger
from hubopt.scanning.saved_graphs import (
    PlacedNode,
    choose_graphs,
    node_name,
    nodes,
    reach,
    restoring,
)

_ASSET = "AssetFileDef"
_FUNCTION = "FunctionDef"


def scan(folder: Path, tags: tuple[str, ...] = (), allow: Collection[str] = ()) -> None:
    """Scan a SavedModel's file without loading the model.

    Args:
        folder: The SavedModel.
        tags: Look at the graph with these tags only; by default at every graph.
        allow: Names of operations that the caller accepts.

    Raises:
        UnsafeModelError: Operations read or write files, run Python, reach the network or are
            unknown. The error lists all of them.
        LoadError: The file is damaged, or not the one that was saved with its fingerprint.
    """
    saved_model = read_saved_model(folder)
    check_fingerprint(folder, saved_model)
    found: dict[str, list[str]] = {}
    abilities: dict[str, str] = {}
    for graph in choose_graphs(saved_model, tags):
        for name, place, ability in _findings(folder, graph):
            if name not in allow:
                found.setdefault(name, []).append(place)
                abilities[name] = ability
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


def _findings(folder: Path, meta_graph: Any) -> Iterator[tuple[str, str, str]]:
    """Yield what to refuse: the name under which a caller allows it, its place, its ability."""
    for placed, danger in _dangers(meta_graph):
        yield placed.node.op, placed.place, danger.ability
    for name in outside_assets(folder, meta_graph):
        yield _ASSET, repr(name), "names a file outside the model's folder assets"
    for function in meta_graph.graph_def.library.function:
        name = function.signature.name
        if is_registered(name) or package_of(name) is not None:
            # The loader may call it instead of the operation, while the scan judges the operation.
            yield _FUNCTION, repr(name), "has the name of an operation and may run in its place"


def _dangers(meta_graph: Any) -> Iterator[tuple[PlacedNode, Danger]]:
    runs = reach(meta_graph)
    restores = restoring(meta_graph)
    names = FileNames(meta_graph, (runs, restores))
    functions = {function.signature.name for function in meta_graph.graph_def.library.function}
    dangers: dict[str, Danger | None] = {}
    for placed in nodes(meta_graph):
        op = placed.node.op
        if op not in dangers:
            dangers[op] = _op_danger(op, functions)
        danger = dangers[op]
        if danger is None:
            continue
        if danger.only_if_run and not runs.holds(placed):
            # Every SavedModel has some; the loader runs those that restore its variables.
            if not restores.holds(placed):
                continue
            at = CHECKPOINT_INPUT.get(placed.node.op)
            if at is not None and names.is_checkpoint(placed, at):
                continue
        if _is_dangerous_here(placed, names):
            yield placed, danger


def _op_danger(op: str, functions: Collection[str]) -> Danger | None:
    if op in functions and not is_registered(op):
        return None
    danger = danger_of(op)
    if danger is UNKNOWN and not is_registered(op) and package_of(op) is None:
        return None  # it cannot run; `hubopt.scanning.op_packages` reports it as missing
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
