"""The attack benchmark detects what it claims to detect: every fault is planted here once.

Kills are tried on a fake command that replaces hubopt and misbehaves on request. File attacks are
tried on bundles with false claims, with the real runtimes.
"""

import io
import json
import multiprocessing
import os
import random
import signal
import sys
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from benchmarks import attack
from benchmarks.attacks import striking
from benchmarks.attacks.attempt import Attempt, wrong
from benchmarks.attacks.byte_edits import EDITS, edit_bytes, edit_member
from benchmarks.attacks.clean import Clean, broken_promises, read_manifest, seal
from benchmarks.attacks.controls import failed_controls
from benchmarks.attacks.file_edits import SPECIALS
from benchmarks.attacks.files import ATTACKS, draw_attempt, judge, kind_of
from benchmarks.attacks.json_edits import edit_json
from benchmarks.attacks.kills import KINDS, KillCase, draw_case, try_case
from benchmarks.attacks.npz_edits import edit_npz
from benchmarks.attacks.outcome import FAULTS, GOOD, Outcome, Ran, judge_command
from benchmarks.attacks.place import Place
from benchmarks.attacks.processes import members
from benchmarks.attacks.report import exit_code, markdown, rows, show
from benchmarks.attacks.running import preload, run_command
from benchmarks.attacks.state import State
from benchmarks.attacks.striking import Kill, strike
from benchmarks.attacks.wire_edits import edit_message
from hubopt._util.digest import sha256
from hubopt.bundles.bundle import Bundle
from hubopt.bundles.stage_store import Label, StageStore
from tests.attacked import planted_answers

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

FAKE = """
import os, pathlib, shutil, signal, subprocess, sys, time
words, plan = sys.argv[1:], os.environ["FAKE"].split()
clean = pathlib.Path(os.environ["FAKE_CLEAN"])
output = pathlib.Path(words[words.index("-o") + 1]) if words[0] == "export" else None
staged = output.parent / f".{output.name}.x" if output else None
def leave(number, frame):
    if staged and "folder" not in plan:
        shutil.rmtree(staged, ignore_errors=True)
    sys.exit(128 + number)
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN if "hang" in plan else leave)
if "orphan" in plan:
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)"], start_new_session=True)
if staged:
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir()
if "exit1" in plan:
    shutil.rmtree(staged, ignore_errors=True)
    print("error: this is a defect of hubopt", file=sys.stderr)
    sys.exit(1)
if "traceback" in plan:
    raise ValueError("nobody caught it")
if "entry" in plan:
    for value in pathlib.Path(os.environ["HUBOPT_CACHE_DIR"]).glob("*/value.json"):
        value.write_text("[]")
time.sleep(float(os.environ.get("FAKE_SLEEP", "0")))
if output:
    shutil.copytree(clean / "bundles" / ("wrong" if "lie" in plan else "tiny"), staged / "bundle")
    if "half" in plan:
        (staged / "bundle" / "onnx" / "model.onnx").write_bytes(b"hal")
    (staged / "bundle").rename(output)
    if "folder" not in plan:
        shutil.rmtree(staged)
elif "changes" in plan:
    (pathlib.Path(words[1]) / "onnx" / "model.onnx").write_bytes(b"other")
"""
COMMAND = (sys.executable, "-c", FAKE)
SIGTERM = Kill(signal.SIGTERM, "parent", 0.5, at_rename=False, twice=False, choice=0.0)
EXPORT = KillCase(1, "export", quick=True, kept=0.0, kills=(SIGTERM,))
TARGETS = ("savedmodel", "onnx", "tflite")
Fake = Callable[..., list[Outcome]]


