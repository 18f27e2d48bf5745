"""Two bundles side by side: comparable figures are compared, the others are named."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from hubopt.bundles.bundle import Bundle
from hubopt.latency.statistics import Latency, Timing
from hubopt.verification.compare import compare
from tests.conftest import Ran


def timed(bundle: Bundle, artifact_ms: float, layer_ms: float) -> Bundle:
    """The bundle with a latency of its ONNX target."""

    def timing(each: float) -> Timing:
        return Timing(1.0, 1.0, 1.0, ((each, each),))

    result = bundle.manifest.targets["onnx"]
    latency = Latency(timing(artifact_ms), timing(layer_ms))
    targets = {"onnx": replace(result, latency=latency)}
    return Bundle(bundle.path, replace(bundle.manifest, targets=targets))


def test_ratios_are_of_the_second_over_the_first(tiny_bundle: Bundle) -> None:
    found = compare(timed(tiny_bundle, 2.0, 4.0), timed(tiny_bundle, 3.0, 3.0))
    (onnx,) = found.targets
    assert onnx.ratio_to_layer == (0.5, 1.0)
    assert onnx.p50_ms == (2.0, 3.0)
    assert onnx.time_ratio == 2.0
    assert onnx.size_ratio == 1.0
    assert found.notes == ()
    assert found.same_model
    assert found.compares_times
    assert found.compares_errors


def test_times_of_two_machines_do_not_compare(tiny_bundle: Bundle) -> None:
    one = timed(tiny_bundle, 2.0, 4.0)
    elsewhere = {**one.manifest.environment, "processor": "Another CPU", "numpy": "1.0"}
    other = Bundle(one.path, replace(one.manifest, environment=elsewhere))
    found = compare(one, other)
    assert not found.compares_times
    assert found.targets[0].time_ratio is None
    assert found.targets[0].size_ratio == 1.0
    machine, versions = found.notes
    assert machine.startswith("another machine: the times do not compare (processor ")
    assert "'Another CPU'" in machine
    assert versions.endswith("and 1.0")


def test_errors_on_other_samples_do_not_compare(tiny_bundle: Bundle) -> None:
    other = Bundle(
        tiny_bundle.path,
        replace(tiny_bundle.manifest, inputs_sha256="0" * 64, digest="1" * 64),
    )
    found = compare(tiny_bundle, other)
    assert not found.compares_errors
    assert not found.same_model
    assert any(note.startswith("other models: ") for note in found.notes)
    assert "other samples: the errors do not compare" in found.notes


def test_a_target_that_only_one_has_is_listed(tiny_bundle: Bundle) -> None:
    found = compare(timed(tiny_bundle, 1.0, 1.0), tiny_bundle)
    by_name = {target.target: target for target in found.targets}
    assert by_name["tflite"].status == (None, "verified")
    assert by_name["tflite"].size_bytes[0] is None
    assert by_name["tflite"].size_ratio is None


def test_the_command(hubopt: Callable[..., Ran], tiny_bundle: Bundle, tmp_path: Path) -> None:
    other = shutil.copytree(tiny_bundle.path, tmp_path / "other")
    ran = hubopt("compare", tiny_bundle.path, other)
    assert ran.code == 0, ran.err
    assert f"B: {other}" in ran.out
    assert ran.out.count("1.00x") >= 4
    document = hubopt("compare", tiny_bundle.path, other, "--json").json
    assert document["verb"] == "compare"
    assert document["same_samples"] is True
    assert hubopt("compare", tiny_bundle.path, tmp_path).code == 2
