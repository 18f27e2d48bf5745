import json
import shutil
from pathlib import Path

import pytest

from hubopt.bundle import MANIFEST, Bundle, read_bundle, staging, to_json, write_manifest
from hubopt.digest import sha256
from hubopt.errors import BundleError, UsageError


@pytest.fixture
def copy(tiny_bundle: Bundle, tmp_path: Path) -> Path:
    """A bundle of one's own to damage."""
    return shutil.copytree(tiny_bundle.path, tmp_path / "bundle")


def test_the_manifest_comes_back_as_it_was(tiny_bundle: Bundle, tmp_path: Path) -> None:
    write_manifest(tmp_path, tiny_bundle.manifest)
    assert read_bundle(tmp_path).manifest == tiny_bundle.manifest


def test_the_manifest_says_what_was_exported(tiny_bundle: Bundle, tiny: Path) -> None:
    raw = json.loads((tiny_bundle.path / MANIFEST).read_text())
    assert raw["handle"] == str(tiny)
    assert raw["digest"] == sha256(tiny)
    assert raw["environment"]["tensorflow"]
    assert {dim["origin"] for each in raw["spec"]["inputs"] for dim in each["dims"]} == {
        "default",
        "signature",
    }
    for target in raw["targets"].values():
        assert target["sha256"] == sha256(tiny_bundle.path / target["path"])
        assert target["status"] in ("verified", "unverified")
        assert (target["reason"] is None) == (target["status"] == "verified")


def test_the_bundle_holds_nothing_else(tiny_bundle: Bundle) -> None:
    assert sorted(each.name for each in tiny_bundle.path.iterdir()) == [
        "hubopt.json",
        "logs",
        "onnx",
        "savedmodel",
        "tflite",
        "trt",
        "verification",
    ]


def test_numbers_that_json_lacks_survive() -> None:
    text = to_json({"worst": float("inf"), "rounds": [1.0, 2.5], "name": "[ 1,\n 2 ]"})
    assert json.loads(text) == {"worst": "inf", "rounds": [1.0, 2.5], "name": "[ 1,\n 2 ]"}
    assert "[1.0, 2.5]" in text


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda path: shutil.rmtree(path), "cannot be read: No such file"),
        (lambda path: (path / MANIFEST).unlink(), "cannot be read: No such file"),
        (lambda path: (path / MANIFEST).write_text("{"), "is damaged"),
        (lambda path: (path / MANIFEST).write_text("[]"), "is damaged"),
        (lambda path: (path / MANIFEST).write_text('{"format": 99}'), "format 99"),
        (lambda path: (path / MANIFEST).write_text('{"format": 1}'), "is damaged"),
    ],
)
def test_what_is_no_bundle_is_refused(copy: Path, damage: object, told: str) -> None:
    damage(copy)  # type: ignore[operator]
    with pytest.raises(BundleError, match=told):
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


def test_an_unknown_target_lists_those_there_are(tiny_bundle: Bundle) -> None:
    with pytest.raises(BundleError, match="no foo artifact\n  expected: one of: savedmodel"):
        tiny_bundle.artifact("foo")


def test_a_changed_reference_is_refused(copy: Path) -> None:
    reference = copy / "verification" / "reference.npz"
    reference.write_bytes(reference.read_bytes()[:-1])
    with pytest.raises(BundleError, match="reference.npz"):
        read_bundle(copy).check_kit()


def test_an_output_appears_whole(tmp_path: Path) -> None:
    with staging(tmp_path / "deep" / "out") as folder:
        (folder / "file").touch()
        assert not (tmp_path / "deep" / "out").exists()
    assert [each.name for each in (tmp_path / "deep" / "out").iterdir()] == ["file"]
    assert [each.name for each in (tmp_path / "deep").iterdir()] == ["out"]


def test_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), staging(tmp_path / "out") as folder:
        (folder / "file").touch()
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["folder", "file", "dangling link"])
def test_what_is_there_already_is_left_alone(tmp_path: Path, kind: str) -> None:
    output = tmp_path / "out"
    if kind == "folder":
        output.mkdir()
    elif kind == "file":
        output.write_text("mine")
    else:
        output.symlink_to(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="it exists already"), staging(output):
        pass
    assert len(list(tmp_path.iterdir())) == 1


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="file cannot be written: File exists"):
        staging(tmp_path / "file" / "out").__enter__()
