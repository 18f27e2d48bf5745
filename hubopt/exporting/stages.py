"""The stages that an export runs for every target: convert, run, settle."""

from __future__ import annotations

from collections.abc import Mapping

from hubopt import registry
from hubopt.bundles.manifest import LOGS
from hubopt.bundles.results import Verdict
from hubopt.exporter import PROGRAM, Source, Target
from hubopt.exporting.prepare import Prepared, source_key
from hubopt.exporting.processes import Processes
from hubopt.progress import Progress
from hubopt.reference.reference_set import ReferenceSet
from hubopt.runs.convert import Built, convert
from hubopt.runs.obstacles import format_obstacles
from hubopt.runs.run import Run, run
from hubopt.runs.settle import are_clear, compare_run, judge_runs, settle

_WAITING = "wait for the layer's answers"


def convert_target(
    prepared: Prepared,
    target: Target,
    built: Mapping[str, Built],
    processes: Processes,
    progress: Progress,
) -> Built:
    """Return a target's artifact, or the reason why it has none. A failure stops no other target.

    Args:
        prepared: The program, and cached artifacts.
        target: The target.
        built: The earlier targets, sources first.
        processes: The process that converts.
        progress: Called with a label when a step begins.
    """
    obstacles = prepared.obstacles[target.id]
    if obstacles:
        return Built(target, stage="obstacles", reason=format_obstacles(obstacles))
    name = registry.get(target.exporter).source
    source: Source | None = prepared.program if name == PROGRAM else built[name].artifact
    if source is None:
        return _without_source(target, name)
    if target.id in prepared.built:
        return prepared.built[target.id]
    folder = prepared.folder
    log = folder / LOGS / f"{target.id}.log"
    with progress(f"{target.id}: export"):
        made = convert(target, source, folder / target.id, processes.child, log)
    prepared.cache.keep_artifact(made, source_key(target, built) or PROGRAM)
    return made


def run_target(
    prepared: Prepared, built: Built, processes: Processes, progress: Progress
) -> Run | None:
    """Run a target's artifact on the samples and time it; return None if there is no artifact.

    Args:
        prepared: The samples, and cached runs.
        built: The artifact.
        processes: The processes and threads of the export.
        progress: Called with a label when a step begins.
    """
    name, cache = built.target.id, prepared.cache
    if built.artifact is None or name in prepared.runs:
        return prepared.runs.get(name)
    if "reference" in cache.cached:  # a new conversion may give the same artifact
        found = cache.find_run(built, prepared.reference.result())
        if found is not None:
            return found
    log = prepared.folder / LOGS / f"{name}.log"
    baseline = None
    if prepared.baseline is not None:  # nothing may run beside a timed call
        processes.background.wait(prepared.reference, _WAITING)
        baseline = processes.background.wait(prepared.baseline, "run the eager layer, to time it")
    with progress(f"{name}: run" + (" and time" if baseline else "")):
        ran = run(
            built.artifact,
            prepared.reference,
            cache.answers(built.target),
            log,
            baseline,
            allow_ops=prepared.request.load_policy.allow_ops,
        )
    cache.keep_run(built, ran, processes.background.wait(prepared.reference, _WAITING))
    return ran


def settle_targets(
    prepared: Prepared, runs: Mapping[str, Run | None], processes: Processes
) -> tuple[ReferenceSet, dict[str, Verdict]]:
    """Return the reference set, and the verdict on every artifact against it, by target.

    Args:
        prepared: The reference set with the noise measured so far.
        runs: The runs, by target.
        processes: The means to measure more of the layer's noise.
    """
    cache, known = prepared.cache, processes.background.wait(prepared.reference, _WAITING)
    ran = {name: run for name, run in runs.items() if run is not None}
    overrides = prepared.request.overrides
    artifacts = [compare_run(known, run) for run in ran.values()]
    verdicts = judge_runs(known, artifacts, overrides)
    # If nothing was converted, the program is still in the cache.
    if not are_clear(artifacts, verdicts) and cache.take_program():
        escalation = processes.escalation(prepared.program)
        deeper, verdicts = settle(known, artifacts, overrides, escalation)
        if deeper is not known:
            cache.keep_reference(deeper)
        known = deeper
    return known, dict(zip(ran, verdicts, strict=True))


def _without_source(target: Target, source: str) -> Built:
    reason = f"it starts from the {source} artifact, which failed"
    return Built(target, stage="source", reason=reason)
