"""The folders of one attack, and the files that are left in them."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

HUBOPT = (sys.executable, "-m", "hubopt")
MARKER = "HUBOPT_ATTACK"
"""The environment variable that identifies the processes of a run."""
_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Place:
    """Folders of one attack.

    Attributes:
        root: The folder that holds all of them.
    """

    root: Path

    @classmethod
    def make(cls, root: Path) -> Place:
        """Make the folders, without the files of an earlier attack."""
        shutil.rmtree(root, ignore_errors=True)
        place = cls(root)
        for folder in (place.stages, place.models, place.temporary, place.outputs, place.here):
            folder.mkdir(parents=True)
        return place

    @property
    def stages(self) -> Path:
        """The cache of stages."""
        return self.root / "stages"

    @property
    def models(self) -> Path:
        """The cache of fetched models."""
        return self.root / "models"

    @property
    def temporary(self) -> Path:
        """The folder for temporary files."""
        return self.root / "temporary"

    @property
    def outputs(self) -> Path:
        """The folder that contains the output."""
        return self.root / "outputs"

    @property
    def output(self) -> Path:
        """The output."""
        return self.outputs / "bundle"

    @property
    def here(self) -> Path:
        """The current folder of the command."""
        return self.root / "here"

    def environment(self) -> Mapping[str, str]:
        """Return the environment variables for a command."""
        return {
            "HUBOPT_CACHE_DIR": str(self.stages),
            "TFHUB_CACHE_DIR": str(self.models),
            "TMPDIR": str(self.temporary),
            "XDG_STATE_HOME": str(self.root / "state"),  # tracebacks of defects
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "KERAS_BACKEND": "tensorflow",
            # This checkout first: an editable install may be of another one.
            "PYTHONPATH": os.pathsep.join(source_path()),
            MARKER: str(self.root),
        }

    def strays(self, expected: Collection[Path] = ()) -> list[str]:
        """Return the files that a command left besides its output and the entries of the cache.

        Args:
            expected: Files that are allowed in addition to `output`.
        """
        known = {self.output, *expected}
        found = [
            path
            for folder in (self.outputs, self.temporary, self.here)
            for path in folder.iterdir()
            if path not in known
        ]
        # Unfinished entries of the cache have a leading dot, complete ones none; locks are files.
        found += [path for path in self.stages.glob(".*") if path.is_dir()]
        return sorted(_describe(path, self.root) for path in found)

    def last_traceback(self) -> str:
        """Return the end of the traceback that a defect left; `remove` deletes its file."""
        logs = sorted((self.root / "state").rglob("defect*.log"))
        return " ".join(logs[-1].read_text(errors="replace").split())[-400:] if logs else ""

    def remove(self) -> None:
        """Remove all of the folders, including unreadable files."""
        shutil.rmtree(self.root, ignore_errors=True)


def source_path() -> tuple[str, ...]:
    """Return the folders with this checkout's packages."""
    return str(_ROOT), str(_ROOT / "exporters")


def _describe(path: Path, root: Path) -> str:
    inside = sorted(child.name for child in path.iterdir())[:4] if path.is_dir() else []
    return f"{path.relative_to(root)}" + (f" ({', '.join(inside)})" if inside else "")
