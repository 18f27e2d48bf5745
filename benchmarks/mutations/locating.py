"""Whether diagnosis points at the layer in which a fault was planted.

The inner functions of `hubopt diagnose` are run: names are matched, the worst output is
followed back. What differs is that the artifact is run in this process, that the search's runs
read tensors that were all computed at once, and that TensorFlow's are remembered from mutant to
mutant, since the layer is the same for all.
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
    """What diagnosis said of a mutant.

    Attributes:
        target: Of the artifact.
        kind: Of the fault.
        site: Where it is, in words.
        layer: The tensor that is wrong first.
        outcome: ``pointed at``: the operation that gives ``layer`` is in the segment that
            diagnosis reports. ``elsewhere``: it is not, or nothing was reported. ``not
            caught``: parity passed, so nothing was diagnosed. ``refused``: its runtime does
            not load or run it.
        reason: The verdict's words, or what was reported instead.
        tensor: The first tensor that diverges by diagnosis; None if none was reported.
        segment: The tensors of the operations in which the fault is, by diagnosis.
        runs: How many runs of the model the search took.
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
    """A bundle's layer, each of its tensors computed once for a sample.

    Attributes:
        bundle: The bundle.
        program: The layer, traced.
        reference: It runs in a child process.
        originals: Its tensors.
        folder: For the files between the processes.
        known: A tensor of a sample, as the reference and in float32.
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
        """Return the tensors ``names`` of ``artifact`` as a search wants them.

        Outputs are asked of every sample, all else of the few that are looked at: for these
        every tensor that has one of TensorFlow's is computed at once.

        Args:
            artifact: A mutant.
            matched: TensorFlow's tensor for each of its own.
            seen: Its tensors of samples that were run before; gets those that are run now.
            names: Of its tensors.
            samples: Of which samples.
        """
        own = {name: matched[name] for name in names}
        wanted = own if set(own.values()) <= set(self.program.output_tensors) else matched
        for at in samples:
            if any((name, at) not in seen for name in names):
                path = self.folder / "found.npz"
                artifact.answer(self.bundle.inputs, [at], list(wanted), path)
                found = read_arrays(path, {name: name for name in wanted}, 1)
                seen.update({(name, at): arrays[0] for name, arrays in found.items()})
            self._compute(wanted.values(), at)
        wide, narrow = (
            {name: [self.known[each, at][side] for at in samples] for name, each in own.items()}
            for side in (0, 1)
        )
        return {name: [seen[name, at] for at in samples] for name in names}, wide, narrow

    def _compute(self, tensors: Iterable[str], sample: int) -> None:
        new = [each for each in dict.fromkeys(tensors) if (each, sample) not in self.known]
        if not new:
            return
        self.reference.answer(self.bundle.inputs, [sample], new, self.folder)
        keys = {each: each for each in new}
        wide = read_arrays(self.folder / "wide.npz", keys, 1)
        narrow = read_arrays(self.folder / "narrow.npz", keys, 1)
        self.known.update({(each, sample): (wide[each][0], narrow[each][0]) for each in new})


@contextmanager
def opened_layer(bundle: Bundle) -> Iterator[Layer]:
    """Load and trace the layer of ``bundle``, made from a handle, in a child process."""
    with ExitStack() as stack:
        log = stack.enter_context(temporary_log())
        program, reference = open_reference(bundle, None, log, stack)
        yield Layer(bundle, program, reference, reference.tensors(), log.parent)


def locate_mutants(layer: Layer, case: Case, chosen: Iterable[Mutant]) -> Iterator[Located]:
    """Judge each mutant that has a layer; if it is caught, ask where it leaves the reference."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"mutant{case.artifact.path.suffix}"
        for mutant in chosen:
            if mutant.layer is None:
                continue
            told = partial(Located, mutant.target, mutant.kind, mutant.site, mutant.layer)
            write(mutant, path)
            try:
                caught, reason = verdict(case, path)
            except Exception as error:  # whatever a runtime raises about a model
                yield told("refused", f"{type(error).__name__}: {error}")
                continue
            yield _located(layer, case, path, told) if caught else told("not caught", reason)


def _located(layer: Layer, case: Case, path: Path, told: partial[Located]) -> Located:
    probed = Probed(replace(case.artifact, path=path))
    inputs, outputs = probed.interface()
    tensors = probed.tensors()
    matched = match(tensors, layer.originals, given_tensors(layer.program, inputs, outputs))
    arrays = partial(layer.beside, probed, matched, {})
    ends = list(dict.fromkeys(outputs.values()))
    # Of an artifact that failed, as this one has, diagnosis follows whatever rounding does
    # not explain.
    worst = worst_output(arrays, ends, len(case.inputs), lambda error: error.diverges)
    if worst is None:
        return told("elsewhere", "nothing leaves the reference")
    start, samples = worst
    search = Evaluator(arrays, samples)
    fault = locate_fault(tensors, layer.originals, matched, start, search)
    planted = told.args[3]
    segment = tuple(each.name for each in fault.segment)
    excess = search.measures[fault.tensor].excess
    return told(
        "pointed at" if planted in segment else "elsewhere",
        f"{fault.tensor}, {excess:.3g} times what rounding moves it",
        fault.tensor,
        segment,
        fault.runs,
    )
