"""Check a bundle's artifacts again: verify or time them where they will run, or only judge anew."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from hubopt import registry
from hubopt.bundles.bundle import Bundle, read_bundle
from hubopt.bundles.results import TargetResult, Verdict, parity_verdict
from hubopt.errors import BundleError, HuboptError, PinError, UsageError
from hubopt.latency.protocol import ROUNDS
from hubopt.models.handles import is_python
from hubopt.parity import ToleranceOverrides, judge_outputs
from hubopt.progress import Progress, done, quiet
from hubopt.reference.bundled import bundled_reference
from hubopt.reference.layer_session import LayerSession
from hubopt.reference.reference_set import ReferenceSet
from hubopt.runs.run import Baseline, run
from hubopt.runs.settle import judge_run
from hubopt.runs.trust import NO_TRUST, Trust, open_bundled_layer
from hubopt.workers.worker import Worker, temporary_log


def verify_bundle(
    bundle: Bundle | str | os.PathLike[str],
    targets: Sequence[str] = (),
    overrides: ToleranceOverrides | None = None,
    progress: Progress = quiet,
    trust: Trust = NO_TRUST,
) -> tuple[TargetResult, ...]:
    """Run each artifact of a bundle here and judge it against the stored reference.

    This needs the runtimes of the targets; it needs TensorFlow only for targets that run on it.

    Args:
        bundle: A bundle or its folder.
        targets: The targets to verify; all by default.
        overrides: Other tolerances than the bundle's.
        progress: Called with a label when a step begins.
        trust: Operations that the user allows. It is not enough that the export allowed them.

    Returns:
        The bundle's results with a fresh verdict for every target that has an artifact; a
        damaged artifact fails. The bundle itself is not changed.

    Raises:
        BundleError: It is not a bundle, its samples or its reference have changed, or it has no
            such target.
    """
    bundle = _as_bundle(bundle)
    return _recheck(bundle, targets, overrides, None, "verify", trust, progress)


def rejudge(
    bundle: Bundle | str | os.PathLike[str],
    targets: Sequence[str] = (),
    overrides: ToleranceOverrides | None = None,
) -> tuple[TargetResult, ...]:
    """Judge the measurements of the export under other tolerances; this runs nothing.

    Args:
        bundle: A bundle or its folder.
        targets: The targets to judge; all by default.
        overrides: Other tolerances than the bundle's.

    Returns:
        The bundle's results, with a new verdict for every artifact that ran. An artifact that
        would pass now but was not kept stays failed, and its verdict says so.

    Raises:
        BundleError: It is not a bundle, or it has no such target.
    """
    bundle = _as_bundle(bundle)
    _check_targets(bundle, targets)
    overrides = overrides or bundle.manifest.tolerances
    return tuple(_rejudge(bundle, result, overrides) for result in _chosen(bundle, targets))


def _rejudge(bundle: Bundle, result: TargetResult, overrides: ToleranceOverrides) -> TargetResult:
    manifest = bundle.manifest
    tolerances = overrides.tolerances(manifest.spec.output_names, result.tolerance)
    parity = result.parity
    if parity is None or not parity.outputs:
        return result
    judged = judge_outputs(parity.outputs, tolerances, manifest.reference, parity.samples)
    verdict = parity_verdict(judged, result.device, result.latency)
    if verdict.status != "failed" and result.path is None:
        reason = (
            f"it would be {verdict.status} within these tolerances, but the artifact was not kept; "
            "export again with them"
        )
        verdict = Verdict("failed", "parity", reason, result.device, judged)
    return replace(result.judged(verdict), cached=result.cached)  # nothing was measured anew


def bench(
    bundle: Bundle | str | os.PathLike[str],
    targets: Sequence[str] = (),
    rounds: int = ROUNDS,
    progress: Progress = quiet,
    trust: Trust = NO_TRUST,
) -> tuple[TargetResult, ...]:
    """Time each artifact of a bundle here, next to the eager layer if that is available.

    Args:
        bundle: A bundle or its folder.
        targets: The targets to time; all by default.
        rounds: The number of rounds, at least 1.
        progress: Called with a label when a step begins.
        trust: What the user allows of what the bundle's manifest names. A layer that needs more
            is left out, and the results say so.

    Returns:
        The bundle's results with a fresh verdict and latency; an artifact is verified before it
        is timed.

    Raises:
        BundleError: As for `verify_bundle`.
    """
    if rounds < 1:
        raise UsageError("rounds", str(rounds), "1 or more", "see `hubopt bench --help`")
    bundle = _as_bundle(bundle)
    with ExitStack() as stack:
        with progress("load the layer"):
            layer, problem = _open_baseline(bundle, trust, stack)
        baseline = Baseline(layer, problem, rounds)
        return _recheck(bundle, targets, None, baseline, "time", trust, progress)


def _open_baseline(
    bundle: Bundle, trust: Trust, stack: ExitStack
) -> tuple[LayerSession | None, str | None]:
    """Load the layer that the bundle was made from, or return why it is not available."""
    manifest = bundle.manifest
    if manifest.digest is None and not is_python(manifest.handle):
        return None, f"the bundle was made from a callable, {manifest.handle}"
    if not registry.is_installed("tensorflow"):
        return None, "TensorFlow is not installed here"
    try:
        log = stack.enter_context(temporary_log())
        worker = stack.enter_context(Worker(log))
        layer = open_bundled_layer(bundle.path, manifest, trust, worker)
        layer.answer(manifest.spec, bundle.inputs, log.with_name("answers.npz"))
    except PinError:
        return None, f"{manifest.handle} has changed since the export"
    except HuboptError as error:
        return None, f"{error.thing}: {error.found}; {error.way_out}"
    return layer, None


def _chosen(bundle: Bundle, targets: Sequence[str]) -> list[TargetResult]:
    names = [targets] if isinstance(targets, str) else targets
    return [result for result in bundle.results if not names or result.target in names]


def _check_targets(bundle: Bundle, targets: Sequence[str]) -> None:
    names = [targets] if isinstance(targets, str) else targets
    unknown = [name for name in names if name not in bundle.manifest.targets]
    if unknown:
        raise BundleError(
            f"bundle {bundle.path}",
            f"no target {', '.join(unknown)}",
            f"one of: {', '.join(bundle.manifest.targets)}",
            "export again with that target",
        )


def _recheck(
    bundle: Bundle,
    targets: Sequence[str],
    overrides: ToleranceOverrides | None,
    baseline: Baseline | None,
    what: str,
    trust: Trust,
    progress: Progress,
) -> tuple[TargetResult, ...]:
    _check_targets(bundle, targets)
    reference = bundled_reference(bundle)
    overrides = bundle.manifest.tolerances if overrides is None else overrides
    results = []
    with temporary_log() as log:
        for result in _chosen(bundle, targets):
            if result.path is None:
                results.append(result)
                continue
            with progress(f"{result.target}: {what}"):
                verdict = _verify(bundle, result.target, reference, overrides, log, baseline, trust)
            results.append(result.judged(_with_depth(verdict, reference)))
    return tuple(results)


def _verify(
    bundle: Bundle,
    target: str,
    reference: ReferenceSet,
    overrides: ToleranceOverrides,
    log: Path,
    baseline: Baseline | None,
    trust: Trust,
) -> Verdict:
    """Run one artifact and judge it; a damaged one fails and does not stop the others."""
    try:
        artifact = bundle.artifact(target, failed=True)
    except BundleError as error:
        return Verdict("failed", "load", f"{error.thing}: {error.found}; {error.way_out}")
    answers = log.with_name(f"{target}.npz")  # a bundle may be read-only
    ran = run(artifact, done(reference), answers, log, baseline, allow_ops=trust.allow_ops)
    return judge_run(reference, ran, overrides)


def _with_depth(verdict: Verdict, reference: ReferenceSet) -> Verdict:
    """Add to a failed parity verdict that the layer's noise was not fully measured."""
    if verdict.stage != "parity" or reference.quality.level == "full":
        return verdict
    note = "the layer's noise was measured only in part; export with --noise full to be fair to"
    return replace(verdict, reason=f"{verdict.reason}; {note} other machines")


def _as_bundle(bundle: Bundle | str | os.PathLike[str]) -> Bundle:
    return bundle if isinstance(bundle, Bundle) else read_bundle(Path(bundle))
