"""Compares the measurements with the bounds."""

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
"""1 is linear growth; a tenth is added for the noise of the medians."""


@dataclass(frozen=True, slots=True)
class Check:
    """One figure and its bound.

    Attributes:
        name: The name of the ratio or measurement.
        value: The figure; None if a command has failed.
        bound: Its maximum; None if there is no requirement.
    """

    name: str
    value: float | None
    bound: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the bound holds; None if there is no bound or no figure."""
        if self.bound is None or self.value is None:
            return None
        return self.value <= self.bound


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the report: a model in one part.

    Attributes:
        part: One of `plan.PARTS`.
        label: The model, and anything else that distinguishes the row.
        ours: The cost of hubopt; None if nothing was run.
        theirs: The cost to compare with.
        checks: The figures.
        note: Why there are no figures, or which targets are missing in them.
    """

    part: str
    label: str
    ours: Cost | None = None
    theirs: Cost | None = None
    checks: tuple[Check, ...] = ()
    note: str = ""

    @property
    def missed(self) -> bool:
        """Whether a bound does not hold, or hubopt failed although there is a bound."""
        bounded = any(check.bound is not None for check in self.checks)
        failed = self.ours is not None and self.ours.problem is not None
        return any(check.met is False for check in self.checks) or (bounded and failed)

    @property
    def unjudged(self) -> bool:
        """Whether there is a bound without a figure, because another tool failed."""
        return any(check.bound is not None and check.met is None for check in self.checks)


def exit_code(rows: Collection[Row]) -> int:
    """Return 1 if a bound is missed, else 3 if one could not be judged, else 0."""
    if any(row.missed for row in rows):
        return 1
    return 3 if any(row.unjudged for row in rows) else 0


def judge(model: CostModel, parts: Collection[str], costs: Costs) -> list[Row]:
    """Return the rows of one model; `growth_rows` returns those of the part ``growth``."""
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
    """Return the rows of the models that differ only in size.

    Args:
        sizes: The weights in GB and the costs of each model, smallest first.
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
    """Compare the time for another GB at the large end with that at the small end.

    The graph's own cost is in all points and cancels out of the differences. All points must do
    the same work.
    """
    (small, first), (middle, second), (large, last) = points[0], points[-2], points[-1]
    label = f"{target}, {middle:.2g} to {large:.2g} over {small:.2g} to {middle:.2g} GB"
    value = None
    if not any(cost.problem for cost in (first, second, last)):
        below = (second.seconds - first.seconds) / (middle - small)
        above = (last.seconds - second.seconds) / (large - middle)
        # No measurable cost at the small end: any growth at the large end is more than linear.
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
