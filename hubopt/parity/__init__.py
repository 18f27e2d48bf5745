"""Whether an artifact computes the layer's function."""

from hubopt.parity.tolerance import TOLERANCES, Tolerance
from hubopt.parity.verify import OutputParity, Parity, judge

__all__ = ["TOLERANCES", "OutputParity", "Parity", "Tolerance", "judge"]
