"""`SamplePlan`: the samples that the layer and the artifacts are run on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

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
    """

    items: tuple[Item, ...] | None = None
    source: str | None = None
    count: int = SAMPLE_COUNT
    seed: int = SEED
    noise: Noise = "auto"

    @classmethod
    def read(
        cls, data: Data | None, count: int | None, seed: int = SEED, noise: Noise = "auto"
    ) -> SamplePlan:
        """Read the user's data, if any, and return the plan.

        Raises:
            UsageError: The data cannot be read, or another argument is invalid.
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
        """The user's first input, which may resolve shapes; empty if there are no user inputs."""
        return (self.items or ())[:1]


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
    count = pool_size(program, plan.count)
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
    """
    samples, edges = list(drawn.samples), list(drawn.edges)
    if not can_cover(program):
        return samples + edges, Coverage(tuple(range(len(samples))))
    work.mkdir(parents=True, exist_ok=True)
    pool = work / "pool.npz"
    write_samples(pool, [sample.tensors for sample in samples])
    make = plan.items is None and plan.noise != "off"
    count = min(plan.count, len(samples))
    try:
        covered = layer.run_beside(child, cover_in_child, program, pool, count, make)
    except HuboptError as error:  # a crash, lack of memory, or a graph that cannot be run like this
        if isinstance(error, WorkerCrashError | ResourceError):
            layer.restart()
        covered = Coverage(tuple(range(count)), crash=error.found)
    finally:
        pool.unlink()
    chosen = [samples[at] for at in covered.chosen]
    made = [Sample("reaching", tensors, edge=True) for tensors in covered.made]
    return chosen + made + edges, covered


def cover_in_child(program: Program, pool: Path, count: int, make: bool) -> Coverage:
    """Call `cover`, then return the memory that it took to the system."""
    with relaxed_gc():
        covered = cover(program, pool, count, make)
    trim_heap()
    return covered
