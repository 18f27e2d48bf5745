"""What the layer is asked: which samples, and how its answers become a kit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hubopt.errors import UsageError
from hubopt.exporter import Program, Tensors
from hubopt.parity.reference import ReferenceFacts
from hubopt.programs.data_fit import fit_data
from hubopt.progress import Progress
from hubopt.reference.coverage import Coverage, can_cover, pool_size
from hubopt.reference.kit import Kit, make_kit
from hubopt.reference.layer_session import LayerSession
from hubopt.reference.noise_depth import Noise, check_noise
from hubopt.sampling.arrays import write_samples
from hubopt.sampling.samples import SAMPLE_COUNT, SEED, Sample, draw
from hubopt.sampling.user_data import Data, Item, describe_data, read_data

MOST_ITEMS = 64
"""Of the user's own data that are used unless more are asked for."""


@dataclass(frozen=True, slots=True)
class Question:
    """What the layer and the artifacts are asked.

    Attributes:
        items: The user's own inputs; None to draw some.
        source: Where those came from.
        count: How many samples there are to be at most; edge cases come on top of drawn ones.
        seed: The seed of drawn ones.
        noise: How much to measure of how far the layer itself moves.
    """

    items: tuple[Item, ...] | None = None
    source: str | None = None
    count: int = SAMPLE_COUNT
    seed: int = SEED
    noise: Noise = "auto"

    @classmethod
    def read(
        cls, data: Data | None, count: int | None, seed: int = SEED, noise: Noise = "auto"
    ) -> Question:
        """Read the user's data, if there are any.

        Raises:
            UsageError: The data cannot be read, or the rest cannot be meant.
        """
        check_noise(noise)
        for thing, found, least in (("samples", count, 1), ("seed", seed, 0)):
            if found is not None and found < least:
                raise UsageError(thing, str(found), f"{least} or more", f"pass {least} or more")
        if data is None:
            return cls(None, None, count or SAMPLE_COUNT, seed, noise)
        limit = count or MOST_ITEMS
        return cls(tuple(read_data(data, limit)), describe_data(data), limit, seed, noise)

    @property
    def first(self) -> tuple[Item, ...]:
        """The first of the user's inputs, which may settle shapes; none without any."""
        return (self.items or ())[:1]


def _draw(question: Question, program: Program) -> tuple[list[Sample], list[Sample]]:
    """Return samples, of drawn ones more than are kept, and edge cases."""
    spec = program.spec
    if question.items is not None:
        own = fit_data(question.items, spec, question.count, program.domains)
        return [Sample("own", dict(each)) for each in own], []
    count = pool_size(program, question.count)
    drawn = draw(spec.inputs, count, question.seed, spec.bounds, program.domains)
    # An edge case is fair only if the layer is steady there, which takes measuring.
    edges = [each for each in drawn if each.edge and question.noise != "off"]
    return [each for each in drawn if not each.edge], edges


def _choose(
    question: Question,
    layer: LayerSession,
    program: Program,
    samples: list[Sample],
    edges: list[Sample],
    pool: Path,
) -> tuple[list[Sample], Coverage]:
    """Return the samples, and what of the network they reach.

    Of drawn ones those are chosen that reach most.
    """
    if not can_cover(program):
        return samples + edges, Coverage(tuple(range(len(samples))))
    write_samples(pool, [each.tensors for each in samples])
    make = question.items is None and question.noise != "off"
    covered = layer.cover(program, pool, min(question.count, len(samples)), make)
    pool.unlink()
    chosen = [samples[at] for at in covered.chosen]
    made = [Sample("reaching", each, edge=True) for each in covered.made]
    return chosen + made + edges, covered


def ask(
    question: Question,
    layer: LayerSession,
    program: Program,
    kit: Kit,
    work: Path,
    progress: Progress,
    begin: Callable[[Sequence[Tensors], bool], None] = lambda drawn, onednn_on: None,
) -> Kit:
    """Choose samples, run the eager layer on them, and write both to where ``kit`` says.

    Nothing is known of its noise then, see `hubopt.reference.noise_depth`.

    Args:
        question: What to ask.
        layer: The eager layer.
        program: Its trace.
        kit: Where samples and answers go.
        work: A folder for what is not kept.
        progress: Told what begins.
        begin: Called before samples are chosen, with those to choose from, the first of which are
            kept, and whether the layer computes with oneDNN.
    """
    with progress("choose samples"):
        drawn, edges = _draw(question, program)
        begin([each.tensors for each in drawn], layer.onednn_is_on())
        samples, covered = _choose(question, layer, program, drawn, edges, work / "pool.npz")
    with progress(f"run the eager layer on {len(samples)} samples"):
        made = make_kit(layer, program, samples, kit, work)
    return replace(made, facts=_with_coverage(made.facts, covered))


def _with_coverage(facts: ReferenceFacts, covered: Coverage) -> ReferenceFacts:
    return replace(
        facts,
        units=covered.units,
        silent=covered.silent,
        weights=covered.weights,
        hidden=covered.hidden,
        untaken={"samples made by gradient": covered.problem} if covered.problem else {},
    )
