"""A loaded artifact in the place of the layer: what `verify` compares another artifact with."""

from __future__ import annotations

from pathlib import Path

from hubopt.errors import ExportError, UsageError
from hubopt.parity.reference import REDRAWN, ReferenceQuality, redrawn
from hubopt.programs.data_fit import fit_data
from hubopt.reference.reference_set import ReferenceSet
from hubopt.reference.sample_plan import SamplePlan
from hubopt.sampling.arrays import write_samples
from hubopt.sampling.samples import Sample, draw
from hubopt.verification.loaded import LoadedArtifact


def check_only(**given: object) -> None:
    """Check that nothing is set that only a layer has a use for.

    Raises:
        UsageError: Something is.
    """
    names = [name for name, value in given.items() if value]
    if names:
        raise UsageError(
            "layer",
            f"{', '.join(names)} given, but it is a loaded artifact",
            "a layer, whose shapes and noise can be settled; an artifact has its own",
            "leave them out, or pass the handle",
        )


def artifact_reference(layer: LoadedArtifact, plan: SamplePlan, folder: Path) -> ReferenceSet:
    """Return the artifact's answers as a reference set.

    It has no program, so no samples are chosen by what they reach, and no noise is measured; edge
    cases are left out, as they are fair only where noise was measured.

    Args:
        layer: The artifact that stands for the layer.
        plan: The samples.
        folder: Where to write; it must not exist yet.
    """
    spec = layer.spec
    if plan.items is not None:
        own = fit_data(plan.items, spec, plan.count)
        samples = [Sample("own", dict(tensors)) for tensors in own]
    else:
        drawn = draw(spec.inputs, plan.count, plan.seed, spec.bounds)
        samples = [sample for sample in drawn if not sample.edge]
    inputs = [sample.tensors for sample in samples]
    try:
        answers = [layer.answer(tensors) for tensors in inputs]
    except Exception as error:  # whatever a runtime raises
        raise ExportError(
            "layer",
            f"the artifact does not run: {type(error).__name__}: {error}",
            "an artifact that answers samples of its own inputs",
            "check it with `hubopt verify BUNDLE`",
        ) from error
    folder.mkdir()
    write_samples(folder / "inputs.npz", inputs)
    write_samples(folder / "reference.npz", answers)
    return ReferenceSet(
        spec=spec,
        inputs=folder / "inputs.npz",
        outputs=folder / "reference.npz",
        kept=tuple(range(len(samples))),
        quality=ReferenceQuality(probes={REDRAWN: redrawn(spec, inputs, answers)}),
        kinds=tuple(sample.kind for sample in samples),
    )
