"""The cost benchmark measures process trees, survives failing peers and applies its bounds."""

import io
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import export_cost
from benchmarks.cost import commands
from benchmarks.cost.judge import Check, Row, exit_code, growth_rows, judge
from benchmarks.cost.measure import Cost, Limits, measure, middle, one_after_the_other
from benchmarks.cost.models import TARGETS, CostModel, sized, weights_bytes
from benchmarks.cost.plan import PARTS, Step, run_rounds, steps
from benchmarks.cost.report import plain, show
from benchmarks.cost.warming import available_bytes

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
MB = 10**6
HOLD = "import time; held = b'x' * (int({mb}) * 10**6); time.sleep({seconds})"
START = "import subprocess, sys; subprocess.run([sys.executable, '-c', {script!r}], check=True)"


def python(script: str) -> list[str]:
    return [sys.executable, "-c", script]


def nested(script: str, depth: int = 2) -> str:
    """Return a script that runs ``script`` in a process ``depth`` generations below."""
    for _ in range(depth):
        script = START.format(script=script)
    return script


def cost(seconds: float, peak_bytes: float = 100 * MB, problem: str | None = None) -> Cost:
    return Cost(seconds, peak_bytes, problem)


def text(*rows: Row, profile: bool = False) -> str:
    console = Console(file=io.StringIO(), width=120)
    show(rows, console, profile)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_memory_of_a_grandchild_counts() -> None:
    empty = measure(python(nested(HOLD.format(mb=0, seconds=1))))
    full = measure(python(nested(HOLD.format(mb=300, seconds=1))))
    assert empty.problem is None
    assert full.peak_bytes - empty.peak_bytes == pytest.approx(300 * MB, rel=0.2)
    assert full.peak_bytes == pytest.approx(300 * MB, rel=0.2)
    assert len(full.processes) == 3
    assert max(process.peak_rss_bytes for process in full.processes) > 240 * MB


def test_memory_is_the_largest_sum_at_one_instant() -> None:
    hold = HOLD.format(mb=150, seconds=0.6)
    together = f"""
import subprocess, sys
running = [subprocess.Popen([sys.executable, "-c", {hold!r}]) for _ in range(2)]
[each.wait() for each in running]
"""
    in_turn = f"{START.format(script=hold)}\n{START.format(script=hold)}"
    assert measure(python(together)).peak_bytes == pytest.approx(300 * MB, rel=0.2)
    assert measure(python(in_turn)).peak_bytes == pytest.approx(150 * MB, rel=0.3)


def test_pages_that_a_fork_shares_count_once() -> None:
    forked = "import os, time; held = b'x' * (200 * 10**6); os.fork(); time.sleep(0.6)"
    assert measure(python(forked)).peak_bytes == pytest.approx(200 * MB, rel=0.2)


def test_only_the_commands_own_time_is_measured() -> None:
    assert 0.5 <= measure(python("import time; time.sleep(0.5)")).seconds < 1.5


def test_a_command_that_takes_too_much_memory_is_killed_with_its_children(tmp_path: Path) -> None:
    alive = tmp_path / "alive"
    script = f"{HOLD.format(mb=300, seconds=2)}; open({str(alive)!r}, 'w').close()"
    killed = measure(python(nested(script)), Limits(peak_bytes=200 * MB))
    assert killed.problem == "killed when its processes took more than 0.2 GB"
    time.sleep(2.5)
    assert not alive.exists()


def test_a_command_that_takes_too_long_is_killed() -> None:
    killed = measure(python(nested("import time; time.sleep(60)")), Limits(seconds=0.3))
    assert killed.problem == "killed after 0 s"
    assert killed.seconds < 10


def test_processes_that_a_command_leaves_running_are_ended(tmp_path: Path) -> None:
    alive = tmp_path / "alive"
    orphan = f"import time; time.sleep(2); open({str(alive)!r}, 'w').close()"
    own_session = f"""
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", {orphan!r}], start_new_session=True)
time.sleep(0.5)
"""
    assert measure(python(own_session)).problem is None
    time.sleep(2.5)
    assert not alive.exists()


def test_failures_quote_the_last_line_of_the_command(tmp_path: Path) -> None:
    assert measure(python("print('bundle: x'); raise SystemExit('no such op')")).problem == (
        "exit 1; it last said: no such op"
    )
    crashed = measure(python("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"))
    assert crashed.problem == "ended by signal 11; it last said: nothing"
    silent = measure(python("print('done')"), makes=tmp_path / "model.onnx")
    assert silent.problem == "exit 0, but nothing was written; it last said: done"


def test_the_stages_that_hubopt_prints_are_parsed() -> None:
    ran = measure(python("print('   7.0 s  load the layer'); print('  12.3 s  onnx: export')"))
    assert ran.stages == ((7.0, "load the layer"), (12.3, "onnx: export"))


