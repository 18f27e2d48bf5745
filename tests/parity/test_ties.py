"""Another order of equal elements passes; a value that the layer gives in no order does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hubopt.parity import TOLERANCES, Parity, ReferenceQuality, Tolerance
from hubopt.parity.comparison import compare_outputs
from hubopt.parity.ties import Ties, moved
from hubopt.parity.verify import judge_comparison
from hubopt.spec import Dim, ModelSpec, TensorSpec

Answer = dict[str, NDArray[Any]]
BOXES = np.random.default_rng(0).random((12, 4)).astype("float32")
KEPT = 4
"""How many of the twelve boxes an answer has; the first has the best score, all others are equal.
The classes are floats, as CombinedNonMaxSuppression gives them."""
BOUND = TOLERANCES["fp32"]


def tensor(name: str, *shape: int, dtype: str = "float32") -> TensorSpec:
    return TensorSpec(name, dtype, tuple(Dim(size, "trace") for size in shape))


DETECTIONS = ModelSpec(
    (tensor("x", 1),),
    (
        tensor("boxes", 1, KEPT, 4),
        tensor("scores", 1, KEPT),
        tensor("classes", 1, KEPT),
        tensor("n", 1, dtype="int32"),
    ),
    "x",
    {name: name for name in ("boxes", "scores", "classes", "n")},
)


def detections(*boxes: int) -> Answer:
    """Return the boxes in this order; box ``i`` has class ``i % 5``."""
    chosen = np.array(boxes)
    return {
        "boxes": BOXES[chosen][None],
        "scores": np.float32([[0.9] + [0.5] * (KEPT - 1)]),
        "classes": (chosen % 5).astype("float32")[None],
        "n": np.int32([KEPT]),
    }


LAYER = detections(0, 1, 2, 3)
DRAWS = [detections(0, *np.random.default_rng(at).permutation(11)[:3] + 1) for at in range(16)]


def verdict(
    actual: Answer,
    reference: Answer = LAYER,
    draws: Any = DRAWS,
    spec: ModelSpec = DETECTIONS,
    tolerance: Tolerance = BOUND,
    decides: bool = True,
) -> Parity:
    """Judge an artifact on a tied sample and on one that it gets right."""
    ties = [Ties(draws, decides), Ties(())]
    comparison = compare_outputs(spec, [actual, reference], [reference] * 2, ties=ties)
    tolerances = dict.fromkeys(spec.output_names, tolerance)
    return judge_comparison(comparison, tolerances, ReferenceQuality())


def changed(answer: Answer, name: str, at: Any, value: Any) -> Answer:
    array = answer[name].copy()
    array[at] = value
    return {**answer, name: array}


@pytest.mark.parametrize("boxes", [(0, 3, 1, 2), (0, 11, 7, 5), (0, 2, 9, 1)])
def test_another_order_and_another_choice_of_equals_pass(boxes: tuple[int, ...]) -> None:
    parity = verdict(detections(*boxes))
    assert parity.status == "verified", parity
    assert parity.outputs[0].bases == ("tie", "layer")
    assert "the layer's own order is a tie: boxes (sample 0)" in str(parity.note)
    assert parity.outputs[0].max_abs == 0, "what decided is the distance from the layer's own row"


OTHER = detections(0, 3, 1, 2)


@pytest.mark.parametrize(
    "fault",
    [
        changed(OTHER, "boxes", (0, 2, 1), 0.77),
        changed(OTHER, "boxes", (0, 2, 1), np.nan),
        changed(OTHER, "boxes", (0, 2), BOXES[1][::-1]),
        changed(OTHER, "classes", (0, 3), 4.0),
        changed(OTHER, "scores", (0, 3), 0.4),
        changed(OTHER, "n", 0, 3),
        {**OTHER, "boxes": OTHER["boxes"] * np.float32(1.01)},
        {**OTHER, "boxes": OTHER["boxes"][:, ::-1]},
        detections(0, 3, 3, 3),
        detections(3, 0, 1, 2),
    ],
    ids=[
        "a coordinate",
        "a NaN",
        "corners swapped",
        "the class of another box",
        "a score",
        "the count",
        "all boxes scaled",
        "boxes apart from their classes",
        "one box three times",
        "the best box not first",
    ],
)
def test_wrong_values_beside_a_tie_are_caught(fault: Answer) -> None:
    assert verdict(OTHER).status == "verified"
    assert verdict(fault).status == "failed"


def test_without_a_tie_another_order_is_wrong() -> None:
    assert verdict(OTHER, draws=()).status == "failed"


def test_a_stated_bound_binds_in_every_order_and_strict_knows_no_ties() -> None:
    stated = Tolerance(rtol=1e-6, atol=0.0, stated=("rtol", "atol"))
    near = {**OTHER, "boxes": OTHER["boxes"] * np.float32(1 + 1e-5)}
    assert verdict(OTHER, tolerance=stated).status == "verified"
    assert verdict(near).status == "verified"
    assert verdict(near, tolerance=stated).status == "failed"
    assert verdict(OTHER, tolerance=Tolerance(rtol=1e-4, atol=1e-5, strict=True)).status == "failed"


def test_a_sample_of_one_value_does_not_decide_what_is_tied() -> None:
    """Of a thousand equal boxes, sixteen draws show too few."""
    few = DRAWS[:1]
    unseen = detections(0, 10, 8, 9)
    assert verdict(unseen, draws=few).status == "failed"
    assert verdict(unseen, draws=few, decides=False).status == "verified"
    for fault in (
        changed(unseen, "scores", (0, 3), 0.4),
        changed(unseen, "n", 0, 3),
        changed(unseen, "boxes", (0, 0, 0), 0.77),
        changed(unseen, "boxes", (0, 2, 0), np.nan),
    ):
        assert verdict(fault, draws=few, decides=False).status == "failed"


MAP = ModelSpec((tensor("x", 1),), (tensor("best", 1, 3, 4, dtype="int64"),), "x", "best")
BEST = {"best": np.arange(12).reshape(1, 3, 4) % 3}


def test_every_place_of_a_map_of_best_classes_has_its_own_tie() -> None:
    """The draws show the places one by one, and an artifact chooses at each of them."""
    draws = [changed(BEST, "best", (0, 0, 1), 7), changed(BEST, "best", (0, 2, 2), 8)]
    both = changed(draws[0], "best", (0, 2, 2), 8)
    assert verdict(both, BEST, draws, MAP).status == "verified"
    for fault in (
        changed(both, "best", (0, 0, 1), 6),
        changed(both, "best", (0, 1, 1), 7),
        changed(BEST, "best", (0, 0, 1), 8),
    ):
        assert verdict(fault, BEST, draws, MAP).status == "failed"


FEATURES = ModelSpec((tensor("x", 1),), (tensor("features", 1, 300),), "x", "features")


def test_features_after_a_tie_are_not_matched_with_whatever_is_near() -> None:
    """Among 5 000 numbers there is often one within the tolerance."""
    drawn = np.random.default_rng(1).standard_normal((18, 1, 300)).astype("float32")
    own, other, *draws = ({"features": array} for array in drawn)
    draws.append(other)
    assert verdict(other, own, draws, FEATURES).status == "verified"
    assert verdict(own, own, draws, FEATURES).status == "verified"
    wrong = np.random.default_rng(2).standard_normal((1, 300)).astype("float32")
    assert verdict({"features": wrong}, own, draws, FEATURES).status == "failed"
    one_off = changed(other, "features", (0, 150), other["features"][0, 150] + 0.01)
    assert verdict(one_off, own, draws, FEATURES).status == "failed"


UNBATCHED = ModelSpec(
    (tensor("x", 1),),
    (tensor("boxes", KEPT, 4), tensor("indices", KEPT, dtype="int32")),
    "x",
    {"boxes": "boxes", "indices": "indices"},
)


def unbatched(*boxes: int) -> Answer:
    return {"boxes": BOXES[np.array(boxes)], "indices": np.int32(boxes)}


def test_rows_may_be_the_first_dimension() -> None:
    own, draws = unbatched(0, 1, 2, 3), [unbatched(0, 2, 1, 3), unbatched(0, 4, 2, 1)]
    assert verdict(unbatched(0, 4, 1, 2), own, draws, UNBATCHED).status == "verified"
    fault = changed(unbatched(0, 4, 1, 2), "indices", 1, 1)
    assert verdict(fault, own, draws, UNBATCHED).status == "failed"


SCALAR = ModelSpec(
    (tensor("x", 1),), (tensor("best", dtype="int64"), tensor("none", 1, 0)), "x", ["best", "none"]
)


def test_outputs_without_dimensions_and_without_elements_have_ties_too() -> None:
    own, other, wrong = (
        {"best": np.int64(at), "none": np.zeros((1, 0), np.float32)} for at in (1, 2, 3)
    )
    for decides in (True, False):
        ties = [Ties([other], decides)]
        passed = compare_outputs(SCALAR, [other], [own], ties=ties).beside_ties
        assert [passed["best"][0].unequal, passed["none"]] == [0, (None,)]  # type: ignore[union-attr]
    failed = compare_outputs(SCALAR, [wrong], [own], ties=[Ties([other])]).beside_ties["best"][0]
    assert failed is not None
    assert failed.unequal == 1


def test_rounding_is_no_move() -> None:
    values = np.float32([1, -2, 0, np.inf])
    assert not moved(values * np.float32(1 + 1e-6), values).any()
    assert moved(np.float32([1.1, -2, 0, np.inf]), values).tolist() == [True, False, False, False]
    assert moved(np.float32([1, -2, np.nan, -np.inf]), values).tolist() == [
        False,
        False,
        True,
        True,
    ]
