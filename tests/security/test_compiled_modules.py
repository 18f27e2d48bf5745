"""StableHLO programs in a model, as jax2tf writes them, that call native code by name."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from hubopt._platform.tf_private import stablehlo_text
from hubopt.scanning.compiled_modules import calls_native_code
from hubopt.scanning.program_text import program_text
from hubopt.scanning.scan import scan
from tests.security.models import edit, members, refuse, save

THREE = tf.TensorSpec([3], tf.float32)


def program(line: str) -> bytes:
    """Return a portable artifact of a program that adds its input to itself and runs ``line``."""
    from tensorflow.compiler.mlir.stablehlo import stablehlo

    text = f"""
        module @jit_f {{
          func.func public @main(%arg0: tensor<3xf32>) -> tensor<3xf32> {{
            %0 = stablehlo.add %arg0, %arg0 : tensor<3xf32>
            {line}
            return %0 : tensor<3xf32>
          }}
        }}"""
    return bytes(stablehlo.serialize_portable_artifact_str(text, stablehlo.get_current_version()))


def call(target: str) -> str:
    return f"%1 = stablehlo.custom_call @{target}(%0) : (tensor<3xf32>) -> tensor<3xf32>"


def save_program(folder: Path, module: bytes) -> Path:
    from tensorflow.compiler.tf2xla.python import xla  # what jax2tf calls

    def run(x: Any) -> Any:
        return xla.call_module(
            [x], version=9, module=module, Sout=[[3]], Tout=[tf.float32], platforms=["CPU"]
        )[0]

    return save(folder, run, THREE)


def test_a_program_that_computes_is_harmless_and_runs(tmp_path: Path) -> None:
    folder = save_program(tmp_path, program(call("Sharding")))
    scan(folder)
    doubled = tf.saved_model.load(str(folder)).f(tf.constant([1.0, 2.0, 3.0]))
    np.testing.assert_array_equal(doubled, [2, 4, 6])


def test_a_program_that_calls_native_code_is_refused(tmp_path: Path) -> None:
    text = refuse(save_program(tmp_path, program(call("xla_python_cpu_callback"))))
    assert "XlaCallModule (x1, node XlaCallModule of function " in text
    assert "calls native code" in text
    scan(tmp_path, allow=["XlaCallModule"])


def node(module: bytes) -> Any:
    made = tf.compat.v1.NodeDef(name="a", op="XlaCallModule")
    made.attr["module"].s = module
    return made


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parse programs in this process, which is faster and safe for undamaged programs."""
    monkeypatch.setattr("hubopt.scanning.compiled_modules.program_text", stablehlo_text)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    "target", ["evil", '"Sharding("', '"a b"', '"@Sharding"', '"x\\22y"', '"Shar\\64ing2"']
)
def test_a_call_target_is_read_whatever_its_name(target: str) -> None:
    assert calls_native_code(node(program(call(target))))


@pytest.mark.usefixtures("here")
def test_a_call_target_without_a_name_is_dangerous() -> None:
    line = '%1 = "stablehlo.custom_call"(%0) {call_target_name = ""} : '
    assert calls_native_code(node(program(f"{line}(tensor<3xf32>) -> tensor<3xf32>")))


@pytest.mark.usefixtures("here")
def test_an_operation_that_talks_to_the_host_is_dangerous() -> None:
    line = """
        %t = stablehlo.create_token : !stablehlo.token
        %1 = "stablehlo.outfeed"(%0, %t) {outfeed_config = ""}
            : (tensor<3xf32>, !stablehlo.token) -> !stablehlo.token"""
    assert not calls_native_code(node(program("")))
    assert calls_native_code(node(program(line)))


def test_a_program_that_cannot_be_read_is_dangerous() -> None:
    whole = program(call("Sharding"))
    assert not calls_native_code(node(whole))
    name = whole.index(b"custom_call") + len("custom_call")
    for broken in (whole[:name], b"func.nothing", b""):
        assert calls_native_code(node(broken))


@pytest.mark.parametrize("ending", ["os._exit(0)", "os.abort()", "time.sleep(60)"])
def test_a_program_that_crashes_or_blocks_its_reader_is_dangerous(
    ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A damaged program can do any of this to MLIR's reader, which is native code.
    monkeypatch.setattr("hubopt.scanning.program_text._CHILD", f"import os, time; {ending}")
    monkeypatch.setattr("hubopt.scanning.program_text._TIMEOUT_S", 1)
    program_text.cache_clear()
    assert calls_native_code(node(program(call("Sharding"))))
    program_text.cache_clear()


def test_a_program_without_such_operations_needs_no_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("hubopt.scanning.program_text.subprocess.run")
    assert not calls_native_code(node(program("")))


def test_a_program_in_a_placeholder_attribute_is_refused(tmp_path: Path) -> None:
    folder = save_program(tmp_path, program(""))
    scan(folder)

    def attack(meta_graph: Any) -> None:
        for _, call_module in members(meta_graph, "XlaCallModule"):
            call_module.attr["module"].placeholder = "secret"

    assert "XlaCallModule (x1" in refuse(edit(folder, attack))
