"""A model whose layer is opened when a stage asks for it, which need not happen."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from hubopt import registry
from hubopt.errors import HandleError, UsageError
from hubopt.models.handles import Access, Handle, LayerOptions, locate
from hubopt.progress import Progress
from hubopt.reference.layer_session import LayerSession, open_layer_session
from hubopt.workers.worker import Worker

Model: TypeAlias = "str | os.PathLike[str] | Callable[..., Any]"
"""A handle, a `hubopt.KerasLayer`, or a callable to wrap as one."""

Opened: TypeAlias = "tuple[str, str | None, LayerSession]"
"""The handle's text, the model's digest and the loaded layer."""


class LayerOnDemand:
    """A layer, and what is known of its model without it.

    Args:
        open_layer: Opens the layer.
        here: The model, if it is known to be on this machine; if not, the layer is opened now.

    Attributes:
        handle: The handle's text.
        digest: The model's digest, if it has one.
    """

    def __init__(self, open_layer: Callable[[], Opened], here: Handle | None) -> None:
        self._open = open_layer
        self._layer: LayerSession | None = None
        if here is None:
            self.handle, self.digest, self._layer = open_layer()
        else:
            self.handle, self.digest = here.origin, here.digest

    def get(self) -> LayerSession:
        """Return the layer; the first call opens it.

        Raises:
            HandleError: The model is another one than when its digest was taken.
        """
        if self._layer is None:
            _, digest, self._layer = self._open()
            if digest != self.digest:
                raise HandleError(
                    f"handle {self.handle}",
                    f"it changed during the export: sha256:{digest}",
                    f"sha256:{self.digest}, as at the beginning",
                    "export again when nothing writes to it",
                )
        return self._layer


def find_here(model: object, access: Access) -> Handle | None:
    """Return the model behind a handle if it is on this machine and has a digest.

    Whatever is wrong with the handle is told where the layer is opened.
    """
    if not isinstance(model, str | os.PathLike):
        return None
    try:
        # Offline, because what fetches models may import TensorFlow, and this is no child process.
        found = locate(model, replace(access, offline=True))
    except HandleError:
        return None
    return found if found.digest else None


def open_model(
    model: Model,
    options: LayerOptions,
    access: Access,
    log: Path,
    stack: ExitStack,
    progress: Progress,
    most_bytes: int | None = None,
) -> tuple[str, str | None, LayerSession]:
    """Return the handle's text, the model's digest and the loaded layer.

    Raises:
        HuboptError: As `open_layer_session` does; of ``most_bytes`` where the model is a handle.
    """
    registry.require_layer()
    if isinstance(model, str | os.PathLike):
        with progress("load the layer"):
            worker = stack.enter_context(Worker(log))
            session = worker.create(
                open_layer_session, os.fspath(model), options, access, most_bytes
            )
            handle = session.handle()
        assert handle is not None
        return handle.origin, handle.digest, session
    if options != LayerOptions():
        raise UsageError(
            "layer_options",
            f"{options} with a layer or a callable",
            "options for a handle only",
            "give signature, output_key and tags to KerasLayer itself",
        )
    if access != Access():
        raise UsageError(
            "access",
            f"{access} with a layer or a callable",
            "conditions for a handle only",
            "pass the handle, or load it with hubopt's own KerasLayer first",
        )
    from hubopt.layers.layer import as_layer

    name = getattr(model, "name", None) or getattr(model, "__name__", type(model).__name__)
    return str(name), None, LayerSession(as_layer(model))
