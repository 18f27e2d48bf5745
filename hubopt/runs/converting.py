"""Conversions: one child process for one target after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from hubopt import registry
from hubopt._util.collecting import few_collections
from hubopt.errors import ExportError
from hubopt.exporter import Artifact, Exporter, Options, Source
from hubopt.registry.contract import artifact_problems
from hubopt.workers.shared import SharedWorker


class Converter:
    """Converts in a child process, which what crashes takes with it.

    Args:
        exporters: Those that are going to be asked for.
        child: Where, see `needs` for what it should import.
        done: Called after the last conversion.
    """

    def __init__(
        self, exporters: Sequence[Exporter], child: SharedWorker, done: Callable[[], None]
    ) -> None:
        self._left = {each.name for each in exporters}
        self._child = child
        self._done = done

    def convert(
        self, target: str, source: Source, path: Path, options: Options, log: Path
    ) -> tuple[Artifact, float]:
        """Export ``source`` as `hubopt.runs.converting.convert` does.

        Args:
            target: The exporter's name.
            source: What to export.
            path: Where to write.
            options: What the exporter may be asked.
            log: Gets what the child prints meanwhile.

        Returns:
            The artifact and the seconds it took.

        Raises:
            HuboptError: The conversion failed, or ended the process.
        """
        try:
            with self._child.use(log) as worker:
                return worker.call(convert, target, source, path, options)
        finally:
            self._left.discard(target)
            if not self._left:
                self._done()


def needs(exporters: Sequence[Exporter]) -> tuple[str, ...]:
    """Return the modules that conversions to these targets begin by importing."""
    modules = [
        module
        for exporter in exporters
        for requirement in exporter.builds_with
        for module in requirement.modules
        if registry.is_installed(module)
    ]
    return tuple(dict.fromkeys(modules))


def convert(target: str, source: Source, path: Path, options: Options) -> tuple[Artifact, float]:
    """Export ``source``; return the artifact and the seconds it took.

    Raises:
        ExportError: The conversion failed, or did not give what the contract asks for.
    """
    exporter = registry.get(target)
    before = set(path.parent.iterdir())
    start = time.perf_counter()
    with few_collections():
        artifact = exporter.export(source, path, options)
    seconds = time.perf_counter() - start
    problems = artifact_problems(artifact, target, path, source.spec)
    known = before | {path} | {path.with_name(name) for name in artifact.companions}
    strays = sorted(each.name for each in {*path.parent.iterdir()} - known)
    if strays:
        problems.append(f"it also wrote {', '.join(strays)}")
    if problems:
        raise ExportError(
            f"{target} artifact",
            f"the exporter does not conform: {'; '.join(problems)}",
            f"one artifact at {path.name}",
            "check the exporter with hubopt.testing.assert_conforms",
        )
    return artifact, seconds
