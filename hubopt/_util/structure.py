"""Nests of tensor names: how a layer packs its inputs and outputs.

A structure is a JSON value whose leaves are tensor names. ``"x"`` is one tensor,
``["a", "b"]`` a sequence of two, ``{"note": "note"}`` a mapping with one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

Structure: TypeAlias = Any  # str | list[Structure] | dict[str, Structure]; mypy has no JSON type


def leaves(structure: Structure) -> list[str]:
    """Return the tensor names of ``structure``, depth first."""
    if isinstance(structure, str):
        return [structure]
    children = structure.values() if isinstance(structure, Mapping) else structure
    return [name for child in children for name in leaves(child)]


def pack(structure: Structure, tensors: Mapping[str, Any]) -> Any:
    """Return ``structure`` with each name replaced by its tensor."""
    if isinstance(structure, str):
        return tensors[structure]
    if isinstance(structure, Mapping):
        return {key: pack(child, tensors) for key, child in structure.items()}
    return [pack(child, tensors) for child in structure]


def unpack(structure: Structure, nest: Any) -> dict[str, Any]:
    """Return the tensors of ``nest`` by name.

    Raises:
        ValueError: ``nest`` is not packed as ``structure`` says.
    """
    if isinstance(structure, str):
        if isinstance(nest, Mapping | list | tuple):
            raise ValueError(
                f"one tensor was expected for {structure!r}, found {type(nest).__name__}"
            )
        return {structure: nest}
    if isinstance(structure, Mapping):
        if not isinstance(nest, Mapping) or {str(key) for key in nest} != set(structure):
            found = sorted(map(str, nest)) if isinstance(nest, Mapping) else type(nest).__name__
            raise ValueError(f"a mapping with keys {sorted(structure)} was expected, found {found}")
        by_name = {str(key): value for key, value in nest.items()}
        pairs = [(child, by_name[key]) for key, child in structure.items()]
    else:
        if not isinstance(nest, list | tuple) or len(nest) != len(structure):
            size = f"{len(nest)}" if isinstance(nest, list | tuple) else type(nest).__name__
            raise ValueError(f"a sequence of {len(structure)} was expected, found {size}")
        pairs = list(zip(structure, nest, strict=True))
    return {name: tensor for child, part in pairs for name, tensor in unpack(child, part).items()}


def name_leaves(nest: Any, single: str, prefix: str) -> Structure:
    """Name every leaf of ``nest``: mapping keys give names, positions give ``prefix_0``.

    Args:
        nest: Any nest of mappings and sequences; its leaves are not examined.
        single: The name when ``nest`` is itself one leaf.
        prefix: The stem for leaves that only have a position.
    """

    def walk(part: Any, path: tuple[str, ...]) -> Structure:
        if isinstance(part, Mapping):
            # Sorted by key like tf.nest: the order of a restored mapping changes between runs.
            by_key = {str(key): child for key, child in part.items()}
            return {key: walk(by_key[key], (*path, key)) for key in sorted(by_key)}
        if isinstance(part, list | tuple):
            return [walk(child, (*path, f"{prefix}_{at}")) for at, child in enumerate(part)]
        return "/".join(path) if path else single

    return walk(nest, ())
