"""The samples on which the layer's own order is a tie, and its other answers to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hubopt.exporter import Tensors
from hubopt.parity.ties import DRAWS, TIES, Ties, moved, tie_number
from hubopt.reference.reference_set import ReferenceSet
from hubopt.sampling.arrays import read_samples, sample_numbers, write_samples


def add_ties(known: ReferenceSet, drawn: Path) -> ReferenceSet:
    """Return ``known`` with its ties.

    Args:
        known: A reference set from which no more samples are left out.
        drawn: The layer's answers with jittered sort keys, see `VariantRunner.take`.
    """
    names = known.spec.output_names
    found = _read(known, drawn)
    kept: dict[int, Tensors] = {}
    ties: dict[str, list[int]] = {}
    counts = []
    for at, (number, reference) in enumerate(zip(known.kept, known.read_outputs(), strict=True)):
        answers = [answer for answer in found.get(number, ()) if _moved(answer, reference)]
        counts.append(len(answers))
        for draw, answer in enumerate(answers):
            kept[tie_number(number, draw)] = answer
        for name in names:
            if any(name in _moved(answer, reference) for answer in answers):
                ties.setdefault(name, []).append(at)
    if not kept:
        return known
    path = known.inputs.with_name(f"{TIES}.npz")
    write_samples(path, kept)
    quality = replace(
        known.quality,
        ties={name: tuple(places) for name, places in ties.items()},
        alternatives=tuple(counts),
    )
    return replace(known, ties=path, quality=quality)


def read_ties(known: ReferenceSet) -> list[Ties]:
    """Return what is known of the ties of each kept sample; empty if that is nothing."""
    if known.ties is None:
        return []
    found = _read(known, known.ties)
    plain = [_is_of_one_value(sample) for sample in known.read_inputs()]
    return [
        Ties(found.get(number, ()), decides=not is_plain or all(plain))
        for number, is_plain in zip(known.kept, plain, strict=True)
    ]


def _read(known: ReferenceSet, path: Path) -> dict[int, list[dict[str, Any]]]:
    """Return the answers in a file of draws, by the number of the sample."""
    numbers = sample_numbers(path)
    answers: dict[int, list[dict[str, Any]]] = {}
    for number, answer in zip(numbers, read_samples(path, known.spec.outputs), strict=True):
        answers.setdefault(number // DRAWS, []).append(answer)
    return answers


def _moved(answer: Tensors, reference: Tensors) -> list[str]:
    """Return the outputs that differ; none if the answer has another shape."""
    pairs: Mapping[str, Any] = {
        name: (np.asarray(answer[name]), np.asarray(reference[name])) for name in reference
    }
    if any(one.shape != other.shape for one, other in pairs.values()):
        return []
    return [name for name, (one, other) in pairs.items() if moved(one, other).any()]


def _is_of_one_value(sample: Tensors) -> bool:
    """Whether every tensor has one value throughout, and there is one with several elements."""
    arrays = [np.asarray(array) for array in sample.values()]
    return any(array.size > 1 for array in arrays) and all(
        bool((array == array.ravel()[0]).all()) for array in arrays if array.size
    )
