"""Files that a killed process leaves behind."""

import subprocess
import sys
from pathlib import Path

_CODE = (
    "import os, signal, sys; from pathlib import Path; "
    "from hubopt._util.owned_folders import owned_folder\n"
    "with owned_folder(Path(sys.argv[1]), *sys.argv[2:]) as folder:\n"
    "    (folder / 'half').mkdir(); (folder / 'half' / 'file').touch()\n"
    "    print(folder, flush=True)\n"
    "    os.kill(os.getpid(), signal.SIGKILL)\n"
)


def left_by_a_killed_process(parent: Path, prefix: str, suffix: str = "") -> Path:
    """Return a folder that a killed process has left in ``parent``."""
    done = subprocess.run(
        [sys.executable, "-c", _CODE, str(parent), prefix, suffix],
        capture_output=True,
        text=True,
        check=False,
    )
    folder = Path(done.stdout.strip())
    assert (folder / "half" / "file").exists()
    return folder