def write_bundle(folder: Path, content: bytes) -> None:
    (folder / "verification").mkdir(parents=True)
    for name in ("inputs", "reference"):
        (folder / "verification" / f"{name}.npz").write_bytes(b"samples")
    targets = {}
    for target in TARGETS:
        (folder / target).mkdir()
        (folder / target / f"model.{target}").write_bytes(content)
        path = f"{target}/model.{target}"
        result = {"path": path, "sha256": "", "companions": {}, "status": "verified"}
        targets[target] = result | {"reason": None}
    raw = {"targets": targets, "float64_sha256": None}
    (folder / "hubopt.json").write_text(json.dumps(raw))
    seal(folder)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Return a function that runs a kill case on the fake command, which misbehaves as planned."""
    clean = Clean(tmp_path / "clean")
    write_bundle(clean.bundle("tiny"), b"right")
    write_bundle(clean.bundle("wrong"), b"wrong")
    result = tmp_path / "result"
    result.write_text("files")
    StageStore(clean.stages, 10**9).put("key", Label("trace", "tiny"), "{}", {"result": result})
    monkeypatch.setenv("FAKE_CLEAN", str(clean.root))

    def run(plan: str, case: KillCase = EXPORT, sleep: float = 0.0) -> list[Outcome]:
        monkeypatch.setenv("FAKE", plan)
        monkeypatch.setenv("FAKE_SLEEP", str(sleep))
        durations = dict.fromkeys((*KINDS, "defaults"), 1.0)
        return try_case(case, clean, tmp_path / "work", durations, COMMAND)

    return run


def fault(outcomes: list[Outcome]) -> dict[str, str]:
    (outcome,) = outcomes
    assert (outcome.good is None) == bool(outcome.faults)
    return dict(outcome.faults)


def test_a_kill_that_leaves_nothing_is_counted_as_absent(fake: Fake) -> None:
    (outcome,) = fake("", sleep=5)
    assert (outcome.good, outcome.faults, outcome.counts) == ("absent", {}, True)
    assert "SIGTERM to parent" in outcome.detail
    assert "exit 143" in outcome.detail


def test_a_kill_that_comes_too_late_does_not_count(fake: Fake) -> None:
    (outcome,) = fake("")
    assert (outcome.good, outcome.faults, outcome.counts) == ("right", {}, False)


def test_a_planted_leftover_folder_is_found(fake: Fake) -> None:
    assert "outputs/.bundle.x" in fault(fake("folder", sleep=5))["folder left"]


def test_a_planted_orphan_is_found_and_ended(
    fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.attacks.running.PATIENCE_S", 0.3)
    found = fault(fake("orphan", sleep=5))["process left"]
    assert "python -c" in found
    assert members(-1, str(tmp_path / "work" / "place")) == []


def test_a_planted_half_bundle_is_found(fake: Fake) -> None:
    (outcome,) = fake("half")
    assert "missing" in outcome.faults["damaged"] or "in the manifest" in outcome.faults["damaged"]


def test_planted_damage_in_the_cache_is_found(fake: Fake) -> None:
    case = replace(EXPORT, kind="repeat", kept=1.0)
    (outcome,) = fake("entry", case, sleep=5)
    assert outcome.faults["damaged"] == "entry key is damaged"


def test_a_planted_change_to_a_bundle_under_verification_is_found(fake: Fake) -> None:
    (outcome,) = fake("changes", replace(EXPORT, kind="verify"))
    assert "has changed" in outcome.faults["damaged"]


def test_a_wrong_bundle_reported_as_verified_is_found(fake: Fake) -> None:
    (outcome,) = fake("lie")
    assert "onnx/model.onnx differs" in outcome.faults["wrong verified"]


def test_a_planted_exit_1_is_found(fake: Fake) -> None:
    (outcome,) = fake("exit1")
    assert "defect of hubopt" in outcome.faults["exit 1"]


def test_a_planted_traceback_is_found(fake: Fake) -> None:
    (outcome,) = fake("traceback folder")
    assert "nobody caught it" in outcome.faults["traceback"]


def test_a_planted_hang_is_found_and_ended(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(striking, "_SIGNALLED_TIMEOUT_S", 0.3)
    (outcome,) = fake("hang", sleep=30)
    assert "hang" in outcome.faults


def test_the_next_run_must_clean_up_after_sigkill(fake: Fake) -> None:
    case = replace(EXPORT, kills=(replace(SIGTERM, signal=signal.SIGKILL),))
    killed, following = fake("", case, sleep=1)
    assert (killed.good, killed.faults) == ("absent", {})
    assert (following.good, following.faults, following.counts) == ("right", {}, False)
    killed, following = fake("folder", case, sleep=1)
    assert killed.faults == {}
    assert "outputs/.bundle.x" in following.faults["folder left"]


def test_a_next_run_that_fails_is_a_fault(fake: Fake) -> None:
    case = replace(EXPORT, number=4)
    assert "exit 1" in fake("exit1", case)[1].faults


@pytest.mark.parametrize("victim", ["child", "group"])
def test_signals_reach_children_and_the_process_group(tmp_path: Path, victim: str) -> None:
    script = """
