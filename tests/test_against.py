"""`python -m benchmarks.against`: two revisions of hubopt, each with its own code and cache."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.against import in_tree, medians, ratios
from benchmarks.cost.commands import Command
from benchmarks.cost.measure import Cost, ProcessCost

SHOW = (
    "import json, os, hubopt; print(json.dumps([hubopt.__file__, os.environ['HUBOPT_CACHE_DIR']]))"
)


def cost(seconds: float, cpu_s: float, peak_mb: float) -> Cost:
    process = ProcessCost("hubopt", 0, seconds, cpu_s / 2, 0)
    return Cost(seconds, peak_mb * 1e6, processes=(process, process))


def test_a_command_runs_the_code_of_its_tree(tmp_path: Path) -> None:
    (tmp_path / "hubopt").mkdir()
    (tmp_path / "hubopt" / "__init__.py").touch()
    command = Command((sys.executable, "-c", SHOW), tmp_path)
    there = in_tree(command, tmp_path, tmp_path / "cache")
    done = subprocess.run(there.words, env=dict(there.environment), stdout=-1, check=True)
    path, cache = json.loads(done.stdout)
    assert Path(path).parent == tmp_path / "hubopt"
    assert cache == str(tmp_path / "cache")


def test_a_ratio_is_of_medians_and_above_1_where_this_tree_costs_more() -> None:
    before = [cost(1, 2, 100), cost(2, 4, 200), cost(9, 9, 900)]
    after = [cost(4, 4, 100), cost(1, 1, 1), cost(5, 8, 300)]
    assert medians(before) == (2, 4, 200)
    assert ratios(before, after) == pytest.approx((2, 1, 0.5))
