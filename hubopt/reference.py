"""The reference: which samples the layer is asked, and in how many ways."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from hubopt.data_fit import fit_data
from hubopt.errors import UsageError
from hubopt.exporter import Program
from hubopt.kit import Kit, add_noise, make_kit
from hubopt.noise import measure_noise
from hubopt.parity.moves import FLOAT64
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

    def samples(self, program: Program) -> Sequence[Sample]:
        """Return the samples for the inputs of ``program``."""
        spec = program.spec
        if self.items is None:
            drawn = draw(spec.inputs, self.count, self.seed, spec.bounds, program.domains)
            # An edge case is fair only if the layer is steady there, which takes measuring.
            return drawn if self.noise else [each for each in drawn if not each.edge]
        own = fit_data(self.items, spec, self.count, program.domains)
        return [Sample("own", dict(each)) for each in own]


def ask(
    question: Question,
    layer: LayerSession,
    program: Program,
    kit: Kit,
    log: Path,
    stack: ExitStack,
    progress: Progress,
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

    Returns:
        What gives the kit; it waits for the noise.
    """
    samples = question.samples(program)
    work = program.folder
    with progress(f"run the eager layer on {len(samples)} samples"):
        made = make_kit(layer, program, samples, kit, work)
    if not question.noise:
        return lambda: made
    pool = stack.enter_context(ThreadPoolExecutor(1))
    measuring = pool.submit(
        measure_noise, program, made.inputs, work / "noise", log, layer.onednn_is_on()
    )

    def finish() -> Kit:
        with progress("measure how steady the layer is"):
            ways = measuring.result()
        answers = dict(ways.answers)
        if FLOAT64 in answers:
            answers[FLOAT64] = answers[FLOAT64].replace(made.inputs.with_name("float64.npz"))
        return add_noise(made, answers, ways.problems)

    return cache(finish)