import subprocess, sys
child = subprocess.run([sys.executable, "-c", "import time; time.sleep(20)"])
sys.exit(0 if child.returncode == -15 else 1)
"""
    kill = replace(SIGTERM, victim=victim)
    place = Place.make(tmp_path / "place")
    struck = strike(kill, [], place, 1.0, (sys.executable, "-c", script))
    assert struck.victim == victim
    assert struck.ran.code == (0 if victim == "child" else -15)
    assert struck.ran.left == ()


def test_a_kill_can_strike_just_before_the_rename(tmp_path: Path) -> None:
    script = """
import pathlib, sys, time
folder = pathlib.Path(sys.argv[1]) / ".bundle.x" / "bundle"
(folder / "logs").mkdir(parents=True)
(folder / ".work").mkdir()
(folder / "logs" / "tflite.log").touch()
time.sleep(0.3)
(folder / ".work").rmdir()
time.sleep(20)
"""
    place = Place.make(tmp_path / "place")
    left = place.outputs / ".bundle.killed" / "bundle" / "logs"  # of an earlier killed run
    left.mkdir(parents=True)
    (left / "tflite.log").touch()
    kill = replace(SIGTERM, at_rename=True)
    struck = strike(kill, [str(place.outputs)], place, 5.0, (sys.executable, "-c", script))
    assert struck.landed
    assert 0.3 < struck.seconds < 5
    assert not (place.outputs / ".bundle.x" / "bundle" / ".work").exists()


def test_a_command_that_hangs_is_ended(tmp_path: Path) -> None:
    place = Place.make(tmp_path / "place")
    command = (sys.executable, "-c", "import time; time.sleep(30)")
    assert run_command([], place, 0.5, command).code is None


@pytest.mark.parametrize(
    ("ran", "good", "faults"),
    [
        (Ran(0, "", ""), None, []),
        (Ran(4, "", "it differs"), "refused", []),
        (Ran(5, "", "the process was ended by SIGSEGV; it last said"), "contained", []),
        (Ran(1, "", "error"), None, ["exit 1"]),
        (Ran(70, "", "error"), None, ["exit 1"]),
        (Ran(2, "", "Traceback (most recent call last)\nValueError"), None, ["traceback"]),
        (Ran(0, "", "", ("7 python",)), None, ["process left"]),
        (Ran(None, "", ""), None, ["hang"]),
        (Ran(-11, "", ""), None, ["crash"]),
        (Ran(139, "", ""), None, ["crash"]),
    ],
)
def test_every_end_of_a_command_is_judged(ran: Ran, good: str | None, faults: list[str]) -> None:
    assert judge_command(ran) == (good, judge_command(ran)[1])
    assert list(judge_command(ran)[1]) == faults


def test_only_the_signal_that_was_sent_may_end_a_command() -> None:
    for code in (-15, 143):
        assert judge_command(Ran(code, "", ""), signal.SIGTERM) == (None, {})
        assert "crash" in judge_command(Ran(code, "", ""), signal.SIGHUP)[1]


def test_ctrl_c_while_python_starts_does_not_count_as_a_traceback_of_hubopt() -> None:
    head = "Traceback (most recent call last):\n"
    starting = head + '  File "/x/typer/core.py", line 1, in <module>\nKeyboardInterrupt\n'
    running = head + '  File "/x/hubopt/cli/__init__.py", line 9, in main\nKeyboardInterrupt\n'
    assert judge_command(Ran(-2, "", starting), signal.SIGINT)[1] == {}
    assert "traceback" in judge_command(Ran(-2, "", running), signal.SIGINT)[1]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place.make(tmp_path / "place")


def attempt(place: Place) -> Attempt:
    (place.output / "onnx").mkdir(parents=True)
    (place.output / "onnx" / "model.onnx").write_bytes(b"model")
    arguments = ("verify", str(place.output))
    return Attempt("onnx", "a flip", arguments, lambda ran: wrong("it is off"), place.output)


def test_faults_of_a_file_attack_are_counted(place: Place) -> None:
    tried = attempt(place)
    before = {"onnx/model.onnx": sha256(place.output / "onnx" / "model.onnx")}
    assert judge(tried, Ran(5, "", ""), place, before) == ("refused", {})
    assert judge(tried, Ran(0, "", ""), place, before) == (None, {"wrong verified": "it is off"})
    (place.temporary / "left.npz").touch()
    found = judge(tried, Ran(5, "", ""), place, before)
    assert found == (None, {"folder left": "temporary/left.npz"})
    (place.temporary / "left.npz").unlink()
    (place.output / "onnx" / "model.onnx").write_bytes(b"other")
    assert "damaged" in judge(tried, Ran(5, "", ""), place, before)[1]
    (place.root / "state").mkdir()
    (place.root / "state" / "defect.log").write_text("in read_samples\nTokenError")
    problem = judge(tried, Ran(1, "", "a defect"), place, before)[1]["exit 1"]
    assert problem == "exit 1: a defect: in read_samples TokenError"
    assert "hang" in judge(tried, Ran(None, "", ""), place, before)[1]
    (place.here / "ran").touch()
    found = judge(tried, Ran(5, "", ""), place, before)
    assert "code that a file carried" in found[1]["wrong verified"]


def test_a_lie_in_a_bundle_is_reported_by_running_it(tiny_bundle: Bundle, tmp_path: Path) -> None:
    """It runs in a separate process because it forks, and this process already runs TensorFlow."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, initializer=preload) as pool:
        found = pool.submit(planted_answers, tiny_bundle.path, tmp_path).result()
    assert found == {
        "clean": "right",
        "wrong artifact": "wrong verified",
        "nothing run": "wrong verified",
        "no target": "wrong verified",
        "the real refusal": "refused",
        "a crash of a child": "contained",
        "a hang": "hang",
        "an exit 1": "exit 1",
        "an orphan": "process left",
    }


