"""Tensors of an artifact beside the reference: two child processes, arrays through files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hubopt.diagnosis.measure import Measure, measure
from hubopt.diagnosis.probing import Probed
from hubopt.diagnosis.reference import Reference


class Evaluator:
    """Measures tensors, each once, and counts the runs.

    Args:
        reference: TensorFlow's side.
        artifact: The artifact's side.
        matched: TensorFlow's tensor for each of the artifact's.
        inputs: The samples.
        samples: Which of them.
        folder: For the files between the processes.
    """

    def __init__(
        self,
        reference: Reference,
        artifact: Probed,
        matched: Mapping[str, str],
        inputs: Path,
        samples: Sequence[int],
        folder: Path,
    ) -> None:
        self._reference = reference
        self._artifact = artifact
        self._matched = matched
        self._inputs = inputs
        self._samples = tuple(samples)
        self._folder = folder
        self.measures: dict[str, Measure] = {}
        self.runs = 0

    def __call__(self, names: Sequence[str]) -> dict[str, bool]:
        """Return whether each tensor diverges."""
        new = [name for name in names if name not in self.measures]
        if new:
            self.runs += 1
            found, wide, narrow = self.arrays(new, self._samples)
            for name in new:
                self.measures[name] = measure(found[name], wide[name], narrow[name])
        return {name: self.measures[name].diverges for name in names}

    def arrays(
        self, names: Sequence[str], samples: Sequence[int]
    ) -> tuple[dict[str, list[Any]], dict[str, list[Any]], dict[str, list[Any]]]:
        """Return each tensor of each sample: the artifact's, the reference's, in float32."""
        fetches = list(dict.fromkeys(self._matched[name] for name in names))
        self._reference.answer(self._inputs, list(samples), fetches, self._folder)
        path = self._folder / "found.npz"
        self._artifact.answer(self._inputs, list(samples), list(names), path)
        found = _read(path, {name: name for name in names}, len(samples))
        own = {name: self._matched[name] for name in names}
        wide = _read(self._folder / "wide.npz", own, len(samples))
        narrow = _read(self._folder / "narrow.npz", own, len(samples))
        return found, wide, narrow


def worst_samples(
    evaluator: Evaluator, outputs: Sequence[str], count: int, most: int
) -> tuple[list[int], dict[str, Measure]]:
    """Return the samples with the largest errors in the outputs, and each output's error.

    Args:
        evaluator: What runs them.
        outputs: The artifact's outputs.
        count: How many samples there are.
        most: How many to return.
    """
    errors: dict[int, float] = {}
    by_output: dict[str, Measure] = {}
    for at in range(count):
        found, wide, narrow = evaluator.arrays(outputs, [at])
        each = {name: measure(found[name], wide[name], narrow[name]) for name in outputs}
        errors[at] = max((one.excess for one in each.values()), default=0.0)
        for name, one in each.items():
            if name not in by_output or one.excess > by_output[name].excess:
                by_output[name] = one
    ranked = sorted(errors, key=lambda at: (-errors[at], at))
    return ranked[:most], by_output


def _read(path: Path, keys: Mapping[str, str], samples: int) -> dict[str, list[Any]]:
    with np.load(path, allow_pickle=False) as archive:
        return {
            name: [archive[f"{at}/{key}"] for at in range(samples)] for name, key in keys.items()
        }
