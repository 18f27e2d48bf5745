from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import hubopt
from hubopt.errors import ExportError
from hubopt.exporter import Artifact, OpUse, Program, Target
from hubopt.programs.serving import is_compiled
from hubopt.programs.tracing import trace
from hubopt.programs.xla_trial import XlaChoice
from hubopt.testing import make_task
from hubopt_exporters.savedmodel import SavedModelExporter, SavedModelOptions


def to_saved_model(program: Program, path: Path, **options: Any) -> Artifact:
    exporter = SavedModelExporter()
    return exporter.export(make_task(exporter, program, path, **options))


def test_a_compiled_function_inside_does_not_make_it_compiled(tmp_path: Path) -> None:
    inner = tf.function(lambda x: x * 2, jit_compile=True)
    spec = tf.TensorSpec([2], tf.float32, name="x")
    layer = hubopt.KerasLayer(tf.function(lambda x: inner(x) + 1, input_signature=[spec]))
    program = trace(layer, hubopt.resolve(layer), tmp_path / "program", "off")
    artifact = to_saved_model(program, tmp_path / "m", xla="off")
    assert artifact.details["jit_compile"] is False
    assert artifact.tolerance == "fp32"


def test_a_lost_compile_attribute_is_detected(
    tiny_program: tuple[Any, Program], tmp_path: Path
) -> None:
    layer, program = tiny_program
    plain = trace(layer, program.spec, tmp_path / "program", "off")
    lost = replace(plain, compiled=True)
    artifact = to_saved_model(lost, tmp_path / "m", xla="require")
    with pytest.raises(ExportError, match="after reloading, it is not compiled"):
        SavedModelExporter().runner(artifact)


STRIP = OpUse("StringStrip", 2, "node", string=True, resource=False, xla=False, generic=False)
PASS = OpUse("Identity", 9, "node", string=True, resource=False, xla=False, generic=True)
TABLE = OpUse("LookupTableFindV2", 1, "n", string=False, resource=True, xla=False, generic=False)


@pytest.mark.parametrize("freeze", [False, True])
def test_it_is_static_and_compiled_after_reloading(
    tiny_program: tuple[Any, Program], tmp_path: Path, freeze: bool
) -> None:
    _, program = tiny_program
    exporter = SavedModelExporter()
    artifact = to_saved_model(program, tmp_path / "m", freeze=freeze, xla="require")
    assert artifact.details["jit_compile"] is True
    assert artifact.details["xla"] == "on: --xla require"
    loaded = tf.saved_model.load(str(artifact.path))
    assert is_compiled(loaded)
    assert artifact.tolerance == "xla"
    files = list((artifact.path / "variables").glob("variables.data*"))
    assert artifact.details["weights"] == ("constants" if freeze else "variables")
    assert (sum(file.stat().st_size for file in files) > 2 * 8 * 8 * 4) == (not freeze)
    inputs = {"left": np.ones((2, 8), "float32"), "right": np.ones((2, 8), "float32")}
    by_signature = exporter.runner(artifact).run(inputs)
    by_call = loaded({name: tf.constant(array) for name, array in inputs.items()})
    for name in ("sum", "difference"):
        np.testing.assert_array_equal(by_signature[name], by_call[name])


def test_an_uncompiled_program_is_recorded_as_uncompiled(
    tiny_program: tuple[Any, Program], tmp_path: Path
) -> None:
    _, program = tiny_program
    artifact = to_saved_model(program, tmp_path / "m", xla="off")
    assert artifact.details["jit_compile"] is False
    assert artifact.details["xla"] == "off: --xla off"
    assert artifact.tolerance == "fp32"


