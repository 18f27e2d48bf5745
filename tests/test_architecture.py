"""Import rules between folders, where import-linter's lists could silently become outdated."""

import ast
import re
import sys
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).resolve().parents[1]
EXPORTERS = sorted((ROOT / "exporters" / "hubopt_exporters").rglob("*.py"))
MODULES = sorted((ROOT / "hubopt").rglob("*.py"))
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
MOST_LINES = 330
MOST_ROWS = 15


def imported(source: str) -> set[str]:
    """Return the modules that ``source`` imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            # ``from hubopt.runs import converting`` imports a module too.
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def folder_of(module: str) -> str | None:
    """Return the folder of one of hubopt's own modules; None for anything else."""
    path = ROOT / module.replace(".", "/")
    if path.is_dir():
        return module
    return module.rpartition(".")[0] if path.with_suffix(".py").is_file() else None


def is_module(name: str) -> bool:
    """Return whether ``name`` is one of hubopt's own modules or packages."""
    path = ROOT / name.replace(".", "/")
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def folder_imports() -> Iterator[tuple[str, str]]:
    """Yield pairs (importing folder, imported folder), without `hubopt`, the public facade."""
    for path in MODULES:
        own = ".".join(path.parent.relative_to(ROOT).parts)
        for module in imported(path.read_text()):
            other = folder_of(module) if module.startswith("hubopt.") else None
            if other and "hubopt" not in (own, other) and own != other:
                yield own, other


def contract(start: str) -> dict[str, list[str]]:
    (found,) = (entry for entry in CONTRACTS["contracts"] if entry["name"].startswith(start))
    return dict(found)


def test_no_two_folders_import_each_other() -> None:
    pairs = set(folder_imports())
    assert ("hubopt.exporting", "hubopt.runs") in pairs  # otherwise the check has found no imports
    both = {pair for pair in pairs if pair[::-1] in pairs}
    assert not both


def test_no_two_top_folders_import_each_other() -> None:
    def top_folder(folder: str) -> str:
        return ".".join(folder.split(".")[:2])

    pairs = {(top_folder(one), top_folder(other)) for one, other in folder_imports()}
    folders = {name for pair in pairs for name in pair}
    assert not {
        (one, other)
        for one, other in combinations(folders, 2)
        if {(one, other), (other, one)} <= pairs
    }


def test_the_layers_are_few_and_name_every_folder() -> None:
    layers = contract("Folders depend one way")["layers"]
    assert len(layers) <= MOST_ROWS
    named = {name.strip() for layer in layers for name in layer.split("|")}
    modules = {
        path.stem
        for path in (ROOT / "hubopt").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").is_file()
    }
    assert named == modules - {"__init__", "__main__"}


def test_the_modules_that_exporters_may_import_are_documented_and_all_used() -> None:
    allowed = {
        rule.partition(" -> ")[2]
        for rule in contract("What exporters may import")["ignore_imports"]
    }
    page = (ROOT / "docs" / "write-an-exporter.md").read_text()
    listed = re.search(r"What an exporter may import.*?\n\n(.*?)\n\n", page, re.DOTALL)
    assert listed is not None
    assert set(re.findall(r"^- `(hubopt[\w.]*)`", listed[1], re.MULTILINE)) == allowed
    seen = {
        module
        for path in EXPORTERS
        for module in imported(path.read_text())
        if module.startswith("hubopt.") and is_module(module)
    }
    assert seen == allowed


def test_this_check_sees_imports_inside_functions() -> None:
    assert imported("def f():\n    from hubopt.runs.converting import x") == {
        "hubopt.runs.converting",
        "hubopt.runs.converting.x",
    }


def test_private_modules_of_other_libraries_are_imported_in_dedicated_files_only() -> None:
    allowed = {"tf_private.py", "tf_freezing.py", "tf_lite_private.py"}
    for path in [*EXPORTERS, *MODULES]:
        private = {module for module in imported(path.read_text()) if ".python." in f"{module}."}
        assert not private or path.name in allowed, f"{path.name}: {private}"


@pytest.mark.parametrize("path", [*EXPORTERS, *MODULES], ids=lambda path: path.stem)
def test_no_file_exceeds_the_line_limit(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MOST_LINES


def test_markdown_is_wrapped() -> None:
    """One width for all pages; tables and code blocks, which cannot be wrapped, excepted."""
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "benchmarks" / "README.md"]
    assert len(pages) > 20
    long = []
    for page in pages:
        prose = re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
        long += [
            f"{page.relative_to(ROOT)}: {line[:60]}..."
            for line in prose.splitlines()
            if len(line) > 100 and not line.startswith("| ")
        ]
    assert long == []
