"""The start of an export: the layer is opened once, and only if it is needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from hubopt.errors import HandleError
from hubopt.exporting.prepare import _Model
from hubopt.models.handles import Handle

HERE = Handle("model", "saved_model", Path("/model"), "digest")


class Layer:
    """An opened layer."""

    def __init__(self, handle: str, digest: str) -> None:
        self.handle, self.digest = handle, digest


class Opening:
    """A stand-in for the processes of an export.

    Attributes:
        did: The requests, in order.
    """

    def __init__(self, handle: str = "model", digest: str = "digest") -> None:
        self.did: list[str] = []
        self._layer = Layer(handle, digest)

    def warm_up(self) -> None:
        self.did.append("import")

    def open_layer(self) -> Layer:
        self.did.append("open")
        return self._layer

    def model(self, here: Handle | None) -> _Model:
        return _Model(cast("Any", None), cast("Any", self), here)


def test_a_layer_is_opened_once_and_only_on_request() -> None:
    opening = Opening()
    model = opening.model(HERE)
    assert (model.handle, model.digest) == (HERE.origin, "digest")
    assert opening.did == []
    assert model.layer() is model.layer()
    assert opening.did == ["import", "open"]


def test_a_model_that_is_not_available_locally_is_opened_immediately() -> None:
    opening = Opening("https://model")
    model = opening.model(None)
    assert (model.handle, model.digest) == ("https://model", "digest")
    model.layer()
    assert opening.did.count("open") == 1


def test_a_model_that_changes_during_the_export_is_reported() -> None:
    model = Opening(digest="other").model(HERE)
    with pytest.raises(HandleError, match="it changed during the export: sha256:other"):
        model.layer()
