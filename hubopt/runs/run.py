"""`run`: runs an artifact on the samples once, in its own process, and times it there."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path

from hubopt.bundles.results import Stage
from hubopt.errors import HuboptError, NotRunnableHereError
from hubopt.exporter import Artifact
from hubopt.latency.protocol import interleave
from hubopt.latency.statistics import Latency
from hubopt.parity import Comparison
from hubopt.reference.layer_session import LayerSession
from hubopt.reference.reference_set import ReferenceSet
from hubopt.runs.artifact_session import ArtifactSession
from hubopt.workers.worker import Worker


@dataclass(frozen=True, slots=True)
class Baseline:
    """The layer that an artifact is timed against.

    Attributes:
        layer: The eager layer, after its first call; None if it is not available.
        problem: The reason why it is not available.
        rounds: The number of rounds, at least 1.
    """

    layer: LayerSession | None
    problem: str | None
    rounds: int


@dataclass(frozen=True, slots=True)
class Run:
    """The result of running an artifact. Judging it again runs nothing.

    Attributes:
        artifact: The artifact.
        answers: The file of its outputs, by sample number; None if it did not run.
        device: The device that it ran on.
        latency: The timing, if it was measured.
        stage: The stage that failed; None if it ran, or if this machine cannot run it.
        reason: The reason why it did not run.
        error: The error of ``reason``; None if that comes from an earlier export.
        comparison: The differences of its outputs from the layer's, once they are measured.
    """

    artifact: Artifact
    answers: Path | None = None
    device: str | None = None
    latency: Latency | None = None
    stage: Stage | None = None
    reason: str | None = None
    error: HuboptError | None = None
    comparison: Comparison | None = None

    @property
    def is_unrunnable(self) -> bool:
        """Whether this machine cannot run the artifact."""
        return self.answers is None and self.stage is None


def run(
    artifact: Artifact,
    reference: Future[ReferenceSet],
    answers: Path,
    log: Path,
    baseline: Baseline | None = None,
    names: Mapping[str, str] | None = None,
    allow_ops: Collection[str] = (),
) -> Run:
    """Load ``artifact`` in a child process, run every sample, and time it.

    Args:
        artifact: The artifact.
        reference: The samples. The artifact is loaded before the function waits for them.
        answers: The file for the outputs.
        log: The file for the output that the child prints.
        baseline: The layer to time it against; None for no timing.
        names: The artifact's name for each tensor that the layer names differently.
        allow_ops: Operations that a SavedModel may contain although they have side effects.
    """
    with Worker(log) as worker:
        try:
            session = worker.create(ArtifactSession, artifact, names, tuple(allow_ops))
        except NotRunnableHereError as error:
            return Run(artifact, reason=f"{error.found}; {error.way_out}", error=error)
        except HuboptError as error:
            return _failed(artifact, "load", error)
        known = reference.result()
        try:
            session.answer(known.spec, known.inputs, answers, known.kept)
            ran = Run(artifact, answers, session.device())
        except HuboptError as error:
            return _failed(artifact, "run", error)
        if baseline is None:
            return ran
        try:
            return replace(ran, latency=_time(session, baseline))
        except HuboptError as error:
            return _failed(artifact, "run", error)


def _failed(artifact: Artifact, stage: Stage, error: HuboptError) -> Run:
    reason = f"{error.found}; {error.way_out}"
    return Run(artifact, stage=stage, reason=reason, error=error)


def _time(session: ArtifactSession, baseline: Baseline) -> Latency:
    """Time an artifact and the layer in turn, or the artifact alone if the layer crashes.

    Raises:
        HuboptError: The artifact itself crashed.
    """
    layer, problem = baseline.layer, baseline.problem
    if layer is not None:
        try:
            ours, theirs = interleave((session, layer), baseline.rounds)
            return Latency(
                replace(session.timing(), rounds_ms=ours),
                replace(layer.timing(), rounds_ms=theirs),
            )
        except HuboptError as error:
            problem = f"it crashed while it was timed: {error.found}"
    (ours,) = interleave((session,), baseline.rounds)
    return Latency(replace(session.timing(), rounds_ms=ours), None, problem)
