"""The same commands on undamaged files: a hubopt that refuses everything would look safe."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.attacks.clean import TARGETS, Clean, differences, export_arguments
from benchmarks.attacks.outcome import Ran, judge_command
from benchmarks.attacks.place import Place
from benchmarks.attacks.running import run_forked

_TIMEOUT_S = 120.0
_FROM_CACHE = (
    "trace:",
    "reference:",
    "onnx: artifact",
    "onnx: run",
    "tflite: artifact",
    "tflite: run",
)
_REFUSED = 4
"""The exit code for artifacts that ran and disagree with the layer."""
Run = Callable[[Sequence[str], Place, float], Ran]


def failed_controls(clean: Clean, work: Path, run: Run = run_forked) -> list[str]:
    """Return the commands that do not give the clean answer on undamaged files.

    Args:
        clean: The undamaged files.
        work: A folder to work in.
        run: Runs a command.
    """
    problems = []
    for name in ("tiny", "conv", "conv.keras", "conv.h5"):
        model = str(clean.model(name))
        problems += _expect(0, ["inspect", model, "--json"], work, run)
    for name in ("tiny", "conv"):
        for target in TARGETS:
            words = ["verify", str(clean.bundle(name)), "-t", target, "--json"]
            problems += _expect(0, words, work, run)
    bundle = str(clean.bundle("tiny"))
    problems += _expect(0, ["verify", bundle, "--json", "--rejudge"], work, run)
    wrong = ["verify", str(clean.bundle("wrong")), "--json"]
    problems += _expect(_REFUSED, wrong, work, run)
    return problems + _export_problems(clean, work, run) + _missing_from_cache(clean, work, run)


def _expect(code: int, words: list[str], work: Path, run: Run) -> list[str]:
    ran = run(words, Place.make(work / "control"), _TIMEOUT_S)
    if ran.code != code or judge_command(ran)[1]:
        return [f"{' '.join(words)}: exit {ran.code}, not {code}: {ran.err[-300:]}"]
    if words[0] == "verify" and not json.loads(ran.out)["targets"]:
        return [f"{' '.join(words)}: no targets"]
    return []


def _export_problems(clean: Clean, work: Path, run: Run) -> list[str]:
    """Export Keras files, and a SavedModel, which alone has a clean bundle to compare with."""
    problems = []
    for name in ("tiny", "conv.keras", "conv.h5"):
        place = Place.make(work / "control")
        words = export_arguments(clean.model(name), place.output, ("onnx", "tflite"))
        ran = run(words, place, _TIMEOUT_S)
        if ran.code != 0:
            problems.append(f"{' '.join(words)}: exit {ran.code}: {ran.err[-300:]}")
        elif name == "tiny":
            problems += differences(place.output, clean.bundle(name))
    return problems


def _missing_from_cache(clean: Clean, work: Path, run: Run) -> list[str]:
    """Export over the clean cache; an attack on a stage that is not read from it proves nothing."""
    place = Place.make(work / "control")
    shutil.copytree(clean.stages, place.stages, dirs_exist_ok=True)
    words = export_arguments(clean.model("tiny"), place.output, ("onnx", "tflite"))
    ran = run(words, place, _TIMEOUT_S)
    return [
        f"{stage} does not come from the clean cache: {ran.err[-300:]}"
        for stage in _FROM_CACHE
        if f"{stage} from the cache" not in ran.err
    ]
