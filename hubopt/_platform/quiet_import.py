"""`import_tensorflow`: import TensorFlow without what its C++ libraries write meanwhile."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

_LEVEL_VARIABLE = "TF_CPP_MIN_LOG_LEVEL"
_WITHOUT_WARNINGS = "2"
_NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")


def import_tensorflow() -> None:
    """Import TensorFlow, if it is not imported yet, and keep standard error free of its notes.

    Its libraries write a dozen lines on oneDNN and missing GPUs before any setting of their own
    counts, and one on the search for a GPU where there is none. They go to a file; if the import
    fails, standard error gets them after all. Later notes and warnings are left out unless the
    user sets ``TF_CPP_MIN_LOG_LEVEL``.
    """
    if "tensorflow" in sys.modules:
        return
    os.environ.setdefault(_LEVEL_VARIABLE, _WITHOUT_WARNINGS)
    try:
        sys.stderr.flush()
        kept = os.dup(2)
    except (AttributeError, OSError, ValueError):  # no standard error: nothing to keep free
        import tensorflow

        return
    with tempfile.TemporaryFile() as notes:
        os.dup2(notes.fileno(), 2)
        try:
            import tensorflow

            if not _NVIDIA_DRIVER.exists():
                # To look for GPUs where none can be is reported as an error, once.
                tensorflow.config.list_physical_devices()
        except BaseException:
            os.dup2(kept, 2)
            notes.seek(0)
            os.write(2, notes.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
