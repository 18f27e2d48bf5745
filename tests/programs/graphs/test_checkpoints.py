"""Weights in a checkpoint are written in batches and read by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from hubopt.programs.graphs import checkpoints
from hubopt.programs.graphs.checkpoints import (
    StoredTensor,
    batches,
    saved_variables,
    write_checkpoint,
)
from hubopt.programs.graphs.frozen_graph import NUMBERS

GENERATOR = np.random.default_rng(0)


@pytest.mark.parametrize("dtype", sorted(NUMBERS))
def test_a_weight_of_any_dtype_survives_a_round_trip(tmp_path: Path, dtype: str) -> None:
    expected = GENERATOR.integers(0, 2, [3, 4]).astype(tf.as_dtype(dtype).as_numpy_dtype)
    write_checkpoint(tmp_path / "weights", [("a/b", expected)])
    found = StoredTensor(tmp_path / "weights", "a/b").read()
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("batch_bytes", [1, 2**26])
def test_many_weights_are_written_in_batches_and_leave_no_other_files(
    tmp_path: Path, batch_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "_BATCH_BYTES", batch_bytes)
    arrays = {f"w{at}": GENERATOR.standard_normal((at + 1, 3)) for at in range(5)}
    tensors: dict[str, Any] = {**arrays, "tensor": tf.constant(arrays["w0"])}
    path = tmp_path / "weights"
    write_checkpoint(path, iter(tensors.items()))
    files = {file.name for file in tmp_path.rglob("*")}
    assert files == {
        "weights.index",
        *(name for name in files if name.startswith("weights.data-")),
    }
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(StoredTensor(path, name).read(), tensor)


def test_no_weights_make_no_file(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "weights", [])
    assert not list(tmp_path.iterdir())


def test_a_batch_is_released_before_the_next_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "_BATCH_BYTES", 20)
    taken = []

    def tensors() -> Any:
        for at, count in enumerate((1, 3, 1, 9, 1, 1)):
            taken.append(at)
            yield str(at), np.zeros(count, "float32")

    sizes, ahead = [], []
    for batch in batches(tensors()):
        sizes.append(len(batch))
        ahead.append(len(taken) - sum(sizes))
    assert sizes == [3, 1, 2], "20, 36 and 8 bytes"
    assert ahead == [1, 1, 0], "at most the one that no longer fits is read ahead"


def test_the_variables_of_a_saved_model_are_found_in_their_order(tmp_path: Path) -> None:
    root = tf.Module()
    root.variables_ = [tf.Variable(float(at)) for at in range(12)]
    saved = tf.train.Checkpoint()
    saved.variables = root.variables_[::-1]
    tf.saved_model.save(saved, str(tmp_path / "model"))
    found = [float(variable.read()) for variable in saved_variables(tmp_path / "model")]
    assert found == [float(at) for at in range(12)][::-1]