def test_edits_change_data_and_are_the_same_each_time() -> None:
    data = bytes(range(256)) * 4
    for name, edit in EDITS.items():
        edited = [edit(random.Random(seed), data)[0] for seed in range(40)]
        assert sum(result != data for result in edited) > 30, name
        assert edited == [edit(random.Random(seed), data)[0] for seed in range(40)]
    assert edit_bytes(random.Random(0), b"")[0]


def test_editing_a_member_leaves_a_valid_archive() -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("config.json", "{}")
    edit = edit_member(random.Random(0), stream.getvalue(), lambda draw, name, data: (b"[]", "x"))
    with zipfile.ZipFile(io.BytesIO(edit[0])) as archive:
        assert archive.read("config.json") == b"[]"


def test_json_edits_are_of_every_kind_and_leave_valid_json() -> None:
    value = {"targets": {"onnx": {"path": "onnx/model.onnx", "sizes": [1, 2.5, True, None]}}}
    results = [edit_json(random.Random(seed), value) for seed in range(300)]
    assert all(json.loads(json.dumps(edited)) == edited for edited, _ in results)
    texts = " ".join(text for _, text in results)
    for part in ("dropped", "added", "exchanged", "../", "null", "1e+308", "/etc/passwd"):
        assert part in texts
    assert value["targets"]["onnx"]["path"] == "onnx/model.onnx"


