"""The frozen graph as a TensorFlow 1 SavedModel that reads its weights in place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import hubopt
from hubopt.exporter import Program
from hubopt.programs.graphs.frozen_graph import LARGE_BYTES, read_frozen_graph
from hubopt.programs.tracing import trace
from hubopt_exporters.session_model import write_session_model

ROWS = LARGE_BYTES // 16
GENERATOR = np.random.default_rng(0)
TABLES = [GENERATOR.standard_normal((ROWS, 4)).astype("float32") for _ in range(3)]
X = np.array([0, 7, ROWS - 1], np.int32)


def traced(folder: Path, tables: list[Any], saved_model: bool) -> Program:
    """Trace a model that uses the ``tables`` and one constant table."""
    function = tf.function(
        lambda x: {
            "sum": tf.add_n([tf.gather(table, x) for table in tables]),
            "first": tf.gather(TABLES[0], x),
        },
        input_signature=[tf.TensorSpec([3], tf.int32, name="x")],
    )
    layer = hubopt.KerasLayer(function)
    return trace(layer, hubopt.resolve(layer), folder, saved_model=saved_model)


def run(folder: Path) -> dict[str, np.ndarray]:
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta = tf.compat.v1.saved_model.load(session, ["serve"], str(folder))
        signature = meta.signature_def["serving_default"]
        fetched = {name: tensor.name for name, tensor in signature.outputs.items()}
        found: dict[str, np.ndarray] = session.run(fetched, {signature.inputs["x"].name: X})
        return found


@pytest.mark.parametrize("saved_model", [True, False])
def test_weights_are_read_from_the_program(tmp_path: Path, saved_model: bool) -> None:
    """They come from the program's own checkpoint, or from its SavedModel alone."""
    program = traced(tmp_path / "program", [tf.Variable(table) for table in TABLES], saved_model)
    checkpoints = {weight.checkpoint for weight in read_frozen_graph(program).weights.values()}
    assert len(checkpoints) == (2 if saved_model else 1)
    model = tmp_path / "model"
    write_session_model(program, model)
    found = run(model)
    np.testing.assert_allclose(found["sum"], sum(table[X] for table in TABLES), rtol=1e-6)
    np.testing.assert_array_equal(found["first"], TABLES[0][X])
    written = sum(path.stat().st_size for path in model.rglob("*") if path.is_file())
    assert written < LARGE_BYTES / 4, "no weight may be written again"


def test_a_program_without_large_weights_needs_no_variables(tmp_path: Path) -> None:
    function = tf.function(
        lambda x: {"y": x * 2}, input_signature=[tf.TensorSpec([3], tf.int32, name="x")]
    )
    program = hubopt.trace(function, hubopt.resolve(function), tmp_path / "program")
    write_session_model(program, tmp_path / "model")
    np.testing.assert_array_equal(run(tmp_path / "model")["y"], X * 2)
    assert not (tmp_path / "model" / "variables").exists()
