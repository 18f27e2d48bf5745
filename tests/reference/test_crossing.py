"""Crossing samples by trial and error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hubopt.reference.crossing import improve

GENERATOR = np.random.default_rng(0)


def sevens(sample: Mapping[str, Any]) -> tuple[float, ...]:
    return (float((sample["x"] == 7).sum()),)


def test_a_sample_takes_better_values_and_the_original_is_unchanged() -> None:
    start = {"x": GENERATOR.integers(0, 8, (2, 6))}
    others = [{"x": GENERATOR.integers(0, 8, (2, 6))} for _ in range(16)]
    before = start["x"].copy()
    found = improve(start, others, sevens, seed=0)
    assert sevens(found) > sevens(start)
    assert (start["x"] == before).all()
    drawn = np.stack([start["x"], *(other["x"] for other in others)])
    assert (found["x"] == drawn).any(axis=0).all(), "each value was drawn at that position"


def test_the_same_seed_gives_the_same_result() -> None:
    start = {"x": np.zeros((2, 6), int)}
    others = [{"x": GENERATOR.integers(0, 8, (2, 6))} for _ in range(4)]
    one, again = (improve(start, others, sevens, seed=3) for _ in range(2))
    assert (one["x"] == again["x"]).all()


def test_masks_are_exchanged_as_a_whole() -> None:
    masks = [np.array([[1] * at + [0] * (6 - at)]) for at in range(1, 7)]
    samples = [{"mask": mask, "x": GENERATOR.integers(2, 9, (1, 6))} for mask in masks]
    seen = []
    improve(samples[0], samples, lambda sample: (seen.append(sample["mask"]) or len(seen),), seed=0)
    assert all(any((mask == original).all() for original in masks) for mask in seen)
    assert len({mask.tobytes() for mask in seen}) > 1


def test_samples_of_other_shapes_are_skipped() -> None:
    start = {"x": np.zeros((1, 3), int)}
    found = improve(start, [{"x": np.full((1, 5), 7)}], sevens, seed=0)
    assert (found["x"] == 0).all()
