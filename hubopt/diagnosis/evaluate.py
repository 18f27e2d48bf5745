"""Tensors of an artifact beside the reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hubopt.diagnosis.measure import Measure, measure
from hubopt.diagnosis.probing import Probed
from hubopt.diagnosis.reference import Reference

SAMPLES = 2
"""How many samples the search looks at: those with the largest errors in the outputs."""

Arrays = tuple[dict[str, list[Any]], dict[str, list[Any]], dict[str, list[Any]]]
"""By the artifact's tensor, an array a sample: the artifact's, the reference's, in float32."""
Source = Callable[[Sequence[str], Sequence[int]], Arrays]
"""Gives the artifact's tensors of those names, of the samples with those numbers."""


@dataclass(frozen=True, slots=True)
class Sides:
    """Both sides in child processes, arrays through files.

    Attributes:
        reference: TensorFlow's side.
        artifact: The artifact's side.
        matched: TensorFlow's tensor for each of the artifact's.
        inputs: The samples.
        folder: For the files between the processes.
    """

    reference: Reference
    artifact: Probed
    matched: Mapping[str, str]
    inputs: Path
    folder: Path

    def __call__(self, names: Sequence[str], samples: Sequence[int]) -> Arrays:
        """Return each tensor of each sample."""
        fetches = list(dict.fromkeys(self.matched[name] for name in names))
        self.reference.answer(self.inputs, list(samples), fetches, self.folder)
        path = self.folder / "found.npz"
        self.artifact.answer(self.inputs, list(samples), list(names), path)
        found = read_arrays(path, {name: name for name in names}, len(samples))
        own = {name: self.matched[name] for name in names}
        wide = read_arrays(self.folder / "wide.npz", own, len(samples))
        narrow = read_arrays(self.folder / "narrow.npz", own, len(samples))
        return found, wide, narrow


class Evaluator:
    """Measures tensors, each once, and counts the runs.

    Args:
        arrays: Runs both sides.
        samples: On which samples.
    """

    def __init__(self, arrays: Source, samples: Sequence[int]) -> None:
        self._arrays = arrays
        self._samples = tuple(samples)
        self.measures: dict[str, Measure] = {}
        self.runs = 0

    def __call__(self, names: Sequence[str]) -> dict[str, bool]:
        """Return whether each tensor diverges."""
        new = [name for name in names if name not in self.measures]
        if new:
            self.runs += 1
            found, wide, narrow = self._arrays(new, self._samples)
            for name in new:
                self.measures[name] = measure(found[name], wide[name], narrow[name])
        return {name: self.measures[name].diverges for name in names}


def worst_output(
    arrays: Source, outputs: Sequence[str], count: int, leaves: Callable[[Measure], bool]
) -> tuple[str, list[int]] | None:
    """Return the output that leaves the reference furthest, and the samples to look at.

    Args:
        arrays: Runs both sides.
        outputs: The artifact's outputs.
        count: How many samples there are.
        leaves: Whether an output that is off by so much leaves the reference.

    Returns:
        None if none leaves it.
    """
    samples, errors = worst_samples(arrays, outputs, count, SAMPLES)
    wrong = [name for name in outputs if leaves(errors[name])]
    return (max(wrong, key=lambda name: errors[name].excess), samples) if wrong else None


def worst_samples(
    arrays: Source, outputs: Sequence[str], count: int, most: int
) -> tuple[list[int], dict[str, Measure]]:
    """Return the samples with the largest errors in the outputs, and each output's error.

    Args:
        arrays: Runs both sides.
        outputs: The artifact's outputs.
        count: How many samples there are.
        most: How many to return.
    """
    errors: dict[int, float] = {}
    by_output: dict[str, Measure] = {}
    for at in range(count):
        found, wide, narrow = arrays(outputs, [at])
        each = {name: measure(found[name], wide[name], narrow[name]) for name in outputs}
        errors[at] = max((one.excess for one in each.values()), default=0.0)
        for name, one in each.items():
            if name not in by_output or one.excess > by_output[name].excess:
                by_output[name] = one
    ranked = sorted(errors, key=lambda at: (-errors[at], at))
    return ranked[:most], by_output


def read_arrays(path: Path, keys: Mapping[str, str], samples: int) -> dict[str, list[Any]]:
    """Read the arrays of the samples 0 to ``samples``; ``keys`` are their names in the file."""
    with np.load(path, allow_pickle=False) as archive:
        return {
            name: [archive[f"{at}/{key}"] for at in range(samples)] for name, key in keys.items()
        }
