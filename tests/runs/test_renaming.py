"""Artifacts whose tensors have other names than the layer's."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from hubopt.exporter import Artifact, Tensors
from hubopt.runs.renaming import load_runner
from hubopt.spec import Dim, ModelSpec, TensorSpec

ROW = (Dim(2, "trace"),)
SPEC = ModelSpec(
    (TensorSpec("scores", "float32", ROW), TensorSpec("x", "float32", ROW)),
    (TensorSpec("scores", "float32", ROW), TensorSpec("y", "float32", ROW)),
    {"scores": "scores", "x": "x"},
    {"scores": "scores", "y": "y"},
)


def runner(artifact: Artifact) -> Any:
    """It goes by its artifact's names: the first output is the sum, the second the difference."""
    one, two = (spec.name for spec in artifact.spec.inputs)
    plus, minus = artifact.spec.output_names

    def run(inputs: Tensors) -> dict[str, Any]:
        assert sorted(inputs) == sorted((one, two))
        return {plus: inputs[one] + inputs[two], minus: inputs[one] - inputs[two]}

    return SimpleNamespace(run=run, device="CPU")


def load(folder: Path, names: dict[str, str]) -> Any:
    path = folder / "model"
    path.touch()
    return load_runner(SimpleNamespace(runner=runner), Artifact("theirs", path, SPEC), names)  # type: ignore[arg-type]


def test_a_name_that_an_input_shares_stands_for_the_output(tmp_path: Path) -> None:
    inputs = {"scores": np.float32([5, 7]), "x": np.float32([1, 2])}
    for names in ({"scores": "out:0", "x": "in:0", "y": "out:1"}, {"scores": "y", "y": "scores"}):
        outputs = load(tmp_path, names).run(inputs)
        assert {name: array.tolist() for name, array in outputs.items()} == {
            "scores": [6, 9],
            "y": [4, 5],
        }
