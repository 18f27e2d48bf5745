"""What became of a target: the value that the bundle stores and the reports show."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from hubopt.errors import EXIT_EXPORT, EXIT_OK, EXIT_PARITY, EXIT_UNVERIFIED
from hubopt.exporter import ToleranceClass
from hubopt.latency.statistics import Latency
from hubopt.parity.verify import Parity

Status = Literal["verified", "unverified", "failed"]
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


@dataclass(frozen=True, slots=True)
class TargetResult:
    """What became of one target.

    Attributes:
        target: The exporter's name.
        status: ``verified``: it ran here and agrees with the layer; ``unverified``: it was
            built, but nothing here can run it; ``failed``: it is not to be used.
        stage: Where it failed; None unless it did.
        reason: Why it is not verified; None if it is, unless it took the layer's own noise.
        path: The artifact's place in the bundle; None if it failed.
        sha256: The artifact's digest, see `hubopt.digest.sha256`.
        size_bytes: The artifact's size.
        export_s: How long the conversion took.
        tolerance: The tolerance class that the artifact is held to.
        details: What the exporter notes about the artifact.
        device: What it ran on, such as ``CPU``; None if it did not run.
        parity: The metrics, where it ran.
        latency: The timing, where it was taken.
    """

    target: str
    status: Status
    stage: Stage | None = None
    reason: str | None = None
    path: str | None = None
    sha256: str | None = None
    size_bytes: int | None = None
    export_s: float | None = None
    tolerance: ToleranceClass = "fp32"
    details: dict[str, str | int | float | bool] = field(default_factory=dict)
    device: str | None = None
    parity: Parity | None = None
    latency: Latency | None = None

    def judged(self, verdict: Verdict) -> TargetResult:
        """Return this result with another verdict."""
        return replace(
            self,
            status=verdict.status,
            stage=verdict.stage,
            reason=verdict.reason,
            device=verdict.device,
            parity=verdict.parity,
            latency=verdict.latency,
        )


def exit_code(results: tuple[TargetResult, ...], allow_unverified: bool = False) -> int:
    """Return the command's exit code for ``results``; the worst target decides."""
    if any(each.status == "failed" and each.stage != "parity" for each in results):
        return EXIT_EXPORT
    if any(each.status == "failed" for each in results):
        return EXIT_PARITY
    if any(each.status == "unverified" for each in results) and not allow_unverified:
        return EXIT_UNVERIFIED
    return EXIT_OK
