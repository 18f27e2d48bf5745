"""`ask_layer`: the samples of a plan are drawn and chosen, and the eager layer answers them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hubopt.exporter import Program
from hubopt.parity.reference import ReferenceQuality
from hubopt.progress import Background
from hubopt.reference.answering import answer
from hubopt.reference.coverage import Coverage
from hubopt.reference.layer_process import LayerProcess
from hubopt.reference.noise_level import FirstLook, NoiseEscalation
from hubopt.reference.reference_set import LIGHT_SAMPLES, ReferenceSet
from hubopt.reference.sample_plan import SamplePlan, choose_samples, draw_samples
from hubopt.workers.shared import SharedWorker


def ask_layer(
    plan: SamplePlan,
    layer: LayerProcess,
    program: Program,
    folder: Path,
    work: Path,
    escalation: NoiseEscalation,
    child: SharedWorker,
    background: Background,
) -> tuple[ReferenceSet, FirstLook | None]:
    """Choose samples and run the eager layer on them; begin with the first step of its noise.

    That step is measured beside the choice and the answers, on the first samples that were
    drawn, which are kept whatever is chosen.

    Args:
        plan: Which samples.
        layer: The eager layer.
        program: Its trace.
        folder: Where samples and answers go.
        work: A folder for what is not kept.
        escalation: Measures the noise.
        child: Runs what may crash, for a layer that has no process of its own.
        background: The threads, and told what begins.

    Returns:
        The reference set, and what its noise begins with, see `NoiseEscalation.begin`.

    Raises:
        TraceError: The layer refuses a sample that is no edge case.
    """
    with background.note("choose samples"):
        drawn = draw_samples(plan, program)
        first = None
        if escalation.begins_light:
            likely = [sample.tensors for sample in drawn.samples[:LIGHT_SAMPLES]]
            onednn_on = layer.session.onednn_is_on()
            first = FirstLook(likely, background.submit(escalation.look, likely, onednn_on))
        samples, covered = choose_samples(plan, drawn, program, layer, child, work)
    with background.note(f"run the eager layer on {len(samples)} samples"):
        answered = answer(layer, program, samples, folder, work)
    answered = replace(answered, quality=_with_coverage(answered.quality, covered))
    return answered, first


def _with_coverage(quality: ReferenceQuality, covered: Coverage) -> ReferenceQuality:
    skipped = dict(quality.skipped)
    if covered.problem:
        skipped["samples made by gradient"] = covered.problem
    if covered.crash:
        skipped["what samples reach"] = covered.crash
    return replace(
        quality,
        units=covered.units,
        inactive=covered.inactive,
        weights=covered.weights,
        undetected=covered.undetected,
        skipped=skipped,
    )
