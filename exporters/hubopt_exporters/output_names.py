"""Outputs that cannot have the layer's name in a file, because an input has it.

ONNX and TensorRT have one set of names for all tensors. Such an output gets another name there.
The file or its details say which, so that a runner can give the layer's own names back.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping

from hubopt.spec import ModelSpec

KEY = "hubopt.output_names"
"""The key, in the file's metadata and in `Artifact.details`, of the names of renamed outputs."""


def choose_names(spec: ModelSpec) -> dict[str, str]:
    """Return the file's name of each output that an input's name is not free for.

    >>> from hubopt.spec import TensorSpec
    >>> scores = TensorSpec("scores", "float32", ())
    >>> choose_names(ModelSpec((scores,), (scores,), "scores", "scores"))
    {'scores': 'scores_output'}
    """
    inputs = {tensor.name for tensor in spec.inputs}
    taken = inputs.union(spec.output_names)
    chosen: dict[str, str] = {}
    for name in spec.output_names:
        if name in inputs:
            free = f"{name}_output"
            while free in taken:
                free += "_"
            taken.add(free)
            chosen[name] = free
    return chosen


def format_names(names: Mapping[str, str]) -> dict[str, str]:
    """Return the entry for a file's metadata or an artifact's details; empty without names."""
    return {KEY: json.dumps(dict(names))} if names else {}


def parse_names(entries: Mapping[str, object], held: Collection[str]) -> dict[str, str]:
    """Return the file's names of renamed outputs, by the layer's name.

    A file can come from anywhere. An entry that does not fit the outputs that it holds is ignored.

    Args:
        entries: A file's metadata or an artifact's details.
        held: The names of the outputs that the file holds.
    """
    text = entries.get(KEY)
    try:
        names = json.loads(text) if isinstance(text, str) else {}
    except (ValueError, RecursionError):
        return {}
    if not isinstance(names, dict) or not all(
        isinstance(name, str) and name in held for name in names.values()
    ):
        return {}
    kept = set(held).difference(names.values())
    is_unique = len(set(names.values())) == len(names) and not kept.intersection(names)
    return names if is_unique else {}
