"""Ties: other orders in which the layer itself gives elements whose sort keys are equal.

The layer's other answers come from runs in which its sort keys moved within their rounding (see
`hubopt.programs.graphs.jitter`). What moves in them is tied. There, an artifact is compared with
the nearest of the layer's own answers, row by row; everything else is compared with the reference.
So another order passes, and a value that the layer gives in no order does not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hubopt.exporter import Tensors
from hubopt.parity.tolerance import TOLERANCES

Answer = Mapping[str, NDArray[Any]]

DRAWS = 16
"""The largest number of other answers to one sample. Of 12 tied boxes of which 6 are given, one
stays unseen in 16 draws once in 65 000 times."""
TIES = "ties"
"""The name of these answers among the variants."""
_SAME = 1e-3
"""The distance, as a share of each output's rms, below which two rows are one row."""
_MOVED = 1e-4
"""The distance from which on a row of another answer is another row."""
_MOST_ROWS = 6_000
"""The largest number of rows that are looked through for each row of an artifact."""
_FAR = 1e30


@dataclass(frozen=True, slots=True)
class Ties:
    """What is known of the ties of one sample.

    Attributes:
        answers: The layer's other answers; none if nothing is tied.
        decides: Whether an artifact's tied elements must be in one of the answers. They need not
            on a sample of one value, on which everything may be tied with everything.
    """

    answers: Sequence[Tensors]
    decides: bool = True


def tie_number(sample: int, draw: int) -> int:
    """Return the number of an answer in a file of `hubopt.sampling.arrays`."""
    return sample * DRAWS + draw


def tie_numbers(alternatives: Sequence[int]) -> list[int]:
    """Return the numbers of all answers, given how many there are to each sample."""
    return [tie_number(at, draw) for at, count in enumerate(alternatives) for draw in range(count)]


