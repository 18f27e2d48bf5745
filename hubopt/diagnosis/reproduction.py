"""Write a small reproduction: the faulty part of the artifact, one input and a script."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hubopt._platform.staging import staging
from hubopt._util.escaping import printable
from hubopt.diagnosis.measure import measure
from hubopt.diagnosis.names import Alignment
from hubopt.diagnosis.probing import Probed
from hubopt.workers.lifeline import lifeline, tethered

SCRIPT = "reproduce.py"
_TIMEOUT_S = 300

_TEMPLATE = '''\
"""{title}

Runs {model}, a part of the {target} artifact, on the layer's values in inputs.npz, and compares
its output with the layer's values in expected.npz. Exits 1 if they differ.
"""

import pathlib
import sys

import numpy as np


{run}

def main():
    folder = pathlib.Path(__file__).resolve().parent
    with np.load(folder / "inputs.npz") as archive:
        inputs = {{name: archive[name] for name in archive.files}}
    with np.load(folder / "expected.npz") as archive:
        expected, allowed = archive["expected"], float(archive["allowed"])
    found = np.asarray(run(str(folder / "{model}"), inputs)).astype(np.float64)
    if found.shape != expected.shape:
        print(f"found shape {{found.shape}}, expected {{expected.shape}}")
        sys.exit(1)
    gap = np.where(found == expected, 0.0, np.abs(found - expected))
    gap = np.where(np.isnan(gap), np.inf, gap)  # a NaN where none is expected
    at = tuple(int(axis) for axis in np.unravel_index(np.argmax(gap), gap.shape))
    print(f"largest difference {{gap[at]:.6g}} at {{at}}: "
          f"found {{found[at]:.9g}}, expected {{expected[at]:.9g}}")
    print(f"allowed {{allowed:.3g}}: {{float(np.mean(gap > allowed)):.1%}} of the elements differ")
    sys.exit(1 if gap[at] > allowed else 0)


if __name__ == "__main__":
    main()
'''


@dataclass(frozen=True, slots=True)
class Part:
    """The contents of a reproduction.

    Attributes:
        target: The artifact's target.
        title: One line that describes the fault.
        inputs: The artifact's tensors that it starts from, in the artifact's layout and dtype.
        output: The artifact's tensor that diverges.
        expected: The reference's value of ``output``, in the artifact's layout.
        allowed: The largest difference that rounding explains.
    """

    target: str
    title: str
    inputs: Mapping[str, NDArray[Any]]
    output: str
    expected: NDArray[Any]
    allowed: float


def layout(
    found: NDArray[Any], wide: NDArray[Any], narrow: NDArray[Any], known: Alignment | None
) -> NDArray[Any]:
    """Return the reference's tensor ``wide`` in the layout of the artifact's ``found``."""
    alignment = known or measure([found], [wide], [narrow]).alignment
    if alignment is None:
        return wide
    return alignment.to_artifact(wide, found.shape)


def write_reproduction(part: Part, artifact: Probed, suffix: str, output: Path) -> str | None:
    """Write the folder ``output`` atomically, and run its script.

    Returns:
        None if the script shows the difference, else a note that says what it did instead.

    Raises:
        UsageError: ``output`` exists or cannot be written.
    """
    model = f"model{suffix}"
    with staging(output) as folder:
        _save(folder / "inputs.npz", part.inputs)
        _save(
            folder / "expected.npz",
            {"expected": part.expected, "allowed": np.float64(part.allowed)},
        )
        artifact.cut(folder / "inputs.npz", part.output, folder / model)
        text = _TEMPLATE.format(
            title=_one_line(part.title), model=model, target=part.target, run=artifact.script()
        )
        (folder / SCRIPT).write_text(text)
        printed, problem = _run(folder / SCRIPT)
        (folder / "README.md").write_text(_readme(part, model, printed))
    return problem


def _run(script: Path) -> tuple[str, str | None]:
    try:
        with lifeline() as descriptor:
            done = subprocess.run(
                tethered([sys.executable, str(script)], descriptor),
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_S,
                check=False,
                pass_fds=() if descriptor is None else (descriptor,),
            )
    except subprocess.TimeoutExpired:
        return "", f"the reproduction did not end within {_TIMEOUT_S} s"
    printed = done.stdout.strip()
    if done.returncode == 1 and printed:
        return printed, None
    if done.returncode == 0:
        return printed, f"the part alone, run on the layer's values, does not differ: {printed}"
    return printed, f"the reproduction does not run: {_last_line(done.stderr)}"


def _readme(part: Part, model: str, printed: str) -> str:
    listing = "".join(
        f"- `{printable(name)}` {list(array.shape)}\n" for name, array in part.inputs.items()
    )
    return (
        f"# {_one_line(part.title)}\n\n"
        f"`{model}` is the part of the {part.target} artifact up to "
        f"`{printable(part.output)}`, from\n\n"
        f"{listing}\n"
        f"`python {SCRIPT}` needs numpy and the target's runtime. It printed:\n\n"
        f"    {printed.replace(chr(10), chr(10) + '    ')}\n"
    )


def _save(path: Path, arrays: Mapping[str, Any]) -> None:
    with path.open("wb") as stream:
        np.savez(stream, **arrays)


def _one_line(text: str) -> str:
    return re.sub(r'[\s"\\]+', " ", printable(text)).strip()


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it printed nothing"])[-1]
