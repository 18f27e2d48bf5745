"""The wheel that users get, built from the sdist, has every module."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def build(target: str, source: Path, output: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "--target", target]
    subprocess.run([*command, "--directory", str(output)], cwd=source, check=True)
    (built,) = output.iterdir()
    return built


def test_the_wheel_from_the_sdist_has_every_module(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"  # without ignored files and test leftovers
    kept = ("hubopt", "exporters", "tests", "benchmarks", "docs")
    for folder in kept:
        shutil.copytree(ROOT / folder, checkout / folder)
    for file in ("pyproject.toml", "README.md", "LICENSE", "Makefile", "CHANGELOG.md"):
        shutil.copy(ROOT / file, checkout / file)
    with tarfile.open(build("sdist", checkout, tmp_path / "sdist")) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    with zipfile.ZipFile(build("wheel", unpacked, tmp_path / "wheel")) as wheel:
        packed = {name for name in wheel.namelist() if ".dist-info" not in name}
    modules = {
        path.relative_to(base).as_posix()
        for base, package in ((ROOT, "hubopt"), (ROOT / "exporters", "hubopt_exporters"))
        for path in (base / package).rglob("*")
        if path.suffix == ".py" or path.name == "py.typed"
    }
    assert packed == modules
