import numpy as np
import pytest

from hubopt.parity.class_like import is_class_like, top_agreement
from hubopt.parity.judging import complaints
from hubopt.parity.metrics import compare
from hubopt.parity.tolerance import Tolerance


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


LOGITS = np.random.default_rng(0).standard_normal((40, 10))


@pytest.mark.parametrize(
    ("array", "name", "expected"),
    [
        (softmax(LOGITS), "dense", True),
        (softmax(LOGITS).reshape(4, 10, 10), "map", True),
        (LOGITS, "logits", True),
        (LOGITS, "embedding", False),
        (LOGITS[:, :1], "logits", False),
        (LOGITS.reshape(4, 10, 10), "scores", False),
        (np.arange(10), "classes", False),
    ],
)
def test_distributions_and_named_logits_are_class_like(
    array: np.ndarray, name: str, expected: bool
) -> None:
    assert is_class_like(array, name) == expected


def test_rows_that_prefer_another_class_are_counted() -> None:
    scores = softmax(LOGITS)
    actual = scores.copy()
    best, last = scores[0].argmax(), scores[0].argmin()
    actual[0, [best, last]] = actual[0, [last, best]]
    agreement = top_agreement(actual, scores)
    assert (agreement.rows, agreement.top1, agreement.topk) == (40, 39, 39)


def test_the_order_of_equal_classes_does_not_matter() -> None:
    scores = np.array([[0.4, 0.4, 0.2]])
    agreement = top_agreement(np.array([[0.4, 0.4 + 1e-9, 0.2]]), scores)
    assert (agreement.top1, agreement.topk) == (1, 1)


def test_top1_is_judged_over_all_samples() -> None:
    scores = softmax(LOGITS)
    wrong = scores[:, ::-1]
    tolerance = Tolerance(top1=0.9)
    good, bad = compare(scores, scores), compare(wrong, scores)
    assert complaints((good,) * 20 + (bad,), tolerance) == []
    (problem,) = complaints((good, bad), tolerance)
    assert "top-1 agrees in" in problem
