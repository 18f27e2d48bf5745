"""`settle`: the verdicts on artifacts that have run, with as much noise measured as they need.

Measuring the layer's own noise takes longer than everything else, and the verdict on an artifact
close to the layer does not depend on it. So all artifacts are judged with the noise that is known.
If a verdict is not clear, more noise is measured and all artifacts are judged again. No artifact
runs again, because a deeper measurement only drops samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hubopt.bundles.results import Verdict, parity_verdict
from hubopt.parity import Parity, ToleranceOverrides, compare_outputs, judge_comparison
from hubopt.reference.noise_level import NoiseEscalation
from hubopt.reference.reference_set import ReferenceSet
from hubopt.reference.ties import read_ties
from hubopt.runs.run import Run


def settle(
    known: ReferenceSet,
    runs: Sequence[Run],
    overrides: ToleranceOverrides,
    escalation: NoiseEscalation,
) -> tuple[ReferenceSet, list[Verdict]]:
    """Judge ``runs`` against a reference set with enough measured noise.

    Args:
        known: The reference set with the noise measured so far.
        runs: The runs. If this machine cannot run one of the artifacts, all noise is measured,
            because its verdict is made on another machine.
        overrides: Tolerances that the user set.
        escalation: Measures more of the layer's noise.

    Returns:
        The reference set of all verdicts, and the verdicts.
    """
    compared = [compare_run(known, run) for run in runs]
    verdicts = judge_runs(known, compared, overrides)
    while not are_clear(runs, verdicts):
        deeper = escalation.next(known)
        if deeper is None:
            break
        known, compared = deeper, [compare_run(deeper, run) for run in compared]
        verdicts = judge_runs(known, compared, overrides)
    return known, verdicts


def judge_runs(
    reference: ReferenceSet, runs: Sequence[Run], overrides: ToleranceOverrides
) -> list[Verdict]:
    """Return the verdicts on ``runs``."""
    return [judge_run(reference, run, overrides) for run in runs]


def are_clear(runs: Sequence[Run], verdicts: Sequence[Verdict]) -> bool:
    """Whether no further measurement of the layer's noise could change a verdict."""
    return all(
        not run.is_unrunnable and (verdict.parity is None or verdict.parity.is_clear)
        for run, verdict in zip(runs, verdicts, strict=True)
    )


def judge_run(reference: ReferenceSet, run: Run, overrides: ToleranceOverrides) -> Verdict:
    """Return the verdict on one artifact. Its timing is kept only if it agrees with the layer."""
    if run.is_unrunnable:
        return Verdict("unverified", None, run.reason)
    if run.stage is not None:
        return Verdict("failed", run.stage, run.reason)
    parity = run_parity(reference, run, overrides)
    verdict = parity_verdict(parity, run.device)
    timed = run.latency if verdict.status in ("verified", "vacuous") else None
    return replace(verdict, latency=timed)


def run_parity(reference: ReferenceSet, run: Run, overrides: ToleranceOverrides) -> Parity:
    """Judge an artifact's outputs by its tolerance class and the user's overrides.

    Args:
        reference: The reference set.
        run: The run of an artifact.
        overrides: Tolerances that the user set.
    """
    comparison = compare_run(reference, run).comparison
    assert comparison is not None
    tolerances = overrides.tolerances(reference.spec.output_names, run.artifact.tolerance)
    quality = reference.quality.seen_by(run.artifact.tolerance)
    return judge_comparison(comparison, tolerances, quality)


def compare_run(reference: ReferenceSet, run: Run) -> Run:
    """Return ``run`` with its comparison with ``reference``, measured unless it is known.

    Args:
        reference: The reference set.
        run: The run; a run without outputs is returned unchanged.
    """
    if run.answers is None:
        return run
    known, wide = run.comparison, reference.float64
    found = known and known.of(reference.kept, wide is not None, reference.ties is not None)
    if found is None:
        found = compare_outputs(
            reference.spec,
            reference.read_outputs(run.answers),
            reference.read_outputs(),
            reference.read_outputs(wide) if wide else None,
            reference.kept,
            read_ties(reference),
        )
    return replace(run, comparison=found)
