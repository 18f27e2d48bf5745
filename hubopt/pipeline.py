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
from typing import Any

from hubopt import registry
from hubopt.asking import Question
from hubopt.bundle import (
    INPUTS,
    LOGS,
    REFERENCE,
    Bundle,
    Manifest,
    write_manifest,
)
from hubopt.converting import Converter
from hubopt.digest import sha256
from hubopt.errors import (
    ExportError,
    NothingExportedError,
    SpecError,
    UsageError,
)
from hubopt.exporter import Exporter, Obstacle, Options, XlaMode
from hubopt.first_answers import FirstAnswers
from hubopt.handles import Access, LayerOptions, local_path
from hubopt.hints import Hints
from hubopt.inspection import Inspection
from hubopt.kit import Kit
from hubopt.latency.protocol import ROUNDS
from hubopt.memory import remember
from hubopt.noise import MOST_COPIED_BYTES, NoiseMeter
from hubopt.noise_depth import Deepening, Noise
from hubopt.on_demand import LayerOnDemand, Opened, find_here
from hubopt.parity import Overrides
from hubopt.progress import Beside, Progress, quiet
from hubopt.results import TargetResult, exit_code
from hubopt.samples import SEED
from hubopt.session import LayerSession, open_layer_session
from hubopt.spec import ModelSpec
from hubopt.stages import Stages, Traced
from hubopt.staging import staging
from hubopt.targets import Line, find_obstacles, run_targets, tell
from hubopt.user_data import Data, Item
from hubopt.worker import Worker, temporary_log

Model = str | os.PathLike[str] | Callable[..., Any]
"""A handle, a `hubopt.KerasLayer`, or a callable to wrap as one."""


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
        data: Inputs of your own to judge parity on, see `hubopt.user_data`; drawn by default.
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
    hints, options, overrides = hints or Hints(), options or Options(), overrides or Overrides()
    layer_options, access = layer_options or LayerOptions(), access or Access()
    targets = [targets] if isinstance(targets, str) else targets
    _check_counts(targets, rounds)
    question = Question.read(data, samples, seed, noise)
    _check_apart(model, Path(output))
    exporters = registry.with_sources(targets)
    registry.require(exporters)
    _check_dynamic(exporters, hints)
    saved_model = any(each.reads_saved_model for each in exporters)
    depth = "full" if noise == "auto" and _judged_elsewhere(exporters) else noise
    with staging(Path(output)) as folder:
        (folder / LOGS).mkdir()
        with tempfile.TemporaryDirectory(prefix=".work.", dir=folder) as work, ExitStack() as stack:
            log = folder / LOGS / "layer.log"
            beside = stack.enter_context(Beside(progress))  # left after what it waits for
            converter = stack.enter_context(Converter(exporters, folder / LOGS / "convert.log"))
            meter = stack.enter_context(NoiseMeter(log))
            holding_layer = stack.enter_context(ExitStack())

            @functools.cache
            def prepare() -> None:
                """Let be imported, beside the layer, what is needed once that is there."""
                converter.start()
                if noise != "off":  # one after the other
                    beside.submit(lambda: meter.start(converter.onednn_is_on()))

            def open_layer() -> Opened:
                return open_model(model, layer_options, access, log, holding_layer, progress)

            here = find_here(model, access) if cache else None
            if here is None:
                prepare()
            opened = LayerOnDemand(open_layer, here)
            memory = remember(
                opened.handle,
                opened.digest if cache else None,
                layer_options,
                access,
                hints,
                question,
                options,
                overrides,
                rounds,
            )
            stages = Stages(memory, folder, Path(work), progress)

            def trace(into: Path) -> Traced:
                prepare()
                layer = opened.get()
                with progress("resolve shapes"):
                    spec = _resolve(layer, hints, exporters, options, question.first)
                overrides.check(spec.output_names)
                with progress("trace"):
                    xla: XlaMode = "off" if options.xla == "off" else "auto"
                    program = layer.trace(spec, into, xla, saved_model, _most_bytes(exporters))
                return Traced(program, layer.signature())

            traced = stages.trace(trace, saved_model)
            program, spec = traced.program, traced.program.spec
            overrides.check(spec.output_names)
            obstacles = find_obstacles(
                exporters, program.ops, options, weights_bytes=program.frozen_bytes
            )
            _refuse_if_hopeless(obstacles)
            kit = Kit(spec, folder / INPUTS, folder / REFERENCE, overrides=overrides)
            kit.inputs.parent.mkdir()
            noise_work = Path(work) / "noise"
            first_answers = FirstAnswers(
                question,
                program,
                kit,
                Path(work),
                Deepening(depth, program, meter, noise_work, beside.note),
                beside,
                lambda: None if rounds else holding_layer.close(),  # its memory is wanted
            )

            def ask_layer(keep: Callable[[Kit], None]) -> Callable[[], Kit]:
                prepare()
                return first_answers.begin(opened.get(), keep)

            deepen = Deepening(depth, program, meter, noise_work, progress)
            reference = stages.reference(kit, ask_layer, deepen)
            line = Line(
                folder,
                program,
                options,
                reference,
                stages.baseline(rounds, opened.get),
                converter,
                progress,
                stages.target,
                keep_failed,
            )
            if program.frozen_bytes > MOST_COPIED_BYTES:
                reference.kit()  # before the conversions, which need memory of their own
            results = run_targets(line, exporters, obstacles)
            if not any(each.path for each in results):
                raise _none_left(results)
            kit = reference.kit()
            called = replace(layer_options, signature=traced.signature)
        manifest = Manifest(
            handle=opened.handle,
            digest=opened.digest,
            layer=called,
            allow_ops=access.allow_ops,
            hints=hints,
            options=options,
            spec=spec,
            data=question.source,
            seed=seed,
            samples=kit.kinds,
            left_out=dict(kit.left_out),
            inputs_sha256=sha256(kit.inputs),
            reference_sha256=sha256(kit.reference),
            float64_sha256=sha256(kit.float64) if kit.float64 else None,
            reference=kit.facts,
            tolerances=overrides,
            targets={each.target: each for each in results},
            cached=stages.cached,
        )
        write_manifest(folder, manifest)
    return Bundle(Path(output), manifest)


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