@pytest.mark.parametrize("freeze", [False, True])
@pytest.mark.parametrize(
    "choice", [XlaChoice(True, "1.5x faster"), XlaChoice(False, "5.2x slower")], ids=str
)
def test_by_default_a_trial_of_what_is_written_decides(
    tiny_program: tuple[Any, Program],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    choice: XlaChoice,
    freeze: bool,
) -> None:
    _, program = tiny_program
    tried: list[bool] = []

    def decide(program: Program, path: Path) -> XlaChoice:
        tried.append(is_compiled(tf.saved_model.load(str(path))))
        return choice

    monkeypatch.setattr("hubopt_exporters.savedmodel.try_xla", decide)
    artifact = to_saved_model(program, tmp_path / "m", freeze=freeze)
    assert tried == [False]
    assert artifact.details["xla"] == str(choice)
    assert artifact.details["jit_compile"] is choice.is_compiled
    assert artifact.tolerance == ("xla" if choice.is_compiled else "fp32")
    assert is_compiled(tf.saved_model.load(str(artifact.path))) == choice.is_compiled
    assert not is_compiled(tf.saved_model.load(str(program.saved_model)))  # it shares files


def test_what_was_traced_for_xla_stays_compiled_without_a_trial(
    tiny_program: tuple[Any, Program], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, program = tiny_program
    monkeypatch.setattr("hubopt_exporters.savedmodel.try_xla", None)
    traced = trace(layer, program.spec, tmp_path / "program", "require")
    artifact = to_saved_model(traced, tmp_path / "m")
    assert artifact.details["xla"] == "on: traced for XLA"
    assert is_compiled(tf.saved_model.load(str(artifact.path)))


def test_an_error_of_the_compilation_has_one_cause(tmp_path: Path) -> None:
    def step(at: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return at + 1, total + tf.reduce_sum(tf.range(at))

    def count(x: tf.Tensor) -> tf.Tensor:
        return x + tf.cast(tf.while_loop(lambda at, _: at < 4, step, (0, 0))[1], tf.float32)

    layer = hubopt.KerasLayer(tf.function(count, [tf.TensorSpec([3], tf.float32, name="x")]))
    program = trace(layer, hubopt.resolve(layer), tmp_path / "program")
    artifact = to_saved_model(program, tmp_path / "m", xla="require")
    runner = SavedModelExporter().runner(artifact)
    with pytest.raises(ExportError, match="must be a compile-time constant") as caught:
        runner.run({"x": np.ones(3, "float32")})
    assert caught.value.found.startswith("XLA cannot compile it: Input 1 to node ")
    assert "\n" not in caught.value.found
    assert caught.value.way_out == "leave out --xla require to write it uncompiled"


@pytest.mark.parametrize(
    ("options", "ops", "named"),
    [
        (SavedModelOptions(xla="require"), [STRIP, PASS], ["StringStrip"]),
        (SavedModelOptions(xla="require"), [PASS], ["Identity"]),
        (SavedModelOptions(), [STRIP, PASS], []),
        (SavedModelOptions(xla="off"), [STRIP], []),
        (SavedModelOptions(xla="off", freeze=True), [STRIP, TABLE], ["LookupTableFindV2"]),
    ],
)
def test_operations_that_xla_lacks_are_obstacles_if_xla_is_required(
    options: SavedModelOptions, ops: list[OpUse], named: list[str]
) -> None:
    target = Target("savedmodel", options=options)
    assert [use.op for use in SavedModelExporter().obstacles(ops, target)] == named


def test_weights_too_large_for_a_graph_are_not_frozen(
    tiny_program: tuple[Any, Program], tmp_path: Path
) -> None:
    program = replace(tiny_program[1], frozen_bytes=3 * 10**9)
    with pytest.raises(ExportError, match=r"3\.0 GB with its weights") as caught:
        to_saved_model(program, tmp_path / "model", freeze=True)
    assert "--freeze" in str(caught.value)
    assert not (tmp_path / "model").exists()


def test_weights_are_linked_rather_than_copied_where_possible(
    tiny_program: tuple[Any, Program], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, program = tiny_program
    (file,) = (program.saved_model / "variables").glob("variables.data*")
    name = file.relative_to(program.saved_model)

    def refuse(source: str, destination: str) -> None:
        raise OSError(18, "Invalid cross-device link")

    linked = to_saved_model(program, tmp_path / "linked", xla="off")
    assert (linked.path / name).samefile(file)
    monkeypatch.setattr("os.link", refuse)
    copied = to_saved_model(program, tmp_path / "copied", xla="require")
    assert not (copied.path / name).samefile(file)
    assert (copied.path / name).read_bytes() == file.read_bytes()
