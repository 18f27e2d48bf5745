"""The verification kit on a deployment machine: with the target's runtime, without TensorFlow."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hubopt
from tests.faults import swap_outputs

ROOT = Path(__file__).resolve().parents[1]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run hubopt in a fresh environment with onnxruntime and LiteRT."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    runtimes = ["onnxruntime", "ai-edge-litert"]
    install = [python, "-m", "pip", "install", "--quiet", str(ROOT), *runtimes]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(install, check=True, env=environment)

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [str(python), *map(str, arguments)]
        return subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=folder, env=environment
        )

    return run


@pytest.fixture
def moved(tiny_bundle: hubopt.Bundle, tmp_path: Path) -> Path:
    """A copy of the bundle at another path, without the model, as on another machine."""
    return shutil.copytree(tiny_bundle.path, tmp_path / "elsewhere")


def verify(run: Run, bundle: Path, *arguments: object) -> tuple[int, dict[str, Any]]:
    done = run("-m", "hubopt", "verify", bundle, "--json", *arguments)
    return done.returncode, json.loads(done.stdout)


def test_tensorflow_is_not_installed(bare: Run) -> None:
    for module in ("tensorflow", "tf_keras", "keras", "onnx", "tf2onnx"):
        assert "ModuleNotFoundError" in bare("-c", f"import {module}").stderr
    assert bare("-c", "import hubopt, onnxruntime, ai_edge_litert").returncode == 0


def test_a_bundle_is_verified(bare: Run, moved: Path) -> None:
    code, document = verify(bare, moved, "-t", "onnx,tflite")
    assert code == 0
    for target in ("onnx", "tflite"):
        assert document["targets"][target]["status"] == "verified"
        assert document["targets"][target]["result"]["parity"]["samples"] >= 8


def test_a_target_that_needs_tensorflow_says_so(bare: Run, moved: Path) -> None:
    code, document = verify(bare, moved, "-t", "savedmodel")
    assert code == 3
    assert "tensorflow" in document["targets"]["savedmodel"]["reason"]


def test_a_fault_is_caught(bare: Run, moved: Path) -> None:
    from dataclasses import replace

    from hubopt._util.digest import sha256
    from hubopt.bundles.bundle import read_bundle, write_manifest

    model = moved / "onnx" / "model.onnx"
    swap_outputs(model, "sum", "difference")
    manifest = read_bundle(moved).manifest
    forged = replace(manifest.targets["onnx"], sha256=sha256(model))
    write_manifest(moved, replace(manifest, targets=manifest.targets | {"onnx": forged}))
    code, document = verify(bare, moved, "-t", "onnx")
    assert code == 4
    assert document["targets"]["onnx"]["stage"] == "parity"


def test_rejudging_needs_no_runtime(bare: Run, tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    compiled = {"savedmodel.xla": "require"}  # uncompiled, it differs in no bit
    hubopt.export(tiny, ["onnx", "savedmodel"], out, rounds=0, noise="off", options=compiled)
    assert verify(bare, out, "--rejudge")[0] == 0
    code, document = verify(bare, out, "--rejudge", "--atol", "0", "--rtol", "0")
    assert code == 4
    assert {result["status"] for result in document["targets"].values()} == {"failed"}


def test_timing_works_without_the_layer(bare: Run, moved: Path) -> None:
    done = bare("-m", "hubopt", "bench", moved, "-t", "onnx", "--rounds", 2, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)["targets"]["onnx"]
    assert result["p50_ms"] > 0
    assert result["layer_p50_ms"] is None


def test_the_cache_can_be_inspected(bare: Run) -> None:
    done = bare("-m", "hubopt", "cache", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["limit_bytes"] == 0  # set in tests/conftest.py


def test_commands_that_need_tensorflow_say_what_to_install(bare: Run, moved: Path) -> None:
    for arguments in (
        ("export", moved, "-t", "onnx", "-o", moved.with_name("out")),
        ("diagnose", moved, "-t", "onnx"),
    ):
        done = bare("-m", "hubopt", *arguments)
        assert done.returncode == 2, done.stderr
        assert "pip install" in done.stderr
        assert "Traceback" not in done.stderr


def test_the_python_version_is_the_same(bare: Run) -> None:
    code = "import sys; print(sys.version_info[:2])"
    assert bare("-c", code).stdout.strip() == str(sys.version_info[:2])
