"""False alarms: clean artifacts judged on many seeds, with a fresh reference for each."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.mutations.mutant import Samples
from benchmarks.mutations.pool import TARGETS
from hubopt import registry
from hubopt.bundle import Bundle
from hubopt.exporter import Runner
from hubopt.parity import ReferenceFacts, judge
from hubopt.parity.moves import FLOAT64
from hubopt.parity.reference import measure_moves
from hubopt.samples import draw


@dataclass(frozen=True, slots=True)
class SeedVerdict:
    """One clean artifact on the samples of one seed.

    Attributes:
        target: Of the artifact.
        seed: Of the samples.
        problem: Why it was called wrong; None if it was not.
    """

    target: str
    seed: int
    problem: str | None


def judge_seeds(bundle: Bundle, seeds: int) -> Iterator[SeedVerdict]:
    """Judge the bundle's artifacts on samples of ``seeds`` seeds that are not the kit's own.

    The layer is loaded once; for each seed it is run eagerly and in float64. Edge cases are
    left out, for which of them count is settled when the kit is made.
    """
    from hubopt.eager import LayerRunner, full_float32
    from hubopt.float64 import widen
    from hubopt.graph_runs import GraphRunner
    from hubopt.handles import Access, locate
    from hubopt.opening import open_layer
    from hubopt.tracing import trace

    manifest, kit = bundle.manifest, bundle.kit()
    spec = kit.spec
    access = Access(pin=manifest.digest, allow_ops=manifest.allow_ops)
    layer = open_layer(locate(manifest.handle, access), manifest.layer, access)
    with tempfile.TemporaryDirectory() as work:
        program = trace(layer, spec, Path(work), "off")
        wide = widen(_graph_def(program.frozen_graph)).graph_def
    names = dict(zip(spec.output_names, program.output_tensors, strict=True))
    places = dict(zip((each.name for each in spec.inputs), program.input_tensors, strict=True))
    graph, eager = GraphRunner(wide, places), LayerRunner(layer, spec)
    artifacts = {target: bundle.artifact(target) for target in TARGETS}
    runners: dict[str, Runner] = {
        target: registry.get(target).runner(artifact) for target, artifact in artifacts.items()
    }
    for seed in range(manifest.seed + 1, manifest.seed + 1 + seeds):
        drawn = draw(spec.inputs, seed=seed, bounds=spec.bounds, domains=program.domains)
        inputs: Samples = [each.tensors for each in drawn if not each.edge]
        with full_float32():
            reference = [eager.run(sample) for sample in inputs]
        float64 = [
            dict(zip(names, graph.run(sample, list(names.values())), strict=True))
            for sample in inputs
        ]
        facts = ReferenceFacts(moves={FLOAT64: measure_moves(spec, float64, reference)})
        for target, runner in runners.items():
            tolerances = kit.overrides.tolerances(spec.output_names, artifacts[target].tolerance)
            found = [runner.run(sample) for sample in inputs]
            parity = judge(spec, found, reference, tolerances, facts, float64)
            yield SeedVerdict(target, seed, None if parity.passed else parity.problems[0])


def _graph_def(path: Path) -> object:
    import tensorflow as tf

    graph_def = tf.compat.v1.GraphDef()
    graph_def.ParseFromString(path.read_bytes())
    return graph_def