def test_npz_edits_are_of_every_kind() -> None:
    stream = io.BytesIO()
    np.savez(stream, **{"0/left": np.ones((2, 8)), "1/left": np.ones((2, 8))})
    texts = " ".join(edit_npz(random.Random(seed), stream.getvalue())[1] for seed in range(300))
    for part in ("dtype", "shape", "pickle", "header", "dropped", "named", "bits flipped"):
        assert part in texts


def test_edits_inside_a_protobuf_message_still_parse(tiny: Path) -> None:
    """An edit that the parser refuses never reaches the code after the parser."""
    from google.protobuf.message import DecodeError

    from hubopt._platform.tf_private import read_saved_model

    data = (tiny / "saved_model.pb").read_bytes()
    kind = type(read_saved_model(tiny))

    def parsed(edit: Callable[[random.Random, bytes], tuple[bytes, str]]) -> int:
        count = 0
        for edited in {edit(random.Random(seed), data)[0] for seed in range(60)} - {data}:
            try:
                kind.FromString(edited)
                count += 1
            except DecodeError:
                continue
        return count

    assert parsed(edit_message) > max(30, 1.5 * parsed(edit_bytes))


def test_special_edits_leave_something_other_than_a_regular_file(tmp_path: Path) -> None:
    for name, make in SPECIALS.items():
        path = tmp_path / name.replace("/", " ") / "file"
        path.parent.mkdir()
        path.write_text("content")
        make(path, tmp_path)
        assert path.is_symlink() or not path.is_file(), name


def test_seals_and_broken_promises(tmp_path: Path) -> None:
    write_bundle(tmp_path / "bundle", b"right")
    assert broken_promises(tmp_path / "bundle") == []
    (tmp_path / "bundle" / "onnx" / "model.onnx").write_bytes(b"other")
    assert "onnx/model.onnx" in broken_promises(tmp_path / "bundle")[0]
    seal(tmp_path / "bundle")
    assert broken_promises(tmp_path / "bundle") == []
    (tmp_path / "bundle" / "hubopt.json").write_text("{")
    assert broken_promises(tmp_path / "bundle")


def test_cases_are_the_same_each_time_and_of_every_kind() -> None:
    cases = [draw_case(number, 0) for number in range(300)]
    assert cases == [draw_case(number, 0) for number in range(300)]
    assert cases != [draw_case(number, 1) for number in range(300)]
    kills = [kill for case in cases for kill in case.kills]
    assert {case.kind for case in cases} == set(KINDS)
    assert {kill.signal.name for kill in kills} == {"SIGKILL", "SIGTERM", "SIGINT", "SIGHUP"}
    assert {kill.victim for kill in kills} == {"parent", "child", "group"}
    assert any(kill.at_rename for kill in kills)


def test_attempts_are_the_same_each_time(tiny: Path, tiny_bundle: Bundle, tmp_path: Path) -> None:
    clean = Clean(tmp_path / "clean")
    clean.model("").mkdir(parents=True)
    clean.bundle("").mkdir(parents=True)
    clean.stages.mkdir()
    for name in ("tiny", "conv"):
        clean.model(name).symlink_to(tiny)
        clean.bundle(name).symlink_to(tiny_bundle.path)
    kinds = set()
    for number in range(60):
        try:
            first, again = (
                draw_attempt(number, 0, clean, Place.make(tmp_path / "place")) for _ in range(2)
            )
        except (FileNotFoundError, IndexError):  # an attack that needs a Keras file or a cache
            continue
        assert (first.kind, first.detail) == (again.kind, again.detail)
        assert first.kind == kind_of(number, 0)
        kinds.add(first.kind)
    assert kinds >= {"saved_model.pb", "variables", "onnx", "tflite", "manifest", "npz"}
    assert sum(weight for weight, _ in ATTACKS.values()) == 100


OUTCOMES = (
    Outcome("file:1", "onnx", "a flip", "refused"),
    Outcome("file:2", "onnx", "a flip", None, {"hang": "it hangs\x1b[2J"}),
    Outcome("kill:1/0", "export SIGTERM", "to parent", "absent"),
    Outcome("kill:1/last", "export, the next run", "alone", "right", counts=False),
    Outcome("file:3", "onnx", "a flip", "right", note="only in a fork: crash: x"),
)


