from pathlib import Path

import pytest

from hubopt.latency.environment import _gpus, describe


def test_driver_and_gpus_are_reported(tmp_path: Path) -> None:
    (tmp_path / "version").write_text("NVRM version: 570.1\nGCC version: 12\n")
    (tmp_path / "gpus" / "0000").mkdir(parents=True)
    (tmp_path / "gpus" / "0000" / "information").write_text("Model: \t NVIDIA H100\nIRQ: 1\n")
    assert _gpus(tmp_path) == "NVIDIA H100; NVRM version: 570.1"


def test_without_a_driver_no_gpu_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert _gpus(tmp_path / "nothing") == ""


def test_without_the_drivers_files_nvidia_smi_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA L4, 550.2'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert _gpus(tmp_path / "nothing") == "NVIDIA L4, 550.2"
    program.write_text("#!/bin/sh\necho 'no devices were found' >&2; exit 6\n")
    assert _gpus(tmp_path / "nothing") == ""


def test_the_machine_is_described() -> None:
    assert {"python", "platform", "processor", "cores", "numpy"} <= set(describe())
