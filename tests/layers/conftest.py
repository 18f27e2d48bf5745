"""Both generations of Keras, and the models that the tests of `KerasLayer` share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import pytest
import tf_keras

from hubopt import keras3
from hubopt.layers import layer as keras2
from tests.layers import models


@dataclass(frozen=True)
class Generation:
    """One generation of Keras and hubopt's layer for it."""

    name: str
    keras: Any
    layer: Any


GENERATIONS = (
    Generation("keras2", tf_keras, keras2.KerasLayer),
    Generation("keras3", keras, keras3.KerasLayer),
)


@pytest.fixture(params=GENERATIONS, ids=lambda generation: generation.name)
def generation(request: pytest.FixtureRequest) -> Generation:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Save a model of `tests.layers.models` once and return its folder."""
    folders: dict[tuple[Any, ...], Path] = {}

    def make(name: str, *arguments: Any) -> str:
        key = (name, *arguments)
        if key not in folders:
            folder = tmp_path_factory.mktemp(name) / "model"
            folders[key] = getattr(models, name)(folder, *arguments)
        return str(folders[key])

    return make
