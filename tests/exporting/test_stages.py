"""Stored stages are reused by repeated, interrupted and partly equal exports."""

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import hubopt
from hubopt.bundles.bundle import read_bundle
from hubopt.bundles.manifest import Manifest
from hubopt.bundles.stage_store import Entry, Label, StageStore
from hubopt.workers.worker import Worker
from tests import recorder
from tests.exporting.test_pipeline import convert_failing, convert_wrong
from tests.test_imports import HEAVY

QUICK: dict[str, Any] = {"rounds": 0, "noise": "off"}

PROBE = f"""
import json, sys
import hubopt
from hubopt.workers import worker

started = []
begin = worker.Worker.__init__
worker.Worker.__init__ = lambda *given, **named: (started.append(1), begin(*given, **named))[1]
model, output, cache = sys.argv[1:]
hubopt.export(model, ["onnx"], output, rounds=0, noise="off", cache=cache == "cache")
heavy = [name for name in {HEAVY!r} if name in sys.modules]
print(json.dumps({{"children": len(started), "heavy": heavy}}))
"""
KILLED = """
import os, signal, sys
from contextlib import nullcontext
import hubopt

def progress(label):
    if label.startswith(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
    return nullcontext()

quick = {"rounds": 0, "noise": "off"}
hubopt.export(sys.argv[1], ["onnx", "tflite"], sys.argv[2], progress=progress, **quick)
"""


