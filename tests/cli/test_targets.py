"""``hubopt targets``: the installed targets, and the options of one target."""

from collections.abc import Callable

from tests.conftest import Ran


def test_every_target_lists_its_precisions_and_options(hubopt: Callable[..., Ran]) -> None:
    listed = hubopt("targets", "--json").json["targets"]
    assert listed["onnx"]["precisions"] == ["fp32"]
    assert listed["onnx"]["options"]["opset"] == {
        "type": "int",
        "default": 18,
        "unit": "",
        "help": "the ONNX operator set to write",
        "least": 13,
        "most": 18,
    }
    assert list(listed["savedmodel"]["options"]) == ["xla", "freeze"]
    assert listed["trt"]["options"] == {}


def test_one_target_is_shown_with_its_options(hubopt: Callable[..., Ran]) -> None:
    ran = hubopt("targets", "savedmodel")
    assert ran.code == 0
    title, precisions, headings, *rows = ran.out.splitlines()
    assert title == "savedmodel: TensorFlow SavedModel, compiled by XLA where faster"
    assert precisions == "precisions: fp32"
    assert headings.split() == ["option", "type", "default", "unit", "what", "it", "does"]
    assert rows[0].startswith("savedmodel.xla     require | auto | off  auto     -  ")
    assert rows[1].startswith("savedmodel.freeze  bool                  false    -  ")
    assert "int, 13 to 18" in hubopt("targets", "onnx").out
    assert hubopt("targets", "trt").out.endswith("no options\n")


def test_the_json_of_one_target_is_its_part_of_the_list(hubopt: Callable[..., Ran]) -> None:
    listed = hubopt("targets", "--json").json["targets"]
    one = hubopt("targets", "onnx", "--json").json
    assert one["targets"] == {"onnx": listed["onnx"]}


def test_an_unknown_target_gives_the_usual_error(hubopt: Callable[..., Ran]) -> None:
    ran = hubopt("targets", "onxx")
    assert ran.code == 2
    assert not ran.out
    assert ran.err.startswith("error: target onxx: no exporter has this name\n  expected: one of: ")
