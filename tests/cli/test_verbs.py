import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hubopt.bundles.bundle import Bundle
from hubopt_exporters.gpu import gpu_problem
from tests.conftest import Ran

HAS_GPU = gpu_problem() is None


def without(package: str, folder: Path) -> dict[str, str]:
    """Return an environment in which importing ``package`` fails."""
    hide = f"import sys, importlib.util as util\nsys.modules[{package!r}] = None\n"
    (folder / "sitecustomize.py").write_text(hide)
    return {**os.environ, "PYTHONPATH": str(folder)}


def test_verify_and_exit_codes(hubopt: Callable[..., Ran], tiny_bundle: Bundle) -> None:
    ran = hubopt("verify", tiny_bundle.path, "--json")
    assert ran.code == (0 if HAS_GPU else 3)
    assert ran.json["exit_code"] == ran.code
    statuses = {name: target["status"] for name, target in ran.json["targets"].items()}
    assert statuses == {
        "savedmodel": "verified",
        "tflite": "verified",
        "onnx": "verified",
        "trt": "verified" if HAS_GPU else "unverified",
    }
    assert hubopt("verify", tiny_bundle.path, "--allow-unverified").code == 0
    assert hubopt("verify", tiny_bundle.path, "-t", "onnx").code == 0


def test_verify_needs_no_tensorflow_for_other_runtimes(
    hubopt: Callable[..., Ran], tiny_bundle: Bundle, tmp_path: Path
) -> None:
    environment = without("tensorflow", tmp_path)
    ran = hubopt("verify", tiny_bundle.path, "-t", "onnx,tflite", env=environment)
    assert ran.code == 0, ran.err
    ran = hubopt("verify", tiny_bundle.path, "-t", "savedmodel", env=environment)
    assert ran.code == 3
    assert "no tensorflow is installed here; pip install tensorflow" in ran.out


def test_a_target_whose_runtime_is_missing(
    hubopt: Callable[..., Ran], tiny: Path, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    environment = without("onnxruntime", tmp_path)
    listed = hubopt("targets", "--json", env=environment).json["targets"]
    assert listed["onnx"]["builds"] is True
    assert listed["onnx"]["runs"] is False
    assert listed["trt"]["runs"] is HAS_GPU
    assert (listed["trt"]["machine_problem"] is None) == HAS_GPU
    assert any(package.startswith("ai-edge-litert ") for package in listed["tflite"]["found"])
    assert listed["onnx"]["install"] == "pip install onnxruntime"
    assert listed["tflite"]["runs"] is True
    assert "pip install onnxruntime" in hubopt("targets", env=environment).out
    ran = hubopt("verify", tiny_bundle.path, "-t", "onnx", env=environment)
    assert ran.code == 3
    assert "onnx: no onnxruntime is installed here; pip install onnxruntime" in ran.out


def test_a_target_that_cannot_even_be_built(
    hubopt: Callable[..., Ran], tiny: Path, tmp_path: Path
) -> None:
    (tmp_path / "hide").mkdir()
    environment = without("tf2onnx", tmp_path / "hide")
    ran = hubopt("export", tiny, "-t", "onnx", "-o", tmp_path / "out", env=environment)
    assert ran.code == 2
    assert "packages: target onnx needs tf2onnx" in ran.err
    assert "way out:  pip install tf2onnx" in ran.err
    assert not (tmp_path / "out").exists()


def test_without_tensorflow_no_model_can_be_loaded(
    hubopt: Callable[..., Ran], tiny: Path, tmp_path: Path
) -> None:
    ran = hubopt("inspect", tiny, env=without("tensorflow", tmp_path))
    assert ran.code == 2
    assert "a layer needs tensorflow" in ran.err
    assert "way out:  pip install tensorflow tf_keras" in ran.err


def test_bench_prints_the_table(hubopt: Callable[..., Ran], tiny_bundle: Bundle) -> None:
    ran = hubopt("bench", tiny_bundle.path, "-t", "tflite", "--rounds", 1)
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert lines[0].split() == [
        "target",
        "status",
        "worst",
        "error",
        "size",
        "load",
        "first",
        "p50",
        "vs",
        "layer",
    ]
    assert lines[1].startswith("tflite")
    assert lines[1].endswith("x")
    assert any(line.startswith("layer") and line.endswith("1.00x") for line in lines)
    assert "tflite: time" in ran.err  # progress goes to stderr, the table to stdout


def test_inspect(hubopt: Callable[..., Ran], tiny: Path) -> None:
    ran = hubopt("inspect", tiny)
    assert ran.code == 0
    assert "parameters  128 (512 B)" in ran.out
    assert re.search(r"digest +sha256:[0-9a-f]{64}\n", ran.out)
    assert "signature   serving_default: left: float32 ?x8, right: float32 ?x8 -> " in ran.out
    assert re.search(r"in +left +float32 +\?x8 +1x8 +default, signature", ran.out)
    assert re.search(r"out +sum +float32 +\?x8 +1x8 +trace", ran.out)
    data = hubopt("inspect", tiny, "--batch", 3, "--json").json
    assert data["model"]["parameters"] == 128
    assert data["model"]["spec"]["inputs"][0]["dims"][0] == {
        "size": 3,
        "origin": "flag",
        "name": None,
    }
    assert data["obstacles"] == {"onnx": [], "savedmodel": [], "tflite": [], "trt": []}


def test_a_closed_pipe_is_not_reported_as_a_defect(tiny_bundle: Bundle) -> None:
    command = f"{sys.executable} -m hubopt targets --json | head -c 1"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, check=False
    )
    assert done.stdout == "{"
    assert done.stderr == ""
    assert done.returncode in (0, 141)  # 0 if it had written all before the pipe closed


def test_version(hubopt: Callable[..., Ran]) -> None:
    import hubopt as package

    assert hubopt("--version").out.strip() == package.__version__


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_an_interrupted_export_leaves_nothing(tiny: Path, tmp_path: Path, number: int) -> None:
    command = [sys.executable, "-m", "hubopt", "export", str(tiny), "-t", "onnx,tflite", "-o"]
    process = subprocess.Popen(
        [*command, str(tmp_path / "out")],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Otherwise a signal that the test process ignores would be ignored there too.
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL) and None,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "trace" in line:
            break
    os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode not in (0, -number)
    assert list(tmp_path.iterdir()) == []
    time.sleep(0.2)
    with pytest.raises(ProcessLookupError):  # no child is left in the group
        os.killpg(process.pid, 0)