@pytest.fixture(scope="module")
def kept(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store after one export of the tiny model to ONNX. Treat it as read-only."""
    folder = tmp_path_factory.mktemp("kept")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HUBOPT_CACHE_DIR", str(folder / "stages"))
        patch.delenv("HUBOPT_CACHE_MAX_BYTES")
        hubopt.export(tiny, ["onnx"], folder / "out", **QUICK)
    return folder / "stages"


@pytest.fixture
def filled(kept: Path, stages: Path) -> Path:
    """Copy `kept` to a store for this test only; return its folder."""
    return shutil.copytree(kept, stages)


class Recorder(recorder.Recorder):
    """What an export says of its progress."""

    def made(self) -> set[str]:
        """The stages that were computed, of those that can be stored."""
        known = (
            "trace", "choose samples", "onnx: export", "tflite: export", "load the layer",
            "onnx: run", "tflite: run",
        )  # fmt: skip
        fresh = [label for label in self.labels if "from the cache" not in label]
        stages = [label.removeprefix("meanwhile: ") for label in fresh]
        made = [re.split(r" and time|: [0-9]", label)[0] for label in stages]
        return {name for name in known if name in made}

    def stored(self) -> set[str]:
        """The stages that came from the store."""
        return {label.split(":")[0] for label in self.labels if "from the cache" in label}


def export(model: Path, output: Path, *targets: str, **options: Any) -> tuple[Manifest, Recorder]:
    progress = Recorder()
    bundle = hubopt.export(
        model, targets or ["onnx"], output, progress=progress, **(QUICK | options)
    )
    assert read_bundle(output) == bundle
    bundle.check_samples()
    for result in bundle.results:
        if result.path and result.status != "failed":
            bundle.artifact(result.target)
    return bundle.manifest, progress


def entries(stages: Path) -> dict[str, Entry]:
    found = [entry for entry, _ in StageStore(stages, 10**9).entries()]
    return {" ".join(filter(None, (entry.target, entry.kind))): entry for entry in found}


def probe(model: Path, output: Path, cache: str) -> dict[str, Any]:
    command = [sys.executable, "-c", PROBE, str(model), str(output), cache]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def contents(bundle: Path) -> dict[str, bytes]:
    return {
        path.relative_to(bundle).as_posix(): path.read_bytes()
        for path in bundle.rglob("*")
        if path.is_file() and path.name not in ("hubopt.json", "layer.log", "convert.log")
    }


def timeless(manifest: Manifest) -> Manifest:
    targets = {name: replace(result, cached=None) for name, result in manifest.targets.items()}
    return replace(manifest, created="", cached={}, targets=targets)


def test_the_same_export_again_gives_the_same_bundle(
    tiny: Path, tmp_path: Path, stages: Path
) -> None:
    first, progress = export(tiny, tmp_path / "1", "savedmodel", "onnx", noise="auto", rounds=1)
    assert progress.stored() == set()
    again, progress = export(tiny, tmp_path / "2", "savedmodel", "onnx", noise="auto", rounds=1)
    assert progress.made() == set()
    assert progress.stored() == {"trace", "reference", "savedmodel", "onnx"}
    assert timeless(again) == timeless(first)
    assert contents(tmp_path / "2") == contents(tmp_path / "1")
    made = entries(stages)
    assert again.cached == {"trace": made["trace"].made, "reference": made["reference"].made}
    assert again.targets["onnx"].cached == made["onnx run"].made
    assert first.cached == {}
    assert first.targets["onnx"].cached is None
    day = made["onnx run"].made[:10]
    assert f"onnx: artifact from the cache (made {day} on this machine)" in progress.labels
    assert f"onnx: run from the cache (made {day} on this machine)" in progress.labels


def test_a_repeated_export_starts_no_child_and_imports_nothing_heavy(
    tiny: Path, tmp_path: Path, filled: Path
) -> None:
    assert probe(tiny, tmp_path / "1", "cache") == {"children": 0, "heavy": []}
    # This check can fail:
    assert probe(tiny, tmp_path / "2", "no cache")["children"] > 1


def test_the_check_for_heavy_imports_can_fail(tiny: Path, tmp_path: Path, filled: Path) -> None:
    code = PROBE.replace("import hubopt\n", "import hubopt, onnx\n")
    command = [sys.executable, "-c", code, str(tiny), str(tmp_path / "1"), "cache"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert json.loads(done.stdout)["heavy"] == ["onnx"]


def test_verification_does_not_use_the_cache(tiny: Path, tmp_path: Path, filled: Path) -> None:
    manifest, _ = export(tiny, tmp_path / "2")
    assert manifest.targets["onnx"].cached
    (fresh,) = hubopt.verify_bundle(tmp_path / "2")
    assert fresh.cached is None
    (rejudged,) = hubopt.rejudge(tmp_path / "2")
    assert rejudged.cached == manifest.targets["onnx"].cached


@pytest.mark.parametrize(
    ("killed_at", "kept", "made_then"),
    [
        (
            "onnx: export",
            {"trace"},
            {"load the layer", "choose samples", "onnx: export", "tflite: export"}
            | {"onnx: run", "tflite: run"},
        ),
        (
            "tflite: run",
            {"trace", "reference", "onnx artifact", "onnx run", "tflite artifact"},
            {"tflite: run"},
        ),
    ],
)
def test_a_killed_export_resumes_where_it_stopped(
    tiny: Path, tmp_path: Path, stages: Path, killed_at: str, kept: set[str], made_then: set[str]
) -> None:
    command = [sys.executable, "-c", KILLED, str(tiny), str(tmp_path / "out"), killed_at]
    done = subprocess.run(command, check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL
    assert set(entries(stages)) == kept
    manifest, progress = export(tiny, tmp_path / "again", "onnx", "tflite")
    assert progress.stored() == {name.split()[0] for name in kept}
    assert progress.made() == made_then
    assert {result.status for result in manifest.targets.values()} == {"verified"}


@pytest.mark.parametrize("fault", [convert_failing, convert_wrong])
def test_a_target_that_failed_runs_again(
    tiny: Path,
    tmp_path: Path,
    filled: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: Callable[..., Any],
) -> None:
    before = set(entries(filled))
    opset = {"onnx.opset": 17}
    with monkeypatch.context() as patched:
        patched.setattr("hubopt.runs.convert.export", fault)
        with pytest.raises(hubopt.HuboptError, match="no target gave an artifact"):
            export(tiny, tmp_path / "1", options=opset)
    assert set(entries(filled)) == before
    manifest, progress = export(tiny, tmp_path / "2", options=opset)
    assert progress.made() == {"onnx: export", "onnx: run"}
    assert manifest.targets["onnx"].status == "verified"
    assert manifest.targets["onnx"].cached is None


def test_other_tolerances_recompute_nothing(tiny: Path, tmp_path: Path, filled: Path) -> None:
    before = set(entries(filled))
    loose = hubopt.ToleranceOverrides.parse(rtol=["1e-3"])
    manifest, progress = export(tiny, tmp_path / "2", overrides=loose)
    assert progress.made() == set()
    assert manifest.tolerances == loose
    impossible = hubopt.ToleranceOverrides.parse(sqnr=["500"])
    with pytest.raises(hubopt.HuboptError, match="no target gave an artifact"):
        export(tiny, tmp_path / "3", overrides=impossible)
    # An artifact that does not agree is made again, which is what trying again means.
    assert set(entries(filled)) == before - {"onnx artifact", "onnx run", "onnx comparison"}


def test_what_was_compared_is_not_compared_again(
    tiny: Path, tmp_path: Path, filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other tolerances are judged from the stored differences; no array is read for them."""

    def forbidden(*_: object) -> None:
        raise AssertionError("arrays were compared")

    monkeypatch.setattr("hubopt.runs.settle.compare_outputs", forbidden)
    loose = hubopt.ToleranceOverrides.parse(rtol=["1e-3"])
    for number, overrides in enumerate((None, loose)):
        manifest, _ = export(tiny, tmp_path / str(number), overrides=overrides)
        assert manifest.targets["onnx"].status == "verified"
        assert manifest.targets["onnx"].parity is not None


@pytest.mark.parametrize(
    "edit",
    [
        lambda value: value["differences"].pop("sum"),
        lambda value: value["differences"]["sum"].pop(),
        lambda value: value.update(samples=[0] * len(value["samples"])),
        lambda value: value.update(samples=[], differences={}),
        lambda value: value["differences"]["sum"][0].update(max_abs=0.5),
        lambda value: value["differences"]["sum"][0].update(shape=[7]),
    ],
)
def test_a_stored_comparison_that_contradicts_itself_is_measured_anew(
    tiny: Path,
    tmp_path: Path,
    filled: Path,
    caplog: pytest.LogCaptureFixture,
    edit: Callable[[dict[str, Any]], object],
) -> None:
    """The entry is whole and its digest is right; what it says is not."""
    store, key = StageStore(filled, 10**9), entries(filled)["onnx comparison"].key
    found = store.look_up(key)
    assert found is not None
    entry, value = found
    changed = json.loads(value)
    edit(changed)
    store.remove(key)
    store.put(key, Label(entry.kind, entry.handle, entry.target), json.dumps(changed), {})
    manifest, recorded = export(tiny, tmp_path / "2")
    assert recorded.made() == set()
    assert manifest.targets["onnx"].status == "verified"
    assert "an entry of the cache is damaged and is made anew" in caplog.text
    again = store.look_up(key)
    assert again is not None
    assert json.loads(again[1]) == json.loads(value)


def test_a_target_can_be_timed_with_a_stored_reference(
    tiny: Path, tmp_path: Path, filled: Path
) -> None:
    manifest, progress = export(tiny, tmp_path / "2", rounds=2)
    assert progress.made() == {"load the layer", "onnx: run"}
    latency = manifest.targets["onnx"].latency
    assert latency is not None
    assert latency.ratio is not None


def test_a_layer_loaded_only_for_timing_starts_no_other_process(
    tiny: Path, tmp_path: Path, stages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child that imports TensorFlow while a target is timed would be timed with it."""
    hubopt.export(tiny, ["onnx"], tmp_path / "first", rounds=0)
    logs: list[str] = []
    begin = Worker.__init__

    def count(worker: Worker, log: Path, *rest: Any, **named: Any) -> None:
        logs.append(log.name)
        begin(worker, log, *rest, **named)

    monkeypatch.setattr(Worker, "__init__", count)
    bundle = hubopt.export(tiny, ["tflite"], tmp_path / "second", rounds=1)
    (tflite,) = bundle.results
    assert tflite.status == "verified"
    assert tflite.latency is not None
    assert tflite.latency.layer is not None
    assert sorted(logs) == ["convert.log", "layer.log", "tflite.log"]


def test_data_count_by_their_content(tiny: Path, tmp_path: Path, stages: Path) -> None:
    def sample(value: float) -> dict[str, Any]:
        return {name: np.full((1, 8), value, np.float32) for name in ("left", "right")}

    np.savez(tmp_path / "here.npz", **sample(1.0))
    export(tiny, tmp_path / "1", data=tmp_path / "here.npz")
    (tmp_path / "here.npz").rename(tmp_path / "there.npz")
    manifest, progress = export(tiny, tmp_path / "2", data=str(tmp_path / "there.npz"))
    assert progress.made() == set()
    assert manifest.data == str(tmp_path / "there.npz")
    _, progress = export(tiny, tmp_path / "3", data=[sample(2.0)])
    assert "choose samples" in progress.made()


@pytest.mark.parametrize(
    ("damaged", "made"),
    [
        ("trace", {"load the layer", "trace", "onnx: export"}),
        ("reference", {"load the layer", "choose samples", "onnx: run"}),
        ("onnx artifact", {"onnx: export"}),
        ("onnx run", {"onnx: run"}),
    ],
)
def test_a_damaged_entry_is_computed_again(
    tiny: Path,
    tmp_path: Path,
    filled: Path,
    caplog: pytest.LogCaptureFixture,
    damaged: str,
    made: set[str],
) -> None:
    found = entries(filled)
    files = filled / found[damaged].key / "files"
    victim = max(filter(Path.is_file, files.rglob("*")), key=lambda path: path.stat().st_size)
    victim.write_bytes(b"?" * victim.stat().st_size)
    if damaged == "trace":  # it is read only if another stage needs it
        shutil.rmtree(filled / found["onnx artifact"].key)
    manifest, progress = export(tiny, tmp_path / "2")
    assert "an entry of the cache is damaged and is made anew" in caplog.text
    assert progress.made() == made
    assert manifest.targets["onnx"].status == "verified"
    assert (damaged in manifest.cached) is False
    _, progress = export(tiny, tmp_path / "3")
    assert progress.made() == set()


@pytest.mark.parametrize("how", ["argument", "size"])
def test_without_a_cache_nothing_is_read_or_written(
    tiny: Path, tmp_path: Path, filled: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    for name in ("onnx artifact", "onnx run"):
        shutil.rmtree(filled / entries(filled)[name].key)
    if how == "size":
        monkeypatch.setenv("HUBOPT_CACHE_MAX_BYTES", "0")
    _, recorded = export(tiny, tmp_path / "1", cache=how == "size")
    assert recorded.stored() == set()
    assert set(entries(filled)) == {"trace", "reference", "onnx comparison"}


def test_a_cache_that_cannot_be_written_does_not_fail_an_export(
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    stages: Path,
) -> None:
    stages.touch()
    manifest, _ = export(tiny, tmp_path / "1")
    assert manifest.targets["onnx"].status == "verified"
    assert caplog.text.count("the cache cannot be written") == 1


def test_models_without_a_digest_are_not_kept(
    tmp_path: Path, stages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "some_model.py").write_text(
        "import tensorflow as tf\ndef double(x):\n    return 2 * tf.sin(x)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    hints = hubopt.Hints.parse(["4"], ["float32"])
    for at, model in enumerate((lambda x: 3 * tf.sin(x), "some_model:double")):
        hubopt.export(model, ["onnx"], tmp_path / str(at), hints=hints, **QUICK)
    assert not stages.exists()


def test_two_processes_may_run_the_same_export_at_once(
    tiny: Path, tmp_path: Path, stages: Path
) -> None:
    running = [
        subprocess.Popen(
            [sys.executable, "-c", PROBE, str(tiny), str(tmp_path / name), "cache"],
            stdout=subprocess.PIPE,
        )
        for name in ("1", "2")
    ]
    assert [process.wait() for process in running] == [0, 0]
    for process in running:
        assert process.stdout is not None
        process.stdout.close()
    for name in ("1", "2"):
        assert read_bundle(tmp_path / name).manifest.targets["onnx"].status == "verified"
    kinds = {"trace", "reference", "onnx artifact", "onnx run", "onnx comparison"}
    assert set(entries(stages)) == kinds
    assert probe(tiny, tmp_path / "3", "cache")["children"] == 0
