"""False alarms: clean artifacts judged on many seeds, with a kit of its own for each."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hubopt.reference.asking import Question, ask
from hubopt.reference.kit import Kit
from hubopt.reference.noise_depth import Deepening

from benchmarks.mutations.pool import TARGETS
from hubopt import registry
from hubopt.bundles.bundle import Bundle
from hubopt.models.handles import Access
from hubopt.parity import judge
from hubopt.progress import quiet
from hubopt.reference.layer_session import open_layer_session
from hubopt.reference.noise import NoiseMeter
from hubopt.sampling.arrays import read_samples


@dataclass(frozen=True, slots=True)
class SeedVerdict:
    """One clean artifact on the kit of one seed.

    Attributes:
        target: Of the artifact.
        seed: Of the samples.
        status: ``failed`` is a false alarm; ``unverified`` says that the layer itself moves by as
            much on these samples, and blames nobody.
        problem: Why it is not verified; None if it is.
    """

    target: str
    seed: int
    status: str
    problem: str | None


def judge_seeds(bundle: Bundle, seeds: int) -> Iterator[SeedVerdict]:
    """Judge the bundle's artifacts on kits of ``seeds`` seeds that are not the bundle's own.

    Each kit is made as `hubopt export --seed` makes it: samples chosen, made and left out, the
    layer's answers, its noise measured.
    """
    manifest = bundle.manifest
    spec = manifest.spec
    artifacts = {target: bundle.artifact(target) for target in TARGETS}
    runners = {
        target: registry.get(target).runner(artifact) for target, artifact in artifacts.items()
    }
    access = Access(pin=manifest.digest, allow_ops=manifest.allow_ops)
    layer = open_layer_session(manifest.handle, manifest.layer, access)
    with tempfile.TemporaryDirectory() as name:
        program = layer.trace(spec, Path(name) / "program", "auto", False)
        for seed in range(manifest.seed + 1, manifest.seed + 1 + seeds):
            folder = Path(name) / f"{seed}"
            folder.mkdir()
            empty = Kit(spec, folder / "inputs.npz", folder / "reference.npz")
            question = Question(seed=seed, noise="full")
            asked = ask(question, layer, program, empty, folder, quiet)
            with NoiseMeter(folder / "log") as meter:
                kit = Deepening("full", program, meter, folder / "noise", quiet)(asked) or asked
            inputs = read_samples(kit.inputs, spec.inputs)
            for target, runner in runners.items():
                parity = judge(
                    spec,
                    [runner.run(sample) for sample in inputs],
                    read_samples(kit.reference, spec.outputs),
                    manifest.tolerances.tolerances(spec.output_names, artifacts[target].tolerance),
                    kit.facts,
                    read_samples(kit.float64, spec.outputs) if kit.float64 else None,
                )
                problem = parity.problems[0] if parity.status != "verified" else None
                yield SeedVerdict(target, seed, parity.status, problem)
