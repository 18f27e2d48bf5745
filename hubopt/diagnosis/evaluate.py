"""Evaluate tensors of an artifact and compare them with the reference."""

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
"""How many samples the search uses: those with the largest errors in the outputs."""

Arrays = tuple[dict[str, list[Any]], dict[str, list[Any]], dict[str, list[Any]]]
"""The arrays of the artifact, of the reference, and of the reference in float32: each mapping
holds one array per sample, by the artifact's tensor."""
Source = Callable[[Sequence[str], Sequence[int]], Arrays]
"""Takes names of the artifact's tensors and numbers of samples; returns their arrays."""


@dataclass(frozen=True, slots=True)
class Sides:
    """The reference and the artifact in child processes, which exchange arrays through files.

    Attributes:
        reference: The reference, computed by TensorFlow.
        artifact: The artifact.
        matched: The matching TensorFlow tensor by the artifact's tensor.
        inputs: The file of the samples.
        folder: The folder for the files that the processes exchange.
    """

    reference: Reference
    artifact: Probed
    matched: Mapping[str, str]
    inputs: Path
    folder: Path

    def __call__(self, names: Sequence[str], samples: Sequence[int]) -> Arrays:
        """Return the arrays of the tensors ``names`` for ``samples``."""
        fetches = list(dict.fromkeys(self.matched[name] for name in names))
        self.reference.answer(self.inputs, list(samples), fetches, self.folder)
        path = self.folder / "found.npz"
        self.artifact.answer(self.inputs, list(samples), list(names), path)
        found = read_arrays(path, {name: name for name in names}, len(samples))
        keys = {name: self.matched[name] for name in names}
        wide = read_arrays(self.folder / "wide.npz", keys, len(samples))
        narrow = read_arrays(self.folder / "narrow.npz", keys, len(samples))
        return found, wide, narrow


class Evaluator:
    """Measures every tensor once, and counts the runs.

    Args:
        arrays: Runs the reference and the artifact.
        samples: The numbers of the samples to run.
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
    """Return the output that diverges most from the reference, and the samples to search on.

    Args:
        arrays: Runs the reference and the artifact.
        outputs: The artifact's outputs.
        count: How many samples there are.
        leaves: Whether an output with this error diverges from the reference.

    Returns:
        The output and the numbers of the samples; None if no output diverges.
    """
    samples, errors = worst_samples(arrays, outputs, count, SAMPLES)
    wrong = [name for name in outputs if leaves(errors[name])]
    return (max(wrong, key=lambda name: errors[name].excess), samples) if wrong else None


def worst_samples(
    arrays: Source, outputs: Sequence[str], count: int, most: int
) -> tuple[list[int], dict[str, Measure]]:
    """Return the samples with the largest errors in the outputs, and each output's error.

    Args:
        arrays: Runs the reference and the artifact.
        outputs: The artifact's outputs.
        count: How many samples there are.
        most: How many samples to return.
    """
    errors: dict[int, float] = {}
    by_output: dict[str, Measure] = {}
    for at in range(count):
        found, wide, narrow = arrays(outputs, [at])
        measures = {name: measure(found[name], wide[name], narrow[name]) for name in outputs}
        errors[at] = max((error.excess for error in measures.values()), default=0.0)
        for name, error in measures.items():
            if name not in by_output or error.excess > by_output[name].excess:
                by_output[name] = error
    ranked = sorted(errors, key=lambda at: (-errors[at], at))
    return ranked[:most], by_output


def read_arrays(path: Path, keys: Mapping[str, str], samples: int) -> dict[str, list[Any]]:
    """Read the arrays of the first ``samples`` samples; ``keys`` are their names in the file."""
    with np.load(path, allow_pickle=False) as archive:
        return {
            name: [archive[f"{at}/{key}"] for at in range(samples)] for name, key in keys.items()
        }
