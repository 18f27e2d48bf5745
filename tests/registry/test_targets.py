"""Targets are made from names, precisions and options; one error reports all problems."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint

import pytest

from hubopt import registry
from hubopt.errors import UsageError
from hubopt.exporter import NoOptions, Target, option
from hubopt.registry.targets import make_targets, parse_options
from hubopt_exporters.onnx import OnnxOptions
from hubopt_exporters.savedmodel import SavedModelOptions
from hubopt_exporters.tensorrt import TensorRTExporter


@dataclass(frozen=True, slots=True)
class EngineOptions:
    level: int = option(1, "how hard to try", least=0, most=3)


class Engine(TensorRTExporter):
    """An exporter that starts from ONNX and has several precisions."""

    name = "engine"
    Options = EngineOptions  # type: ignore[assignment]
    precisions = ("fp32", "fp16", "int8")


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Install `Engine` and a broken exporter beside the built-in ones."""
    points = [*registry._entry_points().values()]
    points.append(EntryPoint("engine", f"{__name__}:Engine", registry.GROUP))
    points.append(EntryPoint("broken", "no_such_module:X", registry.GROUP))
    monkeypatch.setattr(registry, "entry_points", lambda group: points)


def refused(names: list[str | Target], options: Mapping[str, object] | None = None) -> UsageError:
    with pytest.raises(UsageError) as caught:
        make_targets(names, options)
    return caught.value


def test_names_become_targets_in_float32_with_default_options() -> None:
    onnx, savedmodel = make_targets(["onnx", "savedmodel"])
    assert onnx == Target("onnx", "fp32", OnnxOptions())
    assert savedmodel == Target("savedmodel", "fp32", SavedModelOptions())
    assert make_targets([]) == ()


def test_sources_come_first_in_float32() -> None:
    targets = make_targets(["engine:int8", "savedmodel", "engine"])
    assert [target.id for target in targets] == ["onnx", "engine-int8", "savedmodel", "engine"]


def test_duplicate_targets_are_merged() -> None:
    targets = make_targets(["onnx", "trt", "onnx:fp32", Target("onnx")])
    assert [target.id for target in targets] == ["onnx", "trt"]


def test_options_apply_to_all_targets_of_the_exporter_including_sources() -> None:
    given = {"onnx.opset": "17", "engine.level": 2}
    onnx, *engines = make_targets(["engine:fp16", "engine:int8"], given)
    assert onnx.options == OnnxOptions(opset=17)
    assert [engine.options for engine in engines] == [EngineOptions(2)] * 2


def test_a_target_keeps_its_own_options() -> None:
    mine = Target("onnx", options=OnnxOptions(opset=15))
    assert make_targets(["engine", mine], {"engine.level": 3}) == (
        mine,
        Target("engine", "fp32", EngineOptions(3)),
    )
    assert make_targets([Target("onnx")], {"onnx.opset": 15}) == (mine,)


def test_a_target_with_two_sets_of_options_is_refused() -> None:
    mine = Target("onnx", options=OnnxOptions(opset=15))
    error = refused([mine, "onnx"])
    assert error.thing == "target onnx"
    assert error.found == (
        "it is requested twice, with OnnxOptions(opset=15) and OnnxOptions(opset=18)"
    )
    assert "has options of its own" in refused([mine], {"onnx.opset": 16}).found


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (Target("onnx", options=SavedModelOptions()), "an instance of OnnxOptions"),
        (Target("onnx", options=OnnxOptions(opset=99)), "int, 13 to 18"),
        (Target("trt", options=OnnxOptions()), "an instance of NoOptions"),
        (Target("onnx", "fp16"), "one of: fp32"),
        (Target("nothing"), "one of: broken, engine, onnx"),
    ],
)
def test_target_objects_are_checked_like_names(target: Target, message: str) -> None:
    assert message in refused([target]).expected


def test_an_unknown_name_is_reported_with_the_known_ones() -> None:
    error = refused(["onxx"])
    assert str(error).startswith("target onxx: no exporter has this name\n  expected: one of: ")
    assert "onnx, savedmodel, tflite, trt" in error.expected


@pytest.mark.parametrize("given", ["engine:fp61", "engine:FP16"])
def test_an_unknown_precision_is_reported_with_the_nearest(given: str) -> None:
    error = refused([given])
    assert error.thing == f"target {given}"
    assert error.expected == "one of: fp32, fp16, int8"
    assert error.way_out == "did you mean engine:fp16?"


def test_an_empty_precision_is_refused() -> None:
    assert refused(["onnx:"]).way_out == "did you mean onnx:fp32?"


@pytest.mark.parametrize(
    ("key", "found", "way_out"),
    [
        ("opset", "it names no exporter", "write onnx.opset"),
        ("other", "it names no exporter", "see `hubopt targets TARGET`"),
        ("onxx.opset", "no exporter has the name 'onxx'", "did you mean onnx.opset?"),
        ("zzz.opset", "no exporter has the name 'zzz'", "see `hubopt targets`"),
        (
            "savedmodel.freeze",
            "savedmodel is not among the targets, and no target starts from it",
            "add the target savedmodel, or leave the option out",
        ),
        ("onnx.opste", "onnx has no option opste", "did you mean onnx.opset?"),
        ("trt.opset", "trt has no option opset", "leave it out"),
    ],
)
def test_an_option_of_no_requested_target_is_reported(key: str, found: str, way_out: str) -> None:
    error = refused(["trt"], {key: "17"})
    assert error.thing == f"option {key}"
    assert error.found == found
    assert way_out in error.way_out


def test_every_problem_is_reported_at_once() -> None:
    error = refused(
        ["foo", "foo", "broken", "engine:fp61", "trt"],
        {"onnx.opset": "99", "opset": 1, "engine.levle": 2, "foo.x": 1, "tflite.x": 1},
    )
    assert error.thing == "targets"
    lines = error.found.splitlines()
    assert lines[0] == "7 problems"
    starts = [line.removeprefix("  - ").partition(": ")[0] for line in lines[1:]]
    assert starts == [
        "target foo",
        "target broken",
        "target engine:fp61",
        "option opset",
        "option tflite.x",
        "option onnx.opset",
        "option engine.levle",
    ]
    assert "the nearest is onnx.opset=18" in error.found


def test_the_problem_of_a_source_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Engine, "source", "gone")
    assert refused(["engine"]).thing == "target gone"


def test_options_of_the_command_line_are_parsed() -> None:
    assert parse_options([]) == {}
    assert parse_options(["onnx.opset=17", "a.b=c=d", "a.c=", "onnx.opset=17"]) == {
        "onnx.opset": "17",
        "a.b": "c=d",
        "a.c": "",
    }


def test_malformed_options_of_the_command_line_are_reported_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        parse_options(["onnx.opset", "=3", "a.b=1", "a.b=2"])
    assert caught.value.found.splitlines() == [
        "3 problems",
        "  - option onnx.opset: it has no =; expected EXPORTER.OPTION=VALUE, such as "
        "onnx.opset=18; write onnx.opset=VALUE",
        "  - option =3: it has no name before the =; expected EXPORTER.OPTION=VALUE, such as "
        "onnx.opset=18; see `hubopt targets TARGET` for the names",
        "  - option a.b: it is given twice: 1 and 2; expected one value; leave one out",
    ]


def test_targets_can_be_compared_and_copied() -> None:
    (target,) = make_targets(["trt"])[1:]
    assert target == Target("trt", "fp32", NoOptions())
    assert replace(target, precision="int8").id == "trt-int8"
