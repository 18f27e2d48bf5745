"""`run_artifact`: an artifact of a bundle, or any file of a target, on inputs of the user's own."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from hubopt import registry
from hubopt.bundles.bundle import Bundle, read_bundle
from hubopt.bundles.manifest import MANIFEST
from hubopt.errors import NotRunnableHereError, UsageError
from hubopt.exporter import Artifact
from hubopt.programs.data_fit import Arrays
from hubopt.progress import Progress, quiet
from hubopt.runs.artifact_session import ArtifactSession
from hubopt.sampling.arrays import read_samples, write_samples
from hubopt.spec import ModelSpec
from hubopt.verification.files import file_interface, find_file
from hubopt.verification.inputs import InputFiles, interface_spec, open_inputs, read_inputs
from hubopt.workers.worker import Worker, temporary_log


@dataclass(frozen=True, slots=True)
class Answers:
    """What an artifact answers.

    Attributes:
        artifact: The file or folder that ran.
        target: The target in a bundle, or the exporter that ran a file.
        device: The device it ran on.
        spec: The inputs and outputs.
        samples: The outputs of each sample, by name.
    """

    artifact: Path
    target: str
    device: str
    spec: ModelSpec
    samples: tuple[Mapping[str, NDArray[Any]], ...]


def run_artifact(
    source: str | os.PathLike[str],
    inputs: InputFiles,
    target: str | None = None,
    allow_ops: Collection[str] = (),
    progress: Progress = quiet,
) -> Answers:
    """Run an artifact in a child process.

    Args:
        source: A bundle, or any file or folder of a target.
        inputs: The files to run on.
        target: The bundle's target, by default the first verified one whose runtime is installed;
            or the target that runs a file, by default by its suffix.
        allow_ops: Operations that a SavedModel may have although they reach outside of it.
        progress: Called with a label when a step begins.

    Raises:
        HuboptError: The artifact or the inputs cannot be read, the inputs do not fit, or the
            artifact does not run here.
    """
    files, ranks = open_inputs(inputs)
    with temporary_log() as log:
        if (Path(source) / MANIFEST).is_file():
            name, artifact = _of_bundle(read_bundle(Path(source)), target)
        else:
            name, artifact = _of_file(source, target, ranks, log, progress)
        samples = read_inputs(files, inputs, artifact.spec)
        with progress(f"{name}: run"), Worker(log) as worker:
            session = worker.create(ArtifactSession, artifact, None, tuple(allow_ops))
            answers = _answer(session, artifact.spec, samples, log)
            device = session.device()
    return Answers(artifact.path, name, device, artifact.spec, tuple(answers))


def _answer(
    session: ArtifactSession, spec: ModelSpec, samples: list[Arrays], log: Path
) -> list[dict[str, NDArray[Any]]]:
    given, found = log.with_name("inputs.npz"), log.with_name("outputs.npz")
    write_samples(given, samples)
    session.answer(spec, given, found, range(len(samples)))
    return read_samples(found, spec.outputs)


def _of_bundle(bundle: Bundle, target: str | None) -> tuple[str, Artifact]:
    """Return the target's artifact, or that of the first one that this machine can run."""
    if target is not None:
        return target, bundle.artifact(target)
    problems = []
    for result in bundle.results:
        if result.path is None or result.status == "failed":
            continue
        try:
            exporter = registry.get(result.exporter)
            registry.require_runtime(exporter)
        except (NotRunnableHereError, UsageError) as error:
            problems.append(f"{result.target}: {error.found}; {error.way_out}")
            continue
        problem = exporter.machine_problem()
        if problem is None:
            return result.target, bundle.artifact(result.target)
        problems.append(f"{result.target}: {problem}")
    raise NotRunnableHereError(
        f"bundle {bundle.path}",
        "; ".join(problems) or "no artifact is in it",
        "an artifact that this machine can run",
        "install the runtime of one of its targets",
    )


def _of_file(
    source: str | os.PathLike[str],
    target: str | None,
    ranks: Mapping[str, int],
    log: Path,
    progress: Progress,
) -> tuple[str, Artifact]:
    place, exporter = find_file(source, target)
    with progress("read the artifact's inputs and outputs"):
        interface = file_interface(place, exporter, log)
    if interface is None:
        raise UsageError(
            f"artifact {place}",
            f"the exporter {exporter} does not read the inputs and outputs of a file",
            "a bundle, which states them",
            "pass the bundle and --target",
        )
    return exporter, Artifact(exporter, place, interface_spec(interface, ranks))
