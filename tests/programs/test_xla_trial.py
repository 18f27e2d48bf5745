"""XLA compiles a SavedModel only where a trial finds it faster and its values the same."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

import hubopt
from hubopt.exporter import Program
from hubopt.programs import xla_trial
from hubopt.programs.tracing import trace
from hubopt.programs.xla_measuring import Measured
from hubopt.programs.xla_trial import XlaChoice, choose, slowdown, try_xla

EVEN = (10.0,) * 7


def program_of(function: Callable[..., Any], folder: Path, *specs: tf.TensorSpec) -> Program:
    layer = hubopt.KerasLayer(tf.function(function, input_signature=list(specs)))
    return trace(layer, hubopt.resolve(layer), folder / "program")


def timed(*arguments: object) -> Measured:
    return Measured(None, (2.0,) * 3, (1.0,) * 3)


def abort(*arguments: object) -> Measured:
    os.write(2, b"XLA says why\n")
    os.abort()


def sleep(*arguments: object) -> Measured:
    time.sleep(60)
    return Measured()


@pytest.mark.parametrize(
    ("compiled_ms", "is_compiled", "why"),
    [
        ((52.0,) * 7, False, "5.2x slower than uncompiled"),
        ((196.0,) * 7, False, "20x slower than uncompiled"),
        ((12.0,) * 7, False, "1.2x slower than uncompiled"),
        ((10.0,) * 7, False, "no faster than uncompiled (1.00x its speed)"),
        ((9.3,) * 7, False, "no faster than uncompiled (1.08x its speed)"),
        ((9.0,) * 7, True, "1.1x faster than uncompiled"),
        ((4.0,) * 7, True, "2.5x faster than uncompiled"),
        ((4.0, 90.0, 4.0, 80.0, 4.0, 70.0, 4.0), True, "2.5x faster than uncompiled"),
    ],
)
def test_the_median_of_the_rounds_decides_and_a_near_tie_stays_uncompiled(
    compiled_ms: tuple[float, ...], is_compiled: bool, why: str
) -> None:
    assert choose(Measured(None, EVEN, compiled_ms)) == XlaChoice(is_compiled, why)


def test_load_that_both_meet_in_a_round_does_not_count() -> None:
    assert slowdown((1.0, 10.0, 100.0), (2.0, 20.0, 200.0)) == 2.0


def test_a_problem_decides_whatever_the_time() -> None:
    choice = choose(Measured("other values than uncompiled: y differs by up to 3"))
    assert str(choice) == "off: other values than uncompiled: y differs by up to 3"


def test_what_lacks_a_kernel_is_not_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = program_of(tf.strings.lower, tmp_path, tf.TensorSpec([2], tf.string))
    monkeypatch.setattr(xla_trial, "Worker", None)
    assert str(try_xla(program, program.saved_model)) == "off: XLA has no kernel for StringLower"


def test_a_shape_that_is_no_compile_time_constant_is_named(tmp_path: Path) -> None:
    """Every operation has a kernel: only the compilation shows that XLA refuses it."""

    def count(x: tf.Tensor) -> tf.Tensor:
        def step(at: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return at + 1, total + tf.reduce_sum(tf.range(at))

        return x + tf.cast(tf.while_loop(lambda at, _: at < 4, step, (0, 0))[1], tf.float32)

    program = program_of(count, tmp_path, tf.TensorSpec([3], tf.float32))
    assert program.is_compilable
    choice = try_xla(program, program.saved_model)
    assert not choice.is_compiled
    assert choice.why.startswith("XLA cannot compile it: ")
    assert choice.why.endswith("must be a compile-time constant")
    assert "\n" not in choice.why


@pytest.mark.parametrize(
    ("function", "shape"),
    [
        (lambda x: tf.image.resize(x, [9, 9]), [1, 5, 5, 2]),
        (lambda x: x + tf.random.stateless_uniform([4, 8], [1, 2]), [4, 8]),
    ],
    ids=["resize", "random"],
)
def test_other_values_are_reported_with_their_size(
    tmp_path: Path, function: Callable[..., Any], shape: list[int]
) -> None:
    """XLA's bilinear resize is wrong for these sizes; its random numbers are others."""
    program = program_of(function, tmp_path, tf.TensorSpec(shape, tf.float32, name="x"))
    choice = try_xla(program, program.saved_model)
    assert not choice.is_compiled
    assert choice.why.startswith("other values than uncompiled: output_0 differs by up to ")


def test_inputs_stay_in_the_ranges_that_the_program_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the table, the kernels refuse an index on a CPU, and XLA takes the last row."""
    table = tf.constant([[1.0], [2.0], [3.0]])
    spec = tf.TensorSpec([5], tf.int32, name="ids")
    program = program_of(lambda ids: tf.gather(table, ids), tmp_path, spec)
    assert program.domains["ids"].high == 2
    choice = try_xla(program, program.saved_model)
    assert "than uncompiled" in choice.why
    assert "values" not in choice.why


def test_a_trial_that_dies_leaves_it_uncompiled(
    tiny_program: tuple[Any, Program],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    program = tiny_program[1]
    monkeypatch.setattr(xla_trial, "measure", abort)
    choice = try_xla(program, program.saved_model)
    assert str(choice) == "off: the trial failed: the process was ended by SIGABRT"
    assert "XLA says why" in capfd.readouterr().err  # which goes to the log of the export


def test_a_trial_is_bounded_in_time(
    tiny_program: tuple[Any, Program], monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tiny_program[1]
    monkeypatch.setattr(xla_trial, "measure", sleep)
    begun = time.monotonic()
    choice = try_xla(program, program.saved_model, limit_s=1)
    assert str(choice) == "off: XLA took more than 1 s in a trial"
    assert time.monotonic() - begun < 30


def test_what_the_child_measured_decides(
    tiny_program: tuple[Any, Program], monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tiny_program[1]
    monkeypatch.setattr(xla_trial, "measure", timed)
    assert str(try_xla(program, program.saved_model)) == "on: 2.0x faster than uncompiled"
