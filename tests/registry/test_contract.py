"""The declarations and results of a third party's exporter are checked before use."""

from collections.abc import Callable
from dataclasses import dataclass, field, make_dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from hubopt import registry
from hubopt.errors import ExportError
from hubopt.exporter import Artifact, ExportTask, Program, Target, option
from hubopt.registry.contract import exporter_problems
from hubopt.runs.convert import export
from hubopt.runs.obstacles import find_obstacles
from hubopt.testing import make_task
from hubopt_exporters.onnx import OnnxExporter


@dataclass(frozen=True)
class AllSorts:
    """One option of each supported type."""

    flag: bool = option(False, "a flag")
    count: int = option(3, "a number", least=1)
    share: float = option(0.5, "a number", most=1)
    text: str = option("", "a text")
    choice: Literal["a", "b"] = option("a", "a choice")


@dataclass
class Thawed:
    """Not frozen."""


@dataclass(frozen=True)
class Unresolved:
    """Its annotation names an undefined type."""

    level: "Nothing" = option(1, "a level")  # type: ignore[name-defined]  # noqa: F821


@dataclass(frozen=True)
class Refusing:
    """Its constructor refuses its own defaults."""

    level: int = option(1, "a level")

    def __post_init__(self) -> None:
        raise ValueError("no level will do")


def frozen(annotation: Any, made: Any) -> Any:
    """Return an options class with one option, ``level``."""
    return make_dataclass("Options", [("level", annotation, made)], frozen=True)


def declaring(**attributes: Any) -> list[str]:
    """Return the problems of an exporter that has ``attributes``."""
    return exporter_problems(type("Changed", (OnnxExporter,), attributes)(), "onnx")


def test_options_of_every_type_conform() -> None:
    assert declaring(Options=AllSorts) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (AllSorts(), "Options must be a frozen dataclass; NoOptions if there are none"),
        (dict, "Options must be a frozen dataclass; NoOptions if there are none"),
        (Thawed, "Options must be a frozen dataclass; NoOptions if there are none"),
        (Unresolved, "the annotations of Options do not resolve: NameError"),
        (Refusing, "Options() fails: ValueError: no level will do"),
        (frozen(int, field(default=1)), "option level has no default or no help"),
        (frozen(int, option(1, "")), "option level has no default or no help"),
        (frozen(int, field(metadata={"help": "a level"})), "option level has no default or no"),
        (frozen(list, option((), "a level")), "must be bool, int, float, str or a Literal of"),
        (frozen(Literal[1, 2], option(1, "a level")), "must be bool, int, float, str or a Literal"),
        (frozen(int, option("1x", "a level")), "has the default '1x', which is not int"),
        (frozen(int, option(True, "a level")), "has the default True, which is not int"),
        (frozen(int, option(9, "a level", most=3)), "default 9, which is not int, at most 3"),
        (frozen(Literal["a"], option("b", "a level")), "has the default 'b', which is not a"),
    ],
)
def test_invalid_option_declarations_are_reported(options: Any, message: str) -> None:
    (problem,) = declaring(Options=options)
    assert message in problem


@pytest.mark.parametrize("precisions", [(), ["fp32"], ("int8",), ("fp32", "int 8"), ("fp32", 8)])
def test_precisions_must_be_plain_words_that_include_fp32(precisions: Any) -> None:
    (problem,) = declaring(precisions=precisions)
    assert problem.startswith(f"precisions is {precisions!r}; it must be a tuple")


class WritesElsewhere(OnnxExporter):
    """Appends a suffix of its own, as np.save does."""

    def export(self, task: ExportTask) -> Artifact:
        return super().export(replace(task, path=task.path.with_suffix(".onnx.data")))


class WritesMore(OnnxExporter):
    """Leaves a file beside the artifact that no digest covers."""

    def export(self, task: ExportTask) -> Artifact:
        task.path.with_suffix(".more").touch()
        return super().export(task)


