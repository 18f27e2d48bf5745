"""A third party's exporter in its own package needs only its entry point."""

import json
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
    path = os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path}


def test_it_is_listed(environment: dict[str, str]) -> None:
    listed = run_hubopt("targets", "--json", env=environment)
    assert listed.code == 0
    assert set(listed.json["targets"]) >= {"graphdef", "onnx"}
    assert listed.json["targets"]["graphdef"]["summary"] == "frozen GraphDef, run by TensorFlow"
    assert "graphdef" not in run_hubopt("targets", "--json").json["targets"]


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


def test_its_options_and_precisions_are_listed(environment: dict[str, str]) -> None:
    ran = run_hubopt("targets", "graphdef", env=environment)
    assert ran.code == 0
    assert "precisions: fp32, bf16" in ran.out
    assert "graphdef.text  bool  false" in ran.out
    ran = run_hubopt("targets", "graphdef", "--json", env=environment)
    listed = ran.json["targets"]["graphdef"]
    assert listed["precisions"] == ["fp32", "bf16"]
    assert listed["options"]["text"]["default"] is False


def test_its_option_reaches_it_and_is_in_the_manifest(
    environment: dict[str, str], tiny: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    arguments = ("-t", "graphdef", "-O", "graphdef.text=true", "--rounds", 0, "--json")
    ran = run_hubopt("export", tiny, *arguments, "-o", output, env=environment)
    assert ran.code == 0, ran.err
    target = ran.json["targets"]["graphdef"]
    assert (target["exporter"], target["precision"]) == ("graphdef", "fp32")
    assert target["options"] == {"text": True}
    assert (output / target["path"]).read_text().startswith("node {")
    manifest = json.loads((output / "hubopt.json").read_text())
    assert manifest["targets"]["graphdef"]["options"] == {"text": True}
    assert run_hubopt("verify", output, env=environment).code == 0


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("graphdef.txet=true", "did you mean graphdef.text?"),
        ("graphdef.text=tru", "the nearest is graphdef.text=true"),
        ("grafdef.text=true", "did you mean graphdef.text?"),
        ("onnx.opset=18", "onnx is not among the targets"),
        ("text=true", "write graphdef.text"),
        ("graphdef.text", "write graphdef.text=VALUE"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_is_written(
    environment: dict[str, str], tiny: Path, tmp_path: Path, option: str, message: str
) -> None:
    output = tmp_path / "out"
    ran = run_hubopt("export", tiny, "-t", "graphdef", "-O", option, "-o", output, env=environment)
    assert ran.code == 2, ran.err
    assert message in ran.err
    assert not list(tmp_path.iterdir())


def test_an_unknown_precision_is_refused(
    environment: dict[str, str], tiny: Path, tmp_path: Path
) -> None:
    ran = run_hubopt("export", tiny, "-t", "graphdef:fp16", "-o", tmp_path / "o", env=environment)
    assert ran.code == 2
    assert "did you mean graphdef:bf16?" in ran.err
    assert not list(tmp_path.iterdir())


def test_one_bundle_can_hold_two_of_its_precisions(
    environment: dict[str, str], tiny: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    targets = "graphdef,graphdef:bf16"
    ran = run_hubopt(
        "export", tiny, "-t", targets, "-o", output, "--rounds", 0, "--json", env=environment
    )
    assert ran.code == 0, ran.err
    exact, rounded = (ran.json["targets"][name] for name in ("graphdef", "graphdef-bf16"))
    assert (exact["status"], rounded["status"]) == ("verified", "verified")
    assert [found["result"]["tolerance"] for found in (exact, rounded)] == ["fp32", "bf16"]
    assert (rounded["exporter"], rounded["precision"]) == ("graphdef", "bf16")
    assert exact["path"] == "graphdef/model.pb"
    assert rounded["path"] == "graphdef-bf16/model.pb"
    assert (output / exact["path"]).read_bytes() != (output / rounded["path"]).read_bytes()
    assert run_hubopt("verify", output, env=environment).code == 0


@pytest.mark.parametrize("keywords", ["", "text='yes'", "precision='bf16'"])
def test_it_conforms(environment: dict[str, str], tmp_path: Path, keywords: str) -> None:
    script = (
        "import pathlib, sys; from hubopt import registry, testing; "
        "exporter, folder = registry.get('graphdef'), pathlib.Path(sys.argv[1]); "
        f"parity = testing.assert_conforms(exporter, folder, {keywords}); "
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
