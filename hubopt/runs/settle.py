"""`settle`: the verdicts on artifacts that have run, on as much of the layer's noise as they need.

How far the layer itself moves takes longer to measure than all the rest, and has no part in the
verdict on an artifact that is near to the layer. So all artifacts are judged on what is known,
and only where a verdict is not clear is more measured, and all are judged again. That runs no
artifact: to know more of the layer only leaves samples out.
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
    """Judge ``runs`` on a reference set of which enough is known.

    Args:
        known: What is known of the layer so far.
        runs: Artifacts that have run. Of one that this machine cannot run everything is measured,
            as its verdict is made elsewhere.
        overrides: Tolerances that the user set.
        escalation: Measures more of the layer's noise.

    Returns:
        The reference set that all verdicts are made on, and the verdicts.
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
    """Return the verdict on each of ``runs``."""
    return [judge_run(reference, run, overrides) for run in runs]


def are_clear(runs: Sequence[Run], verdicts: Sequence[Verdict]) -> bool:
    """Whether nothing more that could be measured of the layer would change a verdict."""
    return all(
        not run.is_unrunnable and (verdict.parity is None or verdict.parity.is_clear)
        for run, verdict in zip(runs, verdicts, strict=True)
    )


def judge_run(reference: ReferenceSet, run: Run, overrides: ToleranceOverrides) -> Verdict:
    """Return the verdict on one artifact; only one that agrees with the layer keeps its timing."""
    if run.is_unrunnable:
        return Verdict("unverified", None, run.reason)
    if run.stage is not None:
        return Verdict("failed", run.stage, run.reason)
    parity = run_parity(reference, run, overrides)
    verdict = parity_verdict(parity, run.device)
    timed = run.latency if verdict.status in ("verified", "vacuous") else None
    return replace(verdict, latency=timed)


def run_parity(reference: ReferenceSet, run: Run, overrides: ToleranceOverrides) -> Parity:
    """Judge an artifact's answers by its class of tolerances and what the user set instead.

    Args:
        reference: What the layer gave.
        run: An artifact that ran.
        overrides: Tolerances that the user set.
    """
    comparison = compare_run(reference, run).comparison
    assert comparison is not None
    tolerances = overrides.tolerances(reference.spec.output_names, run.artifact.tolerance)
    quality = reference.quality.seen_by(run.artifact.tolerance)
    return judge_comparison(comparison, tolerances, quality)


def compare_run(reference: ReferenceSet, run: Run) -> Run:
    """Return ``run`` with its comparison with ``reference``; measures only what is missing.

    Args:
        reference: What the layer gave.
        run: A run; one without answers is returned as it is.
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