def test_medians_of_time_and_memory_are_independent() -> None:
    found = middle([cost(3, 10), cost(1, 30), cost(2, 20), cost(9, 5), cost(8, 40)])
    assert (found.seconds, found.peak_bytes) == (3, 20)
    assert middle([cost(1), cost(2, problem="exit 1")]).problem == "exit 1"


def test_sequential_commands_take_the_sum_of_times_and_the_largest_memory() -> None:
    found = one_after_the_other([cost(1, 10), cost(2, 30), cost(3, 20)])
    assert (found.seconds, found.peak_bytes, found.problem) == (6, 30, None)
    assert one_after_the_other([cost(1), cost(1, problem="exit 5")]).problem == "exit 5"


@pytest.fixture
def model(tmp_path: Path) -> CostModel:
    folder = tmp_path / "model"
    (folder / "variables").mkdir(parents=True)
    (folder / "variables" / "variables.data-00000-of-00001").write_bytes(b"x" * 1000)
    return CostModel("some", lambda: folder, onnx_time=0.25, onnx_memory=0.15)


def names(model: CostModel, *parts: str, cache: bool = True) -> list[str]:
    return [step.name for step in steps(model, parts, cache)]


def test_a_round_runs_each_command_once_and_peers_next_to_each_other(model: CostModel) -> None:
    assert names(model, "onnx") == ["hubopt onnx", "tf2onnx"]
    assert names(model, "floor") == ["tf2onnx", "load alone"]
    assert names(model, "tflite") == ["hubopt tflite", "converter"]
    assert names(model, *PARTS) == [
        *("hubopt onnx", "hubopt onnx, noise off", "tf2onnx", "load alone"),
        *("hubopt tflite", "converter", "hubopt savedmodel", "hubopt savedmodel, noise off"),
        *("hubopt trt", "hubopt all", "first", "cached"),
    ]
    assert names(model, "growth") == [
        *("hubopt onnx", "hubopt onnx, noise off"),
        *("hubopt savedmodel", "hubopt savedmodel, noise off"),
    ]
    assert names(model, "cached", cache=False) == []
    too_large = replace(model, impossible={"tflite": "ends at 2 GB"})
    assert names(too_large, "tflite", "four") == [
        *("hubopt onnx", "hubopt savedmodel", "hubopt trt", "hubopt all")
    ]


def test_the_commands_are_those_that_the_bounds_refer_to(model: CostModel, tmp_path: Path) -> None:
    folder = tmp_path / "scratch" / "run"
    found = {step.name: step.command(folder) for step in steps(model, PARTS, cache=True)}
    ours = " ".join(found["hubopt onnx"].words)
    assert ours.endswith(
        f"-m hubopt export {model.make()} --target onnx --output {folder / 'bundle'} "
        "--rounds 0 --allow-unverified --no-cache"
    )
    assert ",".join(TARGETS) in found["hubopt all"].words
    assert "--no-cache" not in found["cached"].words
    assert found["cached"].environment == {"XDG_CACHE_HOME": str(folder.parent / "cache")}
    without = ("--noise", "off", "--atol", "1e-4")
    assert found["hubopt onnx, noise off"].words == (*found["hubopt onnx"].words, *without)
    theirs = " ".join(found["tf2onnx"].words)
    assert theirs.endswith(
        f"-m tf2onnx.convert --saved-model {model.make()} "
        f"--output {folder / 'model.onnx'} --opset 18"
    )
    without = {step.name: step.command(folder) for step in steps(model, ["onnx"], cache=False)}
    assert "--no-cache" not in without["hubopt onnx"].words


