"""Mutants of many artifacts over all cores."""

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
        seed: Of the mutants' sites.
        every: Only every so manieth mutant, and the first of each kind.
        part: Which part of them.
        parts: Of how many.
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
    found = mutants(case, share.seed)
    first = {mutant.kind: at for at, mutant in reversed(list(enumerate(found)))}
    chosen = [
        mutant
        for at, mutant in enumerate(found)
        if at % share.every == 0 or first[mutant.kind] == at
    ]
    with tempfile.TemporaryDirectory() as folder:
        return list(judge_mutants(case, chosen[share.part :: share.parts], Path(folder)))


def judge_bundles(
    bundles: Mapping[str, Path],
    seed: int,
    every: int,
    told: Callable[[str, str, int], None],
) -> dict[tuple[str, str], list[Judged]]:
    """Judge mutants of every target of ``bundles``, one process a core.

    Args:
        bundles: Folders by the model's name, each with all of `TARGETS`.
        seed: Of the mutants' sites.
        every: Only every so manieth mutant, and the first of each kind.
        told: Called with model, target and count when a part is done.

    Returns:
        By model and target.
    """
    parts = os.cpu_count() or 1
    shares = {
        Share(path, target, seed, every, part, parts): (name, target)
        for name, path in bundles.items()
        for target in TARGETS
        for part in range(parts)
    }
    judged: dict[tuple[str, str], list[Judged]] = {place: [] for place in shares.values()}
    # Runtimes keep threads, which a fork would lose.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(parts, context) as pool:
        futures = {pool.submit(judge_share, share): place for share, place in shares.items()}
        for future in as_completed(futures):
            judged[futures[future]] += future.result()
            told(*futures[future], len(future.result()))
    return judged
