"""The key of a stage changes with everything that its result depends on."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hubopt import registry
from hubopt.exporter import PROGRAM
from hubopt.exporting import stage_keys
from hubopt.exporting.stage_keys import (
    StageKeys,
    code_digest,
    describe_exporter,
    describe_items,
    digest_of,
    installed,
    surroundings,
)
from hubopt.hints import Hints
from hubopt.models.handles import LayerOptions
from hubopt.registry.targets import make_targets
from hubopt.sampling.user_data import Item

(ONNX,) = make_targets(["onnx"])
KEYS = StageKeys(
    around="0" * 64,
    model="1" * 64,
    layer=LayerOptions(),
    allow_ops=(),
    hints=Hints(),
    items=(["first"], ["second"]),
    count=8,
    seed=0,
    noise="auto",
    effort="auto",
    rounds=7,
)


def program_key(keys: StageKeys) -> str:
    return keys.program


def artifact_key(keys: StageKeys) -> str:
    return keys.artifact(ONNX, PROGRAM)


def run_key(keys: StageKeys) -> str:
    return keys.run(ONNX, "artifact", {}, "inputs")


def reference_key(keys: StageKeys) -> str:
    return keys.reference("light")


TRACE: dict[str, Any] = {
    "around": "2" * 64,
    "model": "2" * 64,
    "layer": LayerOptions(signature="other"),
    "allow_ops": ("ReadFile",),
    "hints": Hints(batch=2),
    "items": (["other"], ["second"]),
}
SAMPLES: dict[str, Any] = {"items": (["first"], ["other"]), "count": 9, "seed": 1, "noise": "full",
                           "effort": "quick"}  # fmt: skip


@pytest.mark.parametrize(
    ("key", "changes"),
    [
        *((program_key, {name: value}) for name, value in TRACE.items()),
        *((reference_key, {name: value}) for name, value in (TRACE | SAMPLES).items()),
        *((artifact_key, {name: value}) for name, value in TRACE.items()),
        *((run_key, {name: value}) for name, value in (TRACE | {"rounds": 3}).items()),
    ],
)
def test_each_part_changes_the_key(
    key: Callable[[StageKeys], str], changes: dict[str, Any]
) -> None:
    assert key(replace(KEYS, **changes)) != key(KEYS)
    assert key(replace(KEYS)) == key(KEYS)


@pytest.mark.parametrize(
    ("key", "changes"),
    [
        (program_key, SAMPLES | {"rounds": 0}),
        (reference_key, {"rounds": 0}),
        (artifact_key, SAMPLES | {"rounds": 0}),
        (run_key, SAMPLES),
    ],
)
def test_settings_that_a_stage_does_not_use_do_not_change_its_key(
    key: Callable[[StageKeys], str], changes: dict[str, Any]
) -> None:
    assert key(replace(KEYS, **changes)) == key(KEYS)


def test_a_program_with_a_saved_model_has_another_trace_key() -> None:
    """The samples and artifacts made from its graph do not depend on the SavedModel."""
    assert KEYS.trace(saved_model=True) != KEYS.trace(saved_model=False)
    assert len({KEYS.reference(level) for level in ("light", "float64", "full")}) == 3


def test_an_artifact_depends_on_its_source_its_exporter_and_its_options() -> None:
    key = KEYS.artifact(ONNX, PROGRAM)
    (tflite,) = make_targets(["tflite"])
    (older,) = make_targets(["onnx"], {"onnx.opset": 17})
    assert key != KEYS.artifact(ONNX, "digest")
    assert key != KEYS.artifact(tflite, PROGRAM)
    assert key != KEYS.artifact(older, PROGRAM)
    assert key != KEYS.artifact(replace(ONNX, precision="int8"), PROGRAM)


def test_a_run_depends_on_its_artifact_and_its_samples() -> None:
    key = KEYS.run(ONNX, "artifact", {}, "inputs")
    assert key != KEYS.run(ONNX, "other", {}, "inputs")
    assert key != KEYS.run(ONNX, "artifact", {"weights": "digest"}, "inputs")
    assert key != KEYS.run(ONNX, "artifact", {}, "other")


def test_the_order_of_allowed_operations_does_not_matter() -> None:
    keys = replace(KEYS, allow_ops=("A", "B"))
    assert keys.program == replace(KEYS, allow_ops=("B", "A", "B")).program


def test_a_key_is_the_same_in_another_process() -> None:
    code = "from hubopt.exporting.stage_keys import *; print(digest_of(surroundings()))"
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1


def environment_variable(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "maybe")


def processor(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr("hubopt.latency.environment._processor", lambda: "another one")


def gpu(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr("hubopt.latency.environment._gpus", lambda: "another one")


def cores(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr(stage_keys, "_usable_cores", lambda: 999)


def python(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr("platform.python_version", lambda: "3.99.0")


def package(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    (folder / "ml_dtypes-99.0.dist-info").mkdir()
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])


def version(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    (folder / "tensorflow-99.0-py3.13.egg-info").touch()
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])


def code(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr(stage_keys, "code_digest", lambda package: "edited")


def keras(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    (folder / "keras.json").write_text('{"floatx": "float64"}')
    monkeypatch.setenv("KERAS_HOME", str(folder))


@pytest.mark.parametrize(
    "change",
    [environment_variable, processor, gpu, cores, python, package, version, code, keras],
)
def test_each_part_of_the_surroundings_changes_the_key(
    change: Callable[[pytest.MonkeyPatch, Path], None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    before = digest_of(surroundings())
    assert digest_of(surroundings()) == before
    change(monkeypatch, tmp_path)
    assert digest_of(surroundings()) != before


def test_an_unrelated_package_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = digest_of(surroundings())
    (tmp_path / "a_viewer-1.0.dist-info").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert digest_of(surroundings()) == before


def test_an_edit_of_any_module_changes_the_digest_of_the_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package = tmp_path / "some_package"
    (package / "sub").mkdir(parents=True)
    for name in ("__init__.py", "sub/module.py"):
        (package / name).write_text("")
    (package / "data.txt").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    __import__("some_package")
    before = code_digest("some_package")
    (package / "data.txt").write_text("no code")
    assert code_digest("some_package") == before
    (package / "sub" / "module.py").write_text("1")
    assert code_digest("some_package") != before
    monkeypatch.delitem(sys.modules, "some_package")


def test_the_code_of_a_single_module_counts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "lonely_module.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    __import__("lonely_module")
    before = code_digest("lonely_module")
    (tmp_path / "lonely_module.py").write_text("1")
    assert code_digest("lonely_module") != before
    monkeypatch.delitem(sys.modules, "lonely_module")


class ThirdParty:
    """An exporter of a third party's package."""

    name = "mine"


