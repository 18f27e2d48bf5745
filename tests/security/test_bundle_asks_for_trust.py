"""Code and models that a manifest names are run, fetched or allowed only with the user's flag."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

import hubopt
from hubopt._util.digest import sha256, size_bytes
from hubopt.bundles.bundle import Bundle, read_bundle, write_manifest
from hubopt.bundles.manifest import MANIFEST
from hubopt.errors import BundleError, UnsafeModelError
from tests.conftest import run_hubopt
from tests.web import serve

VARIANTS = [("bench", "--rounds", 1), ("diagnose",)]
MODULE = """
import pathlib
import tensorflow as tf
pathlib.Path({mark!r}).touch()
@tf.function(input_signature=[tf.TensorSpec([2, 3], name="x")])
def double(x):
    return tf.tanh(x) * 2
"""


@pytest.fixture
def bundle(tiny_bundle: Bundle, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_bundle.path, tmp_path / "bundle")


def edit(bundle: Path, **changes: Any) -> None:
    file = bundle / MANIFEST
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def with_write(tiny: Path, folder: Path, mark: Path) -> Path:
    """Save a copy of the tiny model that also writes a file whenever it is called."""
    loaded = tf.saved_model.load(str(tiny))
    serving = loaded.signatures["serving_default"]

    def call(left: Any, right: Any) -> Any:
        with tf.control_dependencies([tf.io.write_file(str(mark), "ran")]):
            return serving(left=tf.identity(left), right=right)

    root = tf.Module()
    root.loaded = loaded
    tensor = tf.TensorSpec([1, 8], tf.float32)
    root.call = tf.function(call, input_signature=[tensor, tensor], autograph=False)
    shutil.rmtree(folder, ignore_errors=True)
    tf.saved_model.save(root, str(folder), signatures={"serving_default": root.call})
    return folder


@pytest.fixture
def armed(bundle: Path, tiny: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A bundle with valid digests whose SavedModel writes a file, and the path of that file."""
    mark = tmp_path / "ran"
    folder = with_write(tiny, bundle / "savedmodel", mark)
    manifest = read_bundle(bundle).manifest
    forged = replace(
        manifest.targets["savedmodel"],
        sha256=sha256(folder),
        size_bytes=size_bytes(folder),
        details={},
    )
    targets = {**manifest.targets, "savedmodel": forged}
    write_manifest(bundle, replace(manifest, targets=targets, allow_ops=("WriteFile",)))
    return bundle, mark


@pytest.mark.parametrize("verb", [("verify",), *VARIANTS])
def test_a_savedmodel_in_a_bundle_is_scanned_before_it_is_loaded(
    verb: tuple[object, ...], armed: tuple[Path, Path]
) -> None:
    bundle, mark = armed
    ran = run_hubopt(verb[0], bundle, "-t", "savedmodel", *verb[1:])
    assert ran.code in (2, 5), ran.out
    output = ran.out + ran.err
    assert "WriteFile" in output
    assert "--allow-op WriteFile" in " ".join(output.split())
    assert not mark.exists()


def test_the_python_api_scans_too(armed: tuple[Path, Path]) -> None:
    bundle, mark = armed
    with pytest.raises(UnsafeModelError):
        hubopt.load(bundle, "savedmodel")
    (result,) = hubopt.verify_bundle(bundle, ["savedmodel"])
    assert (result.status, result.stage) == ("failed", "load")
    assert not mark.exists()


def test_a_savedmodel_outside_a_bundle_is_scanned_too(tiny: Path, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    folder = with_write(tiny, tmp_path / "anywhere", mark)
    with pytest.raises(UnsafeModelError):
        hubopt.verify(folder, tiny)
    assert not mark.exists()


def test_the_users_flag_allows_the_operation(armed: tuple[Path, Path]) -> None:
    bundle, mark = armed
    ran = run_hubopt("verify", bundle, "-t", "savedmodel", "--allow-op", "WriteFile")
    assert ran.code == 0, ran.err + ran.out
    assert mark.exists()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a Python module and a bundle exported from an object of that module."""
    folder = tmp_path_factory.mktemp("coded")
    (folder / "planted_layer.py").write_text(MODULE.format(mark=str(folder / "imported")))
    arguments = ("planted_layer:double", "-t", "onnx", "-o", "coded", "--rounds", 0)
    ran = run_hubopt("export", *arguments, cwd=folder)
    assert ran.code == 0, ran.err
    return folder


@pytest.fixture
def coded(exported: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A bundle whose handle is code in the current folder, and the file that an import writes."""
    (exported / "imported").unlink(missing_ok=True)
    monkeypatch.chdir(exported)
    return exported / "coded", exported / "imported"


def test_code_that_a_manifest_names_is_not_imported(coded: tuple[Path, Path]) -> None:
    bundle, mark = coded
    timed = run_hubopt("bench", bundle, "--rounds", 1)
    assert timed.code == 0, timed.err
    assert "no layer to compare with" in timed.out
    assert "--allow-code planted_layer:double" in " ".join(timed.out.split())
    refused = run_hubopt("diagnose", bundle, "-t", "onnx")
    assert refused.code == 2
    assert "--allow-code planted_layer:double" in refused.err
    assert not mark.exists()


@pytest.mark.parametrize("typed", ["planted_layer", "other:double", "planted_layer:other"])
def test_the_flag_must_name_the_code_exactly(typed: str, coded: tuple[Path, Path]) -> None:
    bundle, mark = coded
    refused = run_hubopt("diagnose", bundle, "-t", "onnx", "--allow-code", typed)
    assert refused.code == 2
    assert not mark.exists()


def test_code_that_the_user_names_is_imported(coded: tuple[Path, Path]) -> None:
    bundle, mark = coded
    timed = run_hubopt("bench", bundle, "--rounds", 1, "--allow-code", "planted_layer:double")
    assert timed.code == 0, timed.err
    assert "no layer to compare with" not in timed.out
    assert mark.exists()


def test_a_model_that_a_manifest_names_is_not_fetched(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "cache"))
    with serve() as web:
        edit(bundle, handle=f"{web.url}/model.tar.gz")
        timed = run_hubopt("bench", bundle, "-t", "onnx", "--rounds", 1)
        assert timed.code == 0, timed.err
        assert "--allow-download" in " ".join(timed.out.split())
        with pytest.raises(BundleError, match="--allow-download"):
            hubopt.diagnose(bundle, "onnx")
        assert web.asked == []
        trust = hubopt.Trust(download=True)
        (result,) = hubopt.bench(bundle, ["onnx"], 1, trust=trust)
        assert web.asked
        assert result.latency is not None
        assert "cannot be fetched" in str(result.latency.no_layer)
