"""The result of a target, which the bundle stores and the reports show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from hubopt._util.escaping import printable
from hubopt._util.short_repr import short_repr
from hubopt.errors import EXIT_EXPORT, EXIT_OK, EXIT_PARITY, EXIT_UNVERIFIED, EXIT_VACUOUS
from hubopt.exporter import FP32, ToleranceClass
from hubopt.latency.statistics import Latency
from hubopt.parity.outcome import Parity

Status = Literal["verified", "vacuous", "unverified", "failed"]
_MOST_SHOWN = 2
Stage = Literal["obstacles", "source", "export", "load", "run", "parity"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of running and comparing an artifact; see `TargetResult` for the fields."""

    status: Status
    stage: Stage | None
    reason: str | None
    device: str | None = None
    parity: Parity | None = None
    latency: Latency | None = None

    __repr__ = short_repr


def parity_verdict(parity: Parity, device: str | None, latency: Latency | None = None) -> Verdict:
    """Return the verdict on an artifact that ran; its parity decides the status."""
    if parity.passed:
        # Constant outputs of a verified target are named in the note.
        doubtful = parity.vacuous if parity.is_vacuous else _inconstant(parity)
        notes = (*doubtful, *((parity.note,) if parity.note and not parity.is_vacuous else ()))
        return Verdict(parity.status, None, join_problems(notes) or None, device, parity, latency)
    if parity.unsteady:
        noise = ", ".join(output.deviation_summary for output in parity.outputs if output.unsteady)
        reason = (
            f"the layer's own noise ({noise}) is more than the tolerance and explains the "
            f"difference: {join_problems(parity.problems)}"
        )
        return Verdict("unverified", None, reason, device, parity)
    reason = join_problems(parity.problems) + (f"; {parity.cause}" if parity.cause else "")
    return Verdict("failed", "parity", reason, device, parity)


def _inconstant(parity: Parity) -> tuple[str, ...]:
    """Return a sentence for each vacuous output that is not constant."""
    return tuple(
        f"output {printable(out.name)}: {out.vacuous}"
        for out in parity.outputs
        if out.vacuous and not out.constant
    )


def join_problems(sentences: Sequence[str]) -> str:
    """Join the first of ``sentences`` and say how many more there are."""
    more = f" (and {len(sentences) - _MOST_SHOWN} more)" if len(sentences) > _MOST_SHOWN else ""
    return "; ".join(sentences[:_MOST_SHOWN]) + more


@dataclass(frozen=True, slots=True)
class TargetResult:
    """The result of one target.

    Attributes:
        target: The target's id.
        exporter: The name of its exporter.
        precision: The precision that the artifact computes in.
        options: The exporter's options.
        status: ``verified``: the artifact ran here and agrees with the layer; ``vacuous``: it
            agrees, but a model that ignores its input would agree as well in every output
            that is not constant; ``unverified``: it was built, but nothing here can run it, or
            the layer is too unsteady to judge it by; ``failed``: it must not be used.
        stage: The stage that failed; None if the target did not fail.
        reason: Why it is not verified. If it is verified: None, or that the layer's own noise had
            a part in the verdict.
        path: The artifact's path relative to the bundle; None if it was not kept.
        sha256: The artifact's digest, see `hubopt._util.digest.sha256`.
        companions: The digest of each further file beside the artifact, by its name.
        size_bytes: The artifact's size, including the companions.
        export_s: How long the conversion took.
        tolerance: The tolerance class that applies to the artifact.
        details: What the exporter notes about the artifact.
        device: The device it ran on, such as ``CPU``; None if it did not run.
        parity: The metrics, if it ran.
        latency: The timing, if it was measured.
        cached: When all this was made and measured, in UTC, if an earlier export did so; None if
            this one did.
    """

    target: str
    status: Status
    exporter: str
    precision: str = FP32
    options: dict[str, str | int | float | bool] = field(default_factory=dict)
    stage: Stage | None = None
    reason: str | None = None
    path: str | None = None
    sha256: str | None = None
    companions: dict[str, str] = field(default_factory=dict)
    size_bytes: int | None = None
    export_s: float | None = None
    tolerance: ToleranceClass = "fp32"
    details: dict[str, str | int | float | bool] = field(default_factory=dict)
    device: str | None = None
    parity: Parity | None = None
    latency: Latency | None = None
    cached: str | None = None

    __repr__ = short_repr

    def judged(self, verdict: Verdict) -> TargetResult:
        """Return this result with ``verdict``, which comes from a measurement made just now."""
        return replace(
            self,
            status=verdict.status,
            stage=verdict.stage,
            reason=verdict.reason,
            device=verdict.device,
            parity=verdict.parity,
            latency=verdict.latency,
            cached=None,
        )


EVERY_OUTPUT = "*"
"""The name that accepts every vacuous output."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The targets that count as ``verified`` although they are not.

    Attributes:
        unverified: Whether ``unverified`` targets do.
        vacuous: The outputs that may be vacuous; `EVERY_OUTPUT` among them stands for all.
    """

    unverified: bool = False
    vacuous: tuple[str, ...] = ()

    def accepts(self, result: TargetResult) -> bool:
        """Whether a target that is ``vacuous`` or ``unverified`` counts as ``verified``."""
        if result.status == "unverified":
            return self.unverified
        if EVERY_OUTPUT in self.vacuous:
            return True
        outputs = result.parity.outputs if result.parity else ()
        vacuous = {output.name for output in outputs if output.vacuous}
        return bool(vacuous) and vacuous <= set(self.vacuous)


NOTHING = Accepted()


def exit_code(results: tuple[TargetResult, ...], accepted: Accepted = NOTHING) -> int:
    """Return the command's exit code for ``results``; the worst target decides.

    Args:
        results: The result of each target.
        accepted: Which targets count as ``verified`` although they are not.
    """
    if any(result.status == "failed" and result.stage != "parity" for result in results):
        return EXIT_EXPORT
    if any(result.status == "failed" for result in results):
        return EXIT_PARITY
    for status, code in (("vacuous", EXIT_VACUOUS), ("unverified", EXIT_UNVERIFIED)):
        if any(result.status == status and not accepted.accepts(result) for result in results):
            return code
    return EXIT_OK
