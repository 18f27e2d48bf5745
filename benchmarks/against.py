"""What exports cost beside those of an earlier revision: wall time, processor time, peak memory.

    python -m benchmarks.against REVISION [--part PART] [--model NAME] [--rounds N] [--json]

The earlier revision is checked out into a temporary folder and runs with the packages that are
installed here. Both take turns, in the opposite order in every other round, and each command is a
whole process with all that it starts. A ratio above 1 means that this tree costs more.

    onnx, tflite   one target, verified, without timing and without a cache
    four           all targets in one command, likewise
    cached         all targets again, from the cache that the same revision has filled

Exit code 0: every ratio of the medians is at most `--most`; 1: one is larger; 3: a command failed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from benchmarks.cost.commands import Command, hubopt
from benchmarks.cost.measure import Cost, Limits
from benchmarks.cost.models import MODELS, CostModel

PARTS = ("onnx", "tflite", "four", "cached")
MEASURES = ("wall s", "cpu s", "peak MB")
_HERE = Path(__file__).resolve().parent.parent


def main(arguments: Sequence[str]) -> int:
    """Run what the arguments ask for; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.against")
    parser.add_argument("revision", help="a commit of this repository")
    parser.add_argument("--part", choices=PARTS, action="append", help="all by default")
    parser.add_argument("--model", choices=MODELS, action="append", help="basic-pitch by default")
    parser.add_argument("--rounds", type=int, default=3, help="3 by default")
    parser.add_argument("--most", type=float, default=1.03, help="1.03 by default")
    parser.add_argument("--json", action="store_true", help="everything, to standard output")
    asked = parser.parse_args(arguments)
    rows = []
    with (
        tempfile.TemporaryDirectory(prefix="hubopt-against-") as scratch,
        _checked_out(asked.revision, Path(scratch) / "before") as before,
    ):
        trees = before, _HERE
        for model in asked.model or ["basic-pitch"]:
            for part in asked.part or PARTS:
                found = _measure(MODELS[model], part, trees, asked.rounds, Path(scratch))
                rows.append((model, part, *found))
    if asked.json:
        print(json.dumps([_plain(*row) for row in rows], indent=2))
    else:
        _show(rows, asked.revision)
    problems = [cost.problem for *_, old, new in rows for cost in (*old, *new) if cost.problem]
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        return 3
    worst = max(ratio for *_, old, new in rows for ratio in ratios(old, new))
    return int(worst > asked.most)


@contextmanager
def _checked_out(revision: str, folder: Path) -> Iterator[Path]:
    add = ["git", "worktree", "add", "--quiet", "--detach", str(folder), revision]
    subprocess.run(add, cwd=_HERE, check=True)
    try:
        yield folder
    finally:
        remove = ["git", "worktree", "remove", "--force", str(folder)]
        subprocess.run(remove, cwd=_HERE, check=True)


def _measure(
    model: CostModel, part: str, trees: tuple[Path, Path], rounds: int, scratch: Path
) -> tuple[list[Cost], list[Cost]]:
    """Return the costs of the earlier tree and of this one, a round each."""
    costs: tuple[list[Cost], list[Cost]] = [], []
    caches = [scratch / f"cache-{number}" for number in range(2)]
    for number in range(rounds + (part == "cached")):
        for side in (0, 1) if number % 2 == 0 else (1, 0):
            print(f"{model.name} {part}: round {number}", file=sys.stderr, flush=True)
            cost = _run(model, part, trees[side], caches[side], scratch)
            if part != "cached" or number:  # the first one fills the cache
                costs[side].append(cost)
    for cache in caches:
        shutil.rmtree(cache, ignore_errors=True)
    return costs


def _run(model: CostModel, part: str, tree: Path, cache: Path, scratch: Path) -> Cost:
    targets = (part,) if part in model.targets else model.targets
    options = () if part == "cached" else ("--no-cache",)
    folder = scratch / "run"
    (folder / "tmp").mkdir(parents=True)
    command = in_tree(hubopt(model.make(), targets, folder / "bundle", options), tree, cache)
    cost = command.run(Limits(), folder / "tmp")
    shutil.rmtree(folder)
    return cost


def in_tree(command: Command, tree: Path, cache: Path) -> Command:
    """Return ``command`` with the code of ``tree`` and a cache of its own."""
    environment = {
        "PYTHONPATH": f"{tree}:{tree / 'exporters'}",
        "HUBOPT_CACHE_DIR": str(cache),
    }
    # `python -m` looks in the current folder first.
    words = ("env", "--chdir", str(tree), *command.words)
    return replace(command, words=words, environment=environment)


def medians(costs: Sequence[Cost]) -> tuple[float, float, float]:
    """Return the medians of `MEASURES`."""
    return (
        median(cost.seconds for cost in costs),
        median(sum(process.cpu_s for process in cost.processes) for cost in costs),
        median(cost.peak_bytes for cost in costs) / 1e6,
    )


def ratios(old: Sequence[Cost], new: Sequence[Cost]) -> tuple[float, ...]:
    """Return the medians of ``new`` over those of ``old``, in the order of `MEASURES`."""
    return tuple(
        after / before if before else 1.0
        for before, after in zip(medians(old), medians(new), strict=True)
    )


def _plain(model: str, part: str, old: Sequence[Cost], new: Sequence[Cost]) -> dict[str, object]:
    return {
        "model": model,
        "part": part,
        "before": dict(zip(MEASURES, medians(old), strict=True)),
        "after": dict(zip(MEASURES, medians(new), strict=True)),
        "wall_s": {"before": [c.seconds for c in old], "after": [c.seconds for c in new]},
    }


def _show(rows: Sequence[tuple[str, str, list[Cost], list[Cost]]], revision: str) -> None:
    table = Table(title=f"this tree over {revision}, medians", title_justify="left")
    table.add_column("model")
    table.add_column("part")
    for name in MEASURES:
        for column in ("before", "after", "ratio"):
            table.add_column(f"{name}\n{column}", justify="right")
    for model, part, old, new in rows:
        values = zip(medians(old), medians(new), ratios(old, new), strict=True)
        cells = (f"{value:.2f}" for triple in values for value in triple)
        table.add_row(model, part, *cells)
    Console(width=max(Console().width, 120)).print(table)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
