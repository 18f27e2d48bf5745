"""Tolerances that the user sets, for a whole run or for one output."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

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
    """One thing the user said.

    Attributes:
        output: The output that it is about; empty for all.
        field: ``tolerance`` for a class of the table, or a field of `Tolerance`.
        value: The class's name, the bound, or None for no bound.
    """

    output: str
    field: str
    value: str | float | None


@dataclass(frozen=True, slots=True)
class ToleranceOverrides:
    """Everything the user said about tolerances; nothing by default.

    A class replaces what the artifact would be held to, a bound replaces one of the class's;
    what is said of one output goes before what is said of all. A bound holds as stated, see
    `Tolerance.stated`.

    Attributes:
        entries: What was said, in order.
        strict: Whether the layer's own noise excuses nothing, for any output.
    """

    entries: tuple[Override, ...] = ()
    strict: bool = False

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
            UsageError: Some of them are invalid; it names them all.
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
            f"{each.field.removesuffix('_db')} "
            + (f"{each.value:g}" if isinstance(each.value, float) else f"{each.value or _OFF}")
            + (f" for {each.output}" if each.output else "")
            for each in self.entries
        ]
        return ", ".join([*texts, *(["strict"] if self.strict else [])])

    def check(self, outputs: Sequence[str]) -> None:
        """Check that everything is said about an output that there is.

        Raises:
            UsageError: The model has no such output.
        """
        unknown = {each.output for each in self.entries if each.output} - set(outputs)
        if unknown:
            raise UsageError(
                f"tolerance of output {', '.join(sorted(unknown))}",
                "the model has no such output",
                f"one of: {', '.join(outputs)}",
                "name one of these, or leave the name out for all",
            )

    def tolerances(
        self, outputs: Sequence[str], artifact_class: ToleranceClass
    ) -> dict[str, Tolerance]:
        """Return what each output is held to.

        Args:
            outputs: The model's outputs.
            artifact_class: What the artifact is held to unless something else was said.

        Raises:
            UsageError: As for `check`.
        """
        self.check(outputs)
        return {name: self._tolerance(name, artifact_class) for name in outputs}

    def _tolerance(self, output: str, artifact_class: ToleranceClass) -> Tolerance:
        relevant = [
            *(each for each in self.entries if not each.output),
            *(each for each in self.entries if each.output == output),
        ]
        classes = [each.value for each in relevant if each.field == CLASS]
        found = TOLERANCES[classes[-1] if classes else artifact_class]  # type: ignore[index]
        bounds: Mapping[str, Any] = {
            each.field: each.value for each in relevant if each.field != CLASS
        }
        stated = tuple(name for name, value in bounds.items() if value is not None)
        return replace(found, **bounds, stated=stated, strict=self.strict)


def override_problem(override: Override, outputs: Sequence[str]) -> str | None:
    """Return why a tolerance that a file holds could not have been said; None if it could."""
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
        return f"{what}: {override.value!r} is no number"
    low, high = _BOUNDS[override.field]
    return None if low <= override.value <= high else f"{what}: {override.value} is no bound"


def _read(field: str, text: str) -> tuple[str | None, str | float | None]:
    """Return what is wrong with a value, if anything, and the value."""
    if field == CLASS:
        return (None if text in TOLERANCES else f"no class {text!r}"), text
    if text == _OFF:
        return None, None
    try:
        value = float(text)
    except ValueError:
        return f"{text!r} is no number", None
    low, high = _BOUNDS[field]
    if not low <= value <= high or math.isnan(value):
        return f"it must be from {low:g} to {high:g}", value
    return None, value
