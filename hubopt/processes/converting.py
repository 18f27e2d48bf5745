"""Conversions: one child process for one target after the other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hubopt import registry
from hubopt.errors import WorkerCrashError
from hubopt.exporter import Artifact, Exporter, Options, Source
from hubopt.processes.session import convert
from hubopt.processes.worker import Worker
from hubopt.tf_private import onednn_is_on


class Converter:
    """Converts in a child process.

    What crashes takes the child with it, and the next target gets a new one. The child ends with
    the last conversion. Use it as a context manager: leaving ends the child, too.

    Args:
        exporters: Those that are going to be asked for.
        log: Gets what the child prints until it converts.
    """

    def __init__(self, exporters: Sequence[Exporter], log: Path) -> None:
        self._left = {each.name for each in exporters}
        modules = [
            module
            for exporter in exporters
            for requirement in exporter.builds_with
            for module in requirement.modules
            if registry.is_installed(module)
        ]
        self._imports = tuple(dict.fromkeys(modules))
        self._log = log
        self._worker: Worker | None = None

    def __enter__(self) -> Converter:
        return self

    def __exit__(self, *error: object) -> None:
        self._end()

    def start(self) -> Worker:
        """Begin to import what conversions need; there is no need to wait for it."""
        if self._worker is None:
            self._worker = Worker(self._log, imports=self._imports)
        return self._worker

    def onednn_is_on(self) -> bool:
        """Return `hubopt.tf_private.onednn_is_on`, as it is in the child and so in the layer's."""
        return self.start().call(onednn_is_on)

    def convert(
        self, target: str, source: Source, path: Path, options: Options, log: Path
    ) -> tuple[Artifact, float]:
        """Export ``source`` as `hubopt.processes.session.convert` does.

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
        worker = self.start()
        try:
            worker.log_to(log)
            return worker.call(convert, target, source, path, options)
        except WorkerCrashError:
            self._end()
            raise
        finally:
            self._left.discard(target)
            if not self._left:  # its memory is wanted
                self._end()

    def _end(self) -> None:
        if self._worker is not None:
            self._worker.__exit__(None, None, None)
            self._worker = None
