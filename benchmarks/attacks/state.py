"""Outcomes on disk, one case a line, so that a run that was stopped goes on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.attacks.outcome import Outcome


class State:
    """The file of finished cases.

    Args:
        path: The file; made by the first case that is added.
        seed: The run's seed; a file of another seed is refused.
        code: The digest of the code that is attacked.

    Attributes:
        outcomes: Of all cases, in the order in which they were finished.
        done: The cases.
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
            except ValueError:  # the line that was being written when the run was stopped
                continue
            if raw["seed"] != seed:
                raise SystemExit(f"{path}: of seed {raw['seed']}, not {seed}; pass another --state")
            self.stale += raw["code"] != code
            self._keep(raw["case"], [Outcome(**each) for each in raw["outcomes"]])

    def add(self, case: str, outcomes: Sequence[Outcome]) -> None:
        """Keep a finished case."""
        line = {
            "seed": self._seed,
            "code": self._code,
            "case": case,
            "outcomes": [asdict(each) for each in outcomes],
        }
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a") as stream:
            stream.write(json.dumps(line) + "\n")
        self._keep(case, outcomes)

    def _keep(self, case: str, outcomes: Sequence[Outcome]) -> None:
        if case not in self.done:
            self.done.add(case)
            self.outcomes += outcomes
