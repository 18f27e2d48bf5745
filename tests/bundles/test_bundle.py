import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from hubopt._util.digest import sha256
from hubopt._util.serialization import to_json
from hubopt.bundles.bundle import Bundle, read_bundle, write_manifest
from hubopt.bundles.manifest import MANIFEST
from hubopt.errors import BundleError


@pytest.fixture
def copy(tiny_bundle: Bundle, tmp_path: Path) -> Path:
    """A copy of the bundle that the test may damage."""
    return shutil.copytree(tiny_bundle.path, tmp_path / "bundle")


def test_the_manifest_survives_a_round_trip(tiny_bundle: Bundle, tmp_path: Path) -> None:
    write_manifest(tmp_path, tiny_bundle.manifest)
    assert read_bundle(tmp_path).manifest == tiny_bundle.manifest


def test_the_manifest_says_what_was_exported(tiny_bundle: Bundle, tiny: Path) -> None:
    raw = json.loads((tiny_bundle.path / MANIFEST).read_text())
    assert raw["handle"] == str(tiny)
    assert raw["digest"] == sha256(tiny)
    assert raw["environment"]["tensorflow"]
    assert {dim["origin"] for tensor in raw["spec"]["inputs"] for dim in tensor["dims"]} == {
        "default",
        "signature",
    }
    for target in raw["targets"].values():
        assert target["sha256"] == sha256(tiny_bundle.path / target["path"])
        assert target["status"] in ("verified", "unverified")
        assert (target["reason"] is None) == (target["status"] == "verified")


def test_the_bundle_holds_nothing_else(tiny_bundle: Bundle) -> None:
    assert sorted(path.name for path in tiny_bundle.path.iterdir()) == [
        "hubopt.json",
        "logs",
        "onnx",
        "savedmodel",
        "tflite",
        "trt",
        "verification",
    ]


def test_infinity_is_written_as_a_string() -> None:
    text = to_json({"worst": float("inf"), "rounds": [1.0, 2.5], "name": "[ 1,\n 2 ]"})
    assert json.loads(text) == {"worst": "inf", "rounds": [1.0, 2.5], "name": "[ 1,\n 2 ]"}
    assert "[1.0, 2.5]" in text


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: shutil.rmtree(path), "cannot be read: No such file"),
        (lambda path: (path / MANIFEST).unlink(), "cannot be read: No such file"),
        (lambda path: (path / MANIFEST).write_text("{"), "is damaged"),
        (lambda path: (path / MANIFEST).write_text("[]"), "is damaged"),
        (lambda path: (path / MANIFEST).write_text('{"format": 99}'), "format 99"),
        (lambda path: (path / MANIFEST).write_text('{"format": 4}'), "is damaged"),
    ],
)
def test_a_folder_that_is_not_a_bundle_is_refused(copy: Path, damage: object, message: str) -> None:
    damage(copy)  # type: ignore[operator]
    with pytest.raises(BundleError, match=message):
        read_bundle(copy)


def test_a_changed_artifact_is_refused(copy: Path) -> None:
    with (copy / "onnx" / "model.onnx").open("ab") as stream:
        stream.write(b"\0")
    bundle = read_bundle(copy)
    assert bundle.artifact("tflite").path.is_file()
    with pytest.raises(BundleError, match=r"model.onnx: sha256 \w+\n  expected: sha256 \w+"):
        bundle.artifact("onnx")


def test_a_missing_artifact_is_refused(copy: Path) -> None:
    shutil.rmtree(copy / "savedmodel")
    with pytest.raises(BundleError, match="savedmodel: missing"):
        read_bundle(copy).artifact("savedmodel")


def test_an_unknown_target_lists_the_existing_targets(tiny_bundle: Bundle) -> None:
    with pytest.raises(BundleError, match="no foo artifact\n  expected: one of: savedmodel"):
        tiny_bundle.artifact("foo")


def test_a_changed_reference_is_refused(copy: Path) -> None:
    reference = copy / "verification" / "reference.npz"
    reference.write_bytes(reference.read_bytes()[:-1])
    with pytest.raises(BundleError, match="reference.npz"):
        read_bundle(copy).check_samples()


def test_companion_files_are_part_of_an_artifact(copy: Path) -> None:
    beside = copy / "onnx" / "model.onnx.data"
    beside.write_bytes(b"weights")
    manifest = read_bundle(copy).manifest
    result = replace(manifest.targets["onnx"], companions={beside.name: sha256(beside)})
    write_manifest(copy, replace(manifest, targets={**manifest.targets, "onnx": result}))
    assert read_bundle(copy).artifact("onnx").companions == (beside.name,)
    beside.write_bytes(b"changed")
    with pytest.raises(BundleError, match=r"model\.onnx\.data: sha256"):
        read_bundle(copy).artifact("onnx")


def test_a_bundle_of_another_format_says_how_to_export_it_again(tmp_path: Path) -> None:
    old = {"format": 2, "hubopt": "0.0.9", "handle": "/my models/m", "targets": {"onnx": {}}}
    (tmp_path / MANIFEST).write_text(json.dumps(old))
    with pytest.raises(BundleError, match=r"format 2, of hubopt 0\.0\.9") as caught:
        read_bundle(tmp_path)
    command = "hubopt export '/my models/m' --target onnx --output NEW"
    assert command in caught.value.way_out
