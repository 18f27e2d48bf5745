"""The commands that a model is measured with, their order, and how often they run."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.cost.commands import Command, hubopt, load_alone, tf2onnx, tflite_converter
from benchmarks.cost.measure import Cost, Limits, middle
from benchmarks.cost.models import CostModel

PARTS = ("onnx", "floor", "tflite", "four", "growth", "cached")
GROWTH_TARGETS = ("savedmodel", "onnx")
WITHOUT = ", noise off"
"""The suffix of a step without the noise measurement, which measures less above 1 GB."""
_WITHOUT = ("--noise", "off", "--atol", "1e-4")
"""Without the noise nothing excuses the layer's own rounding, which may exceed 1e-5 at 3 GB. So the
absolute tolerance is wider; the steps with noise keep the 1e-5."""
Costs = Mapping[str, Cost]
"""The medians by `Step.name`."""


@dataclass(frozen=True, slots=True)
class Step:
    """One command of a round.

    Attributes:
        name: ``hubopt onnx``, ``tf2onnx``, ...
        command: Returns the command, given the folder for its output.
        once: Whether it runs in the first round only.
    """

    name: str
    command: Callable[[Path], Command]
    once: bool = False


def steps(model: CostModel, parts: Collection[str], cache: bool) -> Iterator[Step]:
    """Yield the commands of a round, each once even if several parts need it, tools alternating.

    Args:
        model: The model to export.
        parts: Some of `PARTS`.
        cache: Whether this hubopt has a cache of stages.
    """
    options = ("--no-cache",) if cache else ()
    path = model.make()

    def ours(*targets: str, more: Sequence[str] = ()) -> Callable[[Path], Command]:
        return lambda folder: hubopt(path, targets, folder / "bundle", (*options, *more))

    needed = {
        "onnx": {"onnx"},
        "floor": set(),
        "tflite": {"tflite"},
        "four": set(model.targets),
        "growth": set(GROWTH_TARGETS),
        "cached": set(),
    }
    singles = set().union(*(needed[part] for part in parts)).intersection(model.targets)
    # Commands that are compared directly run one after the other.
    for target in ("onnx", "tflite", "savedmodel", "trt"):
        if target in singles:
            yield Step(f"hubopt {target}", ours(target))
        if "growth" in parts and target in GROWTH_TARGETS:
            yield Step(f"hubopt {target}{WITHOUT}", ours(target, more=_WITHOUT))
        yield from _peers(target, path, parts if target in model.targets else ())
    if "four" in parts:
        yield Step("hubopt all", ours(*model.targets))
    if "cached" in parts and cache:

        def with_cache(folder: Path) -> Command:
            command = hubopt(path, model.targets, folder / "bundle")
            # platformdirs reads this variable; the folder belongs to this model and starts empty.
            return replace(command, environment={"XDG_CACHE_HOME": str(folder.parent / "cache")})

        yield Step("first", with_cache, once=True)
        yield Step("cached", with_cache)


def _peers(target: str, path: Path, parts: Collection[str]) -> Iterator[Step]:
    """Yield the plain tools' commands for a target."""
    if target == "onnx" and {"onnx", "floor"}.intersection(parts):
        yield Step("tf2onnx", lambda folder: tf2onnx(path, folder / "model.onnx"))
    if target == "onnx" and "floor" in parts:
        yield Step("load alone", lambda folder: load_alone(path, folder / "loaded"))
    if target == "tflite" and "tflite" in parts:
        yield Step("converter", lambda folder: tflite_converter(path, folder / "model.tflite"))


def run_rounds(
    plan: Collection[Step],
    rounds: int,
    limits: Limits,
    report: Callable[[str, Cost], None],
    prepare: Callable[[], None] = lambda: None,
) -> Costs:
    """Run all steps in turn, ``rounds`` times, and return the medians.

    A step that has failed is not tried again, because it may take the whole time limit.

    Args:
        plan: The steps to run.
        rounds: How often to run them.
        limits: The limits of each command.
        report: Called with the name and cost of each command.
        prepare: Called before each command.
    """
    costs: dict[str, list[Cost]] = {step.name: [] for step in plan}
    with tempfile.TemporaryDirectory(prefix="hubopt-cost-") as scratch:
        for at in range(rounds):
            for step in plan:
                done = costs[step.name]
                if (step.once and at) or any(cost.problem for cost in done):
                    continue
                # A killed command leaves its temporary files behind.
                with _emptied(Path(scratch) / "run") as folder, _emptied(folder / "tmp") as own:
                    prepare()
                    done.append(step.command(folder).run(limits, own))
                report(step.name, done[-1])
    return {name: middle(done) for name, done in costs.items()}


@contextmanager
def _emptied(folder: Path) -> Iterator[Path]:
    """Yield a new folder and remove it afterwards: large artifacts would fill the disk."""
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
