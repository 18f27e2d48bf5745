"""Samples that activate a network's units, because inactive units hide faults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import hubopt
from hubopt.exporter import Program
from hubopt.programs.graphs.frozen_graph import read_frozen_graph
from hubopt.reference.choosing import Reached, choose, choose_more
from hubopt.reference.coverage import _Graph, can_cover, cover, pool_size
from hubopt.sampling.arrays import write_samples

GENERATOR = np.random.default_rng(0)
WEIGHTS = GENERATOR.standard_normal((8, 32)).astype("float32")
SHY = np.full(32, -12.0, "float32")  # units that random inputs of unit size never activate


@pytest.fixture
def trace(tmp_path: Path) -> Any:
    def make(call: Any, dtype: Any = tf.float32) -> Program:
        signature = [tf.TensorSpec([1, 8], dtype, name="x")]
        function = tf.function(call, input_signature=signature)
        return hubopt.trace(function, hubopt.resolve(function), tmp_path / "program")

    return make


def write_pool(path: Path, program: Program, arrays: list[np.ndarray]) -> Path:
    (spec,) = program.spec.inputs
    write_samples(path, [{spec.name: array} for array in arrays])
    return path


def test_made_samples_activate_units_that_random_ones_do_not(trace: Any, tmp_path: Path) -> None:
    program = trace(lambda x: tf.nn.relu(x @ WEIGHTS + SHY))
    drawn = [GENERATOR.uniform(-3, 3, (1, 8)).astype("float32") for _ in range(4)]
    pool = write_pool(tmp_path / "pool.npz", program, drawn)
    without, covered = (cover(program, pool, 4, make) for make in (False, True))
    assert without.made == ()
    assert without.units == covered.units == 32
    assert covered.inactive < without.inactive
    reached = np.zeros(32, bool)
    for sample in [*covered.made, *({program.spec.inputs[0].name: array} for array in drawn)]:
        (x,) = sample.values()
        assert np.abs(x).max() <= 3, "made samples stay within the range of the drawn ones"
        reached |= (x @ WEIGHTS + SHY > 0)[0]
    assert covered.inactive == int((~reached).sum())


def test_samples_are_made_if_the_weights_are_stored_outside_the_graph(
    trace: Any, tmp_path: Path
) -> None:
    """The matrix is large enough to be stored separately."""
    matrix = tf.Variable(GENERATOR.standard_normal((8, 4096)), dtype=tf.float32)
    program = trace(lambda x: tf.nn.relu(x @ matrix - 9.0))
    assert read_frozen_graph(program).weights
    drawn = [GENERATOR.uniform(-3, 3, (1, 8)).astype("float32") for _ in range(4)]
    pool = write_pool(tmp_path / "pool.npz", program, drawn)
    without, covered = (cover(program, pool, 4, make) for make in (False, True))
    assert covered.problem is None
    assert covered.made
    assert covered.inactive < without.inactive


def test_a_fully_activated_network_gets_no_more_samples(trace: Any, tmp_path: Path) -> None:
    program = trace(lambda x: tf.nn.relu(x @ WEIGHTS + 100.0))
    pool = write_pool(tmp_path / "pool.npz", program, [np.ones((1, 8), np.float32)] * 3)
    covered = cover(program, pool, 2, make=True)
    assert (covered.chosen, covered.made, covered.inactive) == ((0, 1), (), 0)


def test_no_samples_are_made_for_integer_inputs(trace: Any, tmp_path: Path) -> None:
    table = tf.constant(GENERATOR.standard_normal((8, 8)), tf.float32)
    program = trace(lambda x: tf.nn.relu(tf.gather(table, x) @ WEIGHTS - 100.0), tf.int32)
    pool = write_pool(tmp_path / "pool.npz", program, [np.zeros((1, 8), np.int32)] * 2)
    covered = cover(program, pool, 2, make=True)
    assert (covered.made, covered.units, covered.inactive) == ((), 32, 32)


def test_a_large_graph_without_rectifiers_has_nothing_to_cover(
    trace: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = trace(lambda x: tf.tanh(x @ WEIGHTS))
    assert can_cover(program), "it has weights to cover"
    monkeypatch.setattr("hubopt.reference.coverage._SMALL_BYTES", 1)
    assert not can_cover(program)
    assert pool_size(program, 8) == 8
    assert can_cover(trace(lambda x: tf.nn.relu6(x @ WEIGHTS)))


def test_more_samples_are_drawn_if_there_is_no_gradient_to_follow(trace: Any) -> None:
    assert pool_size(trace(lambda x: tf.nn.relu(x @ WEIGHTS)), 8) == 16
    table = tf.constant(GENERATOR.standard_normal((8, 8)), tf.float32)
    tokens = trace(lambda x: tf.nn.relu(tf.gather(table, x) @ WEIGHTS), tf.int32)
    assert pool_size(tokens, 8) == 128


def test_samples_are_run_only_until_everything_is_covered(
    trace: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = []
    run = _Graph.reached
    monkeypatch.setattr(_Graph, "reached", lambda self, sample: runs.append(1) or run(self, sample))
    program = trace(lambda x: tf.nn.relu(x @ tf.constant(WEIGHTS) + 100.0))
    drawn = [GENERATOR.standard_normal((1, 8)).astype("float32") for _ in range(12)]
    covered = cover(program, write_pool(tmp_path / "pool.npz", program, drawn), 6, make=True)
    assert (covered.chosen, covered.made, covered.inactive) == (tuple(range(6)), (), 0)
    assert len(runs) < len(drawn)


def test_fully_covered_tensors_are_not_fetched_again(
    trace: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fetching takes most of the time of a run, and the result is the same without it."""
    open_kernel = tf.constant(WEIGHTS)
    shut_kernel = tf.constant(GENERATOR.standard_normal((32, 16)), tf.float32)

    def call(x: Any) -> Any:
        opened = tf.nn.relu(x @ open_kernel + 100.0)
        return tf.nn.relu(opened @ shut_kernel - 330.0)

    program = trace(call)
    drawn = [GENERATOR.uniform(-3, 3, (1, 8)).astype("float32") for _ in range(12)]
    pool = write_pool(tmp_path / "pool.npz", program, drawn)
    fetched = []
    run = _Graph._run

    def watch(graph: _Graph, sample: Any) -> Any:
        fetched.append((len(graph.units.tensors), len(graph.weights.tensors)))
        return run(graph, sample)

    monkeypatch.setattr(_Graph, "_run", watch)
    less = cover(program, pool, 6, make=True)
    assert fetched[0] > fetched[-1]
    assert fetched[-1][0] == 1, "every input activates the whole first layer"
    monkeypatch.setattr(_Graph, "forget", lambda graph, seen: None)
    fetched.clear()
    more = cover(program, pool, 6, make=True)
    assert fetched[0] == fetched[-1]
    assert less.chosen == more.chosen
    assert (less.units, less.inactive) == (more.units, more.inactive)
    assert (less.weights, less.undetected) == (more.weights, more.undetected)
    assert 0 < less.inactive < less.units
    assert len(less.made) == len(more.made)


