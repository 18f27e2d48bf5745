"""One artifact, in a process of its own: loaded, run, judged, timed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from hubopt.arrays import read_samples
from hubopt.errors import HuboptError, NotRunnableHereError
from hubopt.exporter import Artifact
from hubopt.latency.protocol import interleave
from hubopt.latency.statistics import Latency
from hubopt.parity import TOLERANCES, Parity, judge
from hubopt.results import Verdict
from hubopt.session import ArtifactSession, LayerSession
from hubopt.spec import ModelSpec
from hubopt.worker import Worker


@dataclass(frozen=True, slots=True)
class Kit:
    """What it takes to verify an artifact.

    Attributes:
        spec: The inputs and outputs.
        inputs: The samples.
        reference: What the eager layer gave for them.
        noise: How far the layer itself moves, by output, see `hubopt.noise`; where it was
            measured, which is only done when an artifact leaves the tolerance.
    """

    spec: ModelSpec
    inputs: Path
    reference: Path
    noise: Mapping[str, float] = field(default_factory=dict)


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
            is verified is timed.
    """
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
            parity = judge_files(artifact, kit, answers)
            if not parity.passed:
                return Verdict("failed", "parity", _tell(parity.problems), device, parity)
            latency = _time(session, baseline) if baseline else None
            return Verdict("verified", None, parity.note, device, parity, latency)
    finally:
        answers.unlink(missing_ok=True)


def judge_files(artifact: Artifact, kit: Kit, answers: Path) -> Parity:
    """Judge an artifact's answers on disk against the reference on disk.

    The layer's own noise is taken into account only by an artifact that needs it.
    """
    actual = read_samples(answers, kit.spec.outputs)
    reference = read_samples(kit.reference, kit.spec.outputs)
    tolerance = TOLERANCES[artifact.tolerance]
    parity = judge(kit.spec, actual, reference, tolerance)
    if parity.passed or not kit.noise:
        return parity
    return judge(kit.spec, actual, reference, tolerance, kit.noise)


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


def _tell(problems: Sequence[str]) -> str:
    more = f" (and {len(problems) - 2} more)" if len(problems) > 2 else ""
    return "; ".join(problems[:2]) + more
