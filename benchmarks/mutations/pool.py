"""Judges the mutants of many artifacts on all cores."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from benchmarks.mutations.run import Judged, judge_mutants, mutants, open_case
from hubopt.bundles.bundle import read_bundle

TARGETS = ("onnx", "tflite")


@dataclass(frozen=True, slots=True)
class Share:
    """A part of the mutants of one artifact.

    Attributes:
        bundle: The bundle's folder.
        target: ``onnx`` or ``tflite``.
        seed: The seed of the fault sites.
        every: N, to judge only every Nth mutant, and the first of each kind.
        part: The number of the part.
        parts: The number of parts.
    """

    bundle: Path
    target: str
    seed: int
    every: int
    part: int
    parts: int


def judge_share(share: Share) -> list[Judged]:
    """Judge the mutants of ``share`` in this process."""
    case = open_case(read_bundle(share.bundle), share.target)
    candidates = mutants(case, share.seed)
    first = {mutant.kind: at for at, mutant in reversed(list(enumerate(candidates)))}
    chosen = [
        mutant
        for at, mutant in enumerate(candidates)
        if at % share.every == 0 or first[mutant.kind] == at
    ]
    with tempfile.TemporaryDirectory() as folder:
        return list(judge_mutants(case, chosen[share.part :: share.parts], Path(folder)))


def judge_bundles(
    bundles: Mapping[str, Path],
    seed: int,
    every: int,
    report: Callable[[str, str, int], None],
) -> dict[tuple[str, str], list[Judged]]:
    """Judge mutants of every target of ``bundles``, with one process for each core.

    Args:
        bundles: The bundle folders by model name, each with all of `TARGETS`.
        seed: The seed of the fault sites.
        every: N, to judge only every Nth mutant, and the first of each kind.
        report: Called with model, target and count when a part is done.

    Returns:
        The judged mutants by model and target.
    """
    parts = os.cpu_count() or 1
    shares = {
        Share(path, target, seed, every, part, parts): (name, target)
        for name, path in bundles.items()
        for target in TARGETS
        for part in range(parts)
    }
    judged: dict[tuple[str, str], list[Judged]] = {place: [] for place in shares.values()}
    # A fork would lose the threads of the runtimes.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(parts, context) as pool:
        futures = {pool.submit(judge_share, share): place for share, place in shares.items()}
        for future in as_completed(futures):
            judged[futures[future]] += future.result()
            report(*futures[future], len(future.result()))
    return judged
