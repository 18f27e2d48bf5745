"""`LayerProcess`: a model loaded as a layer, in a child process that can be restarted."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from hubopt import registry
from hubopt._platform.quiet_import import import_tensorflow
from hubopt.errors import HandleError, UsageError, WorkerCrashError
from hubopt.hints import Hints
from hubopt.models.handles import Handle, LayerOptions, LoadPolicy, locate
from hubopt.progress import Progress
from hubopt.reference.layer_session import LayerSession, open_layer_session
from hubopt.sampling.user_data import Item
from hubopt.spec import ModelSpec
from hubopt.workers.shared import SharedWorker
from hubopt.workers.worker import Worker

Model: TypeAlias = "str | os.PathLike[str] | Callable[..., Any]"
"""A handle, a `hubopt.KerasLayer`, or a callable to wrap as one."""

R = TypeVar("R")


class LayerProcess:
    """The layer of a model: in a child process for a handle, else in this process.

    Use it as a context manager: leaving it ends the child.

    Args:
        model: A handle, a layer or a callable.
        options: Signature, output and tags, for a handle.
        load_policy: What loading may do, for a handle.
        log: The file that the child's output is written to.
        progress: Called with a label when a step begins.
        most_bytes: The largest accepted size of the weights; None for any size.

    Attributes:
        handle: The handle's text.
        digest: The model's digest, if it has one.
        session: The loaded layer.

    Raises:
        HuboptError: The layer cannot be loaded, see `open_layer_session`.
    """

    def __init__(
        self,
        model: Model,
        options: LayerOptions,
        load_policy: LoadPolicy,
        log: Path,
        progress: Progress,
        most_bytes: int | None = None,
    ) -> None:
        registry.require_layer()
        self.digest: str | None = None
        self._stack = ExitStack()
        self._log = log
        self._worker: Worker | None = None
        self._is_closed = False
        self._arguments: tuple[str, LayerOptions, LoadPolicy, int | None] | None = None
        if isinstance(model, str | os.PathLike):
            self._arguments = (os.fspath(model), options, load_policy, most_bytes)
            with progress("load the layer"):
                self.session = self._load()
                found = self.session.handle()
            assert found is not None
            self.handle, self.digest = found.origin, found.digest
        else:
            _refuse_handle_options(options, load_policy)
            self.handle = str(getattr(model, "name", None) or _name_of(model))
            self.session = _wrap(model)

    def __enter__(self) -> LayerProcess:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the child for good."""
        self._is_closed = True
        self._stack.close()

    def restart(self) -> None:
        """Load the layer again after its process has died.

        Raises:
            WorkerCrashError: The process was closed meanwhile, by another thread.
        """
        if self._arguments is None:
            return
        self._stack.close()
        if not self._is_closed:
            self.session = self._load()
        if self._is_closed:
            self._stack.close()
            raise WorkerCrashError(
                "layer", "its process was ended", "an answer", "the layer itself is not at fault"
            )

    def resolve(self, hints: Hints, items: Sequence[Item] = ()) -> ModelSpec:
        """Resolve every shape and dtype; without probing if that ends the layer's process.

        Args:
            hints: What the user specified.
            items: The user's own data, used where nothing else decides.

        Raises:
            HuboptError: See `LayerSession.resolve`.
        """
        try:
            return self.session.resolve(hints, items)
        except WorkerCrashError:
            self.restart()
            return self.session.resolve(hints, items, probe=False)

    def run_beside(self, child: SharedWorker, function: Callable[..., R], *arguments: Any) -> R:
        """Run a function that may crash in the layer's process, or in ``child`` if it has none.

        Args:
            child: The child process to use if the layer is in this process.
            function: A module's top-level function.
            *arguments: Its arguments.

        Raises:
            WorkerCrashError: It crashed; `restart` the layer.
        """
        if self._worker is not None:
            return self._worker.call(function, *arguments)
        with child.use(self._log) as worker:
            return worker.call(function, *arguments)

    def _load(self) -> LayerSession:
        assert self._arguments is not None
        self._worker = self._stack.enter_context(Worker(self._log))
        try:
            return self._worker.create(open_layer_session, *self._arguments)
        except BaseException:
            self._stack.close()
            raise


def find_here(model: object, load_policy: LoadPolicy) -> Handle | None:
    """Return the model behind a handle if it is on this machine and has a digest.

    Problems of the handle are not reported here, but when the layer is opened.
    """
    if not isinstance(model, str | os.PathLike):
        return None
    try:
        # Offline, because a download may import TensorFlow, and this is not a child process.
        found = locate(model, replace(load_policy, offline=True))
    except HandleError:
        return None
    return found if found.digest else None


def _refuse_handle_options(options: LayerOptions, load_policy: LoadPolicy) -> None:
    if options != LayerOptions():
        raise UsageError(
            "layer_options",
            f"{options} with a layer or a callable",
            "options for a handle only",
            "give signature, output_key and tags to KerasLayer itself",
        )
    if load_policy != LoadPolicy():
        raise UsageError(
            "load_policy",
            f"{load_policy} with a layer or a callable",
            "conditions for a handle only",
            "pass the handle, or load it with hubopt's own KerasLayer first",
        )


def _name_of(model: object) -> str:
    return getattr(model, "__name__", type(model).__name__)


def _wrap(model: Any) -> LayerSession:
    import_tensorflow()
    from hubopt.layers.layer import as_layer

    return LayerSession(as_layer(model))
