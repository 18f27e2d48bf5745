"""Code that `tests.test_attack` runs in a separate process, which forks as the benchmark does."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.attacks import running
from benchmarks.attacks.attempt import Attempt
from benchmarks.attacks.bundle_files import _artifact_is_right, _missing_claims
from benchmarks.attacks.clean import read_manifest, seal
from benchmarks.attacks.files import judge
from benchmarks.attacks.outcome import Ran
from benchmarks.attacks.place import Place
from benchmarks.attacks.running import fork, run_forked


def planted_answers(bundle: Path, folder: Path) -> dict[str, str]:
    """Plant each fault in turn and return the benchmark's judgement of it."""
    place = Place.make(folder / "place")
    copy = Path(shutil.copytree(bundle, place.output))
    arguments = ("verify", str(copy), "-t", "onnx", "--json")
    path = copy / "onnx" / "model.onnx"

    def judgement(ran: Ran) -> str:
        def worth(ran: Ran):  # type: ignore[no-untyped-def]
            return _artifact_is_right(ran, bundle, "onnx", path, place)

        place.strays()  # onnxruntime leaves its own files there
        good, faults = judge(Attempt("onnx", "", arguments, worth), ran, place, {})
        for stray in place.temporary.iterdir():
            shutil.rmtree(stray) if stray.is_dir() else stray.unlink()
        return good or next(fault for fault in faults if fault != "folder left")

    clean = run_forked(arguments, place, 60)
    for stray in place.temporary.iterdir():
        stray.unlink()
    answers = {"clean": judgement(clean)}
    _double_weights(path)
    answers["wrong artifact"] = judgement(Ran(0, clean.out, ""))
    lie = json.loads(clean.out)
    lie["targets"]["onnx"]["max_abs_error"] = None
    answers["nothing run"] = (
        "wrong verified" if _missing_claims(Ran(0, json.dumps(lie), "")) else "missed"
    )
    answers["no target"] = (
        "wrong verified" if _missing_claims(Ran(0, '{"targets": {}}', "")) else "missed"
    )
    seal(copy)
    assert read_manifest(copy)["targets"]["onnx"]["sha256"]
    answers["the real refusal"] = judgement(run_forked(arguments, place, 60))
    answers["a crash of a child"] = judgement(fork(_crash_in_a_child, place, 60))
    answers["a hang"] = judgement(fork(lambda: time.sleep(60), place, 0.3))
    answers["an exit 1"] = judgement(fork(_exit(1), place, 60))
    running.PATIENCE_S = 0.3
    answers["an orphan"] = judgement(fork(_leave_a_process, place, 60))
    return answers


def _double_weights(path: Path) -> None:
    import onnx
    from onnx import numpy_helper

    model = onnx.load(path)
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * 2, tensor.name))
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                array = numpy_helper.to_array(attribute.t)
                attribute.t.CopyFrom(numpy_helper.from_array(array * 2, attribute.t.name))
    onnx.save(model, path)


def _crash_in_a_child() -> None:
    from benchmarks.attacks.forked_children import fork_children
    from hubopt.errors import WorkerCrashError
    from hubopt.workers.worker import Worker

    fork_children()
    try:
        with Worker(Path("log")) as worker:
            worker.call(os.abort)
    except WorkerCrashError as error:
        Path("log").unlink()
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)


def _leave_a_process() -> None:
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)"])


def _exit(code: int) -> Callable[[], None]:
    return lambda: sys.exit(code)
