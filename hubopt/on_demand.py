"""A model whose layer is opened when a stage asks for it, which need not happen."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

from hubopt.errors import HandleError
from hubopt.handles import Access, Handle, locate
from hubopt.session import LayerSession

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
