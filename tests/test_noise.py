"""What an artifact owes to the layer's own unsteadiness, and what it does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hubopt.arrays import write_samples
from hubopt.examine import Kit
from hubopt.handles import Access, LayerOptions
from hubopt.noise import measure_noise
from hubopt.parity import TOLERANCES, judge
from hubopt.samples import draw
from hubopt.session import open_layer_session
from hubopt.spec import Dim, ModelSpec, TensorSpec

SPEC = TensorSpec("y", "float32", (Dim(100, "flag"),))
MODEL = ModelSpec((SPEC,), (SPEC,), "y", "y")
REFERENCE = {"y": np.linspace(-1, 1, 100, dtype="float32")}


def verdict(move: float, noise: float) -> Any:
    actual = {"y": REFERENCE["y"] + np.float32(move)}
    return judge(MODEL, [actual], [REFERENCE], TOLERANCES["fp32"], {"y": noise})


def test_noise_is_added_to_the_tolerance_and_told() -> None:
    assert not verdict(1e-3, 0).passed
    passed = verdict(1e-3, 1.1e-3)
    assert passed.passed
    assert passed.note == (
        "within the layer's own noise: with oneDNN switched, it moves y by 1.1e-03"
    )


def test_more_than_the_noise_fails() -> None:
    assert not verdict(3e-3, 1.1e-3).passed


def test_a_layer_that_moves_much_excuses_nothing() -> None:
    assert not verdict(0.02, 0.03).passed


def test_the_noise_of_a_steady_layer_is_none(tiny: Path, tmp_path: Path) -> None:
    layer = open_layer_session(str(tiny), LayerOptions(), Access())
    from hubopt.hints import Hints

    spec = layer.resolve(Hints())
    kit = Kit(spec, tmp_path / "inputs.npz", tmp_path / "reference.npz")
    write_samples(kit.inputs, draw(spec.inputs))
    layer.answer(spec, kit.inputs, kit.reference)
    noise = measure_noise(str(tiny), LayerOptions(), Access(), kit, tmp_path / "log")
    assert sorted(noise) == ["difference", "sum"]
    assert all(move < 1e-5 for move in noise.values())
    assert not list(tmp_path.glob(".noise*"))


def test_a_reference_that_is_off_shows_as_noise(tiny: Path, tmp_path: Path) -> None:
    """The same measure with a reference moved by hand, so that it cannot be always zero."""
    from hubopt.hints import Hints

    layer = open_layer_session(str(tiny), LayerOptions(), Access())
    spec = layer.resolve(Hints())
    kit = Kit(spec, tmp_path / "inputs.npz", tmp_path / "reference.npz")
    samples = draw(spec.inputs)
    write_samples(kit.inputs, samples)
    layer.answer(spec, kit.inputs, kit.reference)
    with np.load(kit.reference) as stored:
        moved = {key: stored[key] + (0.25 if key.endswith("sum") else 0) for key in stored.files}
    with kit.reference.open("wb") as stream:
        np.savez(stream, **moved)
    noise = measure_noise(str(tiny), LayerOptions(), Access(), kit, tmp_path / "log")
    assert noise["sum"] == pytest.approx(0.25, rel=1e-3)
    assert noise["difference"] < 1e-5
