"""Outcomes on disk, one case on each line, so that a stopped run can be continued."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.attacks.outcome import Outcome


class State:
    """The file of finished cases.

    Args:
        path: The file; the first added case creates it.
        seed: The run's seed; a file of another seed is refused.
        code: The digest of the attacked code.

    Attributes:
        outcomes: The outcomes of all cases, in the order in which they were finished.
        done: The finished cases.
        stale: How many of them were tried on other code.

    Raises:
        SystemExit: The file belongs to a run with another seed.
    """

    def __init__(self, path: Path, seed: int, code: str = "") -> None:
        self._path = path
        self._seed = seed
        self._code = code
        self.stale = 0
        self.outcomes: list[Outcome] = []
        self.done: set[str] = set()
        for line in path.read_text().splitlines() if path.exists() else ():
            try:
                raw = json.loads(line)
            except ValueError:  # the run was stopped while it wrote this line
                continue
            if raw["seed"] != seed:
                raise SystemExit(f"{path}: of seed {raw['seed']}, not {seed}; pass another --state")
            self.stale += raw["code"] != code
            self._keep(raw["case"], [Outcome(**outcome) for outcome in raw["outcomes"]])

    def add(self, case: str, outcomes: Sequence[Outcome]) -> None:
        """Store a finished case."""
        line = {
            "seed": self._seed,
            "code": self._code,
            "case": case,
            "outcomes": [asdict(outcome) for outcome in outcomes],
        }
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a") as stream:
            stream.write(json.dumps(line) + "\n")
        self._keep(case, outcomes)

    def _keep(self, case: str, outcomes: Sequence[Outcome]) -> None:
        if case not in self.done:
            self.done.add(case)
            self.outcomes += outcomes