def moved(other: NDArray[Any], reference: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which elements differ by more than a float32 artifact may."""
    if reference.dtype.kind not in "fcV":
        return np.asarray(other != reference, bool)
    wide = reference.astype(np.complex128 if reference.dtype.kind == "c" else np.float64)
    size = np.where(np.isfinite(wide), np.abs(wide), 0.0)
    bound = TOLERANCES["fp32"]
    allowed = (bound.rtol or 0.0) * size + (bound.atol or 0.0) * _rms(size)
    with np.errstate(invalid="ignore"):
        gap = np.abs(other.astype(wide.dtype) - wide)
        return np.asarray(~((gap <= allowed) | (other == reference)), bool)


def nearest(
    actual: Tensors, reference: Tensors, ties: Ties, names: Sequence[str]
) -> dict[str, NDArray[Any]]:
    """Return, for each output with tied elements, the layer's own answer nearest to ``actual``.

    Args:
        actual: The artifact's outputs for one sample, in the layer's shapes.
        reference: The layer's outputs for it.
        ties: The layer's other answers.
        names: The names of the outputs.
    """
    own, given = (_arrays(answer, names) for answer in (reference, actual))
    others = [
        answer
        for answer in (_arrays(each, names) for each in ties.answers)
        if all(answer[name].shape == own[name].shape for name in names)
    ]
    tied = [name for name in (names if others else ()) if _moves(name, own, others).any()]
    find = _nearest_rows_of_all if ties.decides else _without_tied_rows
    found = find(tied, given, own, others) if tied else {}
    return {name: array.reshape(np.shape(reference[name])) for name, array in found.items()}


def _arrays(answer: Tensors, names: Sequence[str]) -> Answer:
    """Return the outputs as arrays that have rows."""
    return {name: np.atleast_1d(np.asarray(answer[name])) for name in names}


def _without_tied_rows(
    tied: Sequence[str], given: Answer, own: Answer, others: Sequence[Answer]
) -> dict[str, NDArray[Any]]:
    """Return the reference with the artifact's own rows wherever rows are tied, but for NaN."""
    open_rows = {
        name: is_open
        for group in _groups(own, tied, 1)
        for name, is_open in _open_rows(group, own, others).items()
    }
    return {
        name: np.where(open_rows[name] & ~_is_nan(given[name]), given[name], own[name])
        for name in tied
    }


def _nearest_rows_of_all(
    tied: Sequence[str], given: Answer, own: Answer, others: Sequence[Answer]
) -> dict[str, NDArray[Any]]:
    """Return the nearest answer of the layer's, row by row."""
    # All outputs are matched in one way, so that the rows of one match those of the others.
    ways = [_nearest_rows(tied, given, own, others, axis) for axis in (1, 0)]
    found, _ = min(ways, key=lambda way: way[1])
    for name in tied:
        if own[name].ndim > 2 and own[name].dtype.kind not in "fcV":
            found[name] = _nearest_elements(name, given, own, others)
    return {name: found[name] for name in tied}


def _groups(own: Answer, tied: Sequence[str], axis: int) -> Iterator[list[str]]:
    """Yield the names of outputs that have their rows in common.

    Rows are along ``axis``, or along the first axis in outputs that do not have it.
    """
    by_shape: dict[tuple[int, ...], list[str]] = {}
    for name, array in own.items():
        by_shape.setdefault(array.shape[: axis + 1], []).append(name)
    yield from (group for group in by_shape.values() if not set(group).isdisjoint(tied))


def _moves(name: str, own: Answer, others: Sequence[Answer]) -> NDArray[np.bool_]:
    moves = [moved(answer[name], own[name]) for answer in others]
    return np.asarray(np.any(moves, axis=0), bool)


def _open_rows(
    group: Sequence[str], own: Answer, others: Sequence[Answer]
) -> dict[str, NDArray[np.bool_]]:
    """Return, for each output, which of its rows are tied, in any output of the group."""
    axes = min(own[group[0]].ndim, 2)
    rows = own[group[0]].shape[:axes]
    is_open = np.any(
        [_moves(name, own, others).any(axis=tuple(range(axes, own[name].ndim))) for name in group],
        axis=0,
    )
    return {name: is_open.reshape(*rows, *(1,) * (own[name].ndim - axes)) for name in group}


def _nearest_elements(
    name: str, given: Answer, own: Answer, others: Sequence[Answer]
) -> NDArray[Any]:
    """Choose among the answers at every element by itself, as in a map of best classes."""
    chosen = own[name].copy()
    for answer in others:
        is_it = answer[name] == given[name]
        chosen[is_it] = answer[name][is_it]
    return np.asarray(np.where(own[name] == given[name], own[name], chosen))


def _nearest_rows(
    tied: Sequence[str], given: Answer, own: Answer, others: Sequence[Answer], axis: int
) -> tuple[dict[str, NDArray[Any]], float]:
    """Match the artifact's rows with those of the answers; a row is of all outputs of a group.

    No row is taken more often than it is in one of the answers.

    Returns:
        The answer that was put together, and the largest distance of a row from it.
    """
    chosen = {name: array.copy() for name, array in own.items()}
    worst = 0.0
    for group in _groups(own, tied, axis):
        scales = [_scale(own[name]) for name in group]
        for place in np.ndindex(*own[group[0]].shape[: min(axis, own[group[0]].ndim - 1)]):
            answers, wanted = (
                [
                    _as_rows([answer[name][place] for name in group], scales)
                    for answer in (own, *others)
                ],
                _as_rows([given[name][place] for name in group], scales),
            )
            matched, gap = _match(wanted, answers, _is_one_float(group, own, answers[0]))
            worst = max(worst, gap)
            for row, (draw, at) in matched.items():
                source = own if draw == 0 else others[draw - 1]
                to, origin = (*place, row), (*place, at)
                for name in group:
                    chosen[name][to] = source[name][origin]
    return chosen, worst


def _is_one_float(group: Sequence[str], own: Answer, rows: NDArray[Any]) -> bool:
    return rows.shape[1] == 1 and own[group[0]].dtype.kind in "fcV"


def _match(
    wanted: NDArray[np.float64], answers: Sequence[NDArray[np.float64]], of_one: bool
) -> tuple[dict[int, tuple[int, int]], float]:
    """Return the answer and the row in it for each row that is tied, and the largest distance.

    Args:
        wanted: The artifact's rows.
        answers: The rows of the reference, then those of the layer's other answers.
        of_one: Whether all rows must be of one answer: a single number is soon near to another.
    """
    gaps = [np.abs(answers[0] - other).max(axis=1, initial=0.0) for other in answers[1:]]
    open_rows = np.flatnonzero(np.max(gaps, axis=0) > _MOVED)
    if not open_rows.size or open_rows.size * len(answers) > _MOST_ROWS:
        return {}, float(np.abs(wanted - answers[0]).max(initial=0.0))
    draws = list(range(len(answers)))
    found = [
        _assign(wanted[open_rows], answers, sources, open_rows)
        for sources in ([[draw] for draw in draws] if of_one else [draws])
    ]
    assigned, worst = min(found, key=lambda one: one[1])
    return dict(zip(map(int, open_rows), assigned, strict=True)), worst


def _assign(
    wanted: NDArray[np.float64],
    answers: Sequence[NDArray[np.float64]],
    draws: Sequence[int],
    open_rows: NDArray[np.intp],
) -> tuple[list[tuple[int, int]], float]:
    """Return the answer and the row in it for each wanted row, and the largest distance."""
    candidates = np.empty((len(draws) * len(open_rows), wanted.shape[1]))
    sources: list[tuple[int, int]] = []
    for draw in draws:
        used = np.zeros(len(candidates))
        for at in open_rows:
            # A row that another answer has, too, is no further candidate.
            place = _nearest_of(answers[draw][at], candidates[: len(sources)], used, _SAME)
            if place is None:
                place = len(sources)
                candidates[place] = answers[draw][at]
                sources.append((draw, int(at)))
            used[place] = np.inf
    taken = np.zeros(len(candidates))
    assigned, worst = [], 0.0
    for row in wanted:
        place = _nearest_of(row, candidates[: len(sources)], taken, np.inf)
        assert place is not None  # there are at least as many candidates as rows
        worst = max(worst, float(np.abs(candidates[place] - row).max()))
        taken[place] = np.inf
        assigned.append(sources[place])
    return assigned, worst


def _nearest_of(
    row: NDArray[np.float64],
    candidates: NDArray[np.float64],
    penalty: NDArray[np.float64],
    limit: float,
) -> int | None:
    """Return the place of the nearest candidate that is free and nearer than ``limit``."""
    if not len(candidates):
        return None
    gaps = np.abs(candidates - row).max(axis=1) + penalty[: len(candidates)]
    place = int(np.argmin(gaps))
    return place if gaps[place] < limit else None


def _as_rows(arrays: Sequence[NDArray[Any]], scales: Sequence[float]) -> NDArray[np.float64]:
    """Return arrays that have their first axis in common as rows of numbers to compare."""
    columns = [
        (_as_numbers(array) / scale).reshape(len(array), -1 if array.size else 0)
        for array, scale in zip(arrays, scales, strict=True)
    ]
    return np.concatenate(columns, axis=1)


def _as_numbers(array: NDArray[Any]) -> NDArray[np.float64]:
    if array.dtype.kind in "OSU":
        hashes = [float(int.from_bytes(str(text).encode()[-6:], "big")) for text in array.ravel()]
        return np.array(hashes).reshape(array.shape)
    if array.dtype.kind == "c":
        return np.stack([array.real, array.imag], axis=-1).astype(np.float64)
    wide = array.astype(np.float64)
    return np.nan_to_num(wide, nan=_FAR, posinf=10 * _FAR, neginf=-10 * _FAR)


def _scale(array: NDArray[Any]) -> float:
    if array.dtype.kind not in "fcV":
        return 1.0
    numbers = _as_numbers(array)
    return _rms(np.where(np.abs(numbers) < _FAR, numbers, 0.0)) or 1.0


def _rms(sizes: NDArray[Any]) -> float:
    return float(np.sqrt(np.mean(np.square(sizes)))) if sizes.size else 0.0


def _is_nan(array: NDArray[Any]) -> NDArray[np.bool_]:
    return np.asarray(array != array) if array.dtype.kind in "fcV" else np.zeros(array.shape, bool)
