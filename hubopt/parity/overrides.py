"""Tolerances that the user sets, for a whole run or for one output."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hubopt._util.short_repr import short_repr
from hubopt.errors import UsageError
from hubopt.exporter import ToleranceClass
from hubopt.parity.tolerance import TOLERANCES, Tolerance

CLASS = "tolerance"
_BOUNDS = {
    "rtol": (0.0, math.inf),
    "atol": (0.0, math.inf),
    "sqnr_db": (-1000.0, 1000.0),
    "cosine": (-1.0, 1.0),
    "top1": (0.0, 1.0),
}
_OFF = "off"


@dataclass(frozen=True, slots=True)
class Override:
    """One tolerance setting of the user.

    Attributes:
        output: The name of the output that it applies to; empty for all outputs.
        field: ``tolerance`` for a class of the table, or a field of `Tolerance`.
        value: The class's name, the bound, or None for no bound.
    """

    output: str
    field: str
    value: str | float | None


@dataclass(frozen=True, slots=True)
class ToleranceOverrides:
    """All tolerance settings of the user; none by default.

    A class replaces the artifact's tolerance class, and a bound replaces one bound of the class.
    A setting for one output takes precedence over a setting for all outputs. Nothing widens a
    bound that the user stated, see `Tolerance.stated`.

    Attributes:
        entries: The settings, in order.
        strict: Whether the layer's own noise widens no bound of any output.
    """

    entries: tuple[Override, ...] = ()
    strict: bool = False

    __repr__ = short_repr

    @classmethod
    def parse(
        cls,
        tolerance: Sequence[str] = (),
        rtol: Sequence[str] = (),
        atol: Sequence[str] = (),
        sqnr: Sequence[str] = (),
        cosine: Sequence[str] = (),
        top1: Sequence[str] = (),
        strict: bool = False,
    ) -> ToleranceOverrides:
        """Read ``[OUTPUT=]VALUE`` texts; a value is a class, a number, or ``off``.

        Raises:
            UsageError: Some of the texts are invalid; the error names them all.
        """
        given = {
            CLASS: tolerance,
            "rtol": rtol,
            "atol": atol,
            "sqnr_db": sqnr,
            "cosine": cosine,
            "top1": top1,
        }
        entries, problems = [], []
        for field, texts in given.items():
            for text in texts:
                output, _, value = text.rpartition("=")
                problem, read = _read(field, value)
                if problem:
                    problems.append(f"--{field.removesuffix('_db')} {text}: {problem}")
                entries.append(Override(output, field, read))
        if problems:
            raise UsageError(
                "tolerance",
                "; ".join(problems),
                "[OUTPUT=]VALUE, the value a class, a number or `off`",
                "see `hubopt tolerances` for the classes",
            )
        return cls(tuple(entries), strict)

    def __str__(self) -> str:
        texts = [
            f"{entry.field.removesuffix('_db')} "
            + (f"{entry.value:g}" if isinstance(entry.value, float) else f"{entry.value or _OFF}")
            + (f" for {entry.output}" if entry.output else "")
            for entry in self.entries
        ]
        return ", ".join([*texts, *(["strict"] if self.strict else [])])

    def check(self, outputs: Sequence[str]) -> None:
        """Check that every setting applies to an output of the model.

        Raises:
            UsageError: The model has no such output.
        """
        unknown = {entry.output for entry in self.entries if entry.output} - set(outputs)
        if unknown:
            raise UsageError(
                f"tolerance of output {', '.join(sorted(unknown))}",
                "the model has no such output",
                f"one of: {', '.join(outputs)}",
                "name one of these, or leave the name out for all outputs",
            )

    def tolerances(
        self, outputs: Sequence[str], artifact_class: ToleranceClass
    ) -> dict[str, Tolerance]:
        """Return the tolerance of each output.

        Args:
            outputs: The names of the model's outputs.
            artifact_class: The artifact's own tolerance class, which settings may replace.

        Raises:
            UsageError: The model has no such output, see `check`.
        """
        self.check(outputs)
        return {name: self._tolerance(name, artifact_class) for name in outputs}

    def _tolerance(self, output: str, artifact_class: ToleranceClass) -> Tolerance:
        relevant = [
            *(entry for entry in self.entries if not entry.output),
            *(entry for entry in self.entries if entry.output == output),
        ]
        classes = [entry.value for entry in relevant if entry.field == CLASS]
        tolerance = TOLERANCES[classes[-1] if classes else artifact_class]  # type: ignore[index]
        bounds: Mapping[str, Any] = {
            entry.field: entry.value for entry in relevant if entry.field != CLASS
        }
        stated = tuple(name for name, value in bounds.items() if value is not None)
        return replace(tolerance, **bounds, stated=stated, strict=self.strict)


def override_problem(override: Override, outputs: Sequence[str]) -> str | None:
    """Return why a tolerance setting from a file is invalid; None if it is valid."""
    what = f"tolerance {override.field!r} of {override.output or 'all outputs'!r}"
    if override.output and override.output not in outputs:
        return f"{what}: there is no such output"
    if override.field == CLASS:
        return None if override.value in TOLERANCES else f"{what}: no class {override.value!r}"
    if override.field not in _BOUNDS:
        return f"{what}: there is no such bound"
    if override.value is None:
        return None
    if isinstance(override.value, str):
        return f"{what}: {override.value!r} is not a number"
    low, high = _BOUNDS[override.field]
    return None if low <= override.value <= high else f"{what}: {override.value} is no bound"


def _read(field: str, text: str) -> tuple[str | None, str | float | None]:
    """Parse a value; return the problem with it, or None, and the value."""
    if field == CLASS:
        return (None if text in TOLERANCES else f"no class {text!r}"), text
    if text == _OFF:
        return None, None
    try:
        value = float(text)
    except ValueError:
        return f"{text!r} is not a number", None
    low, high = _BOUNDS[field]
    if not low <= value <= high or math.isnan(value):
        return f"it must be from {low:g} to {high:g}", value
    return None, value
