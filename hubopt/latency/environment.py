"""Describe the machine and the packages of a measurement; a figure needs both to mean anything."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = (
    "hubopt",
    "tensorflow",
    "tf_keras",
    "keras",
    "tensorflow_hub",
    "tf2onnx",
    "onnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "ai-edge-litert",
    "tensorrt",
    "tensorrt_rtx_cu13",
    "numpy",
)


def describe() -> dict[str, str]:
    """Return the machine and the versions of the installed ones of `PACKAGES`."""
    environment = describe_machine()
    for package in PACKAGES:
        try:
            environment[package] = version(package)
        except PackageNotFoundError:
            continue
    return environment


def describe_machine() -> dict[str, str]:
    """Return the Python version, the system, the processor, and the GPUs if there are any."""
    machine = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": str(os.cpu_count()),
    }
    gpus = _gpus()
    if gpus:
        machine["gpus"] = gpus
    return machine


def _gpus(driver: Path = Path("/proc/driver/nvidia")) -> str:
    """Return the driver and the models of the NVIDIA GPUs; empty if there are none.

    Args:
        driver: The folder in which the driver describes itself on Linux; if it does not exist,
            the driver's own program ``nvidia-smi`` is run.
    """
    try:
        version = (driver / "version").read_text().splitlines()[0]
        models = [
            line.partition(":")[2].strip()
            for path in sorted(driver.glob("gpus/*/information"))
            for line in path.read_text().splitlines()
            if line.startswith("Model")
        ]
        return "; ".join([*models, version])
    except (OSError, IndexError):
        pass
    program = shutil.which("nvidia-smi")
    if program is None:
        return ""
    command = [program, "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return "; ".join(done.stdout.splitlines())


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
