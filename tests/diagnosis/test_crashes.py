"""A child process that dies in an optional step of a diagnosis costs that step alone."""

import os
import signal
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from hubopt.bundles.bundle import Bundle
from hubopt.diagnosis import diagnose
from hubopt.diagnosis.probing import Probed
from hubopt.runs.artifact_session import ArtifactSession
from tests.diagnosis.planting import onnx_weight_sign, plant

KILLED = "ended by SIGKILL"
# The package gives its function the name of the module.
DIAGNOSE = import_module("hubopt.diagnosis.diagnose")


class DyingWhenCut(Probed):
    """An artifact whose tensors can be read, and whose process dies when a part is cut out."""

    def cut(self, *arguments: Any) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)


class DyingSession(ArtifactSession):
    """An artifact whose process dies of its answers."""

    def answer(self, *arguments: Any) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_fault_is_named_where_its_reproduction_crashes(
    residual_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faulty = plant(residual_bundle, "onnx", onnx_weight_sign("branch"), tmp_path / "bundle")
    monkeypatch.setattr(DIAGNOSE, "Probed", DyingWhenCut)
    found = diagnose(faulty, "onnx", output=tmp_path / "alone")
    assert "branch" in found.layers
    assert found.reproduction is None
    (note,) = (note for note in found.notes if note.startswith("no reproduction: "))
    assert KILLED in note
    assert not (tmp_path / "alone").exists()


def test_a_clean_artifact_is_reported_where_its_default_run_crashes(
    residual_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DIAGNOSE, "ArtifactSession", DyingSession)
    found = diagnose(residual_bundle, "onnx")
    assert str(found) == "onnx: nothing leaves the reference"
    (note,) = (note for note in found.notes if "were not measured" in note)
    assert KILLED in note
