"""`verify` and `bench`: a bundle's artifacts once more, on the machine where they will run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from hubopt import registry
from hubopt.bundle import Bundle, read_bundle
from hubopt.errors import BundleError, HuboptError, PinError, UsageError
from hubopt.examine import Baseline, Kit, examine
from hubopt.handles import Access, is_python
from hubopt.latency.protocol import ROUNDS
from hubopt.results import TargetResult, Verdict
from hubopt.session import LayerSession, open_layer_session
from hubopt.targets import Progress, quiet
from hubopt.worker import Worker, temporary_log


def verify(
    bundle: Bundle | str | os.PathLike[str],
    targets: Sequence[str] = (),
    progress: Progress = quiet,
) -> tuple[TargetResult, ...]:
    """Run each artifact of a bundle here and judge it against the stored reference.

    Needs the runtimes of the targets; TensorFlow only for targets that run on it.

    Args:
        bundle: A bundle or its folder.
        targets: Which targets; all by default.
        progress: Told what begins.

    Returns:
        The bundle's results with a fresh verdict for every target that has an artifact; one
        that is damaged fails. The bundle itself is left as it is.

    Raises:
        BundleError: It is no bundle, its samples or its reference have changed, or it has no
            such target.
    """
    return _recheck(_as_bundle(bundle), targets, None, "verify", progress)


def bench(
    bundle: Bundle | str | os.PathLike[str],
    targets: Sequence[str] = (),
    rounds: int = ROUNDS,
    progress: Progress = quiet,
) -> tuple[TargetResult, ...]:
    """Time each artifact of a bundle here, beside the eager layer where that can be had.

    Args:
        bundle: A bundle or its folder.
        targets: Which targets; all by default.
        rounds: How many rounds, from 1.
        progress: Told what begins.

    Returns:
        The bundle's results with a fresh verdict and latency: what is timed is verified first.

    Raises:
        BundleError: As for `verify`.
    """
    if rounds < 1:
        raise UsageError("rounds", str(rounds), "1 or more", "see `hubopt bench --help`")
    bundle = _as_bundle(bundle)
    with ExitStack() as stack:
        with progress("load the layer"):
            layer, problem = _open_baseline(bundle, stack)
        return _recheck(bundle, targets, Baseline(layer, problem, rounds), "time", progress)


def _open_baseline(bundle: Bundle, stack: ExitStack) -> tuple[LayerSession | None, str | None]:
    """Load the layer that the bundle was made from, or say why that cannot be."""
    manifest = bundle.manifest
    if manifest.digest is None and not is_python(manifest.handle):
        return None, f"the bundle was made from a callable, {manifest.handle}"
    if not registry.is_installed("tensorflow"):
        return None, "TensorFlow is not installed here"
    access = Access(pin=manifest.digest, allow_ops=manifest.allow_ops)
    try:
        log = stack.enter_context(temporary_log())
        worker = stack.enter_context(Worker(log))
        layer = worker.create(open_layer_session, manifest.handle, manifest.layer, access)
        layer.answer(manifest.spec, bundle.inputs, log.with_name("answers.npz"))
    except PinError:
        return None, f"{manifest.handle} has changed since the export"
    except HuboptError as error:
        return None, f"{error.thing}: {error.found}"
    return layer, None


def _recheck(
    bundle: Bundle,
    targets: Sequence[str],
    baseline: Baseline | None,
    what: str,
    progress: Progress,
) -> tuple[TargetResult, ...]:
    bundle.check_kit()
    targets = [targets] if isinstance(targets, str) else targets
    unknown = [name for name in targets if name not in bundle.manifest.targets]
    if unknown:
        raise BundleError(
            f"bundle {bundle.path}",
            f"no target {', '.join(unknown)}",
            f"one of: {', '.join(bundle.manifest.targets)}",
            "export again with that target",
        )
    results = []
    with temporary_log() as log:
        kit = Kit(bundle.manifest.spec, bundle.inputs, bundle.reference, bundle.manifest.noise)
        for result in bundle.results:
            if targets and result.target not in targets:
                continue
            if result.path is None:
                results.append(result)
                continue
            with progress(f"{result.target}: {what}"):
                results.append(result.judged(_examine(bundle, result.target, kit, log, baseline)))
    return tuple(results)


def _examine(
    bundle: Bundle, target: str, kit: Kit, log: Path, baseline: Baseline | None
) -> Verdict:
    """Examine one artifact; one that is damaged fails and does not stop the others."""
    try:
        artifact = bundle.artifact(target)
    except BundleError as error:
        return Verdict("failed", "load", f"{error.thing}: {error.found}; {error.way_out}")
    return examine(artifact, kit, log, baseline)


def _as_bundle(bundle: Bundle | str | os.PathLike[str]) -> Bundle:
    return bundle if isinstance(bundle, Bundle) else read_bundle(Path(bundle))
