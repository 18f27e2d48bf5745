"""Parity: whether an artifact computes the same function as the layer."""

from hubopt.parity.overrides import ToleranceOverrides
from hubopt.parity.reference import ReferenceQuality
from hubopt.parity.tolerance import TABLE, TOLERANCES, Tolerance
from hubopt.parity.verify import OutputParity, Parity, judge, judge_outputs

__all__ = [
    "TABLE",
    "TOLERANCES",
    "OutputParity",
    "Parity",
    "ReferenceQuality",
    "Tolerance",
    "ToleranceOverrides",
    "judge",
    "judge_outputs",
]
