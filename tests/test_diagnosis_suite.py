"""Diagnosis points at the layer in which a fault was planted, in a real export."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.diagnosis_suite import Part, enough, show
from benchmarks.mutations.locating import Layer, Located, locate_mutants, opened_layer
from benchmarks.mutations.mutant import Mutant
from benchmarks.mutations.pool import TARGETS
from benchmarks.mutations.run import Case, mutants, open_case
from hubopt.bundles.bundle import Bundle, read_bundle
from tests.conftest import Ran

pytestmark = pytest.mark.real
KINDS = ("wrong padding", "shuffled channel", "lower precision")


@pytest.fixture(scope="module")
def bundle(basic_pitch_export: tuple[Ran, Path]) -> Bundle:
    return read_bundle(basic_pitch_export[1])


@pytest.fixture(scope="module")
def layer(bundle: Bundle) -> Iterator[Layer]:
    with opened_layer(bundle) as opened:
        yield opened


@pytest.fixture(scope="module")
def cases(bundle: Bundle) -> dict[str, Case]:
    return {target: open_case(bundle, target) for target in TARGETS}


def handful(case: Case) -> list[Mutant]:
    """Return the middle mutant of each kind in `KINDS`."""
    found = mutants(case, seed=0)
    of_kinds = [[mutant for mutant in found if mutant.kind == kind] for kind in KINDS]
    return [group[len(group) // 2] for group in of_kinds]


@pytest.mark.parametrize("target", TARGETS)
def test_diagnosis_points_at_the_planted_layer(
    layer: Layer, cases: dict[str, Case], target: str
) -> None:
    found = list(locate_mutants(layer, cases[target], handful(cases[target])))
    assert [mutant.outcome for mutant in found] == ["pointed at"] * len(KINDS), found
    assert all(0 < len(mutant.segment) < 10 for mutant in found)
    assert all(0 < mutant.runs < 20 for mutant in found)


def test_a_fault_reported_elsewhere_is_a_miss(layer: Layer, cases: dict[str, Case]) -> None:
    """The suite itself can fail: this mutant names a layer other than the one with the fault."""
    case = cases["onnx"]
    mutant, other, _ = handful(case)
    lying = replace(mutant, fault=replace(mutant.fault, layer=other.layer))
    (missed,) = locate_mutants(layer, case, [lying])
    assert missed.outcome == "elsewhere"
    assert missed.tensor
    console = Console(width=160)
    with console.capture() as shown:
        show({("basic-pitch", "onnx"): Part((missed,), 131)}, console)
    assert f"fault at {other.layer}" in shown.get()
    assert "0/1" in shown.get()


def test_a_mutant_that_parity_passes_is_not_diagnosed(layer: Layer, cases: dict[str, Case]) -> None:
    case = cases["tflite"]
    (mutant, *_) = handful(case)
    harmless = replace(mutant, fault=replace(mutant.fault, apply=lambda model: None))
    (judged,) = locate_mutants(layer, case, [harmless])
    assert judged.outcome == "not caught"
    part = Part((judged,), 1)
    assert not part.diagnosed
    assert not enough(part)  # no mutant was diagnosed


@pytest.mark.parametrize(("missed", "fine"), [(0, True), (1, True), (2, False)])
def test_at_most_one_miss_in_twenty_is_accepted(missed: int, fine: bool) -> None:
    hit = Located("onnx", "weight sign", "here", "a", "pointed at", "", "a", ("a",), 3)
    miss = replace(hit, outcome="elsewhere")
    assert enough(Part((hit,) * (20 - missed) + (miss,) * missed, 20)) is fine
