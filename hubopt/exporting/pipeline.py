"""The line, from a handle to a bundle: the only module that knows its order.

Layer, spec, program, artifact, parity, latency, bundle: each stage takes what the one before
it returned, and nothing is passed back.
"""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from hubopt import registry
from hubopt._platform.resources import telling_resources
from hubopt._platform.staging import staging
from hubopt._util.digest import sha256
from hubopt._util.escaping import escape_file
from hubopt._util.owned_folders import TEMPORARY, sweep
from hubopt.bundles.bundle import Bundle, write_manifest
from hubopt.bundles.manifest import INPUTS, LOGS, REFERENCE, Manifest
from hubopt.bundles.results import TargetResult, exit_code
from hubopt.errors import ExportError, NothingExportedError, SpecError
from hubopt.exporter import Obstacle, Options, XlaMode
from hubopt.exporting.memory import remember
from hubopt.exporting.order import Order, find_exporters
from hubopt.exporting.processes import Processes
from hubopt.exporting.stages import Stages, Traced
from hubopt.exporting.targets import Line, run_targets
from hubopt.hints import Hints
from hubopt.latency.protocol import ROUNDS
from hubopt.models.handles import Access, LayerOptions
from hubopt.parity import Overrides
from hubopt.programs.inspection import Inspection
from hubopt.progress import Progress, quiet
from hubopt.reference.asking import Question
from hubopt.reference.first_answers import FirstAnswers
from hubopt.reference.kit import Kit
from hubopt.reference.layer_session import LayerSession
from hubopt.reference.noise import MOST_COPIED_BYTES
from hubopt.reference.noise_depth import Deepening, Noise
from hubopt.reference.on_demand import LayerOnDemand, Model, find_here, open_model
from hubopt.runs.obstacles import find_obstacles, tell
from hubopt.sampling.samples import SEED
from hubopt.sampling.user_data import Data
from hubopt.spec import ModelSpec
from hubopt.workers.worker import temporary_log


def export(
    model: Model,
    targets: Sequence[str],
    output: str | os.PathLike[str],
    *,
    hints: Hints | None = None,
    layer_options: LayerOptions | None = None,
    access: Access | None = None,
    options: Options | None = None,
    data: Data | None = None,
    samples: int | None = None,
    seed: int = SEED,
    noise: Noise = "auto",
    overrides: Overrides | None = None,
    rounds: int = ROUNDS,
    keep_failed: bool = False,
    cache: bool = True,
    progress: Progress = quiet,
) -> Bundle:
    """Export ``model`` to ``targets``, prove each artifact against the layer and time it.

    Args:
        model: A handle is loaded in a child process; a layer or callable is used in this one.
        targets: Names from `hubopt targets`. What a target starts from is added.
        output: The bundle's folder; nothing may be there yet.
        hints: Shapes and dtypes that the model leaves open.
        layer_options: Signature, output and tags, for a handle.
        access: A digest to insist on, no network, operations to allow; for a handle.
        options: What the exporters may be asked.
        data: Inputs of your own to judge parity on, see `hubopt.sampling.user_data`; by default
            some are drawn.
        samples: How many samples parity is judged on, from 1; by default 8 drawn ones, edge
            cases on top, or up to 64 of ``data``.
        seed: The seed of those that are drawn.
        noise: How much to measure of how far the layer itself moves. ``auto``: what the verdicts
            hang on, which is little where artifacts agree with the layer; ``full``, also for
            verdicts that are made elsewhere later; ``off``: an artifact is blamed for what the
            layer does.
        overrides: Tolerances other than those of the arithmetic that a target computes in.
        rounds: How many rounds latency is measured for; 0 for none.
        keep_failed: Whether to keep artifacts that do not agree with the layer, in ``failed/``,
            for `hubopt.diagnose`.
        cache: Whether to take stages from earlier exports that nothing has changed since, and to
            keep those of this one; for a handle of a model that has a digest.
        progress: Told what begins.

    Returns:
        The bundle. Look at each result's status: a target that failed is in there with its
        reason and without its artifact.

    Raises:
        HuboptError: Nothing was written: the model does not load, its shapes are open, the
            output exists, a package is missing, or no target gave an artifact.
    """
    order = Order(
        model,
        find_exporters(targets),
        Question.read(data, samples, seed, noise),
        hints or Hints(),
        layer_options or LayerOptions(),
        access or Access(),
        options or Options(),
        overrides or Overrides(),
        rounds,
        keep_failed,
    )
    order.check(Path(output))
    sweep(Path(tempfile.gettempdir()), TEMPORARY)  # an export from the cache starts no process
    with staging(Path(output)) as folder, telling_resources(folder):
        logs = folder / LOGS
        logs.mkdir()
        with (
            tempfile.TemporaryDirectory(prefix=".work.", dir=folder) as work,
            Processes(order, logs, progress) as processes,
        ):
            manifest = _run(order, folder, Path(work), processes, cache, progress)
        for log in logs.iterdir():
            escape_file(log)
        write_manifest(folder, manifest)
    return Bundle(Path(output), manifest)


