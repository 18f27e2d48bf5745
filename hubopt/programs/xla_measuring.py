"""`measure`: a SavedModel and itself compiled by XLA, compared and timed in this process."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hubopt._platform.causes import first_line
from hubopt._util.plain_paths import plain_path
from hubopt.exporter import Tensors, ToleranceClass
from hubopt.parity import TOLERANCES
from hubopt.parity.judging import complaints
from hubopt.parity.metrics import Difference, compare
from hubopt.programs.serving import SIGNATURE, argument_specs
from hubopt.sampling.samples import draw
from hubopt.spec import ModelSpec, ValueRange

Call = Callable[[Tensors], Tensors]

SAMPLES = 4
"""How many samples are compared: of every distribution one, and the sizes of open dimensions."""
ROUNDS = 7
LEAST_ROUNDS = 3
ROUNDS_S = 2.0
"""When no further round begins, if there were `LEAST_ROUNDS`."""
CLEAR = 2.0
"""How many times as fast as the other one of the two must be in all of the `LEAST_ROUNDS`, so that
no further round is needed."""
_ROUND_S = 0.02
_MOST_CALLS = 20
_REST_S = 0.01
"""The pause before calls are timed: the other function's threads may be spinning still."""

_LONGEST = 200
"""The most characters of TensorFlow's error that are quoted."""

_CLASSES: Mapping[str, ToleranceClass] = {"float16": "fp16", "bfloat16": "bf16"}
"""The tolerance class of an output's dtype; of the others, ``fp32``."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a trial showed.

    Attributes:
        problem: Why the compiled function cannot be used; None if it can.
        plain_ms: How long an uncompiled call took in every round, in milliseconds.
        compiled_ms: The same for a compiled call.
    """

    problem: str | None = None
    plain_ms: tuple[float, ...] = ()
    compiled_ms: tuple[float, ...] = ()


def measure(saved_model: Path, spec: ModelSpec, domains: Mapping[str, ValueRange]) -> Measured:
    """Compare a SavedModel with itself compiled, on drawn samples, and time both on one of them.

    Args:
        saved_model: A SavedModel with `SIGNATURE` that is not compiled.
        spec: Its inputs and outputs.
        domains: The values that an input takes, by name, as far as they are known.
    """
    import tensorflow as tf

    tf.config.experimental.enable_tensor_float_32_execution(False)
    with plain_path(saved_model) as path:
        loaded = tf.saved_model.load(str(path))  # owns the variables
    plain, compiled = _calls(loaded, spec, False), _calls(loaded, spec, True)
    drawn = draw(spec.inputs, SAMPLES, bounds=spec.bounds, domains=domains)
    samples = [sample.tensors for sample in drawn if not sample.edge]
    return compare_and_time(plain, compiled, samples)


def _calls(loaded: Any, spec: ModelSpec, jit_compile: bool) -> Call:
    """Return a call of a loaded SavedModel, arrays in and arrays out.

    Both kinds are functions in a function, as in the SavedModel that is written, so that they
    differ in nothing but the compilation.
    """
    import tensorflow as tf

    signature = loaded.signatures[SIGNATURE]
    specs = argument_specs(spec)

    def serve(*tensors: Any) -> Any:
        return signature(
            **{known.name: tensor for known, tensor in zip(specs, tensors, strict=True)}
        )

    inner = tf.function(serve, specs, autograph=False, jit_compile=jit_compile or None)
    outer = tf.function(lambda *tensors: inner(*tensors), specs, autograph=False)
    function = outer.get_concrete_function()

    def call(inputs: Tensors) -> Tensors:
        tensors = [tf.constant(inputs[known.name], dtype=known.dtype) for known in spec.inputs]
        return {name: tensor.numpy() for name, tensor in function(*tensors).items()}

    return call


