from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from hubopt.exporter import Options, OpUse, Program
from hubopt.tracing import trace
from hubopt_exporters.savedmodel import SavedModelExporter, _is_compiled

STRIP = OpUse("StringStrip", 2, "node", string=True, resource=False, xla=False, generic=False)
PASS = OpUse("Identity", 9, "node", string=True, resource=False, xla=False, generic=True)
TABLE = OpUse("LookupTableFindV2", 1, "n", string=False, resource=True, xla=False, generic=False)


@pytest.mark.parametrize("freeze", [False, True])
def test_it_is_static_and_compiled_after_reloading(
    tiny_program: tuple[Any, Program], tmp_path: Path, freeze: bool
) -> None:
    _, program = tiny_program
    exporter = SavedModelExporter()
    artifact = exporter.export(program, tmp_path / "m", Options(freeze=freeze))
    assert artifact.details["jit_compile"] is True
    loaded = tf.saved_model.load(str(artifact.path))
    assert _is_compiled(loaded)
    files = list((artifact.path / "variables").glob("variables.data*"))
    assert artifact.details["weights"] == ("constants" if freeze else "variables")
    assert (sum(each.stat().st_size for each in files) > 2 * 8 * 8 * 4) == (not freeze)
    inputs = {"left": np.ones((2, 8), "float32"), "right": np.ones((2, 8), "float32")}
    by_signature = exporter.runner(artifact).run(inputs)
    by_call = loaded({name: tf.constant(array) for name, array in inputs.items()})
    for name in ("sum", "difference"):
        np.testing.assert_array_equal(by_signature[name], by_call[name])


def test_a_program_that_is_not_compiled_says_so(
    tiny_program: tuple[Any, Program], tmp_path: Path
) -> None:
    layer, program = tiny_program
    plain = trace(layer, program.spec, tmp_path / "program", "off")
    artifact = SavedModelExporter().export(plain, tmp_path / "m", Options(xla="off"))
    assert artifact.details["jit_compile"] is False


@pytest.mark.parametrize(
    ("options", "ops", "named"),
    [
        (Options(), [STRIP, PASS], ["StringStrip"]),
        (Options(), [PASS], ["Identity"]),
        (Options(xla="auto"), [STRIP, PASS], []),
        (Options(xla="off"), [STRIP], []),
        (Options(xla="off", freeze=True), [STRIP, TABLE], ["LookupTableFindV2"]),
    ],
)
def test_what_xla_lacks_is_in_the_way_if_it_is_required(
    options: Options, ops: list[OpUse], named: list[str]
) -> None:
    assert [each.op for each in SavedModelExporter().obstacles(ops, options)] == named
