"""Answers of artifacts and layers, compared without hubopt's parity and its manifest."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.attacks.outcome import Ran
from benchmarks.attacks.place import Place, source_path
from benchmarks.attacks.running import fork

Samples = Sequence[Mapping[str, Any]]
_RTOL, _ATOL = 2e-3, 2e-3
"""Looser than any float32 class of hubopt: an answer outside these bounds is certainly wrong."""
_TIMEOUT_S = 40.0


def read_npz(path: Path) -> Samples:
    """Read samples that are named ``0/name``, with NumPy alone.

    Raises:
        ValueError: They are incomplete or unreadable.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        found: dict[int, dict[str, Any]] = {}
        for name, array in arrays.items():
            at, _, tensor = name.partition("/")
            found.setdefault(int(at), {})[tensor] = array
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, SyntaxError) as error:
        raise ValueError(f"{path.name} cannot be read: {error}") from error
    return [found[at] for at in sorted(found)]


def problems_of(found: Samples, expected: Samples) -> list[str]:
    """Return how the answers differ from the expected ones."""
    if len(found) != len(expected):
        return [f"{len(found)} answers, not {len(expected)}"]
    problems = []
    for at, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        if ours.keys() != theirs.keys():
            problems.append(f"answer {at} has {sorted(ours)}, not {sorted(theirs)}")
            continue
        for name, array in theirs.items():
            if ours[name].shape != array.shape or array.dtype.kind != "f":
                problems.append(f"{name} of answer {at}: {ours[name].shape}, not {array.shape}")
                continue
            scale = float(np.sqrt(np.mean(np.square(array, dtype=np.float64)))) if array.size else 0
            if not np.allclose(ours[name], array, _RTOL, _ATOL * scale + 1e-6):
                off = float(np.max(np.abs(ours[name] - array), initial=0.0))
                problems.append(f"{name} of answer {at} is off by {off:.3g}")
    return problems


def artifact_answers(
    bundle: Path, target: str, path: Path, inputs: Samples, place: Place
) -> Samples:
    """Run the artifact at ``path`` in a fork, with the interface of the clean ``bundle``'s.

    Raises:
        ValueError: It does not run.
    """

    def run() -> Samples:
        from benchmarks.mutations.run import answers
        from hubopt.bundles.bundle import read_bundle

        return answers(
            read_bundle(bundle).artifact(target), path, [dict(sample) for sample in inputs]
        )

    return _in_fork(run, place)


def problems_of_artifact(bundle: Path, clean: Path, target: str, place: Place) -> list[str]:
    """Return how an artifact's answers differ from those in the clean bundle."""
    try:
        inputs = read_npz(clean / "verification" / "inputs.npz")
        path = bundle / target
        path = path if target == "savedmodel" else next(path.iterdir())
        found = artifact_answers(clean, target, path, inputs, place)
    except ValueError as error:
        return [f"{target} does not run: {error}"]
    return problems_of(found, read_npz(clean / "verification" / "reference.npz"))


def problems_elsewhere(bundle: Path, clean: Path, target: str) -> list[str]:
    """Do the same in a child process, for callers that have not imported a runtime."""
    script = f"""
import json, sys, tempfile
from pathlib import Path
from benchmarks.attacks.independent import problems_of_artifact
from benchmarks.attacks.place import Place
with tempfile.TemporaryDirectory() as folder:
    place = Place.make(Path(folder) / "place")
    problems = problems_of_artifact(Path(sys.argv[1]), Path(sys.argv[2]), {target!r}, place)
print(json.dumps(problems))
"""
    command = [sys.executable, "-c", script, str(bundle), str(clean)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(source_path())}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return [f"{target} cannot be judged: {done.stderr[-300:]}"]
    problems: list[str] = json.loads(done.stdout.splitlines()[-1])
    return problems


def layer_answers(model: Path, inputs: Samples, place: Place) -> Samples:
    """Run the model at ``model`` eagerly in a fork.

    An export loads a SavedModel without the functions that only calls of its inner layers need. If
    the damage is in those, TensorFlow refuses the whole model; then it is loaded without them here
    too.

    Raises:
        ValueError: It does not load or run.
    """

    def answers_of(path: Path) -> Samples:
        import hubopt

        layer = hubopt.KerasLayer(path)
        return [_named(layer(_given(sample))) for sample in inputs]

    def run() -> Samples:
        from hubopt.errors import LoadError
        from hubopt.models.prune_saved_model import pruned_saved_model

        try:
            return answers_of(model)
        except LoadError:
            if not model.is_dir():
                raise
            with pruned_saved_model(model) as folder:
                return answers_of(folder)

    return _in_fork(run, place)


def _given(sample: Mapping[str, Any]) -> Any:
    return dict(sample) if len(sample) > 1 else next(iter(sample.values()))


def _named(outputs: Any) -> Mapping[str, Any]:
    named = outputs if isinstance(outputs, dict) else {"": outputs}
    return {name: tensor.numpy() for name, tensor in named.items()}


def without_name(samples: Samples) -> Samples:
    """Remove the name of an only output, because a model's own call returns it without one."""
    return [{"": next(iter(sample.values()))} if len(sample) == 1 else sample for sample in samples]


def _in_fork(run: Callable[[], Samples], place: Place) -> Samples:
    file = place.root / "answers.npz"

    def body() -> None:
        arrays = {
            f"{at}/{name}": array
            for at, sample in enumerate(run())
            for name, array in sample.items()
        }
        stream = io.BytesIO()
        np.savez(stream, **arrays)
        file.write_bytes(stream.getvalue())

    ran: Ran = fork(body, place, _TIMEOUT_S)
    if ran.code != 0:
        raise ValueError(f"exit {ran.code}: {ran.err.strip()[-200:]}")
    return read_npz(file)