def test_samples_of_tokens_are_crossed_until_weights_are_detected(tmp_path: Path) -> None:
    """The softmax is unsaturated if 14 of 16 tokens are 0, and no drawn sample has more than 11."""
    table = tf.constant([[1.0, 0.5], [-1.0, 0.25], [-1.0, 0.125]], tf.float32)
    matrix = tf.constant([[4.0, 0.25], [0.5, -0.5]], tf.float32)

    def call(x: Any) -> Any:
        counts = tf.reduce_sum(tf.gather(table, x), 1)
        return tf.nn.softmax(counts @ matrix - tf.constant([64.0, 0.5]))

    function = tf.function(call, input_signature=[tf.TensorSpec([1, 16], tf.int32, name="x")])
    program = hubopt.trace(function, hubopt.resolve(function), tmp_path / "program")
    drawn = [GENERATOR.integers(0, 3, (1, 16)).astype(np.int32) for _ in range(32)]
    drawn = [array for array in drawn if (array == 0).sum() <= 11]
    pool = write_pool(tmp_path / "pool.npz", program, drawn)
    before, after = (cover(program, pool, 4, make) for make in (False, True))
    assert before.weights == after.weights == 6, "of the matrix and the bias"
    assert before.undetected == 6
    assert after.undetected == 0
    assert any((sample["x"] == 0).sum() >= 14 for sample in after.made)


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
def test_rectifiers_without_channels_or_inside_loops_have_no_units(
    trace: Any, tmp_path: Path, call: Any
) -> None:
    program = trace(call)
    drawn = [GENERATOR.standard_normal((1, 8)).astype("float32") for _ in range(4)]
    covered = cover(program, write_pool(tmp_path / "pool.npz", program, drawn), 2, make=True)
    assert (covered.chosen, covered.made, covered.units) == ((0, 1), (), 0)