def test_the_table_counts_attacks_and_faults() -> None:
    header, *body = rows(OUTCOMES)
    assert header == ["attacked", "attacks", *GOOD, *FAULTS]
    by_kind = {line[0]: dict(zip(header, line, strict=True)) for line in body}
    assert by_kind["onnx"]["attacks"] == "3"
    assert by_kind["onnx"]["hang"] == "1"
    assert by_kind["export SIGTERM"]["absent"] == "1"
    assert by_kind["export, the next run"]["attacks"] == "0"
    assert by_kind["all"]["attacks"] == "4"
    assert markdown(OUTCOMES).splitlines()[1].startswith("| --- | --: |")


def test_faults_are_listed_and_decide_the_exit_code() -> None:
    console = Console(file=io.StringIO(), width=250)
    show(OUTCOMES, console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "HANG: file:2, onnx, a flip: it hangs'\\x1b'[2J" in text
    assert "not repeated by the real command: file:3" in text
    assert "4 attacks, 1 with a fault, 1 not repeated" in text
    assert exit_code(OUTCOMES) == 1
    assert exit_code(OUTCOMES[:1]) == 0


def test_an_interrupted_run_resumes(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "state.jsonl"
    State(path, 3).add("file:1", OUTCOMES[:1])
    with path.open("a") as stream:
        stream.write('{"seed": 3, "case": "file:2", "outc')  # a kill leaves a partial line
    state = State(path, 3)
    assert state.stale == 0
    assert State(path, 3, "other code").stale == 1
    assert state.done == {"file:1"}
    assert state.outcomes == list(OUTCOMES[:1])
    with pytest.raises(SystemExit, match="of seed 3, not 4"):
        State(path, 4)


def test_the_command_runs_the_remaining_cases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tried: list[object] = []

    def kills(numbers, seed, clean, work, jobs, record, until, durations):  # type: ignore[no-untyped-def]
        for number in numbers:
            tried.append(number)
            record(f"kill:{number}", [Outcome(f"kill:{number}/0", "export", "", "absent")])

    def files(numbers, seed, clean, work, jobs, record, until):  # type: ignore[no-untyped-def]
        for number in list(numbers)[:2]:
            tried.append(f"file {number}")
            record(f"file:{number}", [Outcome(f"file:{number}", "onnx", "", "refused")])

    monkeypatch.setattr(attack, "prepare", Clean)
    monkeypatch.setattr(attack, "measure_durations", lambda *_: {})
    monkeypatch.setattr(attack, "attack_by_kills", kills)
    monkeypatch.setattr(attack, "attack_files", files)
    words = ["--kills", "2", "--files", "3", "--state", str(tmp_path / "state")]
    assert attack.main(words) == 3
    assert attack.main(words) == 0
    assert attack.main(words) == 0
    assert tried == [0, 1, "file 0", "file 1", "file 2"]
    assert "5 attacks, 0 with a fault" in capsys.readouterr().out
    assert os.environ.get("HUBOPT_ATTACK") is None


def test_the_controls_fail_when_hubopt_refuses_everything(tmp_path: Path) -> None:
    clean = Clean(tmp_path / "clean")
    clean.stages.mkdir(parents=True)
    commands: list[str] = []

    def refuse(words: Sequence[str], place: Place, timeout_s: float) -> Ran:
        commands.append(words[0])
        return Ran(2, "", "error: no")

    failed = failed_controls(clean, tmp_path / "work", refuse)
    assert {*commands} == {"inspect", "verify", "export"}
    assert sum("exit 2, not 0" in problem for problem in failed) == 11
    assert any("exit 2, not 4" in problem for problem in failed)  # artifacts of another model
    assert any("onnx: run does not come from the clean cache" in problem for problem in failed)


def test_manifests_are_read_as_raw_json(tmp_path: Path) -> None:
    write_bundle(tmp_path / "bundle", b"right")
    assert set(read_manifest(tmp_path / "bundle")["targets"]) == set(TARGETS)
