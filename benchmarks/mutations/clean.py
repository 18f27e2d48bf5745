"""False alarms: clean artifacts judged on many seeds, with a fresh reference for each."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.mutations.pool import TARGETS
from hubopt import registry
from hubopt.arrays import read_samples, write_samples
from hubopt.bundle import Bundle
from hubopt.exporter import Runner
from hubopt.noise import measure_noise
from hubopt.parity import ReferenceFacts, judge
from hubopt.parity.moves import FLOAT64, WAYS
from hubopt.parity.reference import measure_moves
from hubopt.samples import SAMPLE_COUNT, draw


@dataclass(frozen=True, slots=True)
class SeedVerdict:
    """One clean artifact on the samples of one seed.

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
    """Judge the bundle's artifacts on samples of ``seeds`` seeds that are not the kit's own.

    The layer answers them eagerly and in every way of `hubopt.noise`, all seeds in one go. Edge
    cases are left out, for which of them count is settled when a kit is made.
    """
    from hubopt.eager import LayerRunner, full_float32
    from hubopt.handles import Access, locate
    from hubopt.opening import open_layer
    from hubopt.tf_private import onednn_is_on
    from hubopt.tracing import trace

    manifest, kit = bundle.manifest, bundle.kit()
    spec = kit.spec
    access = Access(pin=manifest.digest, allow_ops=manifest.allow_ops)
    layer = open_layer(locate(manifest.handle, access), manifest.layer, access)
    artifacts = {target: bundle.artifact(target) for target in TARGETS}
    runners: dict[str, Runner] = {
        target: registry.get(target).runner(artifact) for target, artifact in artifacts.items()
    }
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        program = trace(layer, spec, work / "program", "auto")
        places = range(manifest.seed + 1, manifest.seed + 1 + seeds)
        drawn = [
            [
                each.tensors
                for each in draw(spec.inputs, SAMPLE_COUNT, seed, spec.bounds, program.domains)
                if not each.edge
            ]
            for seed in places
        ]
        inputs = [sample for samples in drawn for sample in samples]
        write_samples(work / "inputs.npz", inputs)
        eager = LayerRunner(layer, spec)
        with full_float32():
            reference = [eager.run(sample) for sample in inputs]
        ways = measure_noise(
            program, work / "inputs.npz", work / "ways", work / "log", onednn_is_on()
        )
        given = {way: read_samples(path, spec.outputs) for way, path in ways.answers.items()}
    for at, seed in enumerate(places):
        part = slice(at * SAMPLE_COUNT, (at + 1) * SAMPLE_COUNT)
        facts = ReferenceFacts(
            moves={
                way: measure_moves(spec, found[part], reference[part])
                for way, found in given.items()
                if way in WAYS
            }
        )
        for target, runner in runners.items():
            parity = judge(
                spec,
                [runner.run(sample) for sample in inputs[part]],
                reference[part],
                kit.overrides.tolerances(spec.output_names, artifacts[target].tolerance),
                facts,
                given[FLOAT64][part],
            )
            problem = parity.problems[0] if parity.status != "verified" else None
            yield SeedVerdict(target, seed, parity.status, problem)
