"""`run`: an artifact answers the samples once, in a process of its own, and is timed there."""

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
    """What an artifact is timed against.

    Attributes:
        layer: The eager layer, which has answered a sample; None if it cannot be had.
        problem: Why it cannot be had.
        rounds: How many rounds; from 1.
    """

    layer: LayerSession | None
    problem: str | None
    rounds: int


@dataclass(frozen=True, slots=True)
class Run:
    """What running an artifact showed; judging it again runs nothing.

    Attributes:
        artifact: What was run.
        answers: Its outputs for the kept samples, by their numbers; None if it did not run.
        device: What it ran on.
        latency: The timing, where it was taken.
        stage: Where it failed; None if it ran, or if this machine has no means to run it.
        reason: Why it did not run.
        error: The same, where it was raised here and not in an earlier export.
        comparison: How far its answers are from the layer's, where that was measured.
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
        """Whether this machine has no means to run the artifact."""
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
        artifact: What an exporter wrote.
        reference: The samples. The artifact is loaded before they are waited for.
        answers: Gets the outputs.
        log: Gets what the child prints.
        baseline: What to time it against; None to leave timing out.
        names: The artifact's names for tensors that the layer names otherwise.
        allow_ops: Operations that a SavedModel may have although they reach outside of it.
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
    """Time an artifact and the layer in turn; the artifact alone where the layer crashes.

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
