"""Outputs whose rows are class scores: whether artifact and layer agree on the best classes."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np

K = 5
"""The k of top-k, as is usual for ImageNet."""
_NAMES = re.compile(r"logit|prob|score|class|softmax|predict", re.IGNORECASE)
_SUM_SLACK = 1e-3


class TopAgreement(NamedTuple):
    """The number of rows, and in how many of them the best class and the best `K` agree.

    In a row of at most `K` classes, ``topk`` compares all classes.
    """

    rows: int
    top1: int
    topk: int


def is_class_like(reference: Any, name: str = "") -> bool:
    """Whether the rows of ``reference`` are class scores.

    They are if each row is a probability distribution, as after a softmax, or if the output has
    the shape "batch classes" and a name such as ``logits``.
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
    """Count the rows in which the best classes agree; no rows if the output is not class-like.

    Classes are compared by their score in ``reference``, so that exact ties count as agreement.
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
