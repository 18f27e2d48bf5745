"""A target is vacuous only if no informative output is left."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hubopt.bundles.results import (
    EVERY_OUTPUT,
    Accepted,
    TargetResult,
    exit_code,
    parity_verdict,
)
from hubopt.errors import EXIT_OK, EXIT_UNVERIFIED, EXIT_VACUOUS
from hubopt.parity import TOLERANCES, Parity, ReferenceQuality, judge
from hubopt.parity.reference import farthest, redrawn
from hubopt.spec import Dim, ModelSpec, TensorSpec


def tensor(name: str, size: int) -> TensorSpec:
    return TensorSpec(name, "float32", (Dim(size, "trace"),))


SPEC = ModelSpec(
    (tensor("x", 1),), (tensor("boxes", 4), tensor("n", 1)), "x", {"boxes": "boxes", "n": "n"}
)
INPUTS = [{"x": np.float32([at])} for at in range(3)]
FIXED = [np.float32([100])] * 3
NEARLY = [np.float32([100 + at * 1e-5]) for at in range(3)]
MOVING = [np.float32([1, 2, 3, 4]) * (at + 1) for at in range(3)]
SAME = [np.float32([1, 2, 3, 4])] * 3


def verdict(boxes: Any, n: Any, off: float = 0.0, **more: Any) -> Parity:
    """Judge an artifact whose ``n`` is off by a number."""
    reference = [{"boxes": one, "n": other} for one, other in zip(boxes, n, strict=True)]
    actual = [{"boxes": one["boxes"], "n": one["n"] + np.float32(off)} for one in reference]
    probes = {"redrawn": redrawn(SPEC, INPUTS, reference), **more.pop("probes", {})}
    quality = ReferenceQuality(probes=probes, **more)
    return judge(SPEC, actual, reference, TOLERANCES["fp32"], quality)


def test_a_constant_output_is_named_and_does_not_make_a_target_vacuous() -> None:
    parity = verdict(MOVING, FIXED)
    assert parity.status == "verified"
    assert [output.constant for output in parity.outputs] == [False, True]
    assert parity_verdict(parity, "CPU").reason == "constant, the same for every input: n"
    assert parity.is_clear, "no measurement of noise changes this"


def test_a_constant_output_must_still_be_equal() -> None:
    assert verdict(MOVING, FIXED, off=1.0).status == "failed"
    assert verdict(MOVING, FIXED, off=1.0, constant=("n",)).status == "failed"


def test_an_output_that_only_moves_within_the_tolerance_is_not_called_constant() -> None:
    parity = verdict(MOVING, NEARLY)
    assert (parity.status, parity.note) == ("verified", None)
    assert "output n: the layer gives the same for every input" in str(
        parity_verdict(parity, "CPU").reason
    )
    assert not parity.is_clear, "more samples may show that it moves"


@pytest.mark.parametrize(("boxes", "n"), [(SAME, FIXED), (SAME, NEARLY)])
def test_a_target_without_an_informative_output_is_vacuous(boxes: Any, n: Any) -> None:
    assert verdict(boxes, n).status == "vacuous"


def test_a_list_of_labels_is_no_informative_output() -> None:
    """The graph shows that the labels are constant; all else is the same for every input."""
    assert verdict(SAME, FIXED, constant=("n",)).status == "vacuous"


def test_outputs_without_weights_are_informative() -> None:
    """`boxes` does not move with the weights because no weight reaches it."""
    reference = [{"boxes": one, "n": other} for one, other in zip(MOVING, MOVING, strict=True)]
    unmoved = {"weights": farthest(SPEC, reference, reference)}
    assert verdict(MOVING, FIXED, probes=unmoved).status == "vacuous"
    assert verdict(MOVING, FIXED, probes=unmoved, weightless=("boxes", "n")).status == "verified"


def result(parity: Parity) -> TargetResult:
    return TargetResult("onnx", parity.status, "onnx", parity=parity)


@pytest.mark.parametrize(
    ("names", "code"),
    [
        ((), EXIT_VACUOUS),
        (("n",), EXIT_VACUOUS),
        (("boxes", "n"), EXIT_OK),
        (("boxes", "n", "more"), EXIT_OK),
        ((EVERY_OUTPUT,), EXIT_OK),
    ],
)
def test_vacuous_outputs_are_accepted_by_name(names: tuple[str, ...], code: int) -> None:
    results = (result(verdict(SAME, FIXED)),)
    assert exit_code(results, Accepted(vacuous=names)) == code


def test_accepting_a_vacuous_output_accepts_nothing_else() -> None:
    every = Accepted(vacuous=(EVERY_OUTPUT,))
    assert exit_code((TargetResult("trt", "unverified", "trt"),), every) == EXIT_UNVERIFIED
    failed = TargetResult("onnx", "failed", "onnx", stage="parity")
    assert exit_code((failed,), every) != EXIT_OK
    assert exit_code((TargetResult("trt", "unverified", "trt"),), Accepted(True)) == EXIT_OK
