"""A child process that several users share, one call at a time.

Importing TensorFlow takes more processor time than most conversions, and as much memory as a
small model takes in all. Conversions and the measurement of noise therefore share a process.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from hubopt.errors import WorkerCrashError
from hubopt.workers.worker import Worker


class SharedWorker:
    """A `Worker` that is started when it is first needed, and started again if it has died.

    A crash is therefore reported only to whoever was using the child. Use it as a context
    manager: leaving ends the child, and any call that waits for it in another thread.

    Args:
        log: The file that receives the child's output while nobody uses the child.
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
                self._worker.kill()  # ends a call in another thread
        self.rest()

    @property
    def is_stopped(self) -> bool:
        """Whether the context was left, which is then why a call fails."""
        return self._is_stopped

    def start(self) -> Worker:
        """Start the child, which imports the requested modules; this does not wait for them.

        Raises:
            WorkerCrashError: Another thread has left the context meanwhile.
        """
        with self._starting:
            if self._is_stopped:
                raise WorkerCrashError(
                    "child process",
                    "it was stopped before it began",
                    "an answer",
                    "this is not a defect in itself",
                )
            if self._worker is not None and not self._worker.is_running:
                self._end()
            if self._worker is None:
                self._worker = Worker(self._log, self._environment, self._imports)
            return self._worker

    @contextmanager
    def use(self, log: Path) -> Iterator[Worker]:
        """Yield the child to one user at a time.

        Args:
            log: The file that receives the child's output meanwhile.

        Raises:
            WorkerCrashError: As for `start`.
        """
        with self._using:
            worker = self.start()
            worker.log_to(log)
            yield worker

    def rest(self) -> None:
        """End the child once nobody uses it; the next user gets a new one."""
        with self._using, self._starting:
            self._end()

    def _end(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.__exit__(None, None, None)
