"""`prepare`: the layer, its spec, its program, and the cached results of earlier exports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

from hubopt import registry
from hubopt.errors import ExportError, HandleError, SpecError
from hubopt.exporter import PROGRAM, Obstacle, Program, Target
from hubopt.exporting.cache import ExportCache
from hubopt.exporting.memory import remember
from hubopt.exporting.processes import Processes
from hubopt.exporting.request import ExportRequest
from hubopt.exporting.stored_values import Traced
from hubopt.models.handles import Handle
from hubopt.progress import Progress, done
from hubopt.reference.layer_process import LayerProcess, find_here
from hubopt.reference.reference_set import ReferenceSet
from hubopt.reference.variants import MOST_COPIED_BYTES
from hubopt.runs.convert import Built
from hubopt.runs.obstacles import find_obstacles, format_obstacles
from hubopt.runs.run import Baseline, Run
from hubopt.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class Prepared:
    """A model, ready to be exported.

    Attributes:
        request: The request.
        folder: The folder of the new bundle.
        handle: The handle as text.
        digest: The model's digest, if it has one.
        signature: The signature that the layer calls, or None for the model's own call.
        program: The traced layer.
        obstacles: The obstacles to each target, by target id.
        reference: The reference set; the layer may still be answering.
        baseline: The layer that artifacts are timed against; None for no timing.
        cache: The cache of stages.
        built: Cached artifacts, by target.
        runs: Cached runs, by target.
    """

    request: ExportRequest
    folder: Path
    handle: str
    digest: str | None
    signature: str | None
    program: Program
    obstacles: Mapping[str, Sequence[Obstacle]]
    reference: Future[ReferenceSet]
    baseline: Future[Baseline] | None
    cache: ExportCache
    built: Mapping[str, Built] = field(default_factory=dict)
    runs: Mapping[str, Run] = field(default_factory=dict)


def prepare(
    request: ExportRequest,
    folder: Path,
    work: Path,
    processes: Processes,
    use_cache: bool,
    progress: Progress,
) -> Prepared:
    """Open the layer, settle its shapes and trace it, or take all of this from the cache.

    The layer is opened only if a stage must run or latency must be measured.

    Args:
        request: The request.
        folder: The folder of the new bundle.
        work: A folder for temporary files.
        processes: The processes and threads of the export.
        use_cache: Whether to reuse the stages of earlier exports and to store those of this one.
        progress: Called with a label when a step begins.

    Raises:
        HuboptError: The model does not load, its shapes are open, or no target can hold it.
    """
    here = find_here(request.model, request.load_policy) if use_cache else None
    model = _Model(request, processes, here)
    memory = remember(model.handle, model.digest if use_cache else None, request)
    cache = ExportCache(memory, folder, work, progress)
    traced = cache.find_trace(request.reads_saved_model)
    if traced is None:
        traced = _trace(request, model.layer(), cache, work, progress)
    program = traced.program
    request.overrides.check(program.spec.output_names)
    obstacles = find_obstacles(
        request.targets,
        program.ops,
        weights_bytes=program.frozen_bytes,
        data_dependent=program.spec.data_dependent,
    )
    refuse_if_hopeless(obstacles)
    known = cache.find_reference(program.spec, work / "reference")
    built = _find_built(request, cache, obstacles, program.spec)
    runs = {} if known is None else _find_runs(cache, built, known)
    to_run = [target for target in request.targets if not obstacles[target.id]]
    is_complete = len(built) == len(to_run)
    if (known is None or not is_complete) and not cache.take_program():
        traced = _trace(request, model.layer(), cache, work, progress)
        program = traced.program
    if not is_complete:
        processes.warm_up()
    reference = (
        processes.begin_reference(model.layer(), program, cache, work / "reference")
        if known is None
        else done(known)
    )
    is_timed = request.rounds and len(runs) < len(to_run)
    baseline = processes.begin_baseline(model.layer(), reference) if is_timed else None
    if program.frozen_bytes > MOST_COPIED_BYTES:
        reference.exception()  # before the conversions, which need memory of their own
    return Prepared(
        request=request,
        folder=folder,
        handle=model.handle,
        digest=model.digest,
        signature=traced.signature,
        program=program,
        obstacles=obstacles,
        reference=reference,
        baseline=baseline,
        cache=cache,
        built=built,
        runs=runs,
    )


class _Model:
    """A model with a known digest. Its layer is opened at most once, when it is first needed."""

    def __init__(self, request: ExportRequest, processes: Processes, here: Handle | None) -> None:
        self._processes = processes
        self._layer: LayerProcess | None = None
        if here is None:
            processes.warm_up()
            self._layer = processes.open_layer()
            self.handle, self.digest = self._layer.handle, self._layer.digest
        else:
            self.handle, self.digest = here.origin, here.digest

    def layer(self) -> LayerProcess:
        """Return the layer.

        Raises:
            HandleError: The model has changed since its digest was taken.
        """
        if self._layer is None:
            self._processes.warm_up()
            self._layer = self._processes.open_layer()
            if self._layer.digest != self.digest:
                raise HandleError(
                    f"handle {self.handle}",
                    f"it changed during the export: sha256:{self._layer.digest}",
                    f"sha256:{self.digest}, as at the beginning",
                    "export again when nothing writes to it",
                )
        return self._layer


def _trace(
    request: ExportRequest,
    layer: LayerProcess,
    cache: ExportCache,
    work: Path,
    progress: Progress,
) -> Traced:
    with progress("resolve shapes"):
        spec = _resolve(request, layer)
    request.overrides.check(spec.output_names)
    with progress("trace"):
        program = layer.session.trace(
            spec, work / PROGRAM, "off", request.reads_saved_model, request.most_bytes
        )
    traced = Traced(program, layer.session.signature())
    cache.keep_trace(traced, request.reads_saved_model)
    return traced


def _resolve(request: ExportRequest, layer: LayerProcess) -> ModelSpec:
    """Settle the shapes. If they are open, first check that any target is possible."""
    try:
        return layer.resolve(request.hints, request.plan.first)
    except SpecError:
        ops = layer.session.inspect(request.hints).ops
        if ops:
            refuse_if_hopeless(find_obstacles(request.targets, ops))
        raise


def refuse_if_hopeless(obstacles: Mapping[str, Sequence[Obstacle]]) -> None:
    """Raise an error, before any work, if no target can hold the program."""
    if all(obstacles.values()):
        raise ExportError(
            f"target {', '.join(obstacles)}",
            "".join(
                f"\n  - {name}: {format_obstacles(found)}" for name, found in obstacles.items()
            ),
            "a model that a target can hold",
            "see `hubopt inspect HANDLE`; another --signature may be free of these operations",
        )


def _find_built(
    request: ExportRequest,
    cache: ExportCache,
    obstacles: Mapping[str, Sequence[Obstacle]],
    spec: ModelSpec,
) -> dict[str, Built]:
    """Return the cached artifacts, sources first."""
    found: dict[str, Built] = {}
    for target in request.targets:
        source = source_key(target, found)
        if source is None or obstacles[target.id]:
            continue
        built = cache.find_artifact(target, source, spec)
        if built is not None:
            found[target.id] = built
    return found


def source_key(target: Target, built: Mapping[str, Built]) -> str | None:
    """Return the key of a target's source: `PROGRAM` or a digest; None if it is not built yet.

    Args:
        target: The target.
        built: The artifacts so far, by target.
    """
    source = registry.get(target.exporter).source
    if source == PROGRAM:
        return PROGRAM
    artifact = built.get(source)
    return artifact.sha256 if artifact else None


def _find_runs(
    cache: ExportCache, built: Mapping[str, Built], known: ReferenceSet
) -> dict[str, Run]:
    runs = {name: cache.find_run(artifact, known) for name, artifact in built.items()}
    return {name: run for name, run in runs.items() if run is not None}
