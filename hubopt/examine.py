"""One artifact, in a process of its own: loaded, run, judged, timed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from hubopt.arrays import read_samples
from hubopt.errors import HuboptError, NotRunnableHereError
from hubopt.exporter import Artifact
from hubopt.kit import Kit
from hubopt.latency.protocol import interleave
from hubopt.latency.statistics import Latency
from hubopt.parity import Parity, Tolerance, judge
from hubopt.results import Verdict, parity_verdict
from hubopt.session import ArtifactSession, LayerSession
from hubopt.worker import Worker


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


def examine(artifact: Artifact, kit: Kit, log: Path, baseline: Baseline | None = None) -> Verdict:
    """Load ``artifact`` in a child process, run every sample, judge it, and time it.

    Args:
        artifact: What an exporter wrote.
        kit: The samples and the reference.
        log: Gets what the child prints.
        baseline: What to time it against; None to leave timing out. Only an artifact that
            agrees with the layer is timed.
    """
    tolerances = kit.overrides.tolerances(kit.spec.output_names, artifact.tolerance)
    answers = log.with_name(f".{artifact.target}.npz")  # a bundle may be read-only
    try:
        with Worker(log) as worker:
            try:
                session = worker.create(ArtifactSession, artifact)
            except NotRunnableHereError as error:
                return Verdict("unverified", None, f"{error.found}; {error.way_out}")
            except HuboptError as error:
                return Verdict("failed", "load", f"{error.found}; {error.way_out}")
            try:
                session.answer(kit.spec, kit.inputs, answers)
            except HuboptError as error:
                return Verdict("failed", "run", f"{error.found}; {error.way_out}")
            device = session.device()
            verdict = parity_verdict(judge_files(tolerances, kit, answers), device)
            if baseline is None or verdict.status not in ("verified", "vacuous"):
                return verdict
            return replace(verdict, latency=_time(session, baseline))
    finally:
        answers.unlink(missing_ok=True)


def judge_files(tolerances: Mapping[str, Tolerance], kit: Kit, answers: Path) -> Parity:
    """Judge an artifact's answers on disk against the kit."""
    outputs = kit.spec.outputs
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