class OddDetails(OnnxExporter):
    """Puts a value into the details that JSON cannot represent."""

    def export(self, task: ExportTask) -> Artifact:
        artifact = super().export(task)
        return replace(artifact, details={"score": np.float32(1)})  # type: ignore[dict-item]


class OddTolerance(OnnxExporter):
    """Names a tolerance class that does not exist."""

    def export(self, task: ExportTask) -> Artifact:
        return replace(super().export(task), tolerance="fp8")  # type: ignore[arg-type]


class Unpicklable(OnnxExporter):
    """Returns an artifact that cannot be pickled."""

    def export(self, task: ExportTask) -> Artifact:
        artifact = super().export(task)
        return replace(artifact, path=lambda: None)  # type: ignore[arg-type]


class OtherName(OnnxExporter):
    """Names another exporter in the artifact."""

    def export(self, task: ExportTask) -> Artifact:
        return replace(super().export(task), exporter="other")


@pytest.fixture
def exported(
    tiny_program: tuple[Any, Program], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Any], Artifact]:
    """Return a function that runs a task of an exporter registered as onnx."""

    def run(exporter: Any) -> Artifact:
        monkeypatch.setattr(registry, "get", lambda name: exporter)
        artifact, _ = export(make_task(exporter, tiny_program[1], tmp_path / "model.onnx"))
        return artifact

    return run


@pytest.mark.parametrize(
    ("exporter", "message"),
    [
        (WritesElsewhere, "nothing was written at the requested path"),
        (WritesMore, "it also wrote model.more"),
        (OddDetails, "details must be plain strings, numbers and booleans: score"),
        (OddTolerance, "unknown tolerance class 'fp8'"),
        (OtherName, "the artifact names exporter 'other', not 'onnx'"),
        (Unpicklable, "the artifact says it is at"),
    ],
)
def test_artifacts_of_a_third_partys_exporter_are_checked(
    exported: Callable[[Any], Artifact], exporter: Any, message: str
) -> None:
    with pytest.raises(ExportError) as caught:
        exported(exporter())
    assert message in str(caught.value)


def test_an_exception_in_obstacles_fails_only_that_target(
    tiny_program: tuple[Any, Program], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(OnnxExporter):
        def obstacles(self, ops: Any, target: Target) -> Any:
            raise KeyError("a third party's bug")

    exporters = {"onnx": Broken(), "tflite": registry.get("tflite")}
    monkeypatch.setattr(registry, "get", exporters.__getitem__)
    found = find_obstacles([Target("onnx"), Target("tflite")], tiny_program[1].ops)
    assert "obstacles() fails: KeyError" in found["onnx"][0].reason
    assert found["tflite"] == []


def test_outputs_that_depend_on_the_data_are_refused_where_a_format_cannot_hold_them(
    tiny_program: tuple[Any, Program], monkeypatch: pytest.MonkeyPatch
) -> None:
    static = type("Static", (OnnxExporter,), {"name": "static", "dynamic": False})()
    exporters = {name: registry.get(name) for name in ("onnx", "tflite", "trt")}
    monkeypatch.setattr(registry, "get", {**exporters, "static": static}.__getitem__)
    targets = [Target(name) for name in ("onnx", "tflite", "trt", "static")]
    found = find_obstacles(targets, tiny_program[1].ops, data_dependent=["boxes"])
    assert {name for name, obstacles in found.items() if obstacles} == {"trt", "static"}
    (obstacle,) = found["static"]
    assert obstacle.op == "output boxes"
    assert obstacle.reason == ("its size depends on the data, and static holds static outputs only")


def test_weights_that_a_format_cannot_hold_are_reported_before_any_work(
    tiny_program: tuple[Any, Program],
) -> None:
    targets, ops = [Target("tflite"), Target("onnx")], tiny_program[1].ops
    found = find_obstacles(targets, ops, weights_bytes=3 * 10**9)
    (obstacle,) = found["tflite"]
    assert obstacle.op == "weights of 3.0 GB"
    assert obstacle.reason == "tflite holds 2.1 GB at most"
    assert found["onnx"] == []
    assert find_obstacles(targets, ops, weights_bytes=10**9)["tflite"] == []
