"""The exporter in docs/write-an-exporter.md is complete, and the page describes it correctly."""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from hubopt.exporter import Program
from hubopt.registry.contract import exporter_problems
from hubopt.registry.options import describe_options
from hubopt.testing import assert_conforms, make_task

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

PAGE = Path(__file__).parents[1] / "docs" / "write-an-exporter.md"
NAME = "hubopt_gzgraph"
WIDTH = 100


def block(language: str, file: str) -> str:
    """Return the code block of the page for the file ``file``."""
    found = re.search(rf"^`{file}`:\n\n```{language}\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
    assert found is not None, f"the page has no {file}"
    return found[1]


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The page's module, imported from a file."""
    file = tmp_path_factory.mktemp("page") / f"{NAME}.py"
    file.write_text(block("python", file.name))
    spec = importlib.util.spec_from_file_location(NAME, file)
    assert spec is not None
    assert spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = module  # annotations are resolved, and options pickled, by name
    spec.loader.exec_module(module)
    yield module
    del sys.modules[NAME]


def test_it_conforms(module: Any, tmp_path: Path) -> None:
    parity = assert_conforms(module.GzGraphExporter(), tmp_path)
    assert parity is not None
    assert parity.passed


def test_its_option_does_what_it_says(
    module: Any, tiny_program: tuple[Any, Program], tmp_path: Path
) -> None:
    exporter = module.GzGraphExporter()
    (level,) = describe_options(exporter)
    assert (level.type, level.default, level.least, level.most) == ("int", 6, 0, 9)
    sizes = []
    for text in ("0", "9"):
        task = make_task(exporter, tiny_program[1], tmp_path / text, level=text)
        sizes.append(exporter.export(task).path.stat().st_size)
    assert sizes[1] < sizes[0]


def test_its_packaging_registers_it(module: Any) -> None:
    points = tomllib.loads(block("toml", "pyproject.toml"))["project"]["entry-points"]
    ((name, value),) = points["hubopt.exporters"].items()
    assert value == f"{NAME}:GzGraphExporter"
    assert exporter_problems(module.GzGraphExporter(), name) == []


def test_the_tests_on_the_page_run(module: Any, tmp_path: Path) -> None:
    source = re.search(r"## Test it\n\n```python\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
    assert source is not None
    names: dict[str, Any] = {"GzGraphExporter": module.GzGraphExporter}
    exec(source[1], names)
    tests = [name for name in names if name.startswith("test_")]
    assert len(tests) == 2
    for name in tests:
        folder = tmp_path / name
        folder.mkdir()
        names[name](folder)


def test_the_page_names_every_member_of_the_contract() -> None:
    from hubopt.exporter import Exporter

    text = PAGE.read_text().partition("## What the class declares")[2]
    members = [name for name in dir(Exporter) if not name.startswith("_")]
    assert "precisions" in members
    for name in members:
        assert re.search(rf"`{name}`|\*\*`{name}\(", text), f"the page does not document {name}"


def test_the_page_is_wrapped() -> None:
    long = [line for line in PAGE.read_text().splitlines() if len(line) > WIDTH]
    assert all(line.startswith("| ") for line in long), "only table rows may be longer"
