"""Samples that reach a network's units: what stays silent hides faults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import hubopt
from hubopt.arrays import write_samples
from hubopt.coverage import choose, cover, has_units
from hubopt.exporter import Program

GENERATOR = np.random.default_rng(0)
WEIGHTS = GENERATOR.standard_normal((8, 32)).astype("float32")
SHY = np.full(32, -12.0, "float32")  # units that random inputs of unit size never wake


@pytest.fixture
def trace(tmp_path: Path) -> Any:
    def make(call: Any, dtype: Any = tf.float32) -> Program:
        signature = [tf.TensorSpec([1, 8], dtype, name="x")]
        function = tf.function(call, input_signature=signature)
        return hubopt.trace(function, hubopt.resolve(function), tmp_path / "program")

    return make


def write_pool(path: Path, program: Program, arrays: list[np.ndarray]) -> Path:
    (spec,) = program.spec.inputs
    write_samples(path, [{spec.name: each} for each in arrays])
    return path


def test_samples_are_made_that_reach_what_random_ones_do_not(trace: Any, tmp_path: Path) -> None:
    program = trace(lambda x: tf.nn.relu(x @ WEIGHTS + SHY))
    drawn = [GENERATOR.uniform(-3, 3, (1, 8)).astype("float32") for _ in range(4)]
    pool = write_pool(tmp_path / "pool.npz", program, drawn)
    without, covered = (cover(program, pool, 4, make) for make in (False, True))
    assert without.made == ()
    assert without.units == covered.units == 32
    assert covered.silent < without.silent
    reached = np.zeros(32, bool)
    for sample in [*covered.made, *({program.spec.inputs[0].name: each} for each in drawn)]:
        (x,) = sample.values()
        assert np.abs(x).max() <= 3, "inside of the range of what it started from"
        reached |= (x @ WEIGHTS + SHY > 0)[0]
    assert covered.silent == int((~reached).sum())


def test_a_network_that_is_reached_already_gets_no_more(trace: Any, tmp_path: Path) -> None:
    program = trace(lambda x: tf.nn.relu(x @ WEIGHTS + 100.0))
    pool = write_pool(tmp_path / "pool.npz", program, [np.ones((1, 8), np.float32)] * 3)
    covered = cover(program, pool, 2, make=True)
    assert (covered.chosen, covered.made, covered.silent) == ((0, 1), (), 0)


def test_indices_cannot_be_changed_little_by_little(trace: Any, tmp_path: Path) -> None:
    table = tf.constant(GENERATOR.standard_normal((8, 8)), tf.float32)
    program = trace(lambda x: tf.nn.relu(tf.gather(table, x) @ WEIGHTS - 100.0), tf.int32)
    pool = write_pool(tmp_path / "pool.npz", program, [np.zeros((1, 8), np.int32)] * 2)
    covered = cover(program, pool, 2, make=True)
    assert (covered.made, covered.units, covered.silent) == ((), 32, 32)


def test_without_rectifiers_there_is_nothing_to_reach(trace: Any) -> None:
    assert not has_units(trace(lambda x: tf.tanh(x @ WEIGHTS)))
    assert has_units(trace(lambda x: tf.nn.relu6(x @ WEIGHTS)))


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda x: tf.nn.relu(tf.reduce_sum(x)), id="scalar"),
        pytest.param(lambda x: tf.concat([x, tf.nn.relu(x[:, :0])], 1), id="empty"),
        pytest.param(
            lambda x: tf.while_loop(
                lambda at, y: at < 3, lambda at, y: (at + 1, tf.nn.relu(y) + 1), (0, x)
            )[1],
            id="in a loop",
        ),
    ],
)
def test_rectifiers_without_channels_or_out_of_reach_are_no_units(
    trace: Any, tmp_path: Path, call: Any
) -> None:
    program = trace(call)
    drawn = [GENERATOR.standard_normal((1, 8)).astype("float32") for _ in range(4)]
    covered = cover(program, write_pool(tmp_path / "pool.npz", program, drawn), 2, make=True)
    assert (covered.chosen, covered.made, covered.units) == ((0, 1), (), 0)


def test_a_dynamic_number_of_channels_tells_no_units_apart(tmp_path: Path) -> None:
    signature = [tf.TensorSpec([1, None], tf.float32, name="x")]
    function = tf.function(tf.nn.relu, input_signature=signature)
    hints = hubopt.Hints.parse(["1xT"], dims=["T=3:5:16"])
    program = hubopt.trace(function, hubopt.resolve(function, hints), tmp_path / "program")
    drawn = [np.ones((1, size), np.float32) for size in (3, 5)]
    covered = cover(program, write_pool(tmp_path / "pool.npz", program, drawn), 1, make=True)
    assert (covered.chosen, covered.units) == ((0,), 0)


def test_a_model_that_refuses_a_sample_only_costs_what_would_be_made(
    trace: Any, tmp_path: Path
) -> None:
    program = trace(lambda x: tf.nn.relu(tf.debugging.check_numerics(x, "x") @ WEIGHTS + SHY))
    broken = np.full((1, 8), np.nan, np.float32)
    covered = cover(program, write_pool(tmp_path / "pool.npz", program, [broken]), 1, make=True)
    assert (covered.chosen, covered.made) == ((0,), ())


def test_half_are_taken_as_they_come_and_the_rest_by_what_they_add() -> None:
    reached = np.zeros((6, 8), bool)
    reached[0, 0] = reached[1, 1] = reached[2, 0] = True
    reached[4, 2:5] = True
    reached[5, 4:6] = True
    assert choose(reached, 4) == [0, 1, 4, 5]
    assert choose(reached, 1) == [0]
    assert choose(reached, 6) == list(range(6))


def test_the_bundle_says_what_stays_silent(tmp_path: Path) -> None:
    """Behind a unit that nothing wakes, no comparison sees anything: at least it is told."""
    closed = tf.constant(np.where(np.arange(32) < 5, -1e9, 0.0), tf.float32)
    signature = [tf.TensorSpec([1, 8], tf.float32, name="x")]
    call = tf.function(lambda x: tf.nn.relu(x @ WEIGHTS + closed), input_signature=signature)
    bundle = hubopt.export(call, ["tflite"], tmp_path / "out", rounds=0)
    facts = bundle.manifest.reference
    assert (facts.units, facts.silent) == (32, 5)
