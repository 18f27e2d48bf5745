"""Two functions are compared on samples and timed in turn, by a clock of the tests' own."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import hubopt
from hubopt.exporter import Tensors
from hubopt.programs import xla_measuring
from hubopt.programs.tracing import trace
from hubopt.programs.xla_measuring import Measured, compare_and_time, measure, time_in_turn

SAMPLES = [{"x": np.array([1.0, 2.0], "float32")}, {"x": np.array([3.0, -4.0], "float32")}]


class Clock:
    """A clock that calls move on by the time that they are said to take."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def taking(
        self, seconds: float, result: Callable[[Tensors], Tensors]
    ) -> Callable[..., Tensors]:
        def call(inputs: Tensors) -> Tensors:
            self.now += seconds
            return result(inputs)

        return call


@pytest.fixture(autouse=True)
def _no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xla_measuring, "_REST_S", 0)


def double(inputs: Tensors) -> Tensors:
    return {"y": inputs["x"] * 2}


def compared(
    compiled: Callable[[Tensors], Tensors],
    plain: Callable[[Tensors], Tensors] = double,
    samples: Sequence[Tensors] = SAMPLES,
) -> Measured:
    clock = Clock()
    return compare_and_time(
        clock.taking(0.004, plain), clock.taking(0.02, compiled), samples, clock
    )


def test_equal_functions_are_timed() -> None:
    measured = compared(double)
    assert measured.problem is None
    assert measured.plain_ms == pytest.approx((4.0,) * 3)  # no more rounds: the ratio is clear
    assert measured.compiled_ms == pytest.approx((20.0,) * 3)


def test_rounding_is_no_other_value() -> None:
    assert compared(lambda inputs: {"y": inputs["x"] * np.float32(2.00001)}).problem is None


@pytest.mark.parametrize(
    ("compiled", "problem"),
    [
        (lambda given: {"y": given["x"] * 2 + 0.5}, "y differs by up to 0.5"),
        (lambda given: {"y": given["x"][:1]}, "y has the shape (1,) instead of (2,)"),
        (
            lambda given: {"y": given["x"] * np.nan},
            "y: the artifact gives 2 NaN, the first at (0,)",
        ),
    ],
)
def test_other_values_are_named(compiled: Callable[[Tensors], Tensors], problem: str) -> None:
    assert compared(compiled) == Measured(f"other values than uncompiled: {problem}")


def test_integers_must_be_equal() -> None:
    def count(inputs: Tensors) -> Tensors:
        return {"n": np.arange(4)}

    found = compared(lambda inputs: {"n": np.array([0, 1, 2, 4])}, count)
    assert found.problem == "other values than uncompiled: n differs in 1 of 4 elements"


def test_values_of_a_later_sample_count() -> None:
    found = compared(lambda inputs: {"y": np.maximum(inputs["x"] * 2, 0)})
    assert found.problem == "other values than uncompiled: y differs by up to 8"


def test_a_sample_that_proves_nothing_is_left_out() -> None:
    def root(inputs: Tensors) -> Tensors:
        with np.errstate(invalid="ignore"):
            return {"y": np.sqrt(inputs["x"])}

    assert compared(root, root).problem is None
    found = compared(root, root, SAMPLES[1:])
    assert found.problem == "nothing to compare: it gives NaN on every drawn sample"


def test_a_refusal_of_every_sample_is_quoted() -> None:
    def refuse(inputs: Tensors) -> Tensors:
        raise ValueError("only small numbers\nand much more")

    found = compared(double, refuse)
    expected = "nothing to compare: uncompiled, it fails on a drawn sample: only small numbers"
    assert found.problem == expected
    assert compared(refuse).problem == "XLA cannot compile it: only small numbers"


def test_a_long_error_is_cut() -> None:
    def refuse(inputs: Tensors) -> Tensors:
        raise ValueError("x" * 5000)

    assert compared(refuse).problem == f"XLA cannot compile it: {'x' * 200}..."


def test_an_empty_output_is_compared_by_its_shape() -> None:
    def nothing(inputs: Tensors) -> Tensors:
        return {"none": np.zeros((0, 4), "float32")}

    assert compared(nothing, nothing).problem is None


def test_both_are_called_in_turn_and_every_other_round_begins_with_the_other() -> None:
    clock, calls = Clock(), []

    def taking(name: str, seconds: float) -> Callable[[], None]:
        def call() -> None:
            calls.append(name)
            clock.now += seconds

        return call

    plain_ms, compiled_ms = time_in_turn(taking("p", 0.03), taking("c", 0.04), clock)
    assert "".join(calls) == "pc" + "pc" + "cp" + "pc" + "cp" + "pc" + "cp" + "pc"
    assert plain_ms == pytest.approx((30.0,) * 7)
    assert compiled_ms == pytest.approx((40.0,) * 7)


def test_slow_functions_are_called_no_more_than_needed() -> None:
    clock = Clock()
    plain, compiled = (clock.taking(seconds, double) for seconds in (1.0, 1.5))
    measured = compare_and_time(plain, compiled, SAMPLES, clock)
    assert measured.plain_ms == pytest.approx((1000.0,) * 3)


def test_a_saved_model_is_compared_at_every_size_of_an_open_dimension(tmp_path: Path) -> None:
    spec = tf.TensorSpec([None, 3], tf.float32, name="x")
    layer = hubopt.KerasLayer(tf.function(lambda x: x * 2, input_signature=[spec]))
    resolved = hubopt.resolve(layer, hubopt.Hints.parse(["x=Bx3"], dims=["B=1:2:8"]))
    program = trace(layer, resolved, tmp_path / "program")
    measured = measure(program.saved_model, program.spec, program.domains)
    assert measured.problem is None
    assert len(measured.plain_ms) == len(measured.compiled_ms) >= xla_measuring.LEAST_ROUNDS
