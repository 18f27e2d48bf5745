"""Who may import whom, where import-linter's lists could silently fall behind."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CONTRACT = {
    "hubopt.errors",
    "hubopt.exporter",
    "hubopt.graphs.frozen_graph",
    "hubopt.graphs.serving",
    "hubopt.graphs.variables",
    "hubopt.plain_paths",
    "hubopt.spec",
    "hubopt.structure",
}
EXPORTERS = sorted((ROOT / "exporters" / "hubopt_exporters").rglob("*.py"))


def imported(source: str) -> set[str]:
    """Return the modules that ``source`` imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


@pytest.mark.parametrize("path", EXPORTERS, ids=lambda path: path.stem)
def test_exporters_see_the_contract_only(path: Path) -> None:
    seen = {each for each in imported(path.read_text()) if each.split(".")[0] == "hubopt"}
    assert seen <= CONTRACT


def test_this_check_sees_imports_inside_functions() -> None:
    assert imported("def f():\n    from hubopt.processes.layer_session import x") == {
        "hubopt.processes.layer_session"
    }


def test_no_private_module_of_another_library_outside_its_own_room() -> None:
    rooms = {"tf_private.py", "tf_freezing.py", "tf_lite_private.py"}
    for path in [*EXPORTERS, *(ROOT / "hubopt").rglob("*.py")]:
        private = {each for each in imported(path.read_text()) if ".python." in f"{each}."}
        assert not private or path.name in rooms, f"{path.name}: {private}"


def test_every_module_stands_in_the_layers_of_import_linter() -> None:
    tomllib = pytest.importorskip("tomllib")  # from Python 3.11 on
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (layers,) = (
        each["layers"]
        for each in settings["tool"]["importlinter"]["contracts"]
        if each["type"] == "layers"
    )
    listed = {name.strip() for layer in layers for name in layer.split("|")}
    # A room stands there as a whole, or each of its modules does.
    whole = {name for name in listed if (ROOT / name.replace(".", "/")).is_dir()}
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "hubopt").rglob("*.py")
        if path.stem[0] != "_"
    }
    modules = {each for each in modules if each.rpartition(".")[0] not in whole}
    assert listed - whole == modules