def _check_apart(model: Model, output: Path) -> None:
    """Check that the output is not in the model's folder: it would change the model's digest."""
    if not isinstance(model, str | os.PathLike):
        return
    folder = local_path(os.fspath(model)).resolve()
    if folder.is_dir() and output.resolve().is_relative_to(folder) and os.fspath(model):
        raise UsageError(
            f"output {output}",
            "it is inside the model's folder",
            "a path outside of it",
            "choose another --output",
        )


def _check_dynamic(exporters: Sequence[Exporter], hints: Hints) -> None:
    """Refuse dynamic dimensions for targets that hold none, before any work."""
    static = [each.name for each in exporters if not each.dynamic]
    if static and hints.bounds:
        names = ", ".join(name for name, _ in hints.bounds)
        raise UsageError(
            f"target {', '.join(static)}",
            f"holds static shapes only, and {names} of --dim would be dynamic",
            "targets that hold dynamic dimensions (`hubopt targets`), or sizes",
            "leave the target out, or export it on its own with sizes in --input-shape",
        )


def _most_bytes(exporters: Sequence[Exporter]) -> int | None:
    """Return how many bytes of weights any of the targets holds; None for any number."""
    limits = [each.largest_bytes for each in exporters]
    return None if None in limits else max(each for each in limits if each is not None)


def _judged_elsewhere(exporters: Sequence[Exporter]) -> bool:
    """Whether a target cannot run here: its verdict takes all that can be known of the layer."""
    return any(registry.missing(each.runs_with) or each.machine_problem() for each in exporters)


def _check_counts(targets: Sequence[str], rounds: int) -> None:
    for thing, found, expected, wrong in (
        ("targets", "none", "one or more", not targets),
        ("rounds", rounds, "0 for no timing, or more", rounds < 0),
    ):
        if wrong:
            raise UsageError(thing, str(found), expected, "see `hubopt export --help`")


def open_model(
    model: Model,
    options: LayerOptions,
    access: Access,
    log: Path,
    stack: ExitStack,
    progress: Progress,
) -> tuple[str, str | None, LayerSession]:
    """Return the handle's text, the model's digest and the loaded layer."""
    registry.require_layer()
    if isinstance(model, str | os.PathLike):
        with progress("load the layer"):
            worker = stack.enter_context(Worker(log))
            session = worker.create(open_layer_session, os.fspath(model), options, access)
            handle = session.handle()
        assert handle is not None
        return handle.origin, handle.digest, session
    if options != LayerOptions():
        raise UsageError(
            "layer_options",
            f"{options} with a layer or a callable",
            "options for a handle only",
            "give signature, output_key and tags to KerasLayer itself",
        )
    if access != Access():
        raise UsageError(
            "access",
            f"{access} with a layer or a callable",
            "conditions for a handle only",
            "pass the handle, or load it with hubopt's own KerasLayer first",
        )
    from hubopt.layer import as_layer

    name = getattr(model, "name", None) or getattr(model, "__name__", type(model).__name__)
    return str(name), None, LayerSession(as_layer(model))


def _resolve(
    layer: LayerSession,
    hints: Hints,
    exporters: Sequence[Exporter],
    options: Options,
    items: Sequence[Item],
) -> ModelSpec:
    """Settle the shapes; before asking for more flags, see whether any target is possible."""
    try:
        return layer.resolve(hints, items)
    except SpecError:
        ops = layer.inspect(hints).ops
        if ops:
            _refuse_if_hopeless(find_obstacles(exporters, ops, options))
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