def compare_and_time(
    plain: Call,
    compiled: Call,
    samples: Sequence[Tensors],
    clock: Callable[[], float] = time.perf_counter,
) -> Measured:
    """Compare two functions on ``samples`` and time them on the first one that can be compared.

    Args:
        plain: The function as it is.
        compiled: The function compiled by XLA.
        samples: The inputs. One that the uncompiled function refuses or answers with NaN proves
            nothing and is left out.
        clock: Gives the time in seconds.
    """
    refusal = "it gives NaN on every drawn sample"
    differences: dict[str, list[Difference]] = {}
    compared: list[Tensors] = []
    for sample in samples:
        try:
            expected = plain(sample)
        except Exception as error:  # TensorFlow may raise anything
            refusal = f"uncompiled, it fails on a drawn sample: {_short(error)}"
            continue
        if any(_has_nan(array) for array in expected.values()):
            continue
        try:
            actual = compiled(sample)
        except Exception as error:  # likewise
            return Measured(cannot_compile(error))
        problem = _differs(actual, expected, differences)
        if problem is not None:
            return Measured(f"other values than uncompiled: {problem}")
        compared.append(sample)
    if not compared:
        return Measured(f"nothing to compare: {refusal}")
    timed = compared[0]
    return Measured(None, *time_in_turn(lambda: plain(timed), lambda: compiled(timed), clock))


def cannot_compile(error: BaseException) -> str:
    """Return in one sentence why a function that XLA must compile raised ``error``."""
    return f"XLA cannot compile it: {_short(error)}"


def _short(error: BaseException) -> str:
    line = first_line(error).rstrip(".")
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."


def _has_nan(array: NDArray[Any]) -> bool:
    return array.dtype.kind in "fcV" and bool(np.isnan(array.astype(np.complex128)).any())


def _differs(
    actual: Tensors, expected: Tensors, differences: dict[str, list[Difference]]
) -> str | None:
    """Return which output differs by more than its tolerance class allows, and by how much.

    Args:
        actual: The compiled function's outputs for a sample.
        expected: The uncompiled function's outputs.
        differences: The differences on the samples before, by output; gets those on this one.
    """
    for name, array in expected.items():
        if actual[name].shape != array.shape:
            return f"{name} has the shape {actual[name].shape} instead of {array.shape}"
        if not array.size:
            continue
        last = compare(actual[name], array, name)
        every = differences.setdefault(name, [])
        every.append(last)
        if not complaints(every, TOLERANCES[_CLASSES.get(array.dtype.name, "fp32")]):
            continue
        if last.problem:
            return f"{name}: {last.problem}"
        if last.exact:
            return f"{name} differs in {last.unequal} of {last.elements} elements"
        return f"{name} differs by up to {max(one.max_abs for one in every):.2g}"
    return None


def time_in_turn(
    plain: Callable[[], object],
    compiled: Callable[[], object],
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Time two functions that have been called before; return milliseconds a call by round.

    A round takes about 20 ms for the faster one, and at least a call of both. Every other round
    begins with the other one.

    Args:
        plain: The first function.
        compiled: The second function.
        clock: Gives the time in seconds.
    """
    functions = (plain, compiled)
    fastest = min(_seconds(function, 1, clock) for function in functions)
    calls = int(min(_MOST_CALLS, max(1, _ROUND_S / max(fastest, 1e-6))))
    results: tuple[list[float], list[float]] = ([], [])
    begun = clock()
    for at in range(ROUNDS):
        if at >= LEAST_ROUNDS and (clock() - begun > ROUNDS_S or _is_clear(*results)):
            break
        for index in (0, 1) if at % 2 == 0 else (1, 0):
            time.sleep(_REST_S)
            results[index].append(_seconds(functions[index], calls, clock) / calls * 1e3)
    return tuple(results[0]), tuple(results[1])


def _is_clear(plain: Sequence[float], compiled: Sequence[float]) -> bool:
    """Whether the same one was at least `CLEAR` times as fast in all rounds."""
    pairs = list(zip(plain, compiled, strict=True))
    return all(one >= CLEAR * other for one, other in pairs) or all(
        other >= CLEAR * one for one, other in pairs
    )


def _seconds(function: Callable[[], object], calls: int, clock: Callable[[], float]) -> float:
    start = clock()
    for _ in range(calls):
        function()
    return clock() - start