def _run(
    order: Order,
    folder: Path,
    work: Path,
    processes: Processes,
    cache: bool,
    progress: Progress,
) -> Manifest:
    """Go down the line once; return what is to be known of what stands in ``folder`` then."""
    here = find_here(order.model, order.access) if cache else None
    if here is None:
        processes.prepare()
    opened = LayerOnDemand(processes.open_layer, here)
    stages = Stages(
        remember(opened.handle, opened.digest if cache else None, order), folder, work, progress
    )

    def trace(into: Path) -> Traced:
        processes.prepare()
        return _trace(order, opened.get(), into, progress)

    traced = stages.trace(trace, order.reads_saved_model)
    program = traced.program
    order.overrides.check(program.spec.output_names)
    obstacles = find_obstacles(
        order.exporters, program.ops, order.options, weights_bytes=program.frozen_bytes
    )
    _refuse_if_hopeless(obstacles)
    empty = Kit(program.spec, folder / INPUTS, folder / REFERENCE, overrides=order.overrides)
    empty.inputs.parent.mkdir()
    deepening = functools.partial(Deepening, order.depth, program, processes.meter, work / "noise")
    answered = (lambda: None) if order.rounds else processes.end_layer
    note = processes.beside.note
    first_answers = FirstAnswers(
        order.question, program, empty, work, deepening(note), processes.beside, answered
    )

    def ask_layer(keep: Callable[[Kit], None]) -> Callable[[], Kit]:
        processes.prepare()
        return first_answers.begin(opened.get(), keep)

    reference = stages.reference(empty, ask_layer, deepening(progress))
    line = Line(
        folder,
        program,
        order.options,
        reference,
        stages.baseline(order.rounds, opened.get),
        processes.converter,
        progress,
        stages.target,
        order.keep_failed,
        order.access.allow_ops,
    )
    if program.frozen_bytes > MOST_COPIED_BYTES:
        reference.kit()  # before the conversions, which need memory of their own
    results = run_targets(line, order.exporters, obstacles)
    if not any(each.path for each in results):
        raise _none_left(results)
    return _manifest(order, opened, traced, reference.kit(), results, stages.cached)


def _trace(order: Order, layer: LayerSession, into: Path, progress: Progress) -> Traced:
    with progress("resolve shapes"):
        spec = _resolve(layer, order)
    order.overrides.check(spec.output_names)
    with progress("trace"):
        xla: XlaMode = "off" if order.options.xla == "off" else "auto"
        program = layer.trace(spec, into, xla, order.reads_saved_model, order.most_bytes)
    return Traced(program, layer.signature())


def _manifest(
    order: Order,
    opened: LayerOnDemand,
    traced: Traced,
    kit: Kit,
    results: Sequence[TargetResult],
    cached: Mapping[str, str],
) -> Manifest:
    return Manifest(
        handle=opened.handle,
        digest=opened.digest,
        layer=replace(order.layer, signature=traced.signature),
        allow_ops=order.access.allow_ops,
        hints=order.hints,
        options=order.options,
        spec=traced.program.spec,
        data=order.question.source,
        seed=order.question.seed,
        samples=kit.kinds,
        left_out=dict(kit.left_out),
        inputs_sha256=sha256(kit.inputs),
        reference_sha256=sha256(kit.reference),
        float64_sha256=sha256(kit.float64) if kit.float64 else None,
        reference=kit.facts,
        tolerances=order.overrides,
        targets={each.target: each for each in results},
        cached=dict(cached),
    )


def inspect(
    model: Model,
    *,
    hints: Hints | None = None,
    layer_options: LayerOptions | None = None,
    access: Access | None = None,
    options: Options | None = None,
    progress: Progress = quiet,
) -> Inspection:
    """Describe a model: inputs, outputs, what is open, parameters, and what blocks a target.

    Args:
        model: As for `export`.
        hints: Shapes and dtypes that the model leaves open.
        layer_options: Signature, output and tags, for a handle.
        access: A digest to insist on, no network, operations to allow; for a handle.
        options: What the exporters may be asked.
        progress: Told what begins.
    """
    with temporary_log() as log, ExitStack() as stack:
        handle, digest, layer = open_model(
            model, layer_options or LayerOptions(), access or Access(), log, stack, progress
        )
        with progress("inspect"):
            facts = layer.inspect(hints or Hints())
    exporters = registry.with_sources(registry.names())
    obstacles = find_obstacles(
        exporters,
        facts.ops,
        options or Options(),
        [name for name, _ in (hints or Hints()).bounds],
        facts.parameters_bytes or 0,
    )
    return Inspection(handle, digest, facts, obstacles)


def _resolve(layer: LayerSession, order: Order) -> ModelSpec:
    """Settle the shapes; before asking for more flags, see whether any target is possible."""
    try:
        return layer.resolve(order.hints, order.question.first)
    except SpecError:
        ops = layer.inspect(order.hints).ops
        if ops:
            _refuse_if_hopeless(find_obstacles(order.exporters, ops, order.options))
        raise


def _refuse_if_hopeless(obstacles: Mapping[str, Sequence[Obstacle]]) -> None:
    """Raise before any work if no target can hold the program."""
    if all(obstacles.values()):
        raise ExportError(
            f"target {', '.join(obstacles)}",
            "".join(f"\n  - {name}: {tell(each)}" for name, each in obstacles.items()),
            "a model that a target can hold",
            "see `hubopt inspect HANDLE`; another --signature may be free of these operations",
        )


def _none_left(results: tuple[TargetResult, ...]) -> NothingExportedError:
    return NothingExportedError(
        "export",
        "no target gave an artifact that may be kept"
        + "".join(f"\n  - {each.target}: {each.stage}: {each.reason}" for each in results),
        "at least one artifact to write a bundle",
        "see the reasons above; nothing was written",
        results,
        exit_code(results),
    )