def test_every_distribution_counts_for_a_third_partys_exporter(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    third_party: Any = ThirdParty()
    ours = registry.get("onnx")
    before = describe_exporter(third_party), describe_exporter(ours)
    (tmp_path / "a_runtime-1.0.dist-info").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert "a-runtime-1.0" in installed()
    assert describe_exporter(third_party) != before[0]
    assert describe_exporter(ours) == before[1]


def test_an_edit_of_an_exporter_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    exporter = registry.get("onnx")
    before = KEYS.artifact(ONNX, PROGRAM)
    monkeypatch.setattr(stage_keys, "code_digest", lambda package: f"edited {package}")
    assert replace(KEYS).artifact(ONNX, PROGRAM) != before
    assert describe_exporter(exporter)["code"] == "edited hubopt_exporters"


@pytest.mark.parametrize(
    "package", ["tensorflow", "tf_keras", "tensorflow_hub", "tf2onnx", "onnx", "numpy"]
)
def test_versions_are_read_from_the_metadata(package: str) -> None:
    assert f"{package.replace('_', '-')}-{metadata.version(package)}" in installed()


@pytest.mark.parametrize(
    "other",
    [
        np.zeros((2, 3), np.float32) + 1,
        np.zeros((3, 2), np.float32),
        np.zeros((2, 3), np.int32),
        {"x": np.zeros((2, 3), np.float32)},
        [np.zeros((2, 3), np.float32)],
        np.array([b"a", b"b"], object),
        np.array([b"a", b"c"], object),
        "text",
        b"text",
        1,
        1.0,
    ],
)
def test_the_content_of_data_counts(other: Any) -> None:
    zeros = describe_items([Item("here", np.zeros((2, 3), np.float32))])
    assert digest_of(describe_items([Item("here", other)])) != digest_of(zeros)
    assert digest_of(describe_items([Item("here", other, texts=True)])) != digest_of(
        describe_items([Item("here", other)])
    )


def test_the_place_of_data_does_not_count() -> None:
    elsewhere = [Item("there", np.zeros((2, 3), np.float32))]
    assert describe_items(elsewhere) == describe_items([Item("here", np.zeros((2, 3), np.float32))])
    assert describe_items(None) is None


def test_data_without_a_digest_are_reported() -> None:
    with pytest.raises(TypeError, match="a complex has no digest"):
        describe_items([Item("here", 1j)])
