"""`ask_layer`: draws and chooses the samples of a plan and runs the eager layer on them."""

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
    """Choose samples and run the eager layer on them; start the first step of the noise.

    That step runs in the background meanwhile, on the first samples that were drawn. These are
    kept in any case.

    Args:
        plan: The plan of the samples.
        layer: The eager layer.
        program: The traced layer.
        folder: The folder that samples and answers are written to.
        work: A folder for temporary files.
        escalation: Measures the noise.
        child: Runs functions that may crash, for a layer that has no process of its own.
        background: Runs the threads, and is called with a label when a step begins.

    Returns:
        The reference set, and the first step of its noise, see `NoiseEscalation.begin`.

    Raises:
        TraceError: The layer refuses a sample that is not an edge case.
    """
    with background.note("choose samples"):
        drawn = draw_samples(plan, program)
        first = None
        if escalation.begins_light:
            likely = [sample.tensors for sample in drawn.samples[:LIGHT_SAMPLES]]
            onednn_on = layer.session.onednn_is_on()
            first = FirstLook(likely, background.submit(escalation.look, likely, onednn_on))
        samples, covered = choose_samples(
            plan, drawn, program, layer, child, work, background.elapsed_s
        )
    with background.note(f"run the eager layer on {len(samples)} samples"):
        answered = answer(layer, program, samples, folder, work)
    answered = replace(answered, quality=_with_coverage(answered.quality, covered))
    return answered, first


def _with_coverage(quality: ReferenceQuality, covered: Coverage) -> ReferenceQuality:
    skipped = dict(quality.skipped)
    if covered.problem:
        skipped["samples made by gradient"] = covered.problem
    if covered.cut:
        skipped["what further samples reach"] = f"{covered.cut}; --thorough takes its time"
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
