"""Outputs whose rows score classes: whether artifact and layer prefer the same ones."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np

K = 5
"""How many of the best classes top-k looks at, as is usual for ImageNet."""
_NAMES = re.compile(r"logit|prob|score|class|softmax|predict", re.IGNORECASE)
_SUM_SLACK = 1e-3


class TopAgreement(NamedTuple):
    """How many rows there are, and in how many the best class and the best `K` agree.

    A row of no more than `K` classes agrees on those.
    """

    rows: int
    top1: int
    topk: int


def is_class_like(reference: Any, name: str = "") -> bool:
    """Whether the rows of ``reference`` score classes.

    They do if each is a distribution, as softmax gives it, or if the output is
    "batch classes" and its name says so.
    """
    if reference.dtype.kind != "f" or reference.ndim < 2 or reference.shape[-1] < 2:
        return False
    if not reference.size or not np.isfinite(reference).all():
        return False
    sums = reference.sum(axis=-1)
    if (reference >= 0).all() and (np.abs(sums - 1) < _SUM_SLACK).all():
        return True
    return reference.ndim == 2 and bool(_NAMES.search(name))


def top_agreement(actual: Any, reference: Any, name: str = "") -> TopAgreement:
    """Count the rows in which the best classes agree; no rows if there are no classes.

    Classes are compared by their score in ``reference``, so that exact ties are no disagreement.
    """
    if not is_class_like(reference, name):
        return TopAgreement(0, 0, 0)
    classes = reference.shape[-1]
    wanted, given = reference.reshape(-1, classes), actual.reshape(-1, classes)
    chosen = np.argsort(-given, axis=-1, kind="stable")
    scores = np.take_along_axis(wanted, chosen, axis=-1)
    ideal = -np.sort(-wanted, axis=-1)
    k = min(K, classes)
    same_first = scores[:, 0] == ideal[:, 0]
    same_k = (np.sort(scores[:, :k], axis=-1) == np.sort(ideal[:, :k], axis=-1)).all(axis=-1)
    return TopAgreement(len(wanted), int(same_first.sum()), int(same_k.sum()))
