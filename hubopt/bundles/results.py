"""What became of a target: the value that the bundle stores and the reports show."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from hubopt.errors import EXIT_EXPORT, EXIT_OK, EXIT_PARITY, EXIT_UNVERIFIED, EXIT_VACUOUS
from hubopt.exporter import FP32, ToleranceClass
from hubopt.latency.statistics import Latency
from hubopt.parity.verify import Parity

Status = Literal["verified", "vacuous", "unverified", "failed"]
_MOST_SHOWN = 2
Stage = Literal["obstacles", "source", "export", "load", "run", "parity"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What examining an artifact showed; see `TargetResult` for the fields."""

    status: Status
    stage: Stage | None
    reason: str | None
    device: str | None = None
    parity: Parity | None = None
    latency: Latency | None = None


def parity_verdict(parity: Parity, device: str | None, latency: Latency | None = None) -> Verdict:
    """Return the verdict on an artifact that ran, as its parity decides."""
    if parity.passed:
        told = parity.vacuous or ((parity.note,) if parity.note else ())
        return Verdict(parity.status, None, join_problems(told) or None, device, parity, latency)
    if parity.unsteady:
        moves = ", ".join(each.deviation_summary for each in parity.outputs if each.unsteady)
        reason = (
            f"the layer itself moves {moves}, which is more than the tolerance and explains the "
            f"difference: {join_problems(parity.problems)}"
        )
        return Verdict("unverified", None, reason, device, parity)
    return Verdict("failed", "parity", join_problems(parity.problems), device, parity)


def join_problems(sentences: Sequence[str]) -> str:
    """Return the first of ``sentences``, and how many more there are."""
    more = f" (and {len(sentences) - _MOST_SHOWN} more)" if len(sentences) > _MOST_SHOWN else ""
    return "; ".join(sentences[:_MOST_SHOWN]) + more


@dataclass(frozen=True, slots=True)
class TargetResult:
    """What became of one target.

    Attributes:
        target: The target's id.
        exporter: The name of its exporter.
        precision: What it computes in.
        options: The exporter's options.
        status: ``verified``: it ran here and agrees with the layer; ``vacuous``: it does, but so
            would a model that ignores its input, on at least one output; ``unverified``: it was
            built, but nothing here can run it, or the layer is too unsteady to judge it by;
            ``failed``: it is not to be used.
        stage: Where it failed; None unless it did.
        reason: Why it is not verified; None if it is, unless the layer's own noise had a part.
        path: The artifact's place in the bundle; None if it was not kept.
        sha256: The artifact's digest, see `hubopt._util.digest.sha256`.
        companions: The digest of each further file beside the artifact, by its name.
        size_bytes: The artifact's size, with those files.
        export_s: How long the conversion took.
        tolerance: The tolerance class that the artifact is held to.
        details: What the exporter notes about the artifact.
        device: What it ran on, such as ``CPU``; None if it did not run.
        parity: The metrics, where it ran.
        latency: The timing, where it was taken.
        cached: When all this was made and measured, in UTC, if that was in an earlier export;
            None if it was in this one.
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

    def judged(self, verdict: Verdict) -> TargetResult:
        """Return this result with another verdict, of what was measured just now."""
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


def exit_code(results: tuple[TargetResult, ...], accepted: Collection[Status] = ()) -> int:
    """Return the command's exit code for ``results``; the worst target decides.

    Args:
        results: What became of each target.
        accepted: What is as good as ``verified``: ``vacuous``, ``unverified`` or both.
    """
    if any(each.status == "failed" and each.stage != "parity" for each in results):
        return EXIT_EXPORT
    if any(each.status == "failed" for each in results):
        return EXIT_PARITY
    for status, code in (("vacuous", EXIT_VACUOUS), ("unverified", EXIT_UNVERIFIED)):
        if status not in accepted and any(each.status == status for each in results):
            return code
    return EXIT_OK
