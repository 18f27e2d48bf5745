"""Holds what was measured to the bounds."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from benchmarks.cost.measure import Cost, one_after_the_other
from benchmarks.cost.models import CostModel
from benchmarks.cost.plan import GROWTH_TARGETS, WITHOUT, Costs

TFLITE_TIME = 1.1
FOUR_TIME = 0.6
CACHED_SECONDS = 1.0
GROWTH_MEMORY = 2.2
LINEAR = 1.1
"""Linear is 1; a tenth is for the noise of medians."""


@dataclass(frozen=True, slots=True)
class Check:
    """One figure and its bound.

    Attributes:
        name: What was divided, or measured.
        value: The figure; None where a command has failed.
        bound: What it may be at most; None where nothing is asked.
    """

    name: str
    value: float | None
    bound: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the bound holds; None where there is no bound or no figure."""
        if self.bound is None or self.value is None:
            return None
        return self.value <= self.bound


@dataclass(frozen=True, slots=True)
class Row:
    """What is told of one model in one part.

    Attributes:
        part: Of `plan.PARTS`.
        label: The model, and what else tells the row from others.
        ours: What hubopt took; None where nothing was run.
        theirs: What that is compared with.
        checks: The figures.
        note: Why there are none.
    """

    part: str
    label: str
    ours: Cost | None = None
    theirs: Cost | None = None
    checks: tuple[Check, ...] = ()
    note: str = ""

    @property
    def missed(self) -> bool:
        """A bound does not hold, or hubopt failed where something was asked."""
        bounded = any(each.bound is not None for each in self.checks)
        failed = self.ours is not None and self.ours.problem is not None
        return any(each.met is False for each in self.checks) or (bounded and failed)

    @property
    def unjudged(self) -> bool:
        """There is a bound and no figure to hold it to, as a peer has failed."""
        return any(each.bound is not None and each.met is None for each in self.checks)


def exit_code(rows: Collection[Row]) -> int:
    """Return 1 if a bound is missed, else 3 if one could not be judged, else 0."""
    if any(row.missed for row in rows):
        return 1
    return 3 if any(row.unjudged for row in rows) else 0


def judge(model: CostModel, parts: Collection[str], costs: Costs) -> list[Row]:
    """Return the rows of one model; those of its growth are `growth_rows`."""
    rows = []
    if "onnx" in parts:
        bounds = model.onnx_time, model.onnx_memory
        rows.append(_against("onnx", model.name, costs["hubopt onnx"], costs["tf2onnx"], bounds))
    if "floor" in parts:
        row = _against("floor", model.name, costs["load alone"], costs["tf2onnx"], (None, None))
        rows.append(row)
    if "tflite" in parts:
        if reason := model.impossible.get("tflite"):
            rows.append(Row("tflite", model.name, note=reason))
        else:
            ours, theirs = costs["hubopt tflite"], costs["converter"]
            rows.append(_against("tflite", model.name, ours, theirs, (TFLITE_TIME, None)))
    if "four" in parts:
        alone = one_after_the_other(costs[f"hubopt {target}"] for target in model.targets)
        left_out = [f"without {target}: {why}" for target, why in model.impossible.items()]
        row = _against("four", model.name, costs["hubopt all"], alone, (FOUR_TIME, None))
        rows.append(replace(row, note="; ".join(left_out)))
    if "cached" in parts:
        rows.append(_cached(model, costs))
    return rows


def growth_rows(sizes: Sequence[tuple[float, Costs]]) -> list[Row]:
    """Return the rows of the models that differ in size only.

    Args:
        sizes: Weights in GB and what the model took, smallest first.
    """
    rows = []
    for target in GROWTH_TARGETS:
        points = [(size, costs[f"hubopt {target}"]) for size, costs in sizes]
        for at, (size, cost) in enumerate(points):
            peak = None if cost.problem else cost.peak_bytes / (size * 1e9)
            bound = GROWTH_MEMORY if at == len(points) - 1 else None
            check = Check("peak / weights", peak, bound)
            rows.append(Row("growth", f"{size:.3g} GB {target}", cost, None, (check,)))
        if len(points) > 2:
            same_work = [(size, costs[f"hubopt {target}{WITHOUT}"]) for size, costs in sizes]
            rows += [
                Row("growth", f"{size:.3g} GB {target}{WITHOUT}", cost) for size, cost in same_work
            ]
            rows.append(_linear(target, same_work))
    return rows


def _linear(target: str, points: Sequence[tuple[float, Cost]]) -> Row:
    """Compare what another GB takes at the large end with what it takes below it.

    The graph's own cost is in all points and falls out of the differences. The same work must be
    in all points, too.
    """
    (small, first), (middle, second), (large, last) = points[0], points[-2], points[-1]
    label = f"{target}, {middle:.2g} to {large:.2g} over {small:.2g} to {middle:.2g} GB"
    value = None
    if not any(cost.problem for cost in (first, second, last)):
        below = (second.seconds - first.seconds) / (middle - small)
        above = (last.seconds - second.seconds) / (large - middle)
        # Weights that cost nothing measurable below: any growth above is more than linear.
        value = above / below if below > 0 else float("inf") if above > 0 else 0.0
    return Row("growth", label, checks=(Check("s per GB", value, LINEAR),))


def _against(
    part: str, label: str, ours: Cost, theirs: Cost, bounds: tuple[float | None, float | None]
) -> Row:
    def ratio(mine: float, other: float) -> float | None:
        return None if ours.problem or theirs.problem else mine / other

    checks = (
        Check("time", ratio(ours.seconds, theirs.seconds), bounds[0]),
        Check("memory", ratio(ours.peak_bytes, theirs.peak_bytes), bounds[1]),
    )
    return Row(part, label, ours, theirs, checks)


def _cached(model: CostModel, costs: Costs) -> Row:
    if "cached" not in costs:
        return Row("cached", model.name, note="this hubopt has no cache of stages (--no-cache)")
    second = costs["cached"]
    seconds = None if second.problem else second.seconds
    check = Check("seconds", seconds, CACHED_SECONDS)
    return Row("cached", model.name, second, costs["first"], (check,))
