"""The line from a handle to a bundle. Only this module knows the order of the stages.

`prepare` opens the layer, settles its shapes and traces it. The layer then answers the samples in
the background (`Processes.begin_reference`) while the targets are converted and the artifacts are
loaded. An artifact waits for the samples before it runs. If latency is measured, it also waits
until the layer is ready (`Processes.begin_baseline`), so that nothing runs beside a timed call.
When every artifact has run, all of them are judged. More of the layer's noise is measured only if
a verdict depends on it.
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
        model: A handle, which is loaded in a child process; or a layer or callable, which is used
            in this process.
        targets: Names from `hubopt targets`, such as ``onnx`` or ``onnx:fp32``. The source of a
            target is added if it is another target.
        output: The folder of the bundle. It must not exist.
        options: Options of the exporters, such as ``{"onnx.opset": 17}``; `hubopt targets onnx`
            lists them.
        hints: Shapes and dtypes that the model leaves open.
        layer_options: The signature, output and tags of a handle.
        load_policy: For a handle: the digest it must have, whether the network may be used, and
            the operations to allow.
        data: Your own inputs for the parity check, see `hubopt.sampling.user_data`. By default,
            inputs are drawn.
        samples: The number of samples for the parity check, at least 1. By default 8 drawn samples
            and edge cases, or up to 64 samples of ``data``.
        seed: The seed of drawn samples.
        noise: How much of the layer's own noise to measure. ``auto``: as much as the verdicts
            depend on, which is little if the artifacts agree with the layer. ``full``: all of it,
            which verdicts on other machines need. ``off``: none; an artifact is then blamed for
            the layer's noise.
        effort: ``quick`` checks a few samples and measures no noise. ``thorough`` chooses samples
            without a time limit and measures all noise.
        overrides: Tolerances that replace those of the target's tolerance class.
        rounds: The number of rounds of latency measurement; 0 for none.
        keep_failed: Whether to keep artifacts that do not agree with the layer, in ``failed/``,
            for `hubopt.diagnose`.
        cache: Whether to reuse the unchanged stages of earlier exports and to store the stages of
            this one. Only handles of models with a digest are cached.
        force: Whether to replace ``output`` if it is a bundle or an empty folder. The old bundle
            is kept until the new one is complete.
        progress: Called with a label when a step begins.

    Returns:
        The bundle. Look at the status of each result: a failed target has a reason and no
        artifact.

    Raises:
        HuboptError: Nothing was written. The model does not load, its shapes are open, the output
            exists, a package is missing, or no target has an artifact that may be kept.
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
    """Describe a model: its inputs, outputs, open shapes, parameters and obstacles to targets.

    Args:
        model: As for `export`.
        hints: Shapes and dtypes that the model leaves open.
        layer_options: The signature, output and tags of a handle.
        load_policy: As for `export`.
        options: Options of the exporters, as for `export`.
        progress: Called with a label when a step begins.
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
        facts.spec.data_dependent if facts.spec else (),
    )
    return Inspection(layer.handle, layer.digest, facts, obstacles)
