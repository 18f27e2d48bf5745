"""Parity: whether an artifact computes the same function as the layer."""

from hubopt.parity.comparison import Comparison, compare_outputs
from hubopt.parity.outcome import OutputParity, Parity
from hubopt.parity.overrides import ToleranceOverrides
from hubopt.parity.reference import ReferenceQuality
from hubopt.parity.tolerance import TABLE, TOLERANCES, Tolerance
from hubopt.parity.verify import judge, judge_comparison, judge_outputs

__all__ = [
    "TABLE",
    "TOLERANCES",
    "Comparison",
    "OutputParity",
    "Parity",
    "ReferenceQuality",
    "Tolerance",
    "ToleranceOverrides",
    "compare_outputs",
    "judge",
    "judge_comparison",
    "judge_outputs",
]
