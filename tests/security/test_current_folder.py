"""Python modules in a model's folder belong to the model and are not imported."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hubopt._platform.tf_private import read_saved_model
from hubopt._util.import_path import current_folder_too, installed_only, installed_path
from hubopt.scanning.op_packages import PACKAGES
from tests.conftest import Ran

_PLANTED = "import pathlib\npathlib.Path({mark!r}).write_text(__name__)\n"
ENTRY_POINT = "[hubopt.exporters]\nplanted = {module}:Exporter\n"
# hubopt as a user has it: not imported from the current folder.
HERE = {**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path[1:]))}


def plant(folder: Path, mark: Path, *names: str) -> None:
    for name in names:
        (folder / f"{name}.py").write_text(_PLANTED.format(mark=str(mark)))


def run(folder: Path, *arguments: str, start: str = "from hubopt.cli import main; main()") -> Ran:
    """Run the command in ``folder``. With ``-c``, Python puts it on its import path."""
    done = subprocess.run(
        [sys.executable, "-c", start, *arguments],
        cwd=folder,
        env=HERE,
        capture_output=True,
        text=True,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def model(tiny: Path, tmp_path: Path) -> Path:
    """A downloaded model with operations of packages whose modules lie in its folder."""
    folder = shutil.copytree(tiny, tmp_path / "model")
    (folder / "fingerprint.pb").unlink(missing_ok=True)
    saved_model = read_saved_model(folder)
    graph = saved_model.meta_graphs[0].graph_def
    for op in ("Addons>Foo", "SimpleMLFoo", "TfqFoo"):
        graph.node.add(name=op.replace(">", "_"), op=op)
    (folder / "saved_model.pb").write_bytes(saved_model.SerializeToString())
    return folder


def test_packages_of_operations_are_not_imported_from_the_models_folder(
    model: Path, tmp_path: Path
) -> None:
    mark = tmp_path / "ran"
    plant(model, mark, *(package.module for package in PACKAGES))
    ran = run(model, "inspect", ".")
    assert ran.code == 2
    assert not mark.exists()


def test_optional_imports_of_libraries_are_not_taken_from_the_models_folder(
    tiny: Path, tmp_path: Path
) -> None:
    folder, mark = shutil.copytree(tiny, tmp_path / "model"), tmp_path / "ran"
    # Some libraries try to import these even where they are not installed.
    plant(folder, mark, "jax", "torch", "pandas", "tensorflow_text", "sitecustomize", "pydot")
    ran = subprocess.run(
        [sys.executable, "-m", "hubopt", "inspect", "."],
        cwd=folder,
        env=HERE,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert not mark.exists()


def test_an_exporter_is_not_taken_from_the_models_folder(tiny: Path, tmp_path: Path) -> None:
    folder, mark = shutil.copytree(tiny, tmp_path / "model"), tmp_path / "ran"
    plant(folder, mark, "planted")
    metadata = folder / "planted-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Name: planted\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINT.format(module="planted"))
    assert run(folder, "targets").code == 0
    assert not mark.exists()


def test_a_python_handle_of_the_user_is_imported_from_the_current_folder(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import tensorflow as tf\n"
        "@tf.function(input_signature=[tf.TensorSpec([2, 3])])\n"
        "def double(x):\n    return x * 2\n"
    )
    ran = run(tmp_path, "inspect", "mine:double")
    assert ran.code == 0, ran.err


def test_the_import_path_leaves_out_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path)
    elsewhere = str(tmp_path.parent)
    planted = ["", str(tmp_path), str(tmp_path / "link"), elsewhere]
    monkeypatch.setattr(sys, "path", [*planted, *sys.path])
    before = list(sys.path)
    assert installed_path() == [elsewhere, *(entry for entry in before[4:] if entry)]
    with installed_only():
        assert sys.path == installed_path()
        with current_folder_too():
            assert sys.path[-1] == str(tmp_path)
    assert sys.path == before
