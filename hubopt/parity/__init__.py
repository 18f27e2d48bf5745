"""Whether an artifact computes the layer's function."""

from hubopt.parity.overrides import Overrides
from hubopt.parity.reference import ReferenceFacts
from hubopt.parity.tolerance import TABLE, TOLERANCES, Tolerance
from hubopt.parity.verify import OutputParity, Parity, judge, judge_outputs

__all__ = [
    "TABLE",
    "TOLERANCES",
    "OutputParity",
    "Overrides",
    "Parity",
    "ReferenceFacts",
    "Tolerance",
    "judge",
    "judge_outputs",
]
