"""A child process that several users share, each for a call at a time.

To import TensorFlow takes more processor time than most conversions, and its memory as much as a
small model does in all: conversions and the measurement of noise share a process.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from hubopt.errors import WorkerCrashError
from hubopt.workers.worker import Worker


class SharedWorker:
    """A `Worker` that is started when it is first needed, and again where it has died.

    So a crash is told to whoever was using the child, and to nobody else. Use it as a context
    manager: leaving ends the child, and whatever waits for it in another thread.

    Args:
        log: The file that gets what the child prints while nobody uses it.
        environment: As for `Worker`.
        imports: As for `Worker`.
    """

    def __init__(
        self,
        log: Path,
        environment: Mapping[str, str] | None = None,
        imports: Sequence[str] = (),
    ) -> None:
        self._log = log
        self._environment = dict(environment or {})
        self._imports = tuple(imports)
        self._worker: Worker | None = None
        self._is_stopped = False
        self._starting, self._using = Lock(), Lock()

    def __enter__(self) -> SharedWorker:
        return self

    def __exit__(self, *error: object) -> None:
        with self._starting:
            self._is_stopped = True
            if self._worker is not None:
                self._worker.kill()  # so that a call in another thread ends
        self.rest()

    @property
    def is_stopped(self) -> bool:
        """Whether it was left, so that what fails fails for that."""
        return self._is_stopped

    def start(self) -> Worker:
        """Begin to import what was asked for; there is no need to wait for it.

        Raises:
            WorkerCrashError: It was left meanwhile, by another thread.
        """
        with self._starting:
            if self._is_stopped:
                raise WorkerCrashError(
                    "child process",
                    "it was stopped before it began",
                    "an answer",
                    "this is no defect of its own",
                )
            if self._worker is not None and not self._worker.is_running:
                self._end()
            if self._worker is None:
                self._worker = Worker(self._log, self._environment, self._imports)
            return self._worker

    @contextmanager
    def use(self, log: Path) -> Iterator[Worker]:
        """Give the child to one user at a time.

        Args:
            log: Gets what it prints meanwhile.

        Raises:
            WorkerCrashError: As for `start`.
        """
        with self._using:
            worker = self.start()
            worker.log_to(log)
            yield worker

    def rest(self) -> None:
        """End the child once nobody uses it; whoever comes next gets another."""
        with self._using, self._starting:
            self._end()

    def _end(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.__exit__(None, None, None)
