import importlib.metadata
from importlib.metadata import EntryPoint

import pytest

from hubopt import registry
from hubopt.errors import RuntimeMissingError, UsageError
from hubopt.exporter import FP32, NoOptions, Requirement


def point(name: str, value: str) -> EntryPoint:
    return EntryPoint(name, value, registry.GROUP)


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Return a function that replaces the installed entry points."""

    def install(*points: EntryPoint) -> None:
        monkeypatch.setattr(registry, "entry_points", lambda group: points)

    return install


class Mine:
    name = "mine"
    summary = "a test's own"
    suffix = ".mine"
    source = "onnx"
    dynamic = False
    largest_bytes = None
    reads_saved_model = False
    Options = NoOptions
    precisions = (FP32,)
    builds_with = (Requirement(("surely_not_installed",), "pip install surely"),)
    runs_with = ()

    def obstacles(self, ops: object, target: object) -> list[object]:
        return []

    def export(self, task: object) -> object:
        raise NotImplementedError

    def machine_problem(self) -> str | None:
        return None

    def runner(self, artifact: object) -> object:
        raise NotImplementedError


class Round(Mine):
    name = "round"
    source = "round"


def test_the_built_in_exporters_are_found_by_entry_point() -> None:
    assert {"onnx", "savedmodel", "tflite", "trt"} <= set(registry.names())
    declared = {entry.name for entry in importlib.metadata.entry_points(group=registry.GROUP)}
    assert set(registry.names()) == declared


def test_sources_come_first_and_only_once() -> None:
    assert [exporter.name for exporter in registry.with_sources(["trt", "onnx"])] == ["onnx", "trt"]


def test_an_unknown_target_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match="target foo: no exporter has this name") as caught:
        registry.get("foo")
    assert "onnx, savedmodel, tflite, trt" in caught.value.expected


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("no_such_module:X", "does not import: ModuleNotFoundError"),
        ("pathlib:Path", "Path lacks .*summary"),
        (f"{__name__}:Round", "name is 'round', but it is registered as 'mine'"),
    ],
)
def test_a_broken_exporter_is_reported_by_name(only, value: str, message: str) -> None:  # type: ignore[no-untyped-def]
    only(point("mine", value))
    with pytest.raises(UsageError, match=message):
        registry.get("mine")


def test_circular_sources_are_refused(only) -> None:  # type: ignore[no-untyped-def]
    only(point("round", f"{__name__}:Round"))
    with pytest.raises(UsageError, match="its sources form a cycle: round -> round"):
        registry.with_sources(["round"])


def test_a_missing_package_is_reported_with_its_install_command() -> None:
    with pytest.raises(RuntimeMissingError) as caught:
        registry.require([Mine()])  # type: ignore[list-item]
    assert str(caught.value) == (
        "packages: target mine needs surely_not_installed\n"
        "  expected: the packages installed\n"
        "  way out:  pip install surely"
    )


def test_any_one_of_the_required_modules_is_enough() -> None:
    assert not registry.missing([Requirement(("surely_not_installed", "json"), "")])
    assert registry.missing([Requirement(("cuda.surely_not.there",), "")])
