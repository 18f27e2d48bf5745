"""The reference: as much is measured of the layer as the verdict on an artifact hangs on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from hubopt.reference.kit import Kit
from hubopt.reference.reference import Reference

from hubopt.parity import TOLERANCES, Parity, ReferenceFacts, judge
from hubopt.parity.reference import Depth
from hubopt.spec import Dim, ModelSpec, TensorSpec

DEPTHS: tuple[Depth, ...] = ("light", "float64", "full")
SPEC = ModelSpec(
    (TensorSpec("x", "float32", (Dim(1, "trace"),)),),
    (TensorSpec("y", "float32", (Dim(4, "trace"),)),),
    "x",
    "y",
)
LAYER = [{"y": np.float32([1, 2, 3, 4])}]


class Steps:
    """A reference of three steps, and which were asked for."""

    def __init__(self) -> None:
        self.asked: list[Depth] = []
        empty = Kit(SPEC, Path("inputs"), Path("reference"))
        self.reference = Reference(lambda: self._at(empty, DEPTHS[0]), self._deepen)

    def _at(self, kit: Kit, depth: Depth) -> Kit:
        self.asked.append(depth)
        return replace(kit, facts=ReferenceFacts(depth=depth))

    def _deepen(self, kit: Kit) -> Kit | None:
        at = DEPTHS.index(kit.facts.depth) + 1
        return self._at(kit, DEPTHS[at]) if at < len(DEPTHS) else None


def parity(off: float, float64: list[dict[str, Any]] | None = None) -> Parity:
    """Judge an artifact that is off by a share of the bound, in one element."""
    bound = TOLERANCES["fp32"]
    assert bound.rtol is not None
    assert bound.atol is not None
    rms = float(np.sqrt(np.mean(LAYER[0]["y"] ** 2)))
    given = LAYER[0]["y"].astype("float64")
    given[3] += off * (bound.atol * rms + bound.rtol * 4)
    return judge(SPEC, [{"y": given.astype("float32")}], LAYER, bound, None, float64)


def test_nothing_is_measured_before_it_is_asked_for() -> None:
    assert Steps().asked == []


def test_an_artifact_that_is_near_the_layer_asks_for_no_more() -> None:
    steps = Steps()
    assert steps.reference.settle(lambda kit: parity(0.3)).passed
    assert steps.asked == ["light"]


def test_one_that_fails_asks_for_everything() -> None:
    steps = Steps()
    assert not steps.reference.settle(lambda kit: parity(50)).passed
    assert steps.asked == list(DEPTHS)
    assert steps.reference.kit().facts.depth == "full"


def test_one_that_passes_narrowly_asks_for_float64() -> None:
    """It would pass as it is, but not with another rounding on another machine."""
    assert parity(0.8).passed
    wide = [{"y": LAYER[0]["y"].astype("float64")}]
    steps = Steps()
    found = steps.reference.settle(
        lambda kit: parity(0.8, wide if kit.facts.depth == "float64" else None)
    )
    assert found.passed
    assert steps.asked == ["light", "float64"]


def test_one_that_is_vacuous_asks_for_everything() -> None:
    """Whether answers depend on inputs and weights is better known from all samples."""
    steps = Steps()
    found = steps.reference.settle(lambda kit: replace(parity(0), vacuous=("output y: why",)))
    assert found.status == "vacuous"
    assert steps.asked == list(DEPTHS)


def test_other_names_are_no_question_of_noise() -> None:
    steps = Steps()
    wrong = judge(SPEC, [{"z": LAYER[0]["y"]}], LAYER, TOLERANCES["fp32"])
    assert steps.reference.settle(lambda kit: wrong).status == "failed"
    assert steps.asked == ["light"]


def test_each_verdict_is_on_the_kit_that_is_known_by_then() -> None:
    steps = Steps()
    seen: list[Depth] = []

    def run(kit: Kit) -> Parity:
        seen.append(kit.facts.depth)
        return parity(50)

    steps.reference.settle(run)
    assert seen == list(DEPTHS)
    seen.clear()
    steps.reference.settle(run)
    assert seen == ["full"]


def test_a_verdict_that_is_made_elsewhere_has_all_there_is() -> None:
    steps = Steps()
    assert steps.reference.exhaust().facts.depth == "full"
    assert not steps.reference.deepen()
