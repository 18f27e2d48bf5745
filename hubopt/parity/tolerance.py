"""How far an artifact may be from the eager layer."""

from __future__ import annotations

from dataclasses import dataclass

from hubopt.exporter import ToleranceClass


@dataclass(frozen=True, slots=True)
class Tolerance:
    """The bound ``|a - r| <= atol * rms(r) + rtol * |r|`` for each element.

    ``rms(r)`` is the root mean square of the finite elements of the reference output, so
    that ``atol`` has no unit and the bound does not depend on the scale of the output.

    Attributes:
        rtol: Relative to the element.
        atol: Relative to the output's root mean square.
    """

    rtol: float
    atol: float


TOLERANCES: dict[ToleranceClass, Tolerance] = {
    # float32 sums reordered: eps is 6e-8, and a long sum loses two to three digits of it.
    "fp32": Tolerance(rtol=1e-4, atol=1e-5),
    # XLA fuses and also approximates transcendental functions.
    "xla": Tolerance(rtol=1e-3, atol=1e-4),
}
