"""One artifact, in a process of its own: loaded, run, judged, timed."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from hubopt.bundles.results import Verdict, parity_verdict
from hubopt.errors import HuboptError, NotRunnableHereError
from hubopt.exporter import Artifact, ToleranceClass
from hubopt.latency.protocol import interleave
from hubopt.latency.statistics import Latency
from hubopt.parity import Parity, judge
from hubopt.reference.kit import Kit
from hubopt.reference.layer_session import LayerSession
from hubopt.reference.reference import Reference
from hubopt.runs.artifact_session import ArtifactSession
from hubopt.sampling.arrays import read_samples
from hubopt.workers.worker import Worker


@dataclass(frozen=True, slots=True)
class Baseline:
    """What an artifact is timed against.

    Attributes:
        layer: The eager layer, which has answered the samples; None if it cannot be had.
        problem: Why it cannot be had.
        rounds: How many rounds; from 1.
    """

    layer: LayerSession | None
    problem: str | None
    rounds: int


def examine(
    artifact: Artifact,
    reference: Reference,
    log: Path,
    baseline: Baseline | None = None,
    allow_ops: Collection[str] = (),
) -> Verdict:
    """Load ``artifact`` in a child process, run every sample, judge it, and time it.

    Args:
        artifact: What an exporter wrote.
        reference: The samples and what the layer gives for them. More of the layer is measured
            where the verdict hangs on it, and where there is none because the artifact runs on
            another machine only.
        log: Gets what the child prints.
        baseline: What to time it against; None to leave timing out. Only an artifact that
            agrees with the layer is timed.
        allow_ops: Operations that a SavedModel may have although they reach outside of it.
    """
    answers = log.with_name(f".{artifact.target}.npz")  # a bundle may be read-only
    try:
        with Worker(log) as worker:
            try:
                session = worker.create(ArtifactSession, artifact, None, tuple(allow_ops))
            except NotRunnableHereError as error:
                reference.exhaust()
                return Verdict("unverified", None, f"{error.found}; {error.way_out}")
            except HuboptError as error:
                return Verdict("failed", "load", f"{error.found}; {error.way_out}")

            def run_and_judge(kit: Kit) -> Parity:
                try:
                    session.answer(kit.spec, kit.inputs, answers)
                except HuboptError as error:
                    raise _RunError(f"{error.found}; {error.way_out}") from error
                return judge_files(kit, answers, artifact.tolerance)

            try:
                parity = reference.settle(run_and_judge)
            except _RunError as error:
                return Verdict("failed", "run", str(error))
            verdict = parity_verdict(parity, session.device())
            if baseline is None or verdict.status not in ("verified", "vacuous"):
                return verdict
            return replace(verdict, latency=_time(session, baseline))
    finally:
        answers.unlink(missing_ok=True)


class _RunError(Exception):
    """The artifact does not run."""


def judge_files(kit: Kit, answers: Path, tolerance: ToleranceClass) -> Parity:
    """Judge an artifact's answers on disk against the kit.

    Args:
        kit: What it was asked, and the layer's answers.
        answers: Its own.
        tolerance: The class that it is held to where the user asks for nothing else.
    """
    outputs = kit.spec.outputs
    tolerances = kit.overrides.tolerances(kit.spec.output_names, tolerance)
    return judge(
        kit.spec,
        read_samples(answers, outputs),
        read_samples(kit.reference, outputs),
        tolerances,
        kit.facts,
        read_samples(kit.float64, outputs) if kit.float64 else None,
    )


def _time(session: ArtifactSession, baseline: Baseline) -> Latency:
    if baseline.layer is None:
        (ours,) = interleave((session,), baseline.rounds)
        loaded = replace(session.timing(), rounds_ms=ours)
        return Latency(loaded, None, baseline.problem)
    ours, theirs = interleave((session, baseline.layer), baseline.rounds)
    return Latency(
        replace(session.timing(), rounds_ms=ours),
        replace(baseline.layer.timing(), rounds_ms=theirs),
    )
