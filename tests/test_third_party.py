"""A stranger's exporter, in a package of its own, needs its entry point and nothing else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import run_hubopt

PACKAGE = Path(__file__).parent / "third_party"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which the package is installed."""
    site = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(site), str(PACKAGE)], check=True)
    return {**os.environ, "PYTHONPATH": str(site)}


def test_it_is_listed(environment: dict[str, str]) -> None:
    listed = run_hubopt("targets", "--json", env=environment)
    assert listed.code == 0
    assert set(listed.json) >= {"graphdef", "onnx"}
    assert listed.json["graphdef"]["summary"] == "frozen GraphDef, run by TensorFlow"
    assert "graphdef" not in run_hubopt("targets", "--json").json


def test_it_exports_verifies_and_benchmarks(
    environment: dict[str, str], tiny: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    ran = run_hubopt(
        "export", tiny, "-t", "graphdef", "-o", output, "--rounds", 1, "--json", env=environment
    )
    assert ran.code == 0, ran.err
    target = ran.json["targets"]["graphdef"]
    assert target["status"] == "verified"
    assert target["path"] == "graphdef/model.pb"
    assert target["ratio_to_layer"] > 0
    assert run_hubopt("verify", output, env=environment).code == 0


def test_it_conforms(environment: dict[str, str], tmp_path: Path) -> None:
    script = (
        "import pathlib, sys; from hubopt import registry, testing; "
        "parity = testing.assert_conforms(registry.get('graphdef'), pathlib.Path(sys.argv[1])); "
        "assert parity is not None and parity.passed"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_without_its_package_a_bundle_stays_unverified(
    environment: dict[str, str], tiny: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    run_hubopt("export", tiny, "-t", "graphdef", "-o", output, "--rounds", 0, env=environment)
    ran = run_hubopt("verify", output)
    assert ran.code == 3
    assert "graphdef: no exporter has this name" in ran.out