def test_a_dynamic_number_of_channels_gives_no_units(tmp_path: Path) -> None:
    signature = [tf.TensorSpec([1, None], tf.float32, name="x")]
    function = tf.function(tf.nn.relu, input_signature=signature)
    hints = hubopt.Hints.parse(["1xT"], dims=["T=3:5:16"])
    program = hubopt.trace(function, hubopt.resolve(function, hints), tmp_path / "program")
    drawn = [np.ones((1, size), np.float32) for size in (3, 5)]
    covered = cover(program, write_pool(tmp_path / "pool.npz", program, drawn), 1, make=True)
    assert (covered.chosen, covered.units) == ((0,), 0)


def test_a_refused_sample_only_prevents_made_samples(trace: Any, tmp_path: Path) -> None:
    program = trace(lambda x: tf.nn.relu(tf.debugging.check_numerics(x, "x") @ WEIGHTS + SHY))
    broken = np.full((1, 8), np.nan, np.float32)
    covered = cover(program, write_pool(tmp_path / "pool.npz", program, [broken]), 1, make=True)
    assert (covered.chosen, covered.made) == ((0,), ())
    assert covered.problem is not None
    assert covered.problem.startswith("InvalidArgumentError: ")


def reached(*units: int, weights: int = 0) -> Reached:
    flags = np.zeros(8, bool)
    flags[list(units)] = True
    return Reached(flags, np.array([weights], np.uint8))


def test_half_the_samples_are_taken_in_order_and_the_rest_by_added_coverage() -> None:
    found = [reached(0), reached(1), reached(0), reached(), reached(2, 3, 4), reached(4, 5)]
    assert choose(found, 4) == [0, 1, 4, 5]
    assert choose(found, 1) == [0]
    assert choose(found, 6) == list(range(6))


def test_weights_decide_between_samples_that_activate_equally_many_units() -> None:
    found = [reached(0), reached(1), reached(2), reached(3, weights=4), reached(4, weights=3)]
    assert choose(found, 4) == [0, 1, 3, 4]
    assert choose_more(found, found[0] | found[1], 2) == [4, 3]
    assert choose_more(found[:1], found[0], 2) == [], "a sample that adds nothing is not taken"


def test_the_bundle_reports_inactive_units(tmp_path: Path) -> None:
    """No comparison detects faults behind an inactive unit, so the bundle reports it."""
    closed = tf.constant(np.where(np.arange(32) < 5, -1e9, 0.0), tf.float32)
    signature = [tf.TensorSpec([1, 8], tf.float32, name="x")]
    call = tf.function(lambda x: tf.nn.relu(x @ WEIGHTS + closed), input_signature=signature)
    bundle = hubopt.export(call, ["tflite"], tmp_path / "out", rounds=0)
    quality = bundle.manifest.reference
    assert (quality.units, quality.inactive) == (32, 5)
    assert 0 < quality.undetected <= quality.weights


def test_what_the_time_does_not_allow_is_left_out_and_named(
    trace: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = trace(lambda x: tf.nn.relu(x @ WEIGHTS + SHY))
    drawn = [GENERATOR.uniform(-3, 3, (1, 8)).astype("float32") for _ in range(8)]
    pool = write_pool(tmp_path / "pool.npz", program, drawn)
    none = cover(program, pool, 4, make=True, budget_s=0)
    assert none.chosen == (0, 1, 2, 3)
    assert none.made == ()
    assert none.cut == "after 0 s: 1 of 8 samples examined, 0 made"
    climb, clock = _Graph.climb, [0.0]

    def slow(self: _Graph, *arguments: Any) -> Any:
        made = climb(self, *arguments)
        clock[0] += 20
        return made

    monkeypatch.setattr(_Graph, "climb", slow)
    monkeypatch.setattr("hubopt.reference.coverage.time.monotonic", lambda: clock[0])
    some = cover(program, pool, 4, make=True, budget_s=10)
    assert some.cut == "after 10 s: 8 of 8 samples examined, 0 made"
    assert some.made == ()
    clock[0] = 0.0
    every = cover(program, pool, 4, make=True)
    assert every.cut is None
    assert every.made
    assert every.inactive < some.inactive <= none.inactive


def test_a_large_graph_is_run_once_per_sample(
    trace: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = trace(lambda x: tf.nn.relu(x @ WEIGHTS + SHY))
    monkeypatch.setattr("hubopt.reference.coverage._SMALL_BYTES", 1)
    assert pool_size(program, 8) == 8
    drawn = [GENERATOR.uniform(-3, 3, (1, 8)).astype("float32") for _ in range(4)]
    covered = cover(program, write_pool(tmp_path / "pool.npz", program, drawn), 4, make=True)
    assert covered.chosen == (0, 1, 2, 3)
    assert covered.made == ()
    assert (covered.units, covered.weights) == (32, 0)
    assert covered.inactive > 0, "inactive units must be reported anyway"
