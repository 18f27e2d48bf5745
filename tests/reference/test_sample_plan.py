"""The samples that are drawn, and those that are given to the layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from hubopt.errors import UsageError
from hubopt.reference.coverage import pool_size
from hubopt.reference.sample_plan import MOST_ITEMS, SamplePlan, draw_samples
from hubopt.sampling.samples import SAMPLE_COUNT
from tests.reference.making import ask, measure


def signature(*shape: int, dtype: Any = tf.float32) -> Any:
    return tf.function(input_signature=[tf.TensorSpec(shape, dtype, name="x")])


def test_without_noise_nothing_is_measured_and_no_edge_case_is_used(tmp_path: Path) -> None:
    known = measure(signature(2, 3)(lambda x: tf.tanh(x)), tmp_path, "off")
    assert len(known.kinds) == 8
    assert known.float64 is None
    assert set(known.quality.deviations) == {"repeated"}


def test_integer_inputs_stay_inside_their_tables(tmp_path: Path) -> None:
    """The table has five rows. The layer would refuse index 7, which hubopt once drew."""
    table = tf.Variable(np.random.default_rng(0).standard_normal((5, 3)), dtype=tf.float32)

    @signature(1, 6, dtype=tf.int32)
    def embed(ids: Any) -> Any:
        return tf.gather(table, ids)

    _, known = ask(embed, tmp_path)
    drawn = [next(iter(sample.values())) for sample in known.read_inputs()]
    assert max(array.max() for array in drawn) == 4
    assert min(array.min() for array in drawn) == 0


def test_exactly_the_users_own_samples_are_used(tmp_path: Path) -> None:
    own = [np.full((2, 3), at, "float32") for at in range(3)]
    plan = SamplePlan.read(own, None)
    program, known = ask(signature(2, 3)(lambda x: tf.tanh(x)), tmp_path, plan)
    assert known.kinds == ("own",) * 3
    assert [next(iter(sample.values()))[0, 0] for sample in known.read_inputs()] == [0, 1, 2]
    assert draw_samples(plan, program).edges == ()


def test_more_samples_are_drawn_than_kept_if_some_increase_coverage(tmp_path: Path) -> None:
    weights = np.random.default_rng(0).standard_normal((3, 16)).astype("float32")
    layer = signature(2, 3)(lambda x: tf.nn.relu(x @ tf.constant(weights)))
    program, known = ask(layer, tmp_path, SamplePlan(count=3, noise="off"))
    drawn = draw_samples(SamplePlan(count=3), program)
    assert len(drawn.samples) == pool_size(program, 3) > 3
    assert [sample.kind for sample in drawn.edges] == ["zeros", "extremes", "small"]
    assert len(known.kept) == 3
    first = [sample.tensors for sample in drawn.samples[:2]]
    for sample, kept in zip(first, known.read_inputs(), strict=False):
        np.testing.assert_array_equal(sample["x"], kept["x"])


def test_the_number_of_samples() -> None:
    assert SamplePlan.read(None, None).count == SAMPLE_COUNT
    assert SamplePlan.read(None, 3).count == 3
    many = [np.full(1, at, "float32") for at in range(MOST_ITEMS + 1)]
    assert len(SamplePlan.read(many, None).items or ()) == MOST_ITEMS
    assert len(SamplePlan.read(many, 2).items or ()) == 2
    assert len(SamplePlan.read(many, 2).first) == 1
    assert SamplePlan.read(None, None).first == ()


def test_the_effort_decides_samples_noise_and_time(tmp_path: Path) -> None:
    quick, thorough = (SamplePlan.read(None, None, effort=each) for each in ("quick", "thorough"))
    assert (quick.count, quick.noise) == (2, "off")
    assert SamplePlan.read(None, 5, effort="quick").count == 5
    assert (thorough.count, thorough.noise) == (SAMPLE_COUNT, "full")
    assert thorough.budget_s(1000) is None
    assert SamplePlan.read(None, None).budget_s(30) == 10
    assert SamplePlan.read(None, None).budget_s(300) == 30
    _, known = ask(signature(2, 3)(lambda x: tf.nn.relu(x)), tmp_path, quick)
    assert known.kinds == ("normal", "uniform")
    assert (known.quality.units, known.quality.level) == (0, "off")


@pytest.mark.parametrize(
    ("effort", "noise"), [("quick", "full"), ("thorough", "off"), ("x", "auto")]
)
def test_an_effort_that_contradicts_the_noise_is_refused(effort: Any, noise: Any) -> None:
    with pytest.raises(
        UsageError, match="effort" if effort == "x" else f"leave out --noise {noise}"
    ):
        SamplePlan.read(None, None, noise=noise, effort=effort)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((None, 0), "samples: 0"), ((None, None, -1), "seed: -1"), ((None, None, 0, "x"), "noise")],
)
def test_an_invalid_plan_is_refused(arguments: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SamplePlan.read(*arguments)
