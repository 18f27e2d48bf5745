"""Hundreds of damaged models: each gives a clear error or the right answer.

Every mutant is made from a seed, which a failure prints with the file and the damage.
"""

import dataclasses
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from hubopt import Hints, ModelSpec
from hubopt.errors import HuboptError, WorkerCrashError
from hubopt.models.handles import LayerOptions, LoadPolicy
from hubopt.reference.layer_session import open_layer_session
from hubopt.sampling.arrays import read_samples, write_samples
from hubopt.sampling.samples import draw
from hubopt.testing import write_tiny_model
from hubopt.workers.worker import Worker
from tests.conftest import run_hubopt

INTERNAL = "defect of hubopt"
SEEDS = 170


@dataclasses.dataclass(frozen=True)
class Mutant:
    """One damage to one file of a model."""

    seed: int
    file: str
    damage: str

    def __str__(self) -> str:
        return f"seed {self.seed}: {self.file}: {self.damage}"


def mutate(folder: Path, seed: int) -> Mutant:
    """Damage one file below ``folder``: truncate it, or flip up to four bits."""
    chance = random.Random(seed)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    file = chance.choice(files)
    content = bytearray(file.read_bytes())
    if not content or chance.random() < 0.3:
        length = chance.randrange(len(content)) if content else 0
        del content[length:]
        damage = f"cut to {length} bytes"
    else:
        bits = sorted(chance.randrange(8 * len(content)) for _ in range(chance.randint(1, 4)))
        for bit in bits:
            content[bit // 8] ^= 1 << bit % 8
        damage = f"flipped bits {bits}"
    file.write_bytes(content)
    return Mutant(seed, file.relative_to(folder).as_posix(), damage)


def write_text_model(folder: Path) -> Path:
    """Write a SavedModel that maps words to their indices in a vocabulary."""
    vocabulary = folder.with_suffix(".txt")
    vocabulary.parent.mkdir(parents=True, exist_ok=True)
    vocabulary.write_text("".join(f"word{at}\n" for at in range(100)))
    index = tf.lookup.TextFileIndex
    root = tf.Module()
    root.table = tf.lookup.StaticVocabularyTable(
        tf.lookup.TextFileInitializer(
            str(vocabulary), tf.string, index.WHOLE_LINE, tf.int64, index.LINE_NUMBER
        ),
        num_oov_buckets=3,
    )
    root.embedding = tf.Variable(np.random.default_rng(0).normal(size=(103, 4)).astype("float32"))
    spec = [tf.TensorSpec([None], tf.string, name="words")]

    @tf.function(input_signature=spec)
    def call(words: tf.Tensor) -> dict[str, tf.Tensor]:
        places = tf.reshape(root.table.lookup(words), tf.shape(words))  # lookup loses the shape
        return {"places": places, "vectors": tf.gather(root.embedding, places)}

    root.__call__ = call
    tf.saved_model.save(root, str(folder), signatures={"serving_default": call})
    return folder


class Bench:
    """Opens models in a child process and calls them once. A child that died is replaced."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._worker: Worker | None = None

    def answer(self, model: Path) -> dict[str, Any]:
        """Load ``model`` and return its outputs for the first sample."""
        if self._worker is None:
            self._worker = Worker(self._folder / "child.log")
        try:
            session = self._worker.create(
                open_layer_session, str(model), LayerOptions(), LoadPolicy()
            )
            spec: ModelSpec = session.resolve(Hints(batch=2))
            inputs, outputs = self._folder / "inputs", self._folder / "outputs"
            write_samples(inputs, [draw(spec.inputs)[0].tensors])
            session.answer(spec, inputs, outputs)
            return read_samples(outputs, spec.outputs)[0]
        except WorkerCrashError:
            self.close()
            raise

    def close(self) -> None:
        if self._worker is not None:
            self._worker.__exit__(None, None, None)
            self._worker = None


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


MODELS = {"tiny": write_tiny_model, "text": write_text_model}


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return MODELS[request.param](tmp_path_factory.mktemp("intact") / request.param)


def copy_of(model: Path, folder: Path, seed: int) -> Path:
    return Path(shutil.copytree(model, folder / f"mutant{seed}"))


def complaint(error: HuboptError) -> str | None:
    """Return the text of an error that is unclear to a user, or None."""
    text = str(error)
    if "Traceback" in text or INTERNAL in text:
        return text
    return None


def differs(actual: dict[str, Any], intact: dict[str, Any]) -> bool:
    return actual.keys() != intact.keys() or any(
        not np.array_equal(actual[name], intact[name]) for name in intact
    )


def test_a_damaged_model_is_refused_or_gives_the_same_answer(
    model: Path, bench: Bench, tmp_path: Path
) -> None:
    intact = bench.answer(model)
    failures = []
    refused = 0
    for seed in range(SEEDS):
        folder = copy_of(model, tmp_path, seed)
        mutant = mutate(folder, seed)
        try:
            actual = bench.answer(folder)
        except HuboptError as error:
            refused += 1
            problem = complaint(error)
        else:
            silent = not mutant.file.startswith("assets/") and differs(actual, intact)
            problem = "it gives a wrong answer" if silent else None
        if problem:
            failures.append(f"{mutant}: {problem}")
        shutil.rmtree(folder)
    assert not failures, "\n".join(failures)
    assert refused > SEEDS // 2, "most damage must have an effect, or this test proves nothing"


def test_a_damaged_model_without_a_fingerprint_is_not_reported_as_a_defect(
    model: Path, bench: Bench, tmp_path: Path
) -> None:
    failures = []
    for seed in range(1000, 1000 + SEEDS // 3):
        folder = copy_of(model, tmp_path, seed)
        (folder / "fingerprint.pb").unlink()
        mutant = mutate(folder, seed)
        try:
            bench.answer(folder)
        except HuboptError as error:
            problem = complaint(error)
            if problem:
                failures.append(f"{mutant}: {problem}")
        shutil.rmtree(folder)
    assert not failures, "\n".join(failures)


@pytest.mark.parametrize(
    "file",
    ["saved_model.pb", "variables/variables.index", "fingerprint.pb", "variables/variables.data*"],
)
def test_the_command_line_reports_damage(tiny: Path, file: str, tmp_path: Path) -> None:
    folder = copy_of(tiny, tmp_path, 0)
    (damaged,) = folder.glob(file)
    damaged.write_bytes(damaged.read_bytes()[: damaged.stat().st_size // 2])
    ran = run_hubopt("inspect", folder)
    assert ran.code not in (0, 1), ran.err
    assert "Traceback" not in ran.err
    assert INTERNAL not in ran.err
    assert "way out:" in ran.err
