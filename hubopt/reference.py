"""The reference: which samples the layer is asked, and in how many ways."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from hubopt.arrays import write_samples
from hubopt.coverage import Coverage, can_cover, pool_size
from hubopt.data_fit import fit_data
from hubopt.errors import UsageError
from hubopt.exporter import Program
from hubopt.kit import Kit, add_noise, make_kit
from hubopt.noise import Stop, measure_noise
from hubopt.parity.moves import FLOAT64
from hubopt.parity.reference import ReferenceFacts
from hubopt.samples import SAMPLE_COUNT, SEED, Sample, draw
from hubopt.session import LayerSession
from hubopt.targets import Progress
from hubopt.user_data import Data, Item, describe_data, read_data

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
        noise: Whether to measure how far the layer itself moves.
    """

    items: tuple[Item, ...] | None = None
    source: str | None = None
    count: int = SAMPLE_COUNT
    seed: int = SEED
    noise: bool = True

    @classmethod
    def read(
        cls, data: Data | None, count: int | None, seed: int = SEED, noise: bool = True
    ) -> Question:
        """Read the user's data, if there are any.

        Raises:
            UsageError: The data cannot be read, or the counts cannot be meant.
        """
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


def _choose(
    question: Question, layer: LayerSession, program: Program, pool: Path
) -> tuple[list[Sample], Coverage]:
    """Return the samples, and what of the network they reach.

    Drawn samples are chosen from a larger number of them, as those that reach most.
    """
    spec = program.spec
    edges: list[Sample] = []
    if question.items is not None:
        own = fit_data(question.items, spec, question.count, program.domains)
        samples = [Sample("own", dict(each)) for each in own]
    else:
        count = pool_size(program, question.count)
        drawn = draw(spec.inputs, count, question.seed, spec.bounds, program.domains)
        samples = [each for each in drawn if not each.edge]
        # An edge case is fair only if the layer is steady there, which takes measuring.
        edges = [each for each in drawn if each.edge and question.noise]
    if not can_cover(program):
        return samples + edges, Coverage(tuple(range(len(samples))))
    write_samples(pool, [each.tensors for each in samples])
    make = question.items is None and question.noise
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
    log: Path,
    stack: ExitStack,
    progress: Progress,
    keep: Callable[[Kit], None] = lambda complete: None,
) -> Callable[[], Kit]:
    """Run the eager layer, and begin to measure its noise beside whatever comes next.

    Args:
        question: What to ask.
        layer: The eager layer.
        program: Its trace.
        kit: Where samples and answers go.
        log: Gets what child processes print.
        stack: Its end ends the measuring.
        progress: Told what begins.
        keep: Called with the kit once it is complete, from another thread.

    Returns:
        What gives the kit; it waits for the noise.
    """
    work = program.folder
    with progress("choose samples"):
        samples, covered = _choose(question, layer, program, work / "pool.npz")
    with progress(f"run the eager layer on {len(samples)} samples"):
        made = make_kit(layer, program, samples, kit, work)
        made = replace(made, facts=_with_coverage(made.facts, covered))
    if not question.noise:
        keep(made)
        return lambda: made
    pool = stack.enter_context(ThreadPoolExecutor(1))
    stop = Stop()
    stack.callback(stop)  # before the pool waits for its thread
    onednn_on = layer.onednn_is_on()

    def measure() -> Kit:
        ways = measure_noise(program, made.inputs, work / "noise", log, onednn_on, stop)
        if stop.is_asked:  # the export has ended, and half of the answers are missing
            return made
        answers = dict(ways.answers)
        if FLOAT64 in answers:
            answers[FLOAT64] = answers[FLOAT64].replace(made.inputs.with_name("float64.npz"))
        complete = add_noise(made, answers, ways.problems)
        keep(complete)
        return complete

    measuring = pool.submit(measure)

    def finish() -> Kit:
        with progress("measure how steady the layer is"):
            return measuring.result()

    return cache(finish)


def _with_coverage(facts: ReferenceFacts, covered: Coverage) -> ReferenceFacts:
    return replace(
        facts,
        units=covered.units,
        silent=covered.silent,
        weights=covered.weights,
        hidden=covered.hidden,
        untaken={"samples made by gradient": covered.problem} if covered.problem else {},
    )