def test_tf2onnx_gets_a_flag_for_a_large_model(
    model: CostModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert weights_bytes(model.make()) == 1000
    monkeypatch.setattr(commands, "LARGEST_MESSAGE_BYTES", 999)
    assert "--large_model" in commands.tf2onnx(model.make(), Path("model.onnx")).words


def test_rounds_interleave_and_a_failed_command_is_not_repeated() -> None:
    def fake(script: str, once: bool = False, name: str = "") -> Step:
        return Step(name or script, lambda at: commands.Command(tuple(python(script)), at), once)

    said: list[str] = []
    plan = [fake("1"), fake("raise SystemExit(4)"), fake("2", once=True), fake("3")]
    costs = run_rounds(plan, 2, Limits(), lambda name, _: said.append(name))
    assert said == ["1", "raise SystemExit(4)", "2", "3", "1", "3"]
    assert costs["raise SystemExit(4)"].problem == "exit 4; it last said: nothing"
    assert costs["1"].problem is None


def test_memory_is_touched_before_each_command() -> None:
    said: list[str] = []
    plan = [Step(script, lambda at: commands.Command(("true",), at)) for script in ("1", "2")]
    run_rounds(plan, 2, Limits(), lambda name, _: said.append(name), lambda: said.append("touch"))
    assert said == ["touch", "1", "touch", "2"] * 2
    share = 300 * MB / available_bytes()
    script = f"""
import resource
from benchmarks.cost import warming
warming._SHARE = {share}
warming.warm_memory()
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
    done = subprocess.run(python(script), capture_output=True, text=True, check=True)
    assert 250 * MB < int(done.stdout) * 1024 < 500 * MB


def test_files_that_a_killed_command_leaves_are_removed_with_the_run() -> None:
    script = "import tempfile; raise SystemExit(tempfile.mkdtemp())"
    plan = [Step("leaves", lambda at: commands.Command(tuple(python(script)), at))]
    problem = run_rounds(plan, 1, Limits(), lambda *_: None)["leaves"].problem
    assert problem is not None
    left = Path(problem.split()[-1])
    assert "hubopt-cost-" in str(left)
    assert not left.exists()


def some_costs(**changes: Cost) -> dict[str, Cost]:
    """Return costs that meet every bound exactly."""
    found = {
        "hubopt onnx": cost(25, 15 * MB),
        "tf2onnx": cost(100, 100 * MB),
        "load alone": cost(30, 40 * MB),
        "hubopt tflite": cost(11),
        "converter": cost(10),
        "hubopt savedmodel": cost(10),
        "hubopt trt": cost(14),
        "hubopt all": cost(36),
        "first": cost(50),
        "cached": cost(1.0),
    }
    return found | {name.replace("_", " "): changed for name, changed in changes.items()}


def test_bounds_are_met_at_the_bound_and_missed_above(model: CostModel) -> None:
    parts = ("onnx", "tflite", "four", "cached")
    rows = judge(model, parts, some_costs())
    assert [row.checks[0].value for row in rows] == [0.25, 1.1, 0.6, 1.0]
    assert exit_code(rows) == 0
    for name, slower in {
        "hubopt_onnx": cost(25.1, 15 * MB),
        "hubopt_tflite": cost(11.1),
        "hubopt_all": cost(36.7),
        "cached": cost(1.01),
    }.items():
        rows = judge(model, parts, some_costs(**{name: slower}))
        assert exit_code(rows) == 1, name
        assert sum(row.missed for row in rows) == 1
    larger = judge(model, ["onnx"], some_costs(hubopt_onnx=cost(25, 16 * MB)))
    assert [check.met for check in larger[0].checks] == [True, False]


def test_without_a_bound_nothing_is_missed(model: CostModel) -> None:
    free = replace(model, onnx_time=None, onnx_memory=None)
    (row,) = judge(free, ["onnx"], some_costs(hubopt_onnx=cost(500, 500 * MB)))
    assert [check.value for check in row.checks] == [5, 5]
    assert exit_code([row]) == 0


def test_the_cost_of_loading_alone_is_reported_too(model: CostModel) -> None:
    (row,) = judge(model, ["floor"], some_costs())
    assert [check.value for check in row.checks] == [0.3, 0.4]
    assert not row.missed
    assert not row.unjudged
    assert "load alone" in text(row)


def test_a_failing_peer_leaves_a_bound_open_and_our_failure_misses_it(model: CostModel) -> None:
    theirs = judge(model, ["onnx"], some_costs(tf2onnx=cost(3, problem="killed after 900 s")))
    assert exit_code(theirs) == 3
    assert "some, tf2onnx: killed after 900 s" in text(*theirs)
    ours = judge(model, ["onnx"], some_costs(hubopt_onnx=cost(3, problem="exit 5")))
    assert exit_code(ours) == 1
    assert exit_code([*theirs, *ours]) == 1
    free = replace(model, onnx_time=None, onnx_memory=None)
    failed = judge(free, ["onnx"], some_costs(hubopt_onnx=cost(3, problem="exit 5")))
    assert exit_code(failed) == 0
    assert "some, hubopt: exit 5" in text(*failed)


def test_an_artifact_that_no_tool_can_make_is_reported_and_not_judged() -> None:
    assert sized(1).targets == TARGETS
    large = sized(3)
    assert large.targets == ("savedmodel", "onnx", "trt")
    costs = some_costs(hubopt_all=cost(29.4))
    rows = judge(large, ["tflite", "four"], costs)
    assert exit_code(rows) == 0
    assert rows[1].checks[0].value == pytest.approx(29.4 / 49)
    shown = text(*rows)
    assert "3gb: a TFLite flatbuffer ends at 2 GB" in shown
    assert "3gb: without tflite: a TFLite flatbuffer ends at 2 GB" in shown


def test_without_a_cache_the_cached_run_is_not_judged(model: CostModel) -> None:
    costs = {name: value for name, value in some_costs().items() if name not in ("first", "cached")}
    rows = judge(model, ["cached"], costs)
    assert exit_code(rows) == 0
    assert "no cache of stages" in text(*rows)


def growing(seconds: dict[float, float], peak_ratio: float = 2.0) -> list[Row]:
    return growth_rows(
        [
            (
                size,
                {
                    f"hubopt {target}{noise}": cost(took, size * 1e9 * peak_ratio)
                    for target in ("savedmodel", "onnx")
                    for noise in ("", ", noise off")
                },
            )
            for size, took in seconds.items()
        ]
    )


def test_growth_must_be_linear_beyond_the_fixed_cost_of_the_graph() -> None:
    linear = {size: 20 + 5 * size for size in (0.1, 0.5, 1, 3)}
    rows = growing(linear)
    assert exit_code(rows) == 0
    assert [row.checks[-1].value for row in rows if "over" in row.label] == pytest.approx([1, 1])
    assert exit_code(growing({size: 20 + 5 * size**1.5 for size in linear})) == 1
    assert exit_code(growing({0.1: 20, 0.5: 20, 1: 20, 3: 25})) == 1
    assert exit_code(growing({0.1: 20, 0.5: 20, 1: 19.9, 3: 19.9})) == 0
    points = [
        (size, {f"hubopt {target}": cost(took) for target in ("savedmodel", "onnx")})
        for size, took in linear.items()
    ]
    for size, costs in points:
        costs |= {f"{name}, noise off": cost(20 + size**2) for name in list(costs)}
    assert exit_code(growth_rows(points)) == 1, "the runs with noise off are judged"


def test_growth_bounds_the_largest_models_memory_by_its_weights() -> None:
    linear = {size: 20 + 5 * size for size in (0.1, 0.5, 1, 3)}
    rows = growing(linear, peak_ratio=2.21)
    assert [row.label for row in rows if row.missed] == ["3 GB savedmodel", "3 GB onnx"]


def test_the_table_has_figures_ratio_bound_and_verdict() -> None:
    ours = Cost(12.345, 1234 * MB, stages=((7.0, "load the layer"),))
    checks = (Check("time", 0.247, 0.25), Check("memory", 0.2, 0.15))
    lines = text(Row("onnx", "resnet50", ours, cost(50, 6170 * MB), checks)).splitlines()
    cells = [" ".join(line.replace("│", " ").split()) for line in lines if "│" in line]
    assert cells == [
        "resnet50 12.3 s 1,234 MB 50 s 6,170 MB time 0.247 0.25 yes",
        "memory 0.2 0.15 NO",
    ]
    assert "profile of resnet50:" in lines  # because it missed a bound
    assert "     7.0 s  load the layer" in lines
    met = Row("onnx", "resnet50", ours, ours, (Check("time", 1, 1),))
    assert "profile" not in text(met)
    assert "profile" in text(met, profile=True)


def test_json_states_whether_bounds_are_met() -> None:
    row = Row("onnx", "resnet50", cost(1), None, (Check("time", 0.3, 0.25), Check("memory", 0.1)))
    checks = json.loads(json.dumps(plain(row)))["checks"]
    assert checks == [
        {"name": "time", "value": 0.3, "bound": 0.25, "met": False},
        {"name": "memory", "value": 0.1, "bound": None, "met": None},
    ]


def test_the_command_prints_tables_and_returns_the_exit_code(
    model: CostModel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fake(_: object, parts: list[str], *__: object) -> dict[str, Cost]:
        return some_costs()

    monkeypatch.setattr(export_cost, "MODELS", {"some": model})
    monkeypatch.setattr(export_cost, "has_cache", lambda: True)
    monkeypatch.setattr(export_cost, "_measure", fake)
    assert export_cost.main(["--part", "onnx", "--part", "four", "--rounds", "1"]) == 0
    out = capsys.readouterr().out
    assert "medians of 1" in out
    assert "against tf2onnx's command line" in out
    assert "one command each" in out
    model = replace(model, onnx_time=0.2)
    monkeypatch.setattr(export_cost, "MODELS", {"some": model})
    assert export_cost.main(["--json"]) == 1
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["part"] for row in rows] == ["onnx", "floor", "tflite", "four", "cached"]


def test_no_module_of_the_benchmark_imports_tensorflow() -> None:
    modules = "benchmarks.export_cost, benchmarks.cost.building"
    script = f"import sys, {modules}; assert 'tensorflow' not in sys.modules"
    path = {"PYTHONPATH": os.pathsep.join(sys.path)}
    assert measure(python(script), environment=path).problem is None
