"""`convert`: writes the artifact of a target in a child process, which contains crashes."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from hubopt import registry
from hubopt._util.collecting import relaxed_gc
from hubopt._util.digest import sha256, size_bytes
from hubopt.bundles.results import Stage
from hubopt.errors import ExportError, HuboptError
from hubopt.exporter import Artifact, Exporter, ExportTask, Source, Target
from hubopt.registry.contract import artifact_problems
from hubopt.workers.shared import SharedWorker


@dataclass(frozen=True, slots=True)
class Built:
    """The outcome of the conversion to a target.

    Attributes:
        target: The target.
        artifact: The artifact; None if the conversion failed.
        export_s: The time of the conversion, in seconds.
        sha256: The digest of the artifact.
        companions: The digests of the further files beside the artifact, by file name.
        size_bytes: The size of the artifact and its companions.
        stage: The stage that failed; None if none did.
        reason: The reason of the failure.
    """

    target: Target
    artifact: Artifact | None = None
    export_s: float | None = None
    sha256: str | None = None
    companions: dict[str, str] = field(default_factory=dict)
    size_bytes: int | None = None
    stage: Stage | None = None
    reason: str | None = None


def convert(target: Target, source: Source, folder: Path, child: SharedWorker, log: Path) -> Built:
    """Export ``source`` to ``target``; leave no files behind on failure.

    Args:
        target: The target.
        source: The program or artifact to convert.
        folder: The folder for the artifact, or of the artifact if it is a folder itself.
        child: The child process that converts; `needs` lists the modules that it should import.
        log: The file for the output that the child prints.
    """
    suffix = registry.get(target.exporter).suffix
    path = folder / f"model{suffix}" if suffix else folder
    if suffix:
        folder.mkdir()
    try:
        with child.use(log) as worker:
            artifact, seconds = worker.call(export, ExportTask(source, path, target))
    except HuboptError as error:
        shutil.rmtree(folder, ignore_errors=True)
        return Built(target, stage="export", reason=f"{error.found}; {error.way_out}")
    beside = {name: path.with_name(name) for name in artifact.companions}
    return Built(
        target,
        artifact,
        seconds,
        sha256(path),
        {name: sha256(file) for name, file in beside.items()},
        sum(map(size_bytes, (path, *beside.values()))),
    )


def needs(exporters: Iterable[Exporter]) -> tuple[str, ...]:
    """Return the modules that conversions to these targets import first."""
    modules = [
        module
        for exporter in exporters
        for requirement in exporter.builds_with
        for module in requirement.modules
        if registry.is_installed(module)
    ]
    return tuple(dict.fromkeys(modules))


def export(task: ExportTask) -> tuple[Artifact, float]:
    """Carry out a task in this process; return the artifact and the time in seconds.

    Raises:
        ExportError: The conversion failed, or its result violates the contract.
    """
    name, path = task.target.exporter, task.path
    exporter = registry.get(name)
    before = set(path.parent.iterdir())
    start = time.perf_counter()
    with relaxed_gc():
        artifact = exporter.export(task)
    seconds = time.perf_counter() - start
    problems = artifact_problems(artifact, name, path, task.source.spec)
    known = before | {path} | {path.with_name(name) for name in artifact.companions}
    strays = sorted(stray.name for stray in {*path.parent.iterdir()} - known)
    if strays:
        problems.append(f"it also wrote {', '.join(strays)}")
    if problems:
        raise ExportError(
            f"{name} artifact",
            f"the exporter does not conform: {'; '.join(problems)}",
            f"one artifact at {path.name}",
            "check the exporter with hubopt.testing.assert_conforms",
        )
    return artifact, seconds
