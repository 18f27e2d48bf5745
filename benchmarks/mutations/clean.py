"""False alarms: judges clean artifacts on many seeds, each with its own reference set."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.mutations.pool import TARGETS
from hubopt import registry
from hubopt.bundles.bundle import Bundle
from hubopt.models.handles import LoadPolicy
from hubopt.parity import judge
from hubopt.progress import Background, quiet
from hubopt.reference import noise
from hubopt.reference.layer_process import LayerProcess
from hubopt.reference.measuring import ask_layer
from hubopt.reference.noise import NoiseMeter
from hubopt.reference.noise_level import NoiseEscalation
from hubopt.reference.sample_plan import SamplePlan
from hubopt.workers.shared import SharedWorker


@dataclass(frozen=True, slots=True)
class SeedVerdict:
    """The verdict on one clean artifact with the reference set of one seed.

    Attributes:
        target: The target of the artifact.
        seed: The seed of the samples.
        status: ``failed`` is a false alarm; ``unverified`` means that the layer's own noise on
            these samples is as large as the deviation.
        problem: Why it is not verified; None if it is.
    """

    target: str
    seed: int
    status: str
    problem: str | None


def judge_seeds(bundle: Bundle, seeds: int) -> Iterator[SeedVerdict]:
    """Judge the bundle's artifacts on samples of ``seeds`` seeds other than the bundle's own.

    Each reference set is made as by `hubopt export --seed`: samples are chosen, made and left out,
    the layer is run, and its noise is measured.
    """
    manifest = bundle.manifest
    spec = manifest.spec
    artifacts = {target: bundle.artifact(target) for target in TARGETS}
    runners = {
        target: registry.get(target).runner(artifact) for target, artifact in artifacts.items()
    }
    load_policy = LoadPolicy(pin=manifest.digest, allow_ops=manifest.allow_ops)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        log = Path(name) / "log"
        layer = stack.enter_context(
            LayerProcess(manifest.handle, manifest.layer, load_policy, log, quiet)
        )
        program = layer.session.trace(spec, Path(name) / "program", "auto", False)
        background = stack.enter_context(Background(quiet))
        child = stack.enter_context(SharedWorker(log, noise.SHARED_ENVIRONMENT, noise.IMPORTS))
        meter = stack.enter_context(NoiseMeter(log, child))
        for seed in range(manifest.seed + 1, manifest.seed + 1 + seeds):
            folder = Path(name) / f"{seed}"
            escalation = NoiseEscalation("full", program, meter, folder / "noise", quiet)
            plan = SamplePlan(seed=seed, noise="full", effort="thorough")
            asked, first = ask_layer(
                plan, layer, program, folder / "reference", folder, escalation, child, background
            )
            known = escalation.begin(asked, first)
            inputs = known.read_inputs()
            for target, runner in runners.items():
                parity = judge(
                    spec,
                    [runner.run(sample) for sample in inputs],
                    known.read_outputs(),
                    manifest.tolerances.tolerances(spec.output_names, artifacts[target].tolerance),
                    known.quality,
                    known.read_outputs(known.float64) if known.float64 else None,
                )
                problem = parity.problems[0] if parity.status != "verified" else None
                yield SeedVerdict(target, seed, parity.status, problem)
