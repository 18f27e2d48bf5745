"""Checks whether diagnosis points at the layer into which a fault was injected.

This runs the inner functions of `hubopt diagnose`: names are matched, and the worst output is
traced back. There are three differences: the artifact runs in this process; the runs of the search
read tensors that were all computed at once; and the tensors of TensorFlow are kept from mutant to
mutant, because the layer is the same for all.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from benchmarks.mutations.mutant import Mutant
from benchmarks.mutations.run import Case, verdict
from benchmarks.mutations.write import write
from hubopt.bundles.bundle import Bundle
from hubopt.diagnosis.diagnose import open_reference
from hubopt.diagnosis.evaluate import Arrays, Evaluator, read_arrays, worst_output
from hubopt.diagnosis.locate import locate_fault
from hubopt.diagnosis.names import Tensor, given_tensors, match
from hubopt.diagnosis.probing import Probed
from hubopt.diagnosis.reference import Reference
from hubopt.exporter import Program
from hubopt.workers.worker import temporary_log

Outcome = Literal["pointed at", "elsewhere", "not caught", "refused"]


@dataclass(frozen=True, slots=True)
class Located:
    """The result of the diagnosis of a mutant.

    Attributes:
        target: The target of the artifact.
        kind: The kind of the fault.
        site: A description of its place.
        layer: The first wrong tensor.
        outcome: ``pointed at``: the operation that computes ``layer`` is in the segment that
            diagnosis reports. ``elsewhere``: it is not, or nothing was reported. ``not
            caught``: parity passed, so nothing was diagnosed. ``refused``: the runtime does
            not load or run the mutant.
        reason: The reason of the verdict, or what diagnosis reported.
        tensor: The first diverging tensor according to diagnosis; None if none was reported.
        segment: The tensors of the operations that contain the fault according to diagnosis.
        runs: The number of model runs of the search.
    """

    target: str
    kind: str
    site: str
    layer: str
    outcome: Outcome
    reason: str
    tensor: str | None = None
    segment: tuple[str, ...] = ()
    runs: int = 0


@dataclass(frozen=True, slots=True)
class Layer:
    """A bundle's layer, with each tensor computed only once for a sample.

    Attributes:
        bundle: The bundle.
        program: The traced layer.
        reference: Computes its tensors, in a child process.
        originals: Its tensors.
        folder: A folder for files that the processes exchange.
        known: The values by tensor and sample: the reference, and those in float32.
    """

    bundle: Bundle
    program: Program
    reference: Reference
    originals: list[Tensor]
    folder: Path
    known: dict[tuple[str, int], tuple[Any, Any]] = field(default_factory=dict)

    def beside(
        self,
        artifact: Probed,
        matched: Mapping[str, str],
        seen: dict[tuple[str, int], Any],
        names: Sequence[str],
        samples: Sequence[int],
    ) -> Arrays:
        """Return the tensors ``names`` of ``artifact`` in the form that a search needs.

        Outputs are requested for every sample, other tensors only for the few samples that are
        searched. For these samples, all tensors with a match in TensorFlow are computed at once.

        Args:
            artifact: A mutant.
            matched: TensorFlow's tensor for each tensor of the mutant.
            seen: The mutant's tensors for samples that were run before; the new ones are added.
            names: The names of the requested tensors.
            samples: The numbers of the requested samples.
        """
        requested = {name: matched[name] for name in names}
        wanted = (
            requested if set(requested.values()) <= set(self.program.output_tensors) else matched
        )
        for at in samples:
            if any((name, at) not in seen for name in names):
                path = self.folder / "found.npz"
                artifact.answer(self.bundle.inputs, [at], list(wanted), path)
                found = read_arrays(path, {name: name for name in wanted}, 1)
                seen.update({(name, at): arrays[0] for name, arrays in found.items()})
            self._compute(wanted.values(), at)
        wide, narrow = (
            {
                name: [self.known[tensor, at][side] for at in samples]
                for name, tensor in requested.items()
            }
            for side in (0, 1)
        )
        return {name: [seen[name, at] for at in samples] for name in names}, wide, narrow

    def _compute(self, tensors: Iterable[str], sample: int) -> None:
        new = [tensor for tensor in dict.fromkeys(tensors) if (tensor, sample) not in self.known]
        if not new:
            return
        self.reference.answer(self.bundle.inputs, [sample], new, self.folder)
        keys = {tensor: tensor for tensor in new}
        wide = read_arrays(self.folder / "wide.npz", keys, 1)
        narrow = read_arrays(self.folder / "narrow.npz", keys, 1)
        self.known.update(
            {(tensor, sample): (wide[tensor][0], narrow[tensor][0]) for tensor in new}
        )


@contextmanager
def opened_layer(bundle: Bundle) -> Iterator[Layer]:
    """Load and trace the layer of ``bundle``, which has a handle, in a child process."""
    with ExitStack() as stack:
        log = stack.enter_context(temporary_log())
        program, reference = open_reference(bundle, None, log, stack)
        yield Layer(bundle, program, reference, reference.tensors(), log.parent)


def locate_mutants(layer: Layer, case: Case, chosen: Iterable[Mutant]) -> Iterator[Located]:
    """Judge each mutant with a fault in a single layer; diagnose it if it is caught."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"mutant{case.artifact.path.suffix}"
        for mutant in chosen:
            if mutant.layer is None:
                continue
            located = partial(Located, mutant.target, mutant.kind, mutant.site, mutant.layer)
            write(mutant, path)
            try:
                caught, reason = verdict(case, path)
            except Exception as error:  # whatever a runtime raises about a model
                yield located("refused", f"{type(error).__name__}: {error}")
                continue
            yield _located(layer, case, path, located) if caught else located("not caught", reason)


def _located(layer: Layer, case: Case, path: Path, located: partial[Located]) -> Located:
    probed = Probed(replace(case.artifact, path=path))
    inputs, outputs = probed.interface()
    tensors = probed.tensors()
    matched = match(tensors, layer.originals, given_tensors(layer.program, inputs, outputs))
    arrays = partial(layer.beside, probed, matched, {})
    ends = list(dict.fromkeys(outputs.values()))
    # This artifact has failed, so diagnosis follows any deviation that rounding does not
    # explain.
    worst = worst_output(arrays, ends, len(case.inputs), lambda error: error.diverges)
    if worst is None:
        return located("elsewhere", "nothing leaves the reference")
    start, samples = worst
    search = Evaluator(arrays, samples)
    fault = locate_fault(tensors, layer.originals, matched, start, search)
    faulty = located.args[3]
    segment = tuple(tensor.name for tensor in fault.segment)
    excess = search.measures[fault.tensor].excess
    return located(
        "pointed at" if faulty in segment else "elsewhere",
        f"{fault.tensor}, {excess:.3g} times its rounding noise",
        fault.tensor,
        segment,
        fault.runs,
    )
