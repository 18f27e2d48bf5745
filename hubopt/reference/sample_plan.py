"""`SamplePlan`: the samples that the layer and the artifacts are run on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from hubopt._util.collecting import relaxed_gc
from hubopt._util.trimming import trim_heap
from hubopt.errors import HuboptError, ResourceError, UsageError, WorkerCrashError
from hubopt.exporter import Program
from hubopt.programs.data_fit import fit_data
from hubopt.reference.coverage import Coverage, can_cover, cover, pool_size
from hubopt.reference.layer_process import LayerProcess
from hubopt.reference.noise_level import Noise, check_noise
from hubopt.sampling.arrays import write_samples
from hubopt.sampling.samples import SAMPLE_COUNT, SEED, Sample, draw
from hubopt.sampling.user_data import Data, Item, describe_data, read_data
from hubopt.workers.shared import SharedWorker

Effort: TypeAlias = Literal["quick", "auto", "thorough"]
"""How much a verdict is made on: ``quick``: few samples as they are drawn, and no noise; ``auto``:
samples are chosen within a limited time, and noise is measured as far as verdicts need it;
``thorough``: without a limit of time, and with all of the noise."""
QUICK_COUNT = 2
"""The number of samples of a quick check."""
LEAST_BUDGET_S = 10.0
"""How long choosing samples may take if everything before was short."""
MOST_ITEMS = 64
"""The largest number of the user's own samples that are used by default."""


@dataclass(frozen=True, slots=True)
class SamplePlan:
    """The samples that the layer and the artifacts are run on.

    Attributes:
        items: The user's own inputs; None to draw samples.
        source: Where the user's inputs came from.
        count: The largest number of samples; if samples are drawn, edge cases are extra.
        seed: The seed of drawn samples.
        noise: How much of the layer's own noise to measure.
        effort: How much is done to find samples that show more.
    """

    items: tuple[Item, ...] | None = None
    source: str | None = None
    count: int = SAMPLE_COUNT
    seed: int = SEED
    noise: Noise = "auto"
    effort: Effort = "auto"

    @classmethod
    def read(
        cls,
        data: Data | None,
        count: int | None,
        seed: int = SEED,
        noise: Noise = "auto",
        effort: Effort = "auto",
    ) -> SamplePlan:
        """Read the user's data, if any, and return the plan.

        Raises:
            UsageError: The data cannot be read, or another argument is invalid.
        """
        check_noise(noise)
        noise = _noise_of(effort, noise)
        if effort == "quick" and count is None:
            count = QUICK_COUNT
        for thing, found, least in (("samples", count, 1), ("seed", seed, 0)):
            if found is not None and found < least:
                raise UsageError(thing, str(found), f"{least} or more", f"pass {least} or more")
        if data is None:
            return cls(None, None, count or SAMPLE_COUNT, seed, noise, effort)
        limit = count or MOST_ITEMS
        items = tuple(read_data(data, limit))
        return cls(items, describe_data(data), limit, seed, noise, effort)

    def budget_s(self, spent_s: float) -> float | None:
        """Return how long choosing samples may take; None for no limit.

        Args:
            spent_s: How long everything before has taken.
        """
        return None if self.effort == "thorough" else max(LEAST_BUDGET_S, spent_s / 10)

    @property
    def first(self) -> tuple[Item, ...]:
        """The user's first input, which may resolve shapes; empty if there are no user inputs."""
        return (self.items or ())[:1]


def _noise_of(effort: Effort, noise: Noise) -> Noise:
    """Return how much noise is measured at an ``effort``.

    Raises:
        UsageError: There is no such effort, or it contradicts ``noise``.
    """
    if effort not in get_args(Effort):
        expected = f"one of: {', '.join(get_args(Effort))}"
        raise UsageError("effort", repr(effort), expected, f"pass {expected}")
    contradicted = {"quick": "full", "thorough": "off"}
    if effort != "auto" and noise == contradicted[effort]:
        raise UsageError(
            "noise",
            f"{noise}, with a {effort} check",
            "a check of one kind",
            f"leave out --noise {noise} or --{effort}",
        )
    given: dict[Effort, Noise] = {"auto": noise, "quick": "off", "thorough": "full"}
    return given[effort]


@dataclass(frozen=True, slots=True)
class Drawn:
    """Samples to choose from.

    Attributes:
        samples: The user's own samples, or drawn ones, of which more are drawn than are kept.
        edges: Edge cases, which are all kept.
    """

    samples: tuple[Sample, ...]
    edges: tuple[Sample, ...] = ()


def draw_samples(plan: SamplePlan, program: Program) -> Drawn:
    """Return the samples of ``plan`` to choose from."""
    spec = program.spec
    if plan.items is not None:
        own = fit_data(plan.items, spec, plan.count, program.domains)
        return Drawn(tuple(Sample("own", dict(tensors)) for tensors in own))
    count = plan.count if plan.effort == "quick" else pool_size(program, plan.count)
    drawn = draw(spec.inputs, count, plan.seed, spec.bounds, program.domains)
    # An edge case is fair only if the layer is steady there, and only measured noise shows that.
    edges = (sample for sample in drawn if sample.edge and plan.noise != "off")
    return Drawn(tuple(sample for sample in drawn if not sample.edge), tuple(edges))


def choose_samples(
    plan: SamplePlan,
    drawn: Drawn,
    program: Program,
    layer: LayerProcess,
    child: SharedWorker,
    work: Path,
    spent_s: float = 0.0,
) -> tuple[list[Sample], Coverage]:
    """Return the chosen samples, and what they reach in the network.

    Of drawn samples, those that reach most are chosen. If that fails or its process dies, the
    first samples are taken, and the coverage says why.

    Args:
        plan: Says how many samples to choose, and whether more may be made.
        drawn: The samples to choose from.
        program: The traced layer.
        layer: The eager layer, whose process runs the graph.
        child: The process that is used if the layer has none of its own.
        work: A folder for temporary files.
        spent_s: How long everything before has taken, which decides how long this may take.
    """
    samples, edges = list(drawn.samples), list(drawn.edges)
    if plan.effort == "quick" or not can_cover(program):
        return samples + edges, Coverage(tuple(range(len(samples))))
    work.mkdir(parents=True, exist_ok=True)
    pool = work / "pool.npz"
    write_samples(pool, [sample.tensors for sample in samples])
    make = plan.items is None and plan.noise != "off"
    count = min(plan.count, len(samples))
    try:
        budget_s = plan.budget_s(spent_s)
        covered = layer.run_beside(child, cover_in_child, program, pool, count, make, budget_s)
    except HuboptError as error:  # a crash, lack of memory, or a graph that cannot be run like this
        if isinstance(error, WorkerCrashError | ResourceError):
            layer.restart()
        covered = Coverage(tuple(range(count)), crash=error.found)
    finally:
        pool.unlink()
    chosen = [samples[at] for at in covered.chosen]
    made = [Sample("reaching", tensors, edge=True) for tensors in covered.made]
    return chosen + made + edges, covered


def cover_in_child(
    program: Program, pool: Path, count: int, make: bool, budget_s: float | None
) -> Coverage:
    """Call `cover`, then return the memory that it took to the system."""
    with relaxed_gc():
        covered = cover(program, pool, count, make, budget_s)
    trim_heap()
    return covered
