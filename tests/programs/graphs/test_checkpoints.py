"""Weights in a checkpoint: written a batch at a time, read by name."""

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
def test_a_weight_of_any_dtype_is_read_as_it_was_written(tmp_path: Path, dtype: str) -> None:
    wanted = GENERATOR.integers(0, 2, [3, 4]).astype(tf.as_dtype(dtype).as_numpy_dtype)
    write_checkpoint(tmp_path / "weights", [("a/b", wanted)])
    found = StoredTensor(tmp_path / "weights", "a/b").read()
    assert found.dtype == wanted.dtype
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("batch_bytes", [1, 2**26])
def test_many_are_written_in_batches_and_leave_nothing_else(
    tmp_path: Path, batch_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "_BATCH_BYTES", batch_bytes)
    arrays = {f"w{at}": GENERATOR.standard_normal((at + 1, 3)) for at in range(5)}
    tensors: dict[str, Any] = {**arrays, "tensor": tf.constant(arrays["w0"])}
    place = tmp_path / "weights"
    write_checkpoint(place, iter(tensors.items()))
    files = {each.name for each in tmp_path.rglob("*")}
    assert files == {
        "weights.index",
        *(each for each in files if each.startswith("weights.data-")),
    }
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(StoredTensor(place, name).read(), tensor)


def test_no_weights_make_no_file(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "weights", [])
    assert not list(tmp_path.iterdir())


def test_a_batch_is_let_go_before_the_next_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
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
    assert ahead == [1, 1, 0], "no more than the one that no longer fits"


def test_the_variables_of_a_saved_model_are_found_in_their_order(tmp_path: Path) -> None:
    root = tf.Module()
    root.variables_ = [tf.Variable(float(at)) for at in range(12)]
    saved = tf.train.Checkpoint()
    saved.variables = root.variables_[::-1]
    tf.saved_model.save(saved, str(tmp_path / "model"))
    found = [float(each.read()) for each in saved_variables(tmp_path / "model")]
    assert found == [float(at) for at in range(12)][::-1]
