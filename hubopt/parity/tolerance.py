"""How far an artifact may be from the eager layer, by the arithmetic of the artifact."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hubopt.exporter import ToleranceClass


@dataclass(frozen=True, slots=True)
class Tolerance:
    """The bounds that one output must meet on every sample; None means no bound.

    Each element: ``|a - r| <= atol * rms(r) + rtol * |r|``, where ``rms(r)`` is the root mean
    square of the finite elements of the reference output, so that ``atol`` has no unit and the
    bound does not depend on the scale of the output.

    Attributes:
        rtol: Relative to the element.
        atol: Relative to the output's root mean square.
        sqnr_db: The smallest ratio of the reference's power to the error's, in decibels.
        cosine: The smallest cosine of the angle between artifact and reference.
        top1: The smallest share of rows with the same best class, over all samples; only for a
            class-like output.
        stated: The names of the bounds above that the user stated. Neither the layer's own noise
            nor float32's rounding widens a stated bound. ``rtol`` and ``atol`` form one bound
            together, so that stating one of them states both.
        strict: Whether the layer's own noise widens no bound at all.
    """

    rtol: float | None = None
    atol: float | None = None
    sqnr_db: float | None = None
    cosine: float | None = None
    top1: float | None = None
    stated: tuple[str, ...] = ()
    strict: bool = False

    @property
    def states_elements(self) -> bool:
        """Whether the user stated the bound of each element."""
        return "rtol" in self.stated or "atol" in self.stated

    @property
    def states_sqnr(self) -> bool:
        """Whether the user stated the signal-to-noise ratio."""
        return "sqnr_db" in self.stated

    def only_stated(self) -> Tolerance:
        """Return this tolerance without the bounds that the user did not state."""
        return replace(
            self,
            rtol=self.rtol if self.states_elements else None,
            atol=self.atol if self.states_elements else None,
            sqnr_db=self.sqnr_db if self.states_sqnr else None,
            cosine=self.cosine if "cosine" in self.stated else None,
            top1=self.top1 if "top1" in self.stated else None,
        )

    def __str__(self) -> str:
        parts = (
            ("rtol", self.rtol, "{:g}"),
            ("atol", self.atol, "{:g} x rms"),
            ("SQNR", self.sqnr_db, ">= {:g} dB"),
            ("cosine", self.cosine, ">= {:g}"),
            ("top-1", self.top1, ">= {:.0%}"),
        )
        return ", ".join(
            f"{name} {form.format(value)}" for name, value, form in parts if value is not None
        )


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the table.

    Attributes:
        tolerance: The bounds.
        arithmetic: The arithmetic that it is for.
        source: The source of its figures.
    """

    tolerance: Tolerance
    arithmetic: str
    source: str


TABLE: dict[ToleranceClass, Entry] = {
    "fp32": Entry(
        Tolerance(rtol=1e-4, atol=1e-5, sqnr_db=80.0),
        "float32, sums in another order",
        "IEEE 754 binary32: unit roundoff 6e-8; sums of 1e3 to 1e4 terms lose two digits of it",
    ),
    "xla": Entry(
        Tolerance(rtol=1e-3, atol=1e-4, sqnr_db=70.0),
        "float32 compiled by XLA: fused, elementary functions approximated",
        "as fp32, one digit more for XLA's polynomial exp, tanh and rsqrt",
    ),
    "tf32": Entry(
        Tolerance(rtol=1e-2, atol=1e-3, sqnr_db=55.0),
        "TensorFloat-32 products, float32 sums",
        "NVIDIA A100 whitepaper: 10 bits of mantissa, unit roundoff 4.9e-4",
    ),
    "fp16": Entry(
        Tolerance(rtol=1e-2, atol=5e-3, sqnr_db=40.0),
        "float16",
        "IEEE 754 binary16: unit roundoff 4.9e-4; torch.testing.assert_close takes rtol 1e-3 "
        "for one operation",
    ),
    "bf16": Entry(
        Tolerance(rtol=5e-2, atol=2e-2, sqnr_db=30.0),
        "bfloat16",
        "bfloat16: 8 bits of mantissa, unit roundoff 3.9e-3; torch.testing.assert_close takes "
        "rtol 1.6e-2 for one operation",
    ),
    "int8-dynamic": Entry(
        Tolerance(sqnr_db=25.0, cosine=0.995, top1=0.99),
        "int8 weights, activations quantized as they come",
        "MLPerf Inference: 99 % of the float32 reference's quality",
    ),
    "int8-static": Entry(
        Tolerance(sqnr_db=20.0, cosine=0.99, top1=0.98),
        "int8 weights and activations with calibrated ranges",
        "as int8-dynamic, ranges being fixed beforehand",
    ),
}
"""The table that `hubopt tolerances` shows."""

TOLERANCES: dict[ToleranceClass, Tolerance] = {
    name: entry.tolerance for name, entry in TABLE.items()
}
