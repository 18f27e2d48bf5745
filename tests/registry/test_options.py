"""Options are made from texts or values, and all their problems are reported at once."""

from dataclasses import dataclass
from typing import Any, Literal

import pytest

from hubopt.errors import UsageError
from hubopt.exporter import option
from hubopt.registry import problems
from hubopt.registry.option_values import expected_value
from hubopt.registry.options import OptionInfo, describe_options, make_options
from hubopt_exporters.onnx import OnnxExporter
from hubopt_exporters.savedmodel import SavedModelExporter, SavedModelOptions
from hubopt_exporters.tensorrt import TensorRTExporter


@dataclass(frozen=True, slots=True)
class Options:
    """One option of each type."""

    flag: bool = option(False, "whether to")
    count: int = option(4, "how many", unit="samples", least=1, most=64)
    share: float = option(0.5, "how much", least=0, most=1)
    label: str = option("", "a text")
    mode: Literal["require", "auto"] = option("require", "how hard")

    def __post_init__(self) -> None:
        if self.flag and self.mode == "auto":
            raise ValueError("flag does not go with mode=auto")
        if self.label == "broken":
            raise LookupError("a third party's bug")


class Exporter(OnnxExporter):
    name = "mine"
    Options = Options  # type: ignore[assignment]


def refused(**given: object) -> UsageError:
    with pytest.raises(UsageError) as caught:
        make_options(Exporter(), given)
    return caught.value


def test_without_values_the_defaults_are_used() -> None:
    assert make_options(Exporter(), {}) == Options()


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        *[("flag", text, True) for text in ("true", "yes", "on", "1", "True", True)],
        *[("flag", text, False) for text in ("false", "no", "off", "0", "OFF", False)],
        ("count", "7", 7),
        ("count", 7, 7),
        ("share", "0.25", 0.25),
        ("share", "1", 1.0),
        ("share", 1, 1.0),
        ("label", "a=b.c", "a=b.c"),
        ("label", "", ""),
        ("mode", "auto", "auto"),
    ],
)
def test_texts_and_values_are_read(name: str, given: object, value: object) -> None:
    read = getattr(make_options(Exporter(), {name: given}), name)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("name", "given", "expected", "way_out"),
    [
        ("flag", "tru", "bool: true, false, yes, no, on, off, 1, 0", "mine.flag=true"),
        ("flag", 1, "bool: true", "mine.flag=1"),
        ("flag", "maybe", "bool: true", "the default is false"),
        ("count", "65", "int in samples, 1 to 64", "the nearest is mine.count=64"),
        ("count", 0, "int in samples, 1 to 64", "the nearest is mine.count=1"),
        ("count", "3.6", "int in samples", "the nearest is mine.count=4"),
        ("count", 3.0, "int in samples", "the nearest is mine.count=3"),
        ("count", True, "int in samples", "the default is 4"),
        ("count", "many", "int in samples", "the default is 4"),
        pytest.param("count", 10**400, "int in", "the nearest is mine.count=64", id="large int"),
        ("share", "1.5", "float, 0 to 1", "the nearest is mine.share=1"),
        ("share", "nan", "float, 0 to 1", "the default is 0.5"),
        pytest.param("share", 10**400, "float", "the nearest is mine.share=1", id="large float"),
        ("label", 3, "str", "the default is "),
        ("mode", "atuo", "require | auto", "the nearest is mine.mode=auto"),
        ("mode", None, "require | auto", "the default is require"),
    ],
)
def test_an_invalid_value_is_reported_with_the_nearest_valid_one(
    name: str, given: object, expected: str, way_out: str
) -> None:
    error = refused(**{name: given})
    assert error.thing == f"option mine.{name}"
    assert error.found.startswith(f"the value is {given!r}"[:60])
    assert expected in error.expected
    assert way_out in error.way_out


def test_the_suggested_nearest_value_is_valid() -> None:
    for name, wrong in {"flag": "onn", "count": "99", "share": "-3", "mode": "requre"}.items():
        near = refused(**{name: wrong}).way_out.partition("=")[2]
        make_options(Exporter(), {name: near})


def test_an_unknown_name_is_reported_with_the_nearest_and_all_names() -> None:
    assert str(refused(cuont=3)) == (
        "option mine.cuont: mine has no option cuont\n"
        "  expected: one of: flag (bool), count (int), share (float), label (str), "
        "mode (require | auto)\n"
        "  way out:  did you mean mine.count? see `hubopt targets mine`"
    )


def test_an_exporter_without_options_says_so() -> None:
    with pytest.raises(UsageError, match="trt has no option fp16\n  expected: none"):
        make_options(TensorRTExporter(), {"fp16": True})


def test_every_problem_is_reported_at_once() -> None:
    error = refused(cuont=3, share="2", mode="atuo", label="fine")
    assert error.thing == "options of mine"
    assert error.found.startswith("3 problems\n")
    for part in ("did you mean mine.count?", "mine.share=1", "mine.mode=auto"):
        assert part in error.found
    assert "label" not in error.found.replace("label (str)", "")


def test_an_error_of_the_options_class_is_reported_verbatim() -> None:
    error = refused(flag=True, mode="auto")
    assert str(error).startswith("options of mine: flag does not go with mode=auto\n")
    assert refused(label="broken").found == "LookupError: a third party's bug"


def test_a_long_value_is_truncated_in_the_error() -> None:
    assert len(refused(mode="x" * 10_000).found) < 100


def test_options_are_described_in_order() -> None:
    flag, count, *_, mode = describe_options(Exporter())
    assert flag == OptionInfo("flag", "bool", False, "", "whether to", None, None)
    assert count == OptionInfo("count", "int", 4, "samples", "how many", 1, 64)
    assert mode.type == "require | auto"
    assert describe_options(TensorRTExporter()) == ()


def test_the_built_in_defaults() -> None:
    assert make_options(SavedModelExporter(), {}) == SavedModelOptions("auto", False)
    assert make_options(OnnxExporter(), {}).opset == 18


@pytest.mark.parametrize(
    ("annotation", "bounds", "words"),
    [
        (int, (1, None), "int, at least 1"),
        (int, (None, 3), "int, at most 3"),
        (float, (None, None), "float"),
        (str, (None, None), "str"),
    ],
)
def test_bounds_in_words(annotation: Any, bounds: tuple[Any, Any], words: str) -> None:
    assert expected_value(annotation, "", *bounds) == words


def test_dissimilar_names_are_not_suggested() -> None:
    assert problems.nearest("zzz", ["opset", "freeze"]) is None
    assert problems.nearest("OPSET", ["opset", "freeze"]) == "opset"
