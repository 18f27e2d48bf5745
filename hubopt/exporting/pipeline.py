"""The line, from a handle to a bundle: the only module that knows its order.

`prepare` opens the layer, settles its shapes and traces it. Then the layer answers the samples in
the background (`Processes.begin_reference`), while each target is converted and each artifact is
loaded; an artifact waits for the samples before it runs. What is timed waits for the layer
(`Processes.begin_baseline`), so that nothing else runs then. When every artifact has run, all are
judged, and more of the layer's noise is measured only if a verdict hangs on it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from hubopt import registry
from hubopt._platform.resources import translate_resource_errors
from hubopt._platform.staging import staging
from hubopt._util.escaping import escape_file
from hubopt._util.owned_folders import TEMPORARY, sweep
from hubopt.bundles.bundle import Bundle, write_manifest
from hubopt.bundles.manifest import LOGS, Manifest
from hubopt.exporter import Target
from hubopt.exporting.prepare import prepare
from hubopt.exporting.processes import Processes
from hubopt.exporting.request import ExportRequest
from hubopt.exporting.stages import convert_target, run_target, settle_targets
from hubopt.exporting.write import write
from hubopt.hints import Hints
from hubopt.latency.protocol import ROUNDS
from hubopt.models.handles import LayerOptions, LoadPolicy
from hubopt.parity import ToleranceOverrides
from hubopt.programs.inspection import Inspection
from hubopt.progress import Progress, quiet
from hubopt.reference.layer_process import LayerProcess, Model
from hubopt.reference.noise_level import Noise
from hubopt.reference.sample_plan import Effort, SamplePlan
from hubopt.registry.targets import make_targets
from hubopt.runs.convert import Built
from hubopt.runs.obstacles import find_obstacles
from hubopt.sampling.samples import SEED
from hubopt.sampling.user_data import Data
from hubopt.workers.worker import temporary_log

_REPLACING = "choose another --output; --force replaces a bundle or an empty folder"


def _never(output: Path) -> bool:
    return False


def export(
    model: Model,
    targets: Sequence[str | Target],
    output: str | os.PathLike[str],
    *,
    options: Mapping[str, object] | None = None,
    hints: Hints | None = None,
    layer_options: LayerOptions | None = None,
    load_policy: LoadPolicy | None = None,
    data: Data | None = None,
    samples: int | None = None,
    seed: int = SEED,
    noise: Noise = "auto",
    effort: Effort = "auto",
    overrides: ToleranceOverrides | None = None,
    rounds: int = ROUNDS,
    keep_failed: bool = False,
    cache: bool = True,
    force: bool = False,
    progress: Progress = quiet,
) -> Bundle:
    """Export ``model`` to ``targets``, prove each artifact against the layer and time it.

    Args:
        model: A handle is loaded in a child process; a layer or callable is used in this one.
        targets: Names from `hubopt targets`, such as ``onnx`` or ``onnx:fp32``. What a target
            starts from is added.
        output: The bundle's folder; nothing may be there yet.
        options: Options of the exporters, such as ``{"onnx.opset": 17}``; `hubopt targets onnx`
            lists them.
        hints: Shapes and dtypes that the model leaves open.
        layer_options: Signature, output and tags, for a handle.
        load_policy: A digest to insist on, no network, operations to allow; for a handle.
        data: Inputs of your own to judge parity on, see `hubopt.sampling.user_data`; by default
            some are drawn.
        samples: How many samples parity is judged on, from 1; by default 8 drawn ones, edge
            cases on top, or up to 64 of ``data``.
        seed: The seed of those that are drawn.
        noise: How much to measure of how far the layer itself moves. ``auto``: what the verdicts
            hang on, which is little where artifacts agree with the layer; ``full``, also for
            verdicts that are made elsewhere later; ``off``: an artifact is blamed for what the
            layer does.
        effort: ``quick`` for a check of a few samples without noise, ``thorough`` for one without
            a limit of time for choosing samples and with all of the noise.
        overrides: Tolerances other than those of the arithmetic that a target computes in.
        rounds: How many rounds latency is measured for; 0 for none.
        keep_failed: Whether to keep artifacts that do not agree with the layer, in ``failed/``,
            for `hubopt.diagnose`.
        cache: Whether to take stages from earlier exports that nothing has changed since, and to
            keep those of this one; for a handle of a model that has a digest.
        force: Whether to replace ``output`` if it is a bundle or an empty folder; the old one is
            kept until the new one is complete.
        progress: Told what begins.

    Returns:
        The bundle. Look at each result's status: a target that failed is in there with its
        reason and without its artifact.

    Raises:
        HuboptError: Nothing was written: the model does not load, its shapes are open, the
            output exists, a package is missing, or no target gave an artifact.
    """
    request = ExportRequest(
        model,
        make_targets([targets] if isinstance(targets, str) else targets, options),
        SamplePlan.read(data, samples, seed, noise, effort),
        hints or Hints(),
        layer_options or LayerOptions(),
        load_policy or LoadPolicy(),
        overrides or ToleranceOverrides(),
        rounds,
        keep_failed,
    )
    request.check(Path(output))
    sweep(Path(tempfile.gettempdir()), TEMPORARY)  # an export from the cache starts no process
    replaces = request.may_replace if force else _never
    with staging(Path(output), replaces, _REPLACING) as folder, translate_resource_errors(folder):
        logs = folder / LOGS
        logs.mkdir()
        with (
            tempfile.TemporaryDirectory(prefix=".work.", dir=folder) as work,
            Processes(request, logs, Path(work), progress) as processes,
        ):
            manifest = _run(request, folder, Path(work), processes, cache, progress)
        for log in logs.iterdir():
            escape_file(log)
        write_manifest(folder, manifest)
    return Bundle(Path(output), manifest)


def _run(
    request: ExportRequest,
    folder: Path,
    work: Path,
    processes: Processes,
    cache: bool,
    progress: Progress,
) -> Manifest:
    """Run every stage; return the manifest of what was written to ``folder``."""
    prepared = prepare(request, folder, work, processes, cache, progress)
    built: dict[str, Built] = {}
    for target in request.targets:
        built[target.id] = convert_target(prepared, target, built, processes, progress)
    processes.end_conversions()
    runs = {
        name: run_target(prepared, artifact, processes, progress)
        for name, artifact in built.items()
    }
    reference, verdicts = settle_targets(prepared, runs, processes)
    return write(prepared, reference, built, verdicts)


def inspect(
    model: Model,
    *,
    hints: Hints | None = None,
    layer_options: LayerOptions | None = None,
    load_policy: LoadPolicy | None = None,
    options: Mapping[str, object] | None = None,
    progress: Progress = quiet,
) -> Inspection:
    """Describe a model: inputs, outputs, what is open, parameters, and what blocks a target.

    Args:
        model: As for `export`.
        hints: Shapes and dtypes that the model leaves open.
        layer_options: Signature, output and tags, for a handle.
        load_policy: A digest to insist on, no network, operations to allow; for a handle.
        options: Options of the exporters, as for `export`.
        progress: Told what begins.
    """
    targets = make_targets(registry.names(), options)
    with temporary_log() as log, ExitStack() as stack:
        layer = stack.enter_context(
            LayerProcess(
                model, layer_options or LayerOptions(), load_policy or LoadPolicy(), log, progress
            )
        )
        with progress("inspect"):
            facts = layer.session.inspect(hints or Hints())
    obstacles = find_obstacles(
        targets,
        facts.ops,
        [name for name, _ in (hints or Hints()).bounds],
        facts.parameters_bytes or 0,
    )
    return Inspection(layer.handle, layer.digest, facts, obstacles)
