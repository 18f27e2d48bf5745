"""The frozen graph as a SavedModel of TensorFlow 1, which reads its weights where they are."""

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
    """A model of the ``tables`` and of one that is a constant."""
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
        fetched = {name: each.name for name, each in signature.outputs.items()}
        found: dict[str, np.ndarray] = session.run(fetched, {signature.inputs["x"].name: X})
        return found


@pytest.mark.parametrize("saved_model", [True, False])
def test_weights_are_read_from_the_program(tmp_path: Path, saved_model: bool) -> None:
    """Those of its own checkpoint, and those that only its SavedModel holds."""
    program = traced(tmp_path / "program", [tf.Variable(each) for each in TABLES], saved_model)
    places = {each.checkpoint for each in read_frozen_graph(program).weights.values()}
    assert len(places) == (2 if saved_model else 1)
    model = tmp_path / "model"
    write_session_model(program, model)
    found = run(model)
    np.testing.assert_allclose(found["sum"], sum(each[X] for each in TABLES), rtol=1e-6)
    np.testing.assert_array_equal(found["first"], TABLES[0][X])
    written = sum(each.stat().st_size for each in model.rglob("*") if each.is_file())
    assert written < LARGE_BYTES / 4, "no weight is written again"


def test_a_program_without_large_weights_needs_no_variables(tmp_path: Path) -> None:
    function = tf.function(
        lambda x: {"y": x * 2}, input_signature=[tf.TensorSpec([3], tf.int32, name="x")]
    )
    program = hubopt.trace(function, hubopt.resolve(function), tmp_path / "program")
    write_session_model(program, tmp_path / "model")
    np.testing.assert_array_equal(run(tmp_path / "model")["y"], X * 2)
    assert not (tmp_path / "model" / "variables").exists()
