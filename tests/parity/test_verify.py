import numpy as np
import pytest

from hubopt.parity import Tolerance, judge
from hubopt.spec import Dim, ModelSpec, TensorSpec

TOLERANCE = Tolerance(rtol=1e-4, atol=1e-5)


def tensor(name: str, *shape: int) -> TensorSpec:
    return TensorSpec(name, "float32", tuple(Dim(size, "trace") for size in shape))


SPEC = ModelSpec(
    (tensor("x", 1),), (tensor("note", 1, 4), tensor("onset", 1, 4)), "x", ["note", "onset"]
)


def outputs(seed: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    return {name: generator.random((1, 4), np.float32) for name in ("note", "onset")}


REFERENCE = [outputs(1), outputs(2)]


def test_what_is_equal_passes() -> None:
    parity = judge(SPEC, REFERENCE, REFERENCE, TOLERANCE)
    assert parity.passed
    assert parity.problems == ()
    assert [each.name for each in parity.outputs] == ["note", "onset"]
    assert parity.samples == 2


def test_two_outputs_of_one_shape_that_swap_fail() -> None:
    swapped = [{"note": each["onset"], "onset": each["note"]} for each in REFERENCE]
    parity = judge(SPEC, swapped, REFERENCE, TOLERANCE)
    assert not parity.passed
    assert len(parity.problems) == 4


def test_one_bad_element_of_one_sample_fails_and_is_named() -> None:
    actual = [REFERENCE[0], {name: array.copy() for name, array in REFERENCE[1].items()}]
    actual[1]["onset"][0, 3] += 0.5
    parity = judge(SPEC, actual, REFERENCE, TOLERANCE)
    assert not parity.passed
    (problem,) = parity.problems
    assert problem.startswith("output onset, sample 1: 1 of 4 elements differ")
    assert "the worst at (0, 3)" in problem


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda given: {"note": given["note"]}, "outputs are ['note']"),
        (lambda given: given | {"more": given["note"]}, "outputs are ['more', 'note', 'onset']"),
        (lambda given: given | {"note": given["note"][0]}, "output note is float32 4"),
        (lambda given: given | {"note": given["note"].astype("float64")}, "is float64 1x4"),
    ],
)
def test_names_shapes_and_dtypes_come_first(change: object, told: str) -> None:
    actual = [change(each) for each in REFERENCE]  # type: ignore[operator]
    parity = judge(SPEC, actual, REFERENCE, TOLERANCE)
    assert not parity.passed
    assert told in parity.problems[0]
    assert parity.outputs == ()


@pytest.mark.parametrize("actual", [[], REFERENCE[:1]])
def test_missing_samples_never_pass(actual: list[dict[str, np.ndarray]]) -> None:
    assert not judge(SPEC, actual, REFERENCE, TOLERANCE).passed


def test_nothing_compared_is_no_success() -> None:
    assert not judge(SPEC, [], [], TOLERANCE).passed


def test_an_output_without_elements_proves_nothing() -> None:
    empty = ModelSpec((tensor("x", 1),), (tensor("boxes", 0, 4),), "x", "boxes")
    nothing = [{"boxes": np.zeros((0, 4), np.float32)}]
    parity = judge(empty, nothing, nothing, TOLERANCE)
    assert not parity.passed
    assert "nothing was compared" in parity.problems[0]
