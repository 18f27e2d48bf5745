"""Escape sequences and line breaks in a model's names never reach a terminal."""

import io
import logging
import pickle
from pathlib import Path

import pytest
import tensorflow as tf
from rich.console import Group
from rich.table import Table
from rich.text import Text

import hubopt
from hubopt._platform.tf_private import read_saved_model
from hubopt._util.escaping import escape_file, printable, printable_lines
from hubopt.cli import console as consoles
from hubopt.diagnosis import Diagnosis
from hubopt.errors import HuboptError, SpecError, UnsafeModelError
from hubopt.spec import Dim, TensorSpec
from tests.conftest import run_hubopt

EVIL = "x\x1b[2J\x1b]0;owned\x07\r\ny\u202ez\x9b31m"
RAW = ("\x1b", "\x07", "\r", "\u202e", "\x9b")


def assert_safe(text: str) -> None:
    found = [sequence for sequence in RAW if sequence in text]
    assert not found, f"{found} in {text!r}"


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with such a name for an output and its node, which also prints such a text."""
    root = tf.Module()
    root.weight = tf.Variable(tf.random.stateless_normal([3, 3], seed=[1, 2]))

    @tf.function(input_signature=[tf.TensorSpec([2, 3], name="x")])
    def call(x: tf.Tensor) -> dict[str, tf.Tensor]:
        tf.print(EVIL)
        return {EVIL: tf.tanh(x @ root.weight), "other": x @ root.weight}

    root.call = call
    folder = tmp_path_factory.mktemp("evil") / "model"
    tf.saved_model.save(root, str(folder), signatures={"serving_default": call})
    return folder


def test_inspect_escapes_names(evil: Path) -> None:
    ran = run_hubopt("inspect", evil)
    assert ran.code == 0, ran.err
    assert_safe(ran.out + ran.err)
    assert printable(EVIL)[:12] in ran.out
    assert not any(line.startswith("y") for line in ran.out.splitlines())


def test_an_export_escapes_names_on_the_terminal_and_in_logs(evil: Path, tmp_path: Path) -> None:
    ran = run_hubopt("export", evil, "-t", "savedmodel,onnx,tflite", "-o", tmp_path / "b",
                     "--rounds", 0, "--xla", "off")  # fmt: skip
    assert_safe(ran.out + ran.err)
    output = ran.err
    for log in (tmp_path / "b" / "logs").glob("*"):
        text = log.read_bytes().decode()
        assert_safe(text)
        output += text
    assert r"\x1b[2J" in output


def test_a_refusal_escapes_names(evil: Path, tmp_path: Path) -> None:
    saved_model = read_saved_model(evil)
    saved_model.meta_graphs[0].graph_def.node.add(name=EVIL, op="WriteFile")
    (tmp_path / "saved_model.pb").write_bytes(saved_model.SerializeToString())
    ran = run_hubopt("inspect", tmp_path)
    assert ran.code == 2
    assert_safe(ran.err)
    assert "WriteFile" in ran.err
    ran = run_hubopt("inspect", tmp_path, "--json")
    assert_safe(ran.out)


def test_the_name_of_an_operation_is_escaped(evil: Path, tmp_path: Path) -> None:
    saved_model = read_saved_model(evil)
    saved_model.meta_graphs[0].graph_def.node.add(name="a", op=EVIL)
    (tmp_path / "saved_model.pb").write_bytes(saved_model.SerializeToString())
    ran = run_hubopt("inspect", tmp_path)
    assert ran.code == 2
    assert_safe(ran.err)


@pytest.mark.parametrize(
    "error",
    [
        HuboptError(EVIL, EVIL, EVIL, EVIL),
        SpecError("x", (EVIL, EVIL), EVIL, EVIL),
        UnsafeModelError(EVIL, (EVIL,), EVIL, EVIL),
    ],
)
def test_errors_escape_names(error: HuboptError) -> None:
    assert_safe(str(error))
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_a_name_cannot_fake_another_line_of_a_list() -> None:
    text = str(SpecError("x", ("input a\n  - input b: all is well",), "y", "z"))
    assert text.count("\n  - ") == 1


def test_the_texts_of_values_escape_names() -> None:
    tensor = TensorSpec(EVIL, "float32", (Dim(1, "flag"),))
    assert_safe(str(tensor))
    assert "\n" not in str(tensor)
    assert_safe(str(Diagnosis("onnx", output=EVIL, tensor=EVIL, tf_op="Mul", layer=EVIL)))


def test_the_console_escapes_whatever_it_prints() -> None:
    stream = io.StringIO()
    console = consoles.EscapingConsole(file=stream, force_terminal=True, width=200)
    table = Table()
    table.add_column(EVIL)
    table.add_row(Text(EVIL, style="red"))
    console.print(Group(Text(EVIL), table))
    with console.status(EVIL):
        pass
    output = stream.getvalue()
    assert "\x1b[31m" in output  # the console's own colours remain
    assert not any(
        sequence in output for sequence in ("\x1b[2J", "\x1b]0;", "\x07", "\u202e", "\x9b")
    )


def test_the_log_of_the_command_is_escaped() -> None:
    record = logging.LogRecord("x", logging.WARNING, "", 0, "read %s", (EVIL,), None)
    assert_safe(consoles.EscapingFormatter().format(record))


def test_a_log_with_nothing_to_escape_is_not_rewritten(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes("plain\n\tténsor\n".encode())
    before = log.stat().st_mtime_ns
    escape_file(log)
    assert log.stat().st_mtime_ns == before
    log.write_bytes(b"a\xff\x1b[2J\n")
    escape_file(log)
    assert log.read_text() == "a\\xff\\x1b[2J\n"


def test_lines_and_pieces() -> None:
    assert printable_lines("a\n\tb\x1b") == "a\n\tb\\x1b"
    assert printable("a\nb") == "a\\nb"
    assert printable("ténsor 重み") == "ténsor 重み"


def test_parity_is_escaped_in_a_notebook(evil: Path) -> None:
    layer = hubopt.KerasLayer(str(evil), signature="serving_default", output_key=EVIL)
    parity = hubopt.verify(layer, layer, hints=hubopt.Hints(), noise="off")
    assert_safe(repr(parity))
